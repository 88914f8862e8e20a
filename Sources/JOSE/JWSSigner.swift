public import KeyHierarchy
public import Wire

/// Makes compact JWS (RFC 7515 section 7.1) with one key, wherever that key is.
public struct JWSSigner: Sendable {
  /// The algorithm.
  public let algorithm: JWSAlgorithm
  /// The public half, with its `kid`.
  public let publicJWK: JWK
  private let sign: @Sendable ([UInt8]) async throws -> [UInt8]

  /// Signs with a closure, which gets the bytes to sign and gives a signature in JWS's form.
  public init(
    publicJWK: JWK, algorithm: JWSAlgorithm, sign: @escaping @Sendable ([UInt8]) async throws -> [UInt8]
  ) {
    self.publicJWK = publicJWK
    self.algorithm = algorithm
    self.sign = sign
  }

  /// Signs with a custodian's key; one HSM operation each.
  /// - Throws: ``CustodyError`` where the key is not there, ``JOSEError`` where it does not sign.
  public init(custodian: any KeyCustodian, key: KeyName, keyID: String? = nil) throws {
    guard let algorithm = JWSAlgorithm(key.algorithm) else {
      throw JOSEError(.unsupportedKey, "\(key) does not sign; name a signing key")
    }
    let publicKey = try VerificationKey(custody: try custodian.publicKey(key))
    self.init(publicJWK: JWK(publicKey, keyID: keyID, algorithm: algorithm), algorithm: algorithm) {
      try await custodian.sign($0, with: key)
    }
  }

  /// Signs with a client's key.
  public init(_ key: SigningKey) {
    self.init(publicJWK: key.publicJWK, algorithm: key.algorithm) { try key.sign($0) }
  }

  /// A compact JWS.
  /// - Parameters:
  ///   - payload: the payload's bytes.
  ///   - type: `typ`.
  ///   - header: further protected members; `alg` and `kid` are added.
  public func jws(_ payload: [UInt8], type: String, header: JSONObject = [:]) async throws -> String {
    var header = header
    header["typ"] = .string(type)
    header["kid"] = publicJWK.keyID.map(JSONValue.string)
    let input = Self.signingInput(payload, header: header, algorithm: algorithm)
    return Self.compact(input, signature: try await sign(input))
  }

  /// A JWT of the given claims.
  public func jwt(_ claims: JSONObject, type: String) async throws -> String {
    try await jws(JSONValue.object(claims).canonical(), type: type)
  }

  static func signingInput(_ payload: [UInt8], header: JSONObject, algorithm: JWSAlgorithm) -> [UInt8] {
    var header = header
    header["alg"] = .string(algorithm.rawValue)
    let first = Base64.URL.encode(JSONValue.object(header).canonical())
    return Array((first + "." + Base64.URL.encode(payload)).utf8)
  }

  static func compact(_ input: [UInt8], signature: [UInt8]) -> String {
    String(decoding: input, as: UTF8.self) + "." + Base64.URL.encode(signature)
  }
}
