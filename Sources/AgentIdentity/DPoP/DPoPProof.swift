import Crypto
public import JOSE
public import Wire

/// What a DPoP proof is held against.
public struct DPoPExpectations: Sendable {
  /// The request's method.
  public let method: String
  /// The request's URI under the configured public base URL, never as a forwarding header claims it.
  public let uri: HTTPURI
  /// The access token that came with the request; nil at the token endpoint.
  public let accessToken: String?
  /// The nonces that this server accepts now; nil where it demands none.
  public let nonces: Set<String>?
  /// How old a proof may be, in seconds.
  public let maximumAge: Int64
  /// How far `iat` may lie in the future, in seconds: clocks differ.
  public let futureSkew: Int64

  /// Names what is demanded.
  public init(
    method: String, uri: HTTPURI, accessToken: String?, nonces: Set<String>? = nil, maximumAge: Int64 = 60,
    futureSkew: Int64 = 5
  ) {
    self.method = method
    self.uri = uri
    self.accessToken = accessToken
    self.nonces = nonces
    self.maximumAge = maximumAge
    self.futureSkew = futureSkew
  }
}

/// A DPoP proof (RFC 9449 section 4.2) that is well-formed and of which nothing is known to be true.
public struct DPoPProof: Sendable {
  private let jws: UnverifiedJWS
  private let key: JWK

  /// Reads the value of the one `DPoP` header.
  /// - Throws: `invalid_dpop_proof`.
  public init(_ text: String) throws(ProofError) {
    do {
      jws = try UnverifiedJWS(text)
      // Section 4.3, step 4: `typ`, exactly.
      guard jws.header["typ"]?.string == "dpop+jwt" else {
        throw ProofError(.invalidDPoPProof, "'typ' of a DPoP proof must be 'dpop+jwt'")
      }
      key = try jws.embeddedKey()
    } catch let error as ProofError {
      throw error
    } catch {
      throw ProofError(.invalidDPoPProof, "the DPoP proof cannot be accepted: \(error)")
    }
  }

  /// Reads the values of all `DPoP` headers: there must be exactly one (section 4.3, step 1).
  public init(fields: [String]) throws(ProofError) {
    guard fields.count == 1 else {
      throw ProofError(.invalidDPoPProof, "the request must have exactly one DPoP header; it has \(fields.count)")
    }
    try self.init(fields[0])
  }

  /// Verifies the proof (section 4.3). Whether it was used before is for ``ReplayCache`` to say.
  /// - Throws: `invalid_dpop_proof` or `use_dpop_nonce`.
  public func verified(_ expected: DPoPExpectations, now: Timestamp) throws(ProofError) -> VerifiedDPoPProof {
    func demand(_ holds: Bool, _ message: @autoclosure () -> String) throws(ProofError) {
      guard holds else { throw ProofError(.invalidDPoPProof, message()) }
    }
    let verified: VerifiedJWS
    do {
      verified = try jws.verified(with: key.key, allowed: .proofOfPossession)
    } catch {
      throw ProofError(.invalidDPoPProof, "the DPoP proof cannot be accepted: \(error)")
    }
    guard let claims = try? JSONValue(parsing: verified.payload, maximumDepth: 8).object else {
      throw ProofError(.invalidDPoPProof, "the claims of a DPoP proof must be a strict JSON object")
    }
    guard let id = claims["jti"]?.string, (1...128).contains(id.utf8.count) else {
      throw ProofError(.invalidDPoPProof, "'jti' must be a text of 1 to 128 bytes")
    }
    try demand(claims["htm"]?.string == expected.method, "'htm' must be the request's method, \(expected.method)")
    try demand(
      claims["htu"]?.string.flatMap(HTTPURI.init) == expected.uri, "'htu' must be the request's URI, \(expected.uri)")
    guard let issued = claims["iat"]?.integer, (0...253_402_300_799).contains(issued) else {
      throw ProofError(.invalidDPoPProof, "'iat' must be whole seconds since 1970")
    }
    let seconds = now.seconds
    try demand(issued <= seconds + expected.futureSkew, "'iat' lies in the future; compare the two clocks")
    try demand(
      seconds - issued <= expected.maximumAge, "the proof is older than \(expected.maximumAge) s; make a new one")
    if let token = expected.accessToken {
      try demand(claims["ath"]?.string == Self.hash(of: token), "'ath' must be the SHA-256 of the access token")
    }
    let nonce = claims["nonce"]
    try demand(nonce == nil || nonce?.string != nil, "'nonce' must be a text")
    if let nonces = expected.nonces, nonce?.string.map(nonces.contains) != true {
      throw ProofError(.useDPoPNonce, "send the nonce of the DPoP-Nonce header in the proof")
    }
    return VerifiedDPoPProof(
      key: key.key, id: id, issuedAt: Timestamp(seconds: issued), method: expected.method, uri: expected.uri,
      nonce: nonce?.string, notAfter: Timestamp(seconds: issued + expected.maximumAge + 1))
  }

  /// `ath`: SHA-256 of the token's ASCII text, in base64url.
  static func hash(of accessToken: String) -> String {
    Base64.URL.encode(Array(SHA256.hash(data: Array(accessToken.utf8))))
  }

  /// The client's half: a proof for one request.
  /// - Parameters:
  ///   - key: the client's key.
  ///   - method: the request's method.
  ///   - uri: the request's URI; query and fragment are left out of `htu`.
  ///   - id: `jti`, fresh for every proof.
  ///   - issuedAt: the present moment.
  ///   - accessToken: the token that is sent along, if there is one.
  ///   - nonce: the server's nonce, if it gave one.
  public static func make(
    key: SigningKey, method: String, uri: String, id: String, issuedAt: Timestamp, accessToken: String? = nil,
    nonce: String? = nil
  ) throws(ProofError) -> String {
    guard let htu = HTTPURI(uri) else { throw ProofError(.invalidDPoPProof, "the request's URI is not absolute HTTP") }
    var claims: JSONObject = [
      "htm": .string(method), "htu": .string(htu.description), "iat": .integer(issuedAt.seconds), "jti": .string(id),
    ]
    claims["ath"] = accessToken.map { .string(hash(of: $0)) }
    claims["nonce"] = nonce.map(JSONValue.string)
    do {
      return try key.jws(
        JSONValue.object(claims).canonical(), header: ["typ": "dpop+jwt", "jwk": key.publicJWK.bareJSON])
    } catch {
      throw ProofError(.invalidDPoPProof, "the proof could not be signed: \(error)")
    }
  }
}

/// A DPoP proof that was verified. Made by ``DPoPProof`` alone.
public struct VerifiedDPoPProof: Sendable {
  /// The key whose possession is proved.
  public let key: VerificationKey
  /// `jti`.
  public let id: String
  /// `iat`.
  public let issuedAt: Timestamp
  /// `htm`.
  public let method: String
  /// `htu`, in its normal form.
  public let uri: HTTPURI
  /// The server's nonce that the proof carries.
  public let nonce: String?
  /// From this moment on the proof is refused for its age, and need not be remembered.
  public let notAfter: Timestamp

  /// RFC 7638's thumbprint of the key, SHA-256 in base64url: `jkt`.
  public var thumbprint: String { key.thumbprint }

  fileprivate init(
    key: VerificationKey, id: String, issuedAt: Timestamp, method: String, uri: HTTPURI, nonce: String?,
    notAfter: Timestamp
  ) {
    self.key = key
    self.id = id
    self.issuedAt = issuedAt
    self.method = method
    self.uri = uri
    self.nonce = nonce
    self.notAfter = notAfter
  }
}
