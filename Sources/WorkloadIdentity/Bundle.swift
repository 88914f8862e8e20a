public import JOSE
import Wire

/// A trust domain's bundle (SPIFFE Trust Domain and Bundle section 4): what its SVIDs are verified with.
public struct SPIFFEBundle: Sendable, Equatable {
  /// The trust domain. The document does not say it: who fetched it knows.
  public var trustDomain: TrustDomain { jwt.trustDomain }
  /// The keys of JWT-SVIDs.
  public let jwt: JWTBundle
  /// `spiffe_sequence`: changes with the content.
  public let sequence: UInt64?
  /// `spiffe_refresh_hint`: after how many seconds to fetch again.
  public let refreshHint: Int64?
  private let roots: [BundleRoot]

  /// The certificates of X.509-SVIDs' authorities, each DER.
  public var x509Authorities: [[UInt8]] { roots.map(\.der) }
  /// The keys of JWT-SVIDs, each with `kid`.
  public var jwtAuthorities: [JWK] { jwt.keys }

  /// The most bytes of a document.
  public static let maximumBytes = 1 << 20
  /// The most keys of a document, those passed over among them.
  public static let maximumKeys = 256

  /// Makes a bundle; a certificate that is given twice stands in it once.
  /// - Throws: ``SPIFFEError/Code-swift.struct/bundle``.
  public init(
    trustDomain: TrustDomain, x509Authorities: [[UInt8]], jwtAuthorities: [JWK], sequence: UInt64?, refreshHint: Int64?
  ) throws(SPIFFEError) {
    var roots: [BundleRoot] = []
    for der in x509Authorities { roots.append(try BundleRoot(der: der)) }
    try self.init(
      roots, try JWTBundle(trustDomain: trustDomain, keys: jwtAuthorities), sequence: sequence, refreshHint: refreshHint
    )
  }

  private init(
    _ roots: [BundleRoot], _ jwt: JWTBundle, sequence: UInt64?, refreshHint: Int64?
  ) throws(SPIFFEError) {
    var seen: Set<[UInt8]> = []
    self.roots = roots.filter { seen.insert($0.der).inserted }
    guard self.roots.count + jwt.keys.count <= Self.maximumKeys, refreshHint.map({ $0 >= 0 }) ?? true else {
      throw SPIFFEError(.bundle, "a bundle has at most \(Self.maximumKeys) keys, and no hint below 0")
    }
    self.jwt = jwt
    self.sequence = sequence
    self.refreshHint = refreshHint
  }

  /// Reads a document. As the standard demands, it passes over unknown members, over keys of an unknown or missing
  /// `use`, of a type, curve or size that is not supported, and over `x509-svid` without `x5c`; of several `x5c` the
  /// first counts (X509-SVID section 6.2). Anything else that is wrong refuses the whole document.
  /// - Throws: ``SPIFFEError/Code-swift.struct/bundle``.
  public init(trustDomain: TrustDomain, parsing bytes: [UInt8]) throws(SPIFFEError) {
    let value: JSONValue
    do {
      value = try JSONValue(parsing: bytes, maximumDepth: 16, maximumBytes: Self.maximumBytes)
    } catch {
      throw SPIFFEError(.bundle, "the bundle is not strict JSON: \(error)")
    }
    guard let object = value.object, let members = object["keys"]?.array, members.count <= Self.maximumKeys else {
      throw SPIFFEError(.bundle, "a bundle must hold 'keys', an array of at most \(Self.maximumKeys) keys")
    }
    var roots: [BundleRoot] = []
    var keys: [JWK] = []
    for (index, member) in members.enumerated() {
      do throws(SPIFFEError) {
        guard let object = member.object else { throw SPIFFEError(.bundle, "it is no JSON object") }
        switch object["use"]?.string {
        case "x509-svid":
          if let root = try Self.root(object) { roots.append(root) }
        case JWTBundle.Use.svid.rawValue:
          if let key = try Self.jwk(object), JWTBundle.fits(key) { keys.append(key) }
        default: break
        }
      } catch {
        throw SPIFFEError(.bundle, "key \(index) of the bundle: \(error.message)")
      }
    }
    let hint = object["spiffe_refresh_hint"]
    guard hint == nil || hint?.integer != nil else {
      throw SPIFFEError(.bundle, "'spiffe_refresh_hint' must be an integer")
    }
    try self.init(
      roots, try JWTBundle(trustDomain: trustDomain, keys: keys),
      sequence: try object["spiffe_sequence"].map { (value) throws(SPIFFEError) in try Self.sequence(value, bytes) },
      refreshHint: hint?.integer)
  }

  private static func root(_ object: JSONObject) throws(SPIFFEError) -> BundleRoot? {
    guard let member = object["x5c"], member != [] else { return nil }
    guard let text = member.array?[0].string, let der = try? Base64.decode(text) else {
      throw SPIFFEError(.bundle, "'x5c' must be an array of certificates in padded base64")
    }
    // What a signature key's owner may say of it says nothing of a certificate.
    var bare = object
    for name in ["kid", "alg"] { bare[name] = nil }
    guard let jwk = try Self.jwk(bare) else { return nil }
    let root = try BundleRoot(der: der)
    guard root.key == jwk.key else { throw SPIFFEError(.bundle, "its members are not the key of its certificate") }
    return root
  }

  /// The key; nil where it is of a kind to be passed over.
  private static func jwk(_ object: JSONObject) throws(SPIFFEError) -> JWK? {
    var bare = object
    for name in ["use", "key_ops"] { bare[name] = nil }
    do {
      return try JWK(.object(bare))
    } catch {
      if error.code == .unsupportedKey { return nil }
      throw SPIFFEError(.bundle, error.message)
    }
  }

  /// The document, canonical but for a sequence beyond 2^53 − 1, which RFC 8785 could not write.
  public func json() -> [UInt8] {
    var keys = roots.map { root in
      var object = root.key.requiredMembers
      object["use"] = "x509-svid"
      object["x5c"] = [.string(Base64.encode(root.der))]
      return JSONValue.object(object)
    }
    keys += jwt.keys.map { JWTBundle.json($0, .svid) }
    var object: JSONObject = ["keys": .array(keys)]
    object["spiffe_refresh_hint"] = refreshHint.map(JSONValue.integer)
    var bytes = JSONValue.object(object).canonical()
    // The last name in the canonical order.
    if let sequence { bytes.replaceSubrange((bytes.count - 1)..., with: ",\"spiffe_sequence\":\(sequence)}".utf8) }
    return bytes
  }
}
