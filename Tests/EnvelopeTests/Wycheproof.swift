import Crypto
import Foundation
import Glibc
import SecretMemory
import TestSupport
import Testing
import Wire

/// One case of a Wycheproof file, with its group's members.
struct WycheproofCase {
  let group: [String: Any]
  let test: [String: Any]

  var isValid: Bool { test["result"] as? String == "valid" }
  /// Either verdict is right.
  var isAcceptable: Bool { test["result"] as? String == "acceptable" }
  var label: String { "\(test["tcId"] ?? "") \(test["comment"] ?? "")" }
  func bytes(_ name: String) throws -> [UInt8] { try Self.bytes(test[name], name) }
  func number(_ name: String) throws -> Int { try #require((test[name] ?? group[name]) as? Int) }
  func has(flag: String) -> Bool { (test["flags"] as? [String])?.contains(flag) == true }

  /// A member of the group, or of an object in it.
  func groupBytes(_ path: String...) throws -> [UInt8] {
    var value: Any? = group
    for name in path { value = (value as? [String: Any])?[name] }
    return try Self.bytes(value, "\(path)")
  }

  private static func bytes(_ value: Any?, _ name: String) throws -> [UInt8] {
    let text = try #require(value as? String, "\(name) is missing")
    return try #require(Hex.decode(text))
  }

  /// Every case of a file.
  static func all(in file: String) throws -> [WycheproofCase] {
    let groups = try #require(try Vectors.object("wycheproof/\(file).json")["testGroups"] as? [[String: Any]])
    return try groups.flatMap { group in
      try #require(group["tests"] as? [[String: Any]]).map { WycheproofCase(group: group, test: $0) }
    }
  }
}

func secret(_ bytes: [UInt8]) throws -> SecretBytes { try unsafe SecretBytes(copying: bytes.span.bytes) }

func array(_ secret: borrowing SecretBytes) -> [UInt8] { unsafe secret.withUnsafeBytes { unsafe Array($0) } }

func array(_ span: RawSpan) -> [UInt8] { unsafe span.withUnsafeBytes { unsafe Array($0) } }

/// Every array that differs from `bytes` in one bit.
func flips(of bytes: [UInt8]) -> some Sequence<[UInt8]> {
  (0..<8 * bytes.count).lazy.map { bit in
    var flipped = bytes
    flipped[bit / 8] ^= 1 << (bit % 8)
    return flipped
  }
}

/// Decompresses zlib data (RFC 1950), which the vectors of chunked encryption are. The C library is on every machine;
/// declaring it to SwiftPM for one test would be more.
func inflate(_ data: [UInt8], limit: Int) throws -> [UInt8] {
  // uncompress(destination, its length, source, its length); 0 is Z_OK.
  typealias Uncompress = @convention(c) (UInt, UInt, UInt, UInt) -> Int32
  let library = unsafe dlopen("libz.so.1", RTLD_NOW)
  let symbol = try unsafe #require(unsafe dlsym(library, "uncompress"))
  let uncompress = unsafe unsafeBitCast(symbol, to: Uncompress.self)
  var output = [UInt8](repeating: 0, count: limit)
  var count = UInt(limit)
  let result = unsafe output.withUnsafeMutableBytes { room in
    unsafe data.withUnsafeBytes { source in
      unsafe withUnsafeMutablePointer(to: &count) { count in
        uncompress(
          UInt(bitPattern: room.baseAddress), UInt(bitPattern: count), UInt(bitPattern: source.baseAddress),
          UInt(source.count))
      }
    }
  }
  try #require(result == 0, "zlib: \(result)")
  return Array(output[..<Int(count)])
}

/// The digest that the vectors of chunked encryption give for a message.
enum SHA512Hex {
  static func of(_ bytes: [UInt8]) -> String { Hex.encode(SHA512.hash(data: bytes)) }
}
