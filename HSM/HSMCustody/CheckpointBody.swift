internal import Crypto
import KeyHierarchy

/// A C2SP tlog-checkpoint's note text (c2sp.org/tlog-checkpoint), as strictly as we write it: three lines, no extension.
struct CheckpointBody: Equatable, Sendable {
  /// Origins are short; sizes and roots are bounded.
  static let maximumBytes = 512

  let origin: String
  let size: UInt64
  /// SHA-256, 32 bytes.
  let root: [UInt8]

  /// Parses a body.
  ///
  /// - Throws: ``CustodyError/Code-swift.struct/notPermitted``: custody signs only what it understands.
  init(parsing body: [UInt8]) throws(CustodyError) {
    func refused(_ reason: String) -> CustodyError { CustodyError(.notPermitted, "no checkpoint: \(reason)") }
    guard body.count <= Self.maximumBytes else { throw refused("longer than \(Self.maximumBytes) bytes") }
    guard let text = String(validating: body, as: UTF8.self) else { throw refused("no UTF-8") }
    // Signed notes hold no control character but the line feed (c2sp.org/signed-note).
    guard body.allSatisfy({ ($0 >= 0x20 && $0 != 0x7f) || $0 == UInt8(ascii: "\n") }) else {
      throw refused("a control character")
    }
    let lines = text.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
    guard lines.count == 4, lines[3].isEmpty else {
      throw refused("origin, size and root hash, each with a newline, and nothing else")
    }
    guard !lines[0].isEmpty else { throw refused("no origin") }
    guard let size = Self.decimal(lines[1]) else { throw refused("the size is no decimal without leading zeros") }
    guard let root = Self.hash(lines[2]) else { throw refused("the root hash is no base64 of 32 bytes") }
    // RFC 9162, section 2.1.1: the hash of the empty tree is that of the empty string.
    guard size > 0 || root == Array(SHA256.hash(data: [])) else { throw refused("an empty tree with another root") }
    self.origin = String(decoding: lines[0], as: UTF8.self)
    self.size = size
    self.root = root
  }

  private static func decimal(_ text: some Collection<UInt8>) -> UInt64? {
    guard let first = text.first, first != UInt8(ascii: "0") || text.count == 1,
      text.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) })
    else { return nil }
    return UInt64(String(decoding: text, as: UTF8.self))
  }

  /// Standard base64 with padding (RFC 4648, section 4) of 32 bytes: 43 characters and one `=`, the last two bits zero.
  private static func hash(_ text: some BidirectionalCollection<UInt8>) -> [UInt8]? {
    guard text.count == 44, text.last.map({ $0 == UInt8(ascii: "=") }) ?? false else { return nil }
    var bits: UInt32 = 0
    var held = 0
    var bytes: [UInt8] = []
    for character in text.dropLast() {
      let value: UInt8
      switch character {
      case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - UInt8(ascii: "A")
      case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - UInt8(ascii: "a") + 26
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0") + 52
      case UInt8(ascii: "+"): value = 62
      case UInt8(ascii: "/"): value = 63
      default: return nil
      }
      bits = bits << 6 | UInt32(value)
      held += 6
      if held >= 8 {
        held -= 8
        bytes.append(UInt8(truncatingIfNeeded: bits >> UInt32(held)))
        bits &= (1 << UInt32(held)) - 1
      }
    }
    return bits == 0 ? bytes : nil
  }

  /// Refuses to follow `last`, the newest that this key signed, with this one.
  ///
  /// - Throws: ``CustodyError/Code-swift.struct/notPermitted``: it would be a fork, or a step back.
  func checkFollows(_ last: CheckpointBody) throws(CustodyError) {
    guard origin == last.origin else {
      throw CustodyError(.notPermitted, "this key signs for \(last.origin) and not for \(origin): one key, one log")
    }
    guard size >= last.size else {
      throw CustodyError(.notPermitted, "the log was \(last.size) long and is \(size) now: a log never shrinks")
    }
    guard size > last.size || root == last.root else {
      throw CustodyError(.notPermitted, "another root at size \(size): two histories of one log")
    }
  }
}
