public import JOSE
public import Wire

/// The keys that a trust domain signs JWT-SVIDs with. Bundles of different trust domains are never merged.
public struct JWTBundle: Sendable, Equatable {
  /// What a key set says its keys are for.
  public enum Use: String, Sendable {
    /// As in SPIFFE bundles and the Workload API.
    case svid = "jwt-svid"
    /// As OIDC discovery and other readers of JWK sets want it, with `alg` also where the key has only one.
    case signature = "sig"
  }

  /// The trust domain.
  public let trustDomain: TrustDomain
  /// The keys, each with a `kid` of its own.
  public let keys: [JWK]

  /// The most keys of a bundle.
  public static let maximumKeys = 256

  /// Checks a set of keys.
  /// - Throws: ``SPIFFEError/Code-swift.struct/bundle`` for a key without `kid`, a `kid` that occurs twice, a key that
  ///   no algorithm of JWT-SVIDs fits, and more than 256 keys.
  public init(trustDomain: TrustDomain, keys: [JWK]) throws(SPIFFEError) {
    let names = keys.compactMap { $0.keyID.map { Array($0.utf8) } }
    guard keys.count <= Self.maximumKeys, names.count == keys.count, Set(names).count == keys.count else {
      throw SPIFFEError(.bundle, "each key for JWT-SVIDs needs a 'kid' of its own, and there are at most 256")
    }
    guard keys.allSatisfy(Self.fits) else {
      throw SPIFFEError(.bundle, "a key of the bundle fits no algorithm of JWT-SVIDs; use RSA or P-256, P-384, P-521")
    }
    self.trustDomain = trustDomain
    self.keys = keys
  }

  /// True for keys that JWT-SVIDs may be signed with.
  static func fits(_ jwk: JWK) -> Bool {
    let algorithms = jwk.algorithm.map { [$0] } ?? jwk.key.algorithms
    return !Set.jwtSVID.isDisjoint(with: algorithms)
  }

  /// The key of that `kid`, byte by byte.
  public subscript(keyID: String) -> JWK? {
    keys.first { $0.keyID?.utf8.elementsEqual(keyID.utf8) ?? false }
  }

  /// The keys as a JWK set (RFC 7517 section 5).
  public func jwks(_ use: Use) -> JSONValue {
    .object(["keys": .array(keys.map { Self.json($0, use) })])
  }

  static func json(_ jwk: JWK, _ use: Use) -> JSONValue {
    var object = jwk.key.requiredMembers
    object["use"] = .string(use.rawValue)
    object["kid"] = jwk.keyID.map(JSONValue.string)
    var algorithm = jwk.algorithm
    if use == .signature, jwk.key.algorithms.count == 1 { algorithm = jwk.key.algorithms[0] }
    object["alg"] = algorithm.map { .string($0.rawValue) }
    return .object(object)
  }
}
