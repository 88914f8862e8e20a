public import Wire

/// What a receiver demands of a JWT (RFC 7519, RFC 8725 section 3): what is not named here is not checked, so name it.
public struct JWTExpectations: Sendable {
  /// `typ` in lower case and without `application/`; nil accepts any, and none.
  public var type: String?
  /// `iss`.
  public var issuer: String?
  /// A value that `aud` must hold.
  public var audience: String?
  /// True where `aud` must hold that value and no other, as client assertions must.
  public var soleAudience: Bool
  /// `sub`.
  public var subject: String?
  /// How far the two clocks may differ, in seconds.
  public var leeway: Int64
  /// The longest time from `iat` (or, without one, from now) to `exp`, in seconds.
  public var maximumLifetime: Int64?
  /// Claims that must be there beside `exp`.
  public var required: [String]

  /// Names what is demanded.
  public init(
    type: String?, issuer: String? = nil, audience: String?, soleAudience: Bool = false, subject: String? = nil,
    leeway: Int64 = 5, maximumLifetime: Int64? = nil, required: [String] = []
  ) {
    self.type = type
    self.issuer = issuer
    self.audience = audience
    self.soleAudience = soleAudience
    self.subject = subject
    self.leeway = leeway
    self.maximumLifetime = maximumLifetime
    self.required = required
  }
}

/// The registered claims (RFC 7519 section 4.1) of a JWT, well-formed; ``all`` holds these and the others.
public struct JWTClaims: Sendable {
  /// Every claim.
  public let all: JSONObject
  /// `iss`.
  public let issuer: String?
  /// `sub`.
  public let subject: String?
  /// `aud`, which may be written as a text or as an array.
  public let audience: [String]
  /// `exp`.
  public let expires: Timestamp?
  /// `nbf`.
  public let notBefore: Timestamp?
  /// `iat`.
  public let issuedAt: Timestamp?
  /// `jti`.
  public let id: String?

  init(_ payload: [UInt8]) throws(JOSEError) {
    let value: JSONValue
    do {
      value = try JSONValue(parsing: payload, maximumDepth: 16)
    } catch {
      throw JOSEError(.malformed, "the claims are not strict JSON: \(error)")
    }
    guard let object = value.object else { throw JOSEError(.malformed, "the claims must be a JSON object") }
    all = object
    issuer = try Self.text("iss", object)
    subject = try Self.text("sub", object)
    id = try Self.text("jti", object)
    expires = try Self.time("exp", object)
    notBefore = try Self.time("nbf", object)
    issuedAt = try Self.time("iat", object)
    switch object["aud"] {
    case nil: audience = []
    case .string(let text): audience = [text]
    case .array(let values) where (1...16).contains(values.count):
      let texts = values.compactMap(\.string)
      guard texts.count == values.count else { fallthrough }
      audience = texts
    default: throw JOSEError(.claimInvalid, "'aud' must be a text or an array of 1 to 16 texts")
    }
  }

  private static func text(_ name: String, _ object: JSONObject) throws(JOSEError) -> String? {
    guard let member = object[name] else { return nil }
    guard let text = member.string, (1...1024).contains(text.utf8.count) else {
      throw JOSEError(.claimInvalid, "'\(name)' must be a text of 1 to 1024 bytes")
    }
    return text
  }

  /// NumericDate as an integer up to the year 9999; RFC 7519 section 2 would allow fractions, which nobody needs.
  private static func time(_ name: String, _ object: JSONObject) throws(JOSEError) -> Timestamp? {
    guard let member = object[name] else { return nil }
    guard let seconds = member.integer, (0...253_402_300_799).contains(seconds) else {
      throw JOSEError(.claimInvalid, "'\(name)' must be whole seconds since 1970")
    }
    return Timestamp(seconds: seconds)
  }
}

/// A JWT (RFC 7519) in compact form that is well-formed and of which nothing is known to be true.
public struct UnverifiedJWT: Sendable {
  /// The signed object.
  public let jws: UnverifiedJWS
  /// The claims: for reading only what helps to find the key.
  public let unverifiedClaims: JWTClaims

  /// Parses a compact JWT.
  public init(_ text: String) throws(JOSEError) {
    jws = try UnverifiedJWS(text)
    unverifiedClaims = try JWTClaims(jws.unverifiedPayload)
  }

  /// Verifies signature and claims.
  /// - Parameters:
  ///   - key: the issuer's key.
  ///   - allowed: the algorithms that the receiver accepts here.
  ///   - expectations: what the claims must say.
  ///   - now: the present moment.
  public func verified(
    with key: JWK, allowed: Set<JWSAlgorithm>, expectations: JWTExpectations, now: Timestamp
  ) throws(JOSEError) -> VerifiedJWT {
    let verified = try jws.verified(with: key, allowed: allowed)
    let expires = try Self.check(unverifiedClaims, type: verified.type, expectations, now)
    return VerifiedJWT(jws: verified, claims: unverifiedClaims, expires: expires)
  }

  /// Checks the claims and gives `exp`.
  private static func check(
    _ claims: JWTClaims, type: String?, _ expected: JWTExpectations, _ now: Timestamp
  ) throws(JOSEError) -> Timestamp {
    func demand(_ holds: Bool, _ message: @autoclosure () -> String) throws(JOSEError) {
      guard holds else { throw JOSEError(.claimInvalid, message()) }
    }
    if let wanted = expected.type { try demand(type == wanted, "'typ' must be '\(wanted)'") }
    if let wanted = expected.issuer { try demand(claims.issuer == wanted, "'iss' must be '\(wanted)'") }
    if let wanted = expected.subject { try demand(claims.subject == wanted, "'sub' must be '\(wanted)'") }
    if let wanted = expected.audience {
      try demand(claims.audience.contains(wanted), "'aud' must be '\(wanted)'")
      try demand(!expected.soleAudience || claims.audience.count == 1, "'aud' must be '\(wanted)' and nothing else")
    }
    for name in expected.required { try demand(claims.all[name] != nil, "the claim '\(name)' is missing") }
    guard let expires = claims.expires else { throw JOSEError(.claimInvalid, "the claim 'exp' is missing") }
    guard now < expires.adding(seconds: expected.leeway) else {
      throw JOSEError(.expired, "the token has expired; get a new one")
    }
    for start in [claims.notBefore, claims.issuedAt].compactMap({ $0 })
    where now.adding(seconds: expected.leeway) < start {
      throw JOSEError(.notYetValid, "the token is not valid yet; compare the two clocks")
    }
    if let longest = expected.maximumLifetime {
      let start = claims.issuedAt ?? now
      try demand(
        start < expires && expires <= start.adding(seconds: longest), "'exp' must be within \(longest) s of 'iat'")
    }
    return expires
  }
}

/// A JWT whose signature and claims were verified.
public struct VerifiedJWT: Sendable {
  /// The signed object.
  public let jws: VerifiedJWS
  /// The claims.
  public let claims: JWTClaims
  /// `exp`.
  public let expires: Timestamp

  fileprivate init(jws: VerifiedJWS, claims: JWTClaims, expires: Timestamp) {
    self.jws = jws
    self.claims = claims
    self.expires = expires
  }
}
