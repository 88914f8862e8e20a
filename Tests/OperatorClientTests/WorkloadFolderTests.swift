import Foundation
import Glibc
import SecretMemory
import Synchronization
import Testing
import WorkloadIdentity

@testable import OperatorClient

@Suite("Files that change together")
struct WorkloadFolderTests {
  static func secret(_ text: String) throws -> SecretBytes {
    let bytes = Array(text.utf8)
    return try unsafe SecretBytes(copying: bytes.span.bytes)
  }

  static func files(_ version: Int) -> [String: [UInt8]] {
    let text = Array("\(version)".utf8)
    return ["svid.pem": text, "bundle.pem": text, "federated/other.org.pem": text]
  }

  static let names = ["svid.pem", "svid.key", "bundle.pem", "federated/other.org.pem"]

  /// What a reader finds by name.
  static func read(_ folder: String) -> [String?] {
    names.map { name in
      FileManager.default.contents(atPath: folder + "/" + name).map { String(decoding: $0, as: UTF8.self) }
    }
  }

  static func inScratch(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("svid-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
  }

  @Test("each version is whole, the key is for its owner alone, and the one before stays until the next")
  func versions() throws {
    try Self.inScratch { path in
      let folder = try WorkloadFolder(path)
      for version in 1...4 {
        let before = try? FileManager.default.destinationOfSymbolicLink(atPath: path + "/..data")
        try folder.publish(Self.files(version), key: try Self.secret("\(version)"))
        #expect(Self.read(path) == Self.names.map { _ in "\(version)" })
        if let before {
          #expect(Self.read(path + "/" + before) == Self.names.map { _ in "\(version - 1)" })
        }
        let versions = try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasPrefix("..v-") }
        #expect(versions.count == min(version, 2))
      }
      for (name, mode) in [("svid.key", 0o600), ("svid.pem", 0o644)] {
        let attributes = try FileManager.default.attributesOfItem(atPath: path + "/..data/" + name)
        #expect(attributes[.posixPermissions] as? Int == mode)
      }
      // What a domain that is no longer federated left is gone.
      try folder.publish(["svid.pem": []], key: try Self.secret("5"))
      #expect(try FileManager.default.contentsOfDirectory(atPath: path + "/federated").isEmpty)
    }
  }

  @Test("whoever is killed at any step leaves the old version, or the new one, whole; the next run goes on")
  func killed() throws {
    for hasBefore in [false, true] {
      var steps = 1
      var stopAt = 0
      while stopAt < steps {
        try Self.inScratch { path in
          if hasBefore { try WorkloadFolder(path).publish(Self.files(1), key: try Self.secret("1")) }
          let seen = Mutex(0)
          let at = stopAt
          let whole = Self.names.map { _ in hasBefore ? "1" : String?.none }
          do {
            let folder = try WorkloadFolder(path) { (step) throws(OperatorError) in
              #expect(Self.read(path) == whole, "before \(step)")
              let number = seen.withLock { number in
                number += 1
                return number - 1
              }
              // Whoever is killed does not clean up either.
              if number >= at { throw OperatorError(.failed, "killed") }
            }
            try folder.publish(Self.files(2), key: try Self.secret("2"))
            Issue.record("step \(at) was not there")
          } catch {
            #expect(error as? OperatorError == OperatorError(.failed, ""))
          }
          #expect(Self.read(path) == whole)
          let count = Mutex(0)
          let folder = try WorkloadFolder(path) { (_) throws(OperatorError) in count.withLock { $0 += 1 } }
          try folder.publish(Self.files(3), key: try Self.secret("3"))
          #expect(Self.read(path) == Self.names.map { _ in "3" })
          let versions = try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasPrefix("..v-") }
          #expect(versions.count == (hasBefore ? 2 : 1), "nothing that was half done is left")
          if at == 0 {
            // How many steps a run has that nothing stops.
            steps = count.withLock { $0 }
          }
        }
        stopAt += 1
      }
      #expect(steps >= 7)
    }
  }

  @Test("what fails at any step leaves nothing half-written")
  func failed() throws {
    var (at, isDone) = (0, false)
    while !isDone {
      try Self.inScratch { path in
        try WorkloadFolder(path).publish(Self.files(1), key: try Self.secret("1"))
        let seen = Mutex(0)
        let number = at
        let folder = try WorkloadFolder(path) { (_) throws(OperatorError) in
          let isNow = seen.withLock { seen in
            seen += 1
            return seen - 1 == number
          }
          if isNow { throw OperatorError(.folderNotWritten, "") }
        }
        do {
          try folder.publish(Self.files(2), key: try Self.secret("2"))
          isDone = true
        } catch {
          #expect(error as? OperatorError == OperatorError(.folderNotWritten, ""))
          #expect(Self.read(path) == Self.names.map { _ in "1" })
          #expect(
            try FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasPrefix("..v-") }.count == 1)
        }
      }
      at += 1
    }
    #expect(at >= 7)
  }

  @Test("a folder that cannot be written now, and one that never will be, are told apart and named")
  func unwritable() throws {
    let key = try Self.secret("1")
    // Nobody makes files there, root neither.
    let system = try WorkloadFolder("/sys")
    let now = #expect(throws: OperatorError.self) { try system.publish(Self.files(1), key: key) }
    #expect(now == OperatorError(.folderNotWritten, "") && now?.exitCode == 73)
    #expect(now?.message.hasPrefix("/sys/..v-") == true)
    try Self.inScratch { path in
      let folder = try WorkloadFolder(path)
      try FileManager.default.removeItem(atPath: path)
      let gone = #expect(throws: OperatorError.self) { try folder.publish(Self.files(1), key: key) }
      #expect(gone == OperatorError(.cannotCreate, "") && gone?.message.hasPrefix(path) == true)
    }
  }

  @Test("a name that is taken, a second writer and a folder that cannot be are said, and nothing is touched")
  func refused() throws {
    func code(_ body: () throws(OperatorError) -> Void) -> Int32? {
      do throws(OperatorError) {
        try body()
        return nil
      } catch { return error.exitCode }
    }
    try Self.inScratch { path in
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
      try "mine".write(toFile: path + "/svid.pem", atomically: true, encoding: .utf8)
      let folder = try WorkloadFolder(path)
      let key = try Self.secret("1")
      #expect(code { () throws(OperatorError) in try folder.publish(Self.files(1), key: key) } == 73)
      #expect(try FileManager.default.contentsOfDirectory(atPath: path) == ["svid.pem"])
      #expect(code { () throws(OperatorError) in _ = try WorkloadFolder(path) } == 73)
      #expect(code { () throws(OperatorError) in _ = try WorkloadFolder(path + "/svid.pem") } == 73)
      #expect(code { () throws(OperatorError) in _ = try WorkloadFolder(path + "/a/b") } == 73)
      withExtendedLifetime(folder) {}
    }
  }

  private final class Flag: Sendable {
    let value = Mutex(false)
  }

  @Test("a reader that resolves ..data once never has a certificate and a key of two versions")
  func reader() async throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("svid-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let folder = try WorkloadFolder(path)
    try folder.publish(Self.files(0), key: try Self.secret("0"))
    let isDone = Flag()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        while !isDone.value.withLock({ $0 }) {
          let descriptor = unsafe open(path + "/..data", O_RDONLY | O_DIRECTORY)
          defer { close(descriptor) }
          let texts = ["svid.pem", "svid.key"].map { name -> String in
            let file = unsafe openat(descriptor, name, O_RDONLY)
            defer { close(file) }
            var bytes = [UInt8](repeating: 0, count: 16)
            let count = (try? Descriptor(file).read(into: &bytes)) ?? 0
            return String(decoding: bytes.prefix(count), as: UTF8.self)
          }
          // A reader slower than two updates finds nothing, and reads again.
          #expect(texts[0] == texts[1] || texts.contains(""))
          await Task.yield()
        }
      }
      for version in 1...60 { try folder.publish(Self.files(version), key: try Self.secret("\(version)")) }
      isDone.value.withLock { $0 = true }
      try await group.waitForAll()
    }
  }

  @Test(
    "a private key in PEM is what Foundation's base64 makes of it", arguments: [1, 2, 3, 47, 48, 49, 138, 185, 192])
  func pem(count: Int) throws {
    let der = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ count) }
    let store = SVIDKeyStore(capacity: 1)
    let text = try unsafe WorkloadPEM.privateKey(store.key(copying: der.span.bytes))
    let expected =
      "-----BEGIN PRIVATE KEY-----\n"
      + Data(der).base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
      + "\n-----END PRIVATE KEY-----\n"
    #expect(unsafe text.withUnsafeBytes { unsafe String(decoding: $0, as: UTF8.self) } == expected)
  }

  @Test("certificates: text around them is passed over, anything else is refused")
  func certificates() throws {
    let one = String(decoding: WorkloadPEM.encode([[0x30, 0x01, 0x02], [0x30, 0x00]]), as: UTF8.self)
    #expect(try WorkloadPEM.certificates(Array(("first\n" + one).utf8)) == [[0x30, 0x01, 0x02], [0x30, 0x00]])
    for text in ["", "x", one + one.replacingOccurrences(of: "CERTIFICATE", with: "PRIVATE KEY")] {
      #expect(throws: OperatorError(.malformed, "")) { try WorkloadPEM.certificates(Array(text.utf8)) }
    }
  }

  @Test("waits double up to half a minute, keep a half for chance, and heed the daemon within reason")
  func backoff() {
    var backoff = WorkloadBackoff()
    #expect(backoff.next(atLeast: nil, random: 0) == .milliseconds(250))
    #expect(backoff.next(atLeast: nil, random: 0) == .milliseconds(500))
    #expect(backoff.next(atLeast: 7000, random: 1) == .milliseconds(7001))
    for _ in 0..<100 { _ = backoff.next(atLeast: nil, random: .max) }
    #expect(backoff.next(atLeast: nil, random: 0) == .seconds(15))
    #expect(
      (0..<1000).allSatisfy { _ in backoff.next(atLeast: nil, random: .random(in: 0...UInt64.max)) < .seconds(30) })
    #expect(backoff.next(atLeast: .max, random: 0) == .seconds(300))
    #expect(backoff.next(atLeast: .min, random: 0) == .seconds(15))
    backoff.succeed()
    #expect(backoff.next(atLeast: nil, random: 249) == .milliseconds(499))
  }
}
