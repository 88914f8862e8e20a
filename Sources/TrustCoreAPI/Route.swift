public import Wire

/// A request as handlers see it: matched, within its limits, its body read.
public struct APIRequest: Sendable {
  /// The method; `GET` for a `HEAD`.
  public let method: String
  /// The path, percent-encoding left as it came.
  public let path: String
  /// The query, without its question mark.
  public let query: String?
  /// Header fields in the order received; names in lower case.
  public let fields: [(name: String, value: String)]
  /// The body.
  public let body: [UInt8]
  /// The identifier that the answer carries as `x-request-id`.
  public internal(set) var id = ""
  /// The variable segments of the path.
  public internal(set) var parameters: [String: String] = [:]

  /// The values of a header field, in order.
  public func values(_ name: String) -> [String] {
    fields.compactMap { $0.name == name ? $0.value : nil }
  }

  /// The value of a header field that occurs exactly once.
  public func single(_ name: String) -> String? {
    let values = values(name)
    return values.count == 1 ? values[0] : nil
  }
}

/// An answer.
public struct APIResponse: Sendable {
  /// The status.
  public var status: Int
  /// The media type.
  public var contentType: String
  /// Further header fields.
  public var headers: [(name: String, value: String)]
  /// The body.
  public var body: [UInt8]

  /// An answer with any body.
  public init(_ status: Int, contentType: String, body: [UInt8], headers: [(name: String, value: String)] = []) {
    self.status = status
    self.contentType = contentType
    self.body = body
    self.headers = headers
  }

  /// A JSON answer.
  public init(_ status: Int, _ object: JSONObject, headers: [(name: String, value: String)] = []) {
    self.init(status, contentType: "application/json", body: JSONValue.object(object).canonical(), headers: headers)
  }

  /// A JSON answer of status 200.
  public init(_ object: JSONObject) { self.init(200, object) }
}

/// How a caller proves that it may use a route.
public enum Access: String, Sendable {
  /// Anyone.
  case open
  /// An RFC 9421 signature by an enrolled key, with an access token bound to that key.
  case signedCommand
  /// A DPoP-bound access token with a DPoP proof (RFC 9449).
  case dpop
  /// An initial access token as Bearer (RFC 7591 section 3).
  case invitation
  /// `private_key_jwt` with a DPoP proof.
  case clientAssertion
  /// The auditor's token as Bearer.
  case auditor
  /// A seal, which is its own proof.
  case seal
  /// A WebAuthn assertion in the body, over a challenge that the server drew.
  case assertion
  /// The cookie of a person who signed in.
  case session
  /// Either the cookie of a person who signed in, or a DPoP-bound access token with a DPoP proof.
  case caller
}

/// One route. The table of routes feeds the router, the limits and the OpenAPI description.
public struct Route: Sendable {
  /// What a request carries.
  public enum Body: Sendable {
    /// Nothing.
    case none
    /// JSON of a schema of the description.
    case json(String)
    /// `application/x-www-form-urlencoded` of a schema of the description.
    case form(String)
  }

  /// What an answer carries.
  public enum Content: Sendable {
    /// JSON of a schema of the description.
    case json(String)
    /// Text.
    case text
    /// Bytes.
    case bytes
    /// Bytes of a media type.
    case media(String)
    /// A page for people, or a part of one, of a media type; refusals are pages too.
    case page(String)
  }

  /// The method.
  public let method: String
  /// The path; a segment in braces matches any one, `{name...}` at the end matches all that remain.
  public let path: String
  /// The operation's identifier in the description.
  public let operation: String
  /// What it does, in a sentence.
  public let summary: String
  /// Who may use it.
  public let access: Access
  /// What a request carries.
  public let body: Body
  /// Longest body in bytes.
  public let maximumBody: Int
  /// The status of success.
  public let success: Int
  /// What the answer carries.
  public let content: Content
  /// Statuses of refusals beside those that follow from the path, the body and ``access``.
  public let refusals: [Int]
  /// Carries the request out.
  public let handle: @Sendable (APIRequest) async throws -> APIResponse

  let segments: [Segment]

  /// How many segments are literal: the more, the closer a path that matches.
  var literals: Int { segments.count { if case .literal = $0 { true } else { false } } }

  enum Segment: Sendable, Equatable {
    case literal(String)
    case variable(String)
    case rest(String)
  }

  /// Makes a route.
  public init(
    _ method: String, _ path: String, _ operation: String, _ summary: String, access: Access, body: Body = .none,
    maximumBody: Int = 1 << 20, success: Int = 200, content: Content, refusals: [Int] = [],
    handle: @escaping @Sendable (APIRequest) async throws -> APIResponse
  ) {
    self.method = method
    self.path = path
    self.operation = operation
    self.summary = summary
    self.access = access
    self.body = body
    self.maximumBody = maximumBody
    self.success = success
    self.content = content
    self.refusals = refusals
    self.handle = handle
    segments = path.split(separator: "/").map { segment in
      guard segment.hasPrefix("{"), segment.hasSuffix("}") else { return .literal(String(segment)) }
      let name = segment.dropFirst().dropLast()
      return name.hasSuffix("...") ? .rest(String(name.dropLast(3))) : .variable(String(name))
    }
  }
}

/// Every route, matched by path before anyone is authenticated.
public struct RouteTable: Sendable {
  /// The routes, in the order of the description.
  public let routes: [Route]
  private let byCount: [Int: [Int]]
  private let open: [Int]

  /// What a path and method lead to.
  public enum Match: Sendable {
    /// A route, with the variable segments of the path.
    case route(Route, [String: String])
    /// A path that exists, with the methods that it takes.
    case otherMethod([String])
    /// No such path.
    case none
  }

  /// Makes a table.
  public init(_ routes: [Route]) {
    self.routes = routes
    var byCount: [Int: [Int]] = [:]
    var open: [Int] = []
    for (index, route) in routes.enumerated().sorted(by: { $0.element.literals > $1.element.literals }) {
      if case .rest = route.segments.last {
        open.append(index)
      } else {
        byCount[route.segments.count, default: []].append(index)
      }
    }
    self.byCount = byCount
    self.open = open
  }

  /// Matches a request.
  public func match(_ method: String, _ path: String) -> Match {
    guard path.hasPrefix("/") else { return .none }
    let parts = path == "/" ? [] : path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
    let asked = method == "HEAD" ? "GET" : method
    var methods: [String] = []
    var found: String?
    for index in (byCount[parts.count] ?? []) + open {
      let route = routes[index]
      // Of several paths that match, the most literal one is meant, with its methods alone (OpenAPI 3.1 section 4.8.8).
      guard found == nil || found == route.path, let parameters = Self.match(route.segments, parts) else { continue }
      found = route.path
      if route.method == asked { return .route(route, parameters) }
      methods.append(route.method)
    }
    if methods.isEmpty { return .none }
    if methods.contains("GET") { methods.append("HEAD") }
    return .otherMethod(methods)
  }

  private static func match(_ segments: [Route.Segment], _ parts: [Substring]) -> [String: String]? {
    var parameters: [String: String] = [:]
    for (index, segment) in segments.enumerated() {
      switch segment {
      case .literal(let text): guard index < parts.count, parts[index] == text else { return nil }
      case .variable(let name):
        guard index < parts.count, !parts[index].isEmpty else { return nil }
        parameters[name] = String(parts[index])
      case .rest(let name):
        guard index < parts.count else { return nil }
        parameters[name] = parts[index...].joined(separator: "/")
        return parameters
      }
    }
    return segments.count == parts.count ? parameters : nil
  }
}
