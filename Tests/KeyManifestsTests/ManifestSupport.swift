import Foundation
import KeyManifests
import TestSupport

/// A good manifest whose lines the tests change one by one.
enum Sample {
  static let lines = """
    version: 1
    environment: test
    keys:
      root-ca:
        token: root
        algorithm: ECDSA-P384
        lifetime: 10y
        rotation: ceremony
        uses: [sign-certificates]
      oauth-a:
        token: identity
        algorithm: ECDSA-P256
        lifetime: 1y
        rotation: {every: 90d}
        uses: [sign-tokens]
    data_classes:
      files:
        algorithm: AES-256-GCM
        rotate_every: 90d
        retire_after: never
        may_encrypt: [owner, agent]
        may_decrypt: [owner]
        data_key: {max_age: 5m, max_uses: 1000000, max_bytes: 64GiB}
        destroy_after: 7d
        tenants: "*"
    """.split(separator: "\n").map(String.init)

  static var text: String { lines.joined(separator: "\n") + "\n" }

  /// The sample with a line put in another's place; without text, the line is left out.
  static func changing(_ line: Int, to text: String?) -> String {
    var lines = lines
    lines.replaceSubrange(line - 1..<line, with: text.map { [$0] } ?? [])
    return lines.joined(separator: "\n") + "\n"
  }

  /// The sample's class with one member's value exchanged.
  static func manifest(_ member: String, _ value: String) throws -> KeyManifest {
    let at = lines.lastIndex { $0.hasPrefix("    \(member): ") } ?? 0
    return try KeyManifest(yaml: changing(at + 1, to: "    \(member): \(value)"))
  }
}

extension KeyManifest {
  init(yaml text: String) throws(ManifestError) { try self.init(yaml: Array(text.utf8)) }
}

/// Where the manifests lie: found from the sources, as the files themselves are under test.
enum ManifestFiles {
  static func bytes(_ name: String) throws -> [UInt8] {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    return Array(try Data(contentsOf: root.appendingPathComponent("Keys/Manifests/\(name)")))
  }
}

enum Fuzz {
  /// `FUZZ_ROUNDS` sets how many inputs each parser gets.
  static let rounds = ProcessInfo.processInfo.environment["FUZZ_ROUNDS"].flatMap { Int($0) } ?? 3000

  static func mutated(_ seed: [UInt8], _ random: SeededRandom, inserting: [UInt8]) -> [UInt8] {
    var bytes = seed
    for _ in 0...random.below(3) where !bytes.isEmpty {
      let at = random.below(bytes.count)
      switch random.below(6) {
      case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
      case 1: bytes[at] ^= 1 << UInt8(random.below(8))
      case 2: bytes.insert(random.pick(inserting), at: at)
      case 3: bytes.remove(at: at)
      case 4: bytes.removeSubrange(at..<min(bytes.count, at + random.below(16)))
      default: bytes.append(contentsOf: bytes[at..<min(bytes.count, at + random.below(32))])
      }
    }
    return bytes
  }
}
