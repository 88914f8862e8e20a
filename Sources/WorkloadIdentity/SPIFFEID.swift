/// A trust domain's name (SPIFFE-ID section 2.1): 1 to 255 bytes of `a` to `z`, `0` to `9`, `.`, `-` and `_`.
public struct TrustDomain: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// The name, such as `example.org`.
  public let name: String

  /// The most bytes of a name.
  public static let maximumBytes = 255

  /// Checks a name. It is not folded: a capital letter is refused.
  public init(_ name: some StringProtocol) throws(SPIFFEError) {
    guard (1...Self.maximumBytes).contains(name.utf8.count), name.utf8.allSatisfy(Self.allows) else {
      throw SPIFFEError(
        .trustDomain, "a trust domain has 1 to \(Self.maximumBytes) characters of a-z, 0-9, '.', '-' and '_'")
    }
    self.name = String(name)
  }

  private static func allows(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
      UInt8(ascii: "-"), UInt8(ascii: "_"):
      true
    default: false
    }
  }

  /// The trust domain's own SPIFFE ID, without a path.
  public var id: SPIFFEID { SPIFFEID(self) }

  /// The name.
  public var description: String { name }

  /// By name.
  public static func < (a: TrustDomain, b: TrustDomain) -> Bool { a.name < b.name }
}

/// A SPIFFE ID (SPIFFE-ID section 2): `spiffe://`, a trust domain, and a path of no or more segments. It is compared
/// byte by byte and never normalised.
public struct SPIFFEID: Hashable, Sendable, Comparable, CustomStringConvertible {
  /// The trust domain.
  public let trustDomain: TrustDomain
  /// The path with its leading slash; empty for the trust domain's own ID.
  public let path: String

  /// The most bytes of an ID (section 2.3).
  public static let maximumBytes = 2048
  private static let scheme = "spiffe://"

  /// Reads an ID and refuses whatever section 2 does: another scheme or a capital letter in it, user, port, query,
  /// fragment, percent-encoding, empty segments, `.` and `..`, a slash at the end.
  public init(_ text: some StringProtocol) throws(SPIFFEError) {
    let bytes = text.utf8
    guard bytes.count <= Self.maximumBytes, bytes.starts(with: Self.scheme.utf8) else {
      throw SPIFFEError(.id, "a SPIFFE ID begins with '\(Self.scheme)' and has at most \(Self.maximumBytes) bytes")
    }
    // By bytes: to Swift a slash and a combining mark after it are one character.
    let rest = String(text).unicodeScalars.dropFirst(Self.scheme.utf8.count)
    let name = rest.prefix { $0 != "/" }
    try self.init(TrustDomain(Substring(name)), path: Substring(rest[name.endIndex...]))
  }

  /// Joins a trust domain and a path, which is empty or begins with a slash.
  public init(_ trustDomain: TrustDomain, path: some StringProtocol) throws(SPIFFEError) {
    guard Self.scheme.utf8.count + trustDomain.name.utf8.count + path.utf8.count <= Self.maximumBytes else {
      throw SPIFFEError(.id, "a SPIFFE ID has at most \(Self.maximumBytes) bytes")
    }
    if !path.isEmpty {
      guard path.utf8.first == UInt8(ascii: "/") else { throw SPIFFEError(.id, "the path begins with a slash") }
      for segment in path.utf8.dropFirst().split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
        guard !segment.isEmpty, !segment.elementsEqual(".".utf8), !segment.elementsEqual("..".utf8) else {
          throw SPIFFEError(.id, "no segment of the path is empty, '.' or '..', and no slash ends it")
        }
        guard segment.allSatisfy(Self.allows) else {
          throw SPIFFEError(.id, "the path has a-z, A-Z, 0-9, '.', '-' and '_' between its slashes and nothing else")
        }
      }
    }
    self.trustDomain = trustDomain
    self.path = String(path)
  }

  /// A trust domain's own ID.
  init(_ trustDomain: TrustDomain) {
    self.trustDomain = trustDomain
    path = ""
  }

  private static func allows(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"):
      true
    default: false
    }
  }

  /// The ID as text.
  public var description: String { Self.scheme + trustDomain.name + path }

  /// By text.
  public static func < (a: SPIFFEID, b: SPIFFEID) -> Bool { a.description < b.description }
}
