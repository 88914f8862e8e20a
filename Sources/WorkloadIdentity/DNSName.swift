/// The DNS names that entries and certificates may have.
enum DNSName {
  /// RFC 1123 section 2.1, in lower case: labels of 1 to 63 letters, digits and inner hyphens, and a wildcard as the whole
  /// leftmost label (RFC 6125 section 6.4.3). The last label is no number, or the name would be an IPv4 address.
  static func isValid(_ text: String) -> Bool {
    let bytes = text.utf8
    let labels = (bytes.starts(with: "*.".utf8) ? bytes.dropFirst(2) : bytes[...])
      .split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }
    return (1...253).contains(bytes.count)
      && labels.allSatisfy { label in
        (1...63).contains(label.count) && label.first != UInt8(ascii: "-") && label.last != UInt8(ascii: "-")
          && label.allSatisfy {
            isDigit($0) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || $0 == UInt8(ascii: "-")
          }
      } && labels.last?.allSatisfy(isDigit) == false
  }
}
