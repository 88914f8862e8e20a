/// An `http` or `https` URI in the normal form of RFC 3986 sections 6.2.2 and 6.2.3, without query and fragment: what
/// DPoP's `htu` is compared by (RFC 9449 section 4.3).
public struct HTTPURI: Sendable, Hashable, CustomStringConvertible {
  /// The normal form.
  public let description: String

  /// The longest URI that is read, in bytes.
  public static let maximumBytes = 2048

  /// Reads an absolute URI; nil where it is none, is of another scheme, or carries user information.
  public init?(_ text: String) {
    let bytes = Array(text.utf8)
    guard bytes.count <= Self.maximumBytes, bytes.allSatisfy(Self.isURICharacter),
      let colon = bytes.firstIndex(of: UInt8(ascii: ":"))
    else { return nil }
    let scheme = bytes[..<colon].map(Self.lower)
    let defaultPort: String
    switch scheme {
    case Array("https".utf8): defaultPort = "443"
    case Array("http".utf8): defaultPort = "80"
    default: return nil
    }
    guard bytes[(colon + 1)...].starts(with: "//".utf8) else { return nil }
    let rest = bytes[(colon + 3)...]
    let end =
      rest.firstIndex { [UInt8(ascii: "/"), UInt8(ascii: "?"), UInt8(ascii: "#")].contains($0) } ?? rest.endIndex
    guard let authority = Self.authority(rest[..<end], defaultPort: defaultPort) else { return nil }
    let tail = rest[end...]
    let pathEnd = tail.firstIndex { $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") } ?? tail.endIndex
    guard let path = Self.normalized(tail[..<pathEnd]) else { return nil }
    let normal = scheme + Array("://".utf8) + authority + Self.withoutDotSegments(path)
    description = String(decoding: normal, as: UTF8.self)
  }

  /// Host in lower case, and the port unless it is the scheme's.
  private static func authority(_ text: ArraySlice<UInt8>, defaultPort: String) -> [UInt8]? {
    guard !text.contains(UInt8(ascii: "@")), let decoded = normalized(text) else { return nil }
    var host = decoded.map(lower)
    var port: [UInt8] = []
    // An IPv6 address has colons of its own, inside brackets.
    if let colon = host.lastIndex(of: UInt8(ascii: ":")), host.last != UInt8(ascii: "]") {
      port = Array(host[(colon + 1)...])
      host = Array(host[..<colon])
    }
    guard !host.isEmpty, port.count <= 5, port.allSatisfy({ $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") }),
      host[0] == UInt8(ascii: "[") || !host.contains(UInt8(ascii: ":"))
    else { return nil }
    if port.isEmpty || port == Array(defaultPort.utf8) { return host }
    return host + [UInt8(ascii: ":")] + port
  }

  /// Percent-encoded unreserved characters are decoded, the hexadecimal digits of the others are put in upper case.
  private static func normalized(_ text: ArraySlice<UInt8>) -> [UInt8]? {
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var at = text.startIndex
    while at < text.endIndex {
      let byte = text[at]
      at += 1
      guard byte == UInt8(ascii: "%") else {
        out.append(byte)
        continue
      }
      guard at + 1 < text.endIndex, let high = DerivedComponent.nibble(text[at]),
        let low = DerivedComponent.nibble(text[at + 1])
      else { return nil }
      at += 2
      let decoded = high << 4 | low
      if isUnreserved(decoded) {
        out.append(decoded)
      } else {
        out.append(UInt8(ascii: "%"))
        for digit in [high, low] { out.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "A") + digit - 10) }
      }
    }
    return out
  }

  /// RFC 3986 section 5.2.4, for an absolute path; an empty one becomes `/`.
  private static func withoutDotSegments(_ path: [UInt8]) -> [UInt8] {
    let segments = path.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
    var kept: [ArraySlice<UInt8>] = []
    for (index, segment) in segments.enumerated() {
      let isLast = index == segments.count - 1
      switch Array(segment) {
      case [UInt8(ascii: ".")]: if isLast { kept.append([]) }
      case [UInt8(ascii: "."), UInt8(ascii: ".")]:
        if !kept.isEmpty { kept.removeLast() }
        if isLast { kept.append([]) }
      default: kept.append(segment)
      }
    }
    return [UInt8(ascii: "/")] + kept.joined(separator: [UInt8(ascii: "/")])
  }

  private static func lower(_ byte: UInt8) -> UInt8 { byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte }

  private static func isUnreserved(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
      UInt8(ascii: "~"):
      true
    default: false
    }
  }

  /// RFC 3986 section 2: unreserved and reserved characters, and percent signs.
  private static func isURICharacter(_ byte: UInt8) -> Bool {
    isUnreserved(byte) || ":/?#[]@!$&'()*+,;=%".utf8.contains(byte)
  }
}
