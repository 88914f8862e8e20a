/// Writes the binary format of Protocol Buffers, so far as the messages with keys need it: their bytes are laid out by
/// hand, since a generated message would copy the keys about.
struct ProtobufWriter {
  private(set) var bytes: [UInt8] = []

  /// A field of bytes; an empty one is left out, as proto3 does.
  mutating func field(_ number: UInt8, _ content: some Collection<UInt8>) {
    guard !content.isEmpty else { return }
    begin(number, count: content.count)
    bytes.append(contentsOf: content)
  }

  /// A field of text.
  mutating func field(_ number: UInt8, _ text: String) { field(number, text.utf8) }

  /// A repeated field of bytes, whose empty elements count.
  mutating func element(_ number: UInt8, _ content: some Collection<UInt8>) {
    begin(number, count: content.count)
    bytes.append(contentsOf: content)
  }

  /// An entry of a map from text to bytes.
  mutating func entry(_ number: UInt8, _ key: String, _ value: some Collection<UInt8>) {
    var pair = ProtobufWriter()
    pair.field(1, key)
    pair.field(2, value)
    element(number, pair.bytes)
  }

  /// A field of so many zeros, which are filled in later.
  /// - Returns: where they begin.
  mutating func hole(_ number: UInt8, count: Int) -> Int {
    begin(number, count: count)
    bytes.append(contentsOf: repeatElement(0, count: count))
    return bytes.count - count
  }

  /// The tag of a length-delimited field, wire type 2, and the length.
  private mutating func begin(_ number: UInt8, count: Int) {
    precondition((1...15).contains(number))
    bytes.append(number << 3 | 2)
    var rest = count
    while rest >= 0x80 {
      bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
      rest >>= 7
    }
    bytes.append(UInt8(rest))
  }
}
