// The encoding under every key record: a domain tag, then all fields in a fixed order, none optional. What varies in
// length carries its length, so one value has one encoding and no two values share one.

/// Writes a record.
struct RecordWriter {
  private(set) var bytes: [UInt8] = []

  /// Starts a record: one byte with the tag's length, then the tag.
  init(domain: String, capacity: Int = 512) {
    bytes.reserveCapacity(capacity)
    bytes.append(UInt8(domain.utf8.count))
    bytes.append(contentsOf: domain.utf8)
  }

  /// A big-endian integer of its type's width.
  mutating func integer(_ value: some FixedWidthInteger & UnsignedInteger) {
    for shift in stride(from: value.bitWidth - 8, through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> shift))
    }
  }

  /// Bytes of a length that the format fixes.
  mutating func fixed(_ value: [UInt8]) { bytes.append(contentsOf: value) }

  /// Two bytes with the length, then the value, which the caller has limited.
  mutating func delimited(_ value: some Collection<UInt8>) {
    integer(UInt16(value.count))
    bytes.append(contentsOf: value)
  }

  mutating func text(_ value: String) { delimited(value.utf8) }
}

/// Reads a record. Values are judged by the initialisers that they are given to.
struct RecordReader {
  private let bytes: [UInt8]
  private var at = 0

  init(_ bytes: [UInt8], domain: String, maximumBytes: Int) throws(KeyRecordError) {
    guard bytes.count <= maximumBytes else {
      throw KeyRecordError(.malformed, "the record is longer than \(maximumBytes) bytes; restore it from a backup")
    }
    self.bytes = bytes
    let tag = try fixed(1)[0]
    guard tag == UInt8(domain.utf8.count), try fixed(Int(tag)).elementsEqual(domain.utf8) else {
      throw KeyRecordError(.malformed, "the record is none of \(domain); look for another version of the software")
    }
  }

  mutating func integer<Value: FixedWidthInteger & UnsignedInteger>(_: Value.Type = Value.self) throws(KeyRecordError)
    -> Value
  {
    try fixed(Value.bitWidth / 8).reduce(0) { $0 << 8 | Value($1) }
  }

  mutating func fixed(_ count: Int) throws(KeyRecordError) -> [UInt8] {
    guard bytes.count - at >= count else { throw Self.damaged }
    defer { at += count }
    return Array(bytes[at..<at + count])
  }

  mutating func delimited() throws(KeyRecordError) -> [UInt8] { try fixed(Int(try integer(UInt16.self))) }

  mutating func text() throws(KeyRecordError) -> String {
    guard let text = String(validating: try delimited(), as: UTF8.self) else { throw Self.damaged }
    return text
  }

  mutating func value<Value: RawRepresentable>(_: Value.Type = Value.self) throws(KeyRecordError) -> Value
  where Value.RawValue == UInt8 {
    guard let value = Value(rawValue: try integer()) else { throw Self.damaged }
    return value
  }

  func finish() throws(KeyRecordError) {
    guard at == bytes.count else { throw Self.damaged }
  }

  static var damaged: KeyRecordError {
    KeyRecordError(.malformed, "the record is damaged; restore it from a backup")
  }
}
