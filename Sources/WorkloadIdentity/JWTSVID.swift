import JOSE
public import Wire

/// A token that has the form of a JWT-SVID and of which nothing is known to be true.
///
/// Stricter than the standard, which leaves these to the validator: `kid` must be there (section 2.2 makes it optional;
/// SPIRE and go-spiffe demand it), and the subject must have a path, since an ID without one names an authority.
public struct UnverifiedJWTSVID: Sendable {
  /// Whom the token claims to be: for finding the key and nothing else.
  public let unverifiedID: SPIFFEID
  private let jws: UnverifiedJWS
  private let keyID: String
  private let claims: JSONObject

  /// The members that a header may have (JWT-SVID section 2: no other, so no key and no address of one).
  private static let headerMembers: Set<String> = ["alg", "kid", "typ"]

  /// Parses a token of at most 16 KiB.
  /// - Throws: ``SPIFFEError/Code-swift.struct/jwtSVID``.
  public init(_ token: String) throws(SPIFFEError) {
    func malformed(_ message: String) -> SPIFFEError { SPIFFEError(.jwtSVID, message) }
    do { jws = try UnverifiedJWS(token) } catch { throw malformed(error.message) }
    if let member = jws.header.first(where: { !Self.headerMembers.contains($0.name) }) {
      throw malformed("the header has '\(member.name.prefix(64))'; it may have alg, kid and typ alone")
    }
    guard let algorithm = jws.algorithm, Set.jwtSVID.contains(algorithm) else {
      throw malformed("'alg' must be RS, ES or PS with 256, 384 or 512")
    }
    // The text as it stands: section 2.3 knows two, not media types.
    guard ["JWT", "JOSE", nil].contains(jws.header["typ"]?.string) else {
      throw malformed("'typ' must be JWT or JOSE, or be left out")
    }
    guard let keyID = jws.keyID, !keyID.isEmpty else {
      throw malformed("'kid' is missing; the issuer must say which key it used")
    }
    self.keyID = keyID
    let value: JSONValue
    do {
      value = try JSONValue(parsing: jws.unverifiedPayload, maximumDepth: 16)
    } catch {
      throw malformed("the claims are not strict JSON: \(error)")
    }
    guard let claims = value.object, let subject = claims["sub"]?.string else {
      throw malformed("the claims must be a JSON object with the text 'sub'")
    }
    self.claims = claims
    do { unverifiedID = try SPIFFEID(subject) } catch { throw malformed("'sub': \(error.message)") }
    guard !unverifiedID.path.isEmpty else { throw malformed("'sub' is a trust domain; a workload's ID has a path") }
  }

  /// Verifies the signature and the claims.
  /// - Parameters:
  ///   - keys: the bundle of a trust domain; nil where it is not trusted. It is asked for the subject's and no other.
  ///   - audience: who the verifier is; compared byte by byte.
  ///   - now: the present moment; clocks may differ by ``JWTSVID/leeway``.
  /// - Throws: ``SPIFFEError/Code-swift.struct/untrusted`` where there is no bundle or it lacks the key, else
  ///   ``SPIFFEError/Code-swift.struct/jwtSVID``.
  public func verified(
    keys: (TrustDomain) -> JWTBundle?, audience: String, now: Timestamp
  ) throws(SPIFFEError) -> JWTSVID {
    guard let bundle = keys(unverifiedID.trustDomain), bundle.trustDomain == unverifiedID.trustDomain else {
      throw SPIFFEError(.untrusted, "there is no bundle for the trust domain '\(unverifiedID.trustDomain)'")
    }
    guard let key = bundle[keyID] else {
      throw SPIFFEError(.untrusted, "the bundle of '\(unverifiedID.trustDomain)' has no key of the token's 'kid'")
    }
    do { _ = try jws.verified(with: key, allowed: .jwtSVID) } catch { throw SPIFFEError(.jwtSVID, error.message) }
    return try JWTSVID(id: unverifiedID, claims: claims, audience: audience, now: now)
  }
}

/// A JWT-SVID whose signature and claims were verified. Made by ``UnverifiedJWTSVID`` alone.
public struct JWTSVID: Sendable {
  /// The identity.
  public let id: SPIFFEID
  /// `aud`: 1 to 64 texts.
  public let audience: [String]
  /// `exp`.
  public let expires: Timestamp
  /// `iat`.
  public let issued: Timestamp?
  /// `jti`.
  public let jti: String?
  /// Every claim.
  public let claims: JSONObject

  /// How far the issuer's clock and ours may differ, in seconds.
  public static let leeway: Int64 = 5
  /// The most audiences of a token.
  public static let maximumAudiences = 64

  fileprivate init(id: SPIFFEID, claims: JSONObject, audience wanted: String, now: Timestamp) throws(SPIFFEError) {
    func demand(_ holds: Bool, _ message: String) throws(SPIFFEError) {
      guard holds else { throw SPIFFEError(.jwtSVID, message) }
    }
    let values = claims["aud"].map { $0.array ?? [$0] } ?? []
    audience = values.compactMap(\.string)
    try demand(
      (1...Self.maximumAudiences).contains(values.count) && audience.count == values.count
        && audience.allSatisfy { (1...1024).contains($0.utf8.count) },
      "'aud' must be a text or 1 to \(Self.maximumAudiences) texts, each of 1 to 1024 bytes")
    // Swift's equality of texts would fold canonical equivalents.
    try demand(audience.contains { $0.utf8.elementsEqual(wanted.utf8) }, "the token is not for this audience")
    guard let expires = try Self.time("exp", claims) else { throw SPIFFEError(.jwtSVID, "'exp' is missing") }
    try demand(now < expires.adding(seconds: Self.leeway), "the token has expired; get a new one")
    issued = try Self.time("iat", claims)
    for start in [issued, try Self.time("nbf", claims)].compactMap({ $0 }) {
      try demand(start <= now.adding(seconds: Self.leeway), "the token is not valid yet; compare the two clocks")
    }
    jti = claims["jti"]?.string
    try demand(claims["jti"] == nil || (1...1024).contains(jti?.utf8.count ?? 0), "'jti' must be a text")
    self.expires = expires
    self.id = id
    self.claims = claims
  }

  /// Whole seconds up to the year 9999; RFC 7519 section 2 would allow fractions, the standard's schema does not.
  private static func time(_ name: String, _ claims: JSONObject) throws(SPIFFEError) -> Timestamp? {
    guard let value = claims[name] else { return nil }
    guard let seconds = value.integer, (0...253_402_300_799).contains(seconds) else {
      throw SPIFFEError(.jwtSVID, "'\(name)' must be whole seconds since 1970")
    }
    return Timestamp(seconds: seconds)
  }

  /// The claims of a token to be signed; sign them with `typ` JWT and a `kid`.
  /// - Parameters:
  ///   - audience: 1 to 64 texts; written as an array, also where it is one.
  ///   - issuer: `iss`, the URL of the OIDC discovery document, where there is one.
  ///   - jti: `jti`, by which a token can be revoked.
  public static func claims(
    id: SPIFFEID, audience: [String], issued: Timestamp, expires: Timestamp, issuer: String?, jti: String?
  ) -> JSONObject {
    var claims: JSONObject = [
      "sub": .string(id.description), "aud": .array(audience.map(JSONValue.string)),
      "exp": .integer(expires.seconds), "iat": .integer(issued.seconds),
    ]
    claims["iss"] = issuer.map(JSONValue.string)
    claims["jti"] = jti.map(JSONValue.string)
    return claims
  }
}
