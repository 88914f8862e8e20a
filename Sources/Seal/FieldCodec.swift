// The delimited encoding under every leaf and every content: a domain tag, then fields whose tags strictly ascend,
// each with its length. One value has one encoding, and no two values share one. docs/leaf-format.md specifies it.

/// Why bytes are not a canonical encoding.
public struct CodecError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What is wrong.
  public let description: String
  init(_ description: String) { self.description = description }
  /// Any two are equal: there is nothing a caller could do differently.
  public static func == (a: CodecError, b: CodecError) -> Bool { true }
}

/// Writes a tagged record.
struct FieldWriter {
  private(set) var bytes: [UInt8]
  private var lastTag: UInt8 = 0

  /// Starts a record: one byte with the tag's length, then the tag.
  init(domain: String, capacity: Int = 256) {
    bytes = []
    bytes.reserveCapacity(capacity)
    bytes.append(UInt8(domain.utf8.count))
    bytes.append(contentsOf: domain.utf8)
  }

  /// Appends a field: tag (1 byte), length (4 bytes, big-endian), value. Tags must ascend.
  mutating func field(_ tag: UInt8, _ value: some Collection<UInt8>) {
    precondition(tag > lastTag && value.count <= Int(UInt32.max))
    lastTag = tag
    bytes.append(tag)
    bytes.append(bigEndian: UInt32(value.count))
    bytes.append(contentsOf: value)
  }

  mutating func field(_ tag: UInt8, _ text: String) { field(tag, text.utf8) }
  mutating func field(_ tag: UInt8, _ number: UInt64) { field(tag, [UInt8](bigEndian: number)) }
}

/// Reads a tagged record; every field must be there, in order, and nothing may be left.
struct FieldReader {
  private var rest: ArraySlice<UInt8>

  init(_ bytes: [UInt8], domain: String) throws(CodecError) {
    rest = bytes[...]
    let count = domain.utf8.count
    guard rest.first == UInt8(count), rest.dropFirst().prefix(count).elementsEqual(domain.utf8) else {
      throw CodecError("the record does not start with the tag \(domain)")
    }
    rest = rest.dropFirst(1 + count)
  }

  mutating func bytes(_ tag: UInt8, count: Int? = nil) throws(CodecError) -> [UInt8] {
    guard rest.first == tag, rest.count >= 5 else { throw CodecError("field \(tag) is missing") }
    let length = rest.dropFirst().prefix(4).reduce(0) { $0 << 8 | Int($1) }
    guard rest.count - 5 >= length, count.map({ $0 == length }) ?? true else {
      throw CodecError("field \(tag) has a wrong length")
    }
    let value = Array(rest.dropFirst(5).prefix(length))
    rest = rest.dropFirst(5 + length)
    return value
  }

  mutating func text(_ tag: UInt8) throws(CodecError) -> String {
    guard let text = String(validating: try bytes(tag), as: UTF8.self) else {
      throw CodecError("field \(tag) is not UTF-8")
    }
    return text
  }

  mutating func number(_ tag: UInt8) throws(CodecError) -> UInt64 {
    try bytes(tag, count: 8).reduce(0) { $0 << 8 | UInt64($1) }
  }

  func finish() throws(CodecError) {
    guard rest.isEmpty else { throw CodecError("bytes follow the last field") }
  }
}

extension [UInt8] {
  init(bigEndian value: some FixedWidthInteger) {
    self = (0..<value.bitWidth / 8).reversed().map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
  }

  mutating func append(bigEndian value: UInt32) {
    append(UInt8(truncatingIfNeeded: value >> 24))
    append(UInt8(truncatingIfNeeded: value >> 16))
    append(UInt8(truncatingIfNeeded: value >> 8))
    append(UInt8(truncatingIfNeeded: value))
  }
}
