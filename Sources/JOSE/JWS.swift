public import Wire

/// A compact JWS (RFC 7515 section 7.1) that is well-formed and of which nothing is known to be true.
public struct UnverifiedJWS: Sendable {
  /// The protected header.
  public let header: JSONObject
  /// The payload: for reading only what helps to find the key.
  public let unverifiedPayload: [UInt8]
  /// The bytes that the signature covers: the first two parts with their dot.
  public let signingInput: [UInt8]
  /// The signature.
  public let signature: [UInt8]

  /// Parses three canonical base64url parts and a strict JSON header.
  /// - Throws: ``JOSEError/Code-swift.struct/malformed``.
  public init(_ text: String) throws(JOSEError) {
    guard text.utf8.count <= JOSELimits.token else {
      throw JOSEError(.malformed, "the signed object is longer than \(JOSELimits.token) bytes")
    }
    let bytes = Array(text.utf8)
    let parts = bytes.split(separator: UInt8(ascii: "."), maxSplits: 3, omittingEmptySubsequences: false)
    guard parts.count == 3, let headerText = try? Self.decode(parts[0]), let payload = try? Self.decode(parts[1]),
      let signature = try? Self.decode(parts[2])
    else {
      throw JOSEError(.malformed, "a compact JWS is three parts of canonical base64url, joined by dots")
    }
    let parsed: JSONValue
    do {
      parsed = try JSONValue(parsing: headerText, maximumDepth: 8)
    } catch {
      throw JOSEError(.malformed, "the JWS header is not strict JSON: \(error)")
    }
    guard let header = parsed.object, header["alg"]?.string != nil else {
      throw JOSEError(.malformed, "the JWS header must be a JSON object with the text 'alg'")
    }
    // RFC 7515 section 4.1.11: no extension is understood here. RFC 7797's `b64` would change what is signed, so it is
    // refused also where `crit` does not name it.
    for name in ["crit", "b64"] where header[name] != nil {
      throw JOSEError(.malformed, "the JWS header has '\(name)', which is not understood; leave it out")
    }
    for name in ["kid", "typ", "cty"] {
      if let member = header[name], member.string == nil {
        throw JOSEError(.malformed, "'\(name)' in the JWS header must be a text")
      }
    }
    self.header = header
    unverifiedPayload = payload
    signingInput = Array(bytes[..<parts[1].endIndex])
    self.signature = signature
  }

  private static func decode(_ part: ArraySlice<UInt8>) throws(Base64.Invalid) -> [UInt8] {
    // Bytes that are no UTF-8 become U+FFFD here, which no base64 alphabet holds.
    try Base64.URL.decode(String(decoding: part, as: UTF8.self))
  }

  /// `alg`, where it is one that this project verifies.
  public var algorithm: JWSAlgorithm? { header["alg"]?.string.flatMap(JWSAlgorithm.init(rawValue:)) }
  /// `kid`.
  public var keyID: String? { header["kid"]?.string }
  /// `typ` in lower case and without `application/` (RFC 7515 section 4.1.9).
  public var type: String? {
    guard let text = header["typ"]?.string?.lowercased() else { return nil }
    return text.hasPrefix("application/") ? String(text.dropFirst("application/".count)) : text
  }

  /// The header's own `jwk`: the key that the sender claims. Trust it for nothing but the possession of its private
  /// half, and only where a protocol such as DPoP says so.
  public func embeddedKey() throws(JOSEError) -> JWK {
    guard let member = header["jwk"] else { throw JOSEError(.malformedKey, "the JWS header lacks 'jwk'") }
    return try JWK(member)
  }

  /// Verifies the signature.
  /// - Parameters:
  ///   - key: the key that the receiver trusts.
  ///   - allowed: the algorithms that the receiver accepts here.
  /// - Throws: `algorithm_not_allowed`, `key_mismatch` or `signature_invalid`.
  public func verified(with key: VerificationKey, allowed: Set<JWSAlgorithm>) throws(JOSEError) -> VerifiedJWS {
    guard let algorithm, allowed.contains(algorithm) else {
      throw JOSEError(
        .algorithmNotAllowed,
        "the algorithm is not accepted; use one of \(allowed.map(\.rawValue).sorted().joined(separator: ", "))")
    }
    try key.verify(signature: signature, message: signingInput, algorithm: algorithm)
    return VerifiedJWS(unverified: self, algorithm: algorithm, key: key)
  }

  /// Verifies the signature with a key that may name the one algorithm it is for, and the `kid` it goes by.
  public func verified(with jwk: JWK, allowed: Set<JWSAlgorithm>) throws(JOSEError) -> VerifiedJWS {
    if let keyID, let expected = jwk.keyID, keyID != expected {
      throw JOSEError(.keyMismatch, "the token names another 'kid' than the key's")
    }
    return try verified(with: jwk.key, allowed: jwk.algorithm.map { allowed.intersection([$0]) } ?? allowed)
  }
}

/// A JWS whose signature holds under ``key``. Made by ``UnverifiedJWS`` alone.
public struct VerifiedJWS: Sendable {
  /// The protected header.
  public let header: JSONObject
  /// The payload.
  public let payload: [UInt8]
  /// `typ` in lower case and without `application/`.
  public let type: String?
  /// The algorithm.
  public let algorithm: JWSAlgorithm
  /// The key that the signature holds under.
  public let key: VerificationKey

  fileprivate init(unverified: UnverifiedJWS, algorithm: JWSAlgorithm, key: VerificationKey) {
    header = unverified.header
    payload = unverified.unverifiedPayload
    type = unverified.type
    self.algorithm = algorithm
    self.key = key
  }
}
