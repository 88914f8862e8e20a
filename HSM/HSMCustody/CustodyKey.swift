import KeyHierarchy
import PKCS11

/// A key found on a token: its handle for the current login, and what stays the same over logins.
struct CustodyKey: Sendable {
  let handle: ObjectHandle
  let id: [UInt8]
  let identity: KeyIdentity
  /// How a wrapping key wraps, and what came of the hostile unwrap; nil for other keys.
  var wrapping: (mechanism: MechanismType, hostileUnwrap: HostileUnwrap)?

  /// Finds a key by label, and by `CKA_ID` once that is known, and takes its identity: of a secret key with a few
  /// operations, as it tells none itself. A wrapping key must stand the hostile unwrap.
  ///
  /// - Returns: Nil when it, or its public half, is not there.
  /// - Throws: ``PKCS11Error/Code-swift.struct/unfit`` when several match or it is of another kind;
  ///   ``PKCS11Error/Code-swift.struct/leaks``.
  static func find(
    _ name: KeyName, known: CustodyKey?, _ session: borrowing Session
  ) throws(PKCS11Error) -> CustodyKey? {
    let algorithm = name.algorithm
    let id = known?.id
    var template: [Attribute] = [
      .objectClass(algorithm.isSigning ? .privateKey : .secretKey), .flag(.token, true), .label(name.label),
    ]
    if let id { template.append(.bytes(.id, id)) }
    guard let handle = try only(template, name, session) else { return nil }
    guard try session.number(.keyType, of: handle) == algorithm.keyType.rawValue else {
      throw unfit("\(name) is no key for \(algorithm.rawValue)")
    }
    let found = if let id { id } else { try session.attribute(.id, of: handle) }
    guard algorithm.isSigning else { return try secret(algorithm, handle, found, known, session) }
    guard let half = try only([.objectClass(.publicKey), .flag(.token, true), .bytes(.id, found)], name, session) else {
      return nil
    }
    guard let publicKey = try publicKey(algorithm, half, session) else {
      throw unfit("the public half of \(name) is on another curve or of another size")
    }
    return CustodyKey(handle: handle, id: found, identity: .publicKey(publicKey))
  }

  private static func publicKey(
    _ algorithm: KeyAlgorithm, _ half: ObjectHandle, _ session: borrowing Session
  ) throws(PKCS11Error) -> CustodyPublicKey? {
    guard algorithm == .rsa2048 else {
      guard try algorithm.curves.contains(session.attribute(.ecParameters, of: half)) else { return nil }
      return algorithm.point(try session.attribute(.ecPoint, of: half))
        .map { CustodyPublicKey(algorithm: algorithm, bytes: $0) }
    }
    // Big integers: some tokens put zeros before them.
    let exponent = try session.attribute(.publicExponent, of: half).drop { $0 == 0 }
    let modulus = try session.attribute(.modulus, of: half).drop { $0 == 0 }
    return Array(exponent) == CustodyPublicKey.rsaExponent ? CustodyPublicKey(rsaModulus: Array(modulus)) : nil
  }

  private static func secret(
    _ algorithm: KeyAlgorithm, _ handle: ObjectHandle, _ id: [UInt8], _ known: CustodyKey?,
    _ session: borrowing Session
  ) throws(PKCS11Error) -> CustodyKey {
    guard algorithm == .aes256Wrap else {
      return CustodyKey(handle: handle, id: id, identity: .checkValue(try session.checkAuthentication(handle)))
    }
    // The mechanisms give different bytes, so that another one would make the key look changed.
    let mechanisms =
      if let known = known?.wrapping { [known.mechanism] } else {
        try WrappingMechanism(session.module, session.slot).offered
      }
    let (mechanism, value) = try session.checkWrapping(handle, mechanisms)
    let hostileUnwrap = try HostileUnwrapProbe.run(session, root: handle, mechanism: mechanism)
    return CustodyKey(handle: handle, id: id, identity: .checkValue(value), wrapping: (mechanism, hostileUnwrap))
  }

  private static func only(
    _ template: [Attribute], _ name: KeyName, _ session: borrowing Session
  ) throws(PKCS11Error) -> ObjectHandle? {
    let handles = try session.findObjects(template, limit: 2)
    guard handles.count <= 1 else { throw unfit("several objects for \(name): remove the others") }
    return handles.first
  }

  private static func unfit(_ reason: String) -> PKCS11Error {
    PKCS11Error(.unfit, in: "C_FindObjects", reason)
  }
}

extension KeyAlgorithm {
  /// True for algorithms with a public half.
  var isSigning: Bool { pairKind != nil }

  /// The kind of pair that a signing key is.
  var pairKind: KeyPairKind? {
    switch self {
    case .ecdsaP256: .p256
    case .ecdsaP384: .p384
    case .ed25519: .ed25519
    case .rsa2048: .rsa2048
    case .aes256Wrap, .hmacSHA256: nil
    }
  }

  fileprivate var keyType: KeyType {
    switch self {
    case .ecdsaP256, .ecdsaP384: .ec
    case .ed25519: .edwards
    case .rsa2048: .rsa
    case .aes256Wrap: .aes
    case .hmacSHA256: .genericSecret
    }
  }

  /// How tokens tell the curve: its object identifier, or for Ed25519 also its name (PKCS#11 3.0, section 2.3.5).
  fileprivate var curves: [[UInt8]] {
    guard let pairKind else { return [] }
    let name = Array("edwards25519".utf8)
    return [pairKind.parameters] + (self == .ed25519 ? [[0x13, UInt8(name.count)] + name] : [])
  }

  /// A CKA_EC_POINT without the OCTET STRING that most tokens wrap it in (PKCS#11 2.40, section 2.3.3).
  func point(_ bytes: [UInt8]) -> [UInt8]? {
    let length =
      switch self {
      case .ecdsaP256: 65
      case .ecdsaP384: 97
      case .ed25519: 32
      case .rsa2048, .aes256Wrap, .hmacSHA256: 0
      }
    let wrapped = bytes.count == length + 2 && bytes.starts(with: [0x04, UInt8(length)])
    let point = wrapped ? Array(bytes.dropFirst(2)) : bytes
    return point.count == length && (self == .ed25519 || point.first == 0x04) ? point : nil
  }
}

extension PKCS11Error.Code {
  /// Several objects have a key's name, or one of another kind: ours, beyond the 32 bits of any CKR.
  static let unfit = Self(rawValue: 0x1_0000_0003)
}
