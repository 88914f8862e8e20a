import Crypto
public import Wire

/// The private key of a client in software: an agent, an owner, the demonstration, a test. Daemons hold none; theirs
/// are the custodian's.
public struct SigningKey: Sendable {
  /// What kinds of keys clients make.
  public enum Kind: String, Sendable, CaseIterable {
    /// ECDSA on P-256.
    case p256 = "P-256"
    /// Ed25519.
    case ed25519 = "Ed25519"
  }

  private enum Material: Sendable {
    case p256(P256.Signing.PrivateKey)
    case ed25519(Curve25519.Signing.PrivateKey)
  }

  private let material: Material
  /// The public half.
  public let verificationKey: VerificationKey

  /// A key from its 32 secret bytes: P-256's scalar in big-endian order, or Ed25519's seed.
  /// - Throws: ``JOSEError/Code-swift.struct/malformedKey``, which for P-256 about one in 2^32 random texts earns.
  public init(_ kind: Kind, secret: [UInt8]) throws(JOSEError) {
    do {
      switch kind {
      case .p256: material = .p256(try P256.Signing.PrivateKey(rawRepresentation: secret))
      case .ed25519: material = .ed25519(try Curve25519.Signing.PrivateKey(rawRepresentation: secret))
      }
    } catch {
      throw JOSEError(.malformedKey, "the secret is no \(kind.rawValue) key; it must be 32 bytes and in range")
    }
    switch material {
    case .p256(let key):
      verificationKey = try VerificationKey(curve: .p256, uncompressed: Array(key.publicKey.x963Representation))
    case .ed25519(let key): verificationKey = try VerificationKey(ed25519: Array(key.publicKey.rawRepresentation))
    }
  }

  /// A new key.
  public init(_ kind: Kind, random: some RandomSource) {
    while true {
      if let key = try? SigningKey(kind, secret: random.bytes(32)) {
        self = key
        return
      }
    }
  }

  /// A key from a private JWK with `d`; the public members must belong to it.
  public init(privateJWK value: JSONValue) throws(JOSEError) {
    guard var object = value.object, let kind = object["crv"]?.string.flatMap(Kind.init(rawValue:)),
      let secret = object["d"]?.string.flatMap({ try? Base64.URL.decode($0) })
    else {
      throw JOSEError(.malformedKey, "a private JWK must have 'crv' P-256 or Ed25519 and 'd' in base64url")
    }
    try self.init(kind, secret: secret)
    object["d"] = nil
    guard try JWK(.object(object)).key == verificationKey else {
      throw JOSEError(.malformedKey, "the public members of the private JWK do not belong to 'd'")
    }
  }

  /// The algorithm that the key signs with.
  public var algorithm: JWSAlgorithm {
    switch material {
    case .p256: .es256
    case .ed25519: .edDSA
    }
  }

  /// The public half as a JWK, named by its thumbprint.
  public var publicJWK: JWK { JWK(verificationKey, algorithm: algorithm) }

  /// The private JWK: a secret, for the client's own file.
  public var privateJWK: JSONValue {
    var object = verificationKey.requiredMembers
    switch material {
    case .p256(let key): object["d"] = .string(Base64.URL.encode(Array(key.rawRepresentation)))
    case .ed25519(let key): object["d"] = .string(Base64.URL.encode(Array(key.rawRepresentation)))
    }
    return .object(object)
  }

  /// Signs a message. ECDSA: r ‖ s, 64 bytes.
  public func sign(_ message: [UInt8]) throws(JOSEError) -> [UInt8] {
    do {
      switch material {
      case .p256(let key): return Array(try key.signature(for: message).rawRepresentation)
      case .ed25519(let key): return Array(try key.signature(for: message))
      }
    } catch {
      throw JOSEError(.signingFailed, "the key could not sign")
    }
  }

  /// A compact JWS over a payload, for protocols in which clients sign.
  /// - Parameters:
  ///   - payload: the payload's bytes.
  ///   - header: further protected members; `alg` is added.
  public func jws(_ payload: [UInt8], header: JSONObject) throws(JOSEError) -> String {
    let input = JWSSigner.signingInput(payload, header: header, algorithm: algorithm)
    return JWSSigner.compact(input, signature: try sign(input))
  }
}
