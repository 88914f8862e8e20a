/// What of an HTTP message a signature can cover (RFC 9421 section 2), apart from any HTTP library.
public struct HTTPMessage: Sendable {
  /// A field line.
  public struct Field: Sendable, Equatable {
    /// The name, in any case.
    public let name: String
    /// The value as received.
    public let value: String

    /// Makes a field line.
    public init(_ name: String, _ value: String) {
      self.name = name
      self.value = value
    }
  }

  /// The control data of a request.
  public struct Target: Sendable, Equatable {
    /// The method, as received.
    public let method: String
    /// `http` or `https`, in lower case.
    public let scheme: String
    /// Host and port as RFC 9110 section 4.2.3 normalises them: lower case, without the scheme's default port.
    public let authority: String
    /// The absolute path, not decoded; never empty.
    public let path: String
    /// What follows `?`, not decoded; nil where there is no `?`.
    public let query: String?
    /// The request target as it stood in the request line.
    public let requestTarget: String

    /// Describes a request.
    /// - Parameters:
    ///   - scheme: as the server knows it, not as a header claims it.
    ///   - authority: `Host`, `:authority`, or the configured name.
    ///   - requestTarget: nil for the origin form, path and query.
    public init(
      method: String, scheme: String, authority: String, path: String, query: String?, requestTarget: String? = nil
    ) {
      self.method = method
      self.scheme = scheme.lowercased()
      self.authority = Self.normalized(authority, scheme: self.scheme)
      self.path = path.isEmpty ? "/" : path
      self.query = query
      self.requestTarget = requestTarget ?? (self.path + (query.map { "?" + $0 } ?? ""))
    }

    /// The target URI (RFC 9110 section 7.1).
    public var uri: String { scheme + "://" + authority + path + (query.map { "?" + $0 } ?? "") }

    private static func normalized(_ authority: String, scheme: String) -> String {
      let defaultPort = scheme == "https" ? ":443" : ":80"
      let lower = authority.utf8.contains { $0 >= 0x41 && $0 <= 0x5A } ? authority.lowercased() : authority
      // RFC 3986 section 6.2.3: an empty port says as little as the default one.
      for suffix in [defaultPort, ":"] where lower.hasSuffix(suffix) { return String(lower.dropLast(suffix.count)) }
      return lower
    }
  }

  /// What a message begins with.
  public enum Control: Sendable {
    /// A request's.
    case request(Target)
    /// A response's status code, and the request that it answers where that is known.
    indirect case response(Int, to: HTTPMessage?)
  }

  /// The control data.
  public let control: Control
  /// The header fields in the order received.
  public var headers: [Field]
  /// The trailer fields in the order received.
  public var trailers: [Field]

  /// A request.
  public init(_ target: Target, headers: [Field], trailers: [Field] = []) {
    control = .request(target)
    self.headers = headers
    self.trailers = trailers
  }

  /// A response.
  public init(status: Int, to request: HTTPMessage? = nil, headers: [Field], trailers: [Field] = []) {
    control = .response(status, to: request)
    self.headers = headers
    self.trailers = trailers
  }

  /// The control data of a request; nil for a response.
  public var target: Target? { if case .request(let target) = control { target } else { nil } }

  /// The values of a header field, one a line; `name` in lower case.
  public func values(_ name: String) -> [String] { Self.values(name, in: headers) }

  static func values(_ name: String, in fields: [Field]) -> [String] {
    var values: [String] = []
    for field in fields where isSame(field.name, name) { values.append(field.value) }
    return values
  }

  /// Compares ASCII names without regard to case; `lower` is in lower case.
  private static func isSame(_ name: String, _ lower: String) -> Bool {
    guard name.utf8.count == lower.utf8.count else { return false }
    var expected = lower.utf8.makeIterator()
    for byte in name.utf8 {
      let folded = byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
      guard folded == expected.next() else { return false }
    }
    return true
  }
}
