internal import CP11Kit
internal import Crypto
internal import PKCS11

extension Trial {
  private static let message = Array("trustcore/hsm-probe".utf8)

  func ecdsa() -> Behaviour.ECDSA {
    var result = Behaviour.ECDSA()
    let digest = SHA256.hash(data: Self.message)

    func trial<V>(
      _ mechanisms: [MechanismType], _ body: (UInt, [UInt8]) throws(PKCS11Error) -> Finding<V>
    ) -> Finding<V> {
      with(mechanisms + [.ecKeyPairGeneration]) { () throws(PKCS11Error) -> (UInt, [UInt8]) in
        let keys = try pair(.ecKeyPairGeneration, parameters: KeyPairKind.p256.parameters)
        return (keys.privateKey, try session.attribute(CKA_EC_POINT, of: keys.publicKey))
      } _: { made throws(PKCS11Error) in
        try body(made.0, made.1)
      }
    }
    func verifies(_ signature: [UInt8], _ point: [UInt8]) -> Bool {
      guard let key = try? P256.Signing.PublicKey(x963Representation: Self.form(of: point, length: 65).bytes),
        let signature = try? P256.Signing.ECDSASignature(rawRepresentation: signature)
      else { return false }
      return key.isValidSignature(signature, for: digest)
    }

    result.point = trial([]) { (_, point) in .found(Self.form(of: point, length: 65).form) }
    result.digest = trial([.ecdsa]) { (key, point) throws(PKCS11Error) in
      verifies(try session.sign(Array(digest), with: key, .ecdsa), point)
        ? .found(.works) : .untried("the signature does not verify")
    }
    result.longDigest = trial([.ecdsa]) { (key, point) throws(PKCS11Error) in
      let long = Array(digest) + [UInt8](repeating: 0xff, count: 32)
      return .found(verifies(try session.sign(long, with: key, .ecdsa), point) ? .cut : .other)
    }
    result.hashing = trial([Probed.ecdsaSHA256]) { (key, point) throws(PKCS11Error) in
      verifies(try session.sign(Self.message, with: key, Probed.ecdsaSHA256), point)
        ? .found(.works) : .untried("the signature does not verify")
    }
    return result
  }

  func eddsa() -> Behaviour.EdDSA {
    var result = Behaviour.EdDSA()
    /// A DER PrintableString.
    let name: [UInt8] = [0x13, 12] + Array("edwards25519".utf8)

    func generate(_ parameters: [UInt8]) -> Finding<Behaviour.Works> {
      with([.edwardsKeyPairGeneration]) {
      } _: { _ throws(PKCS11Error) in
        _ = try pair(.edwardsKeyPairGeneration, parameters: parameters)
        return .found(.works)
      }
    }
    result.oid = generate(KeyPairKind.ed25519.parameters)
    result.name = generate(name)
    let parameters = result.oid.value == .works ? KeyPairKind.ed25519.parameters : name

    func trial<V>(_ body: (UInt, [UInt8]) throws(PKCS11Error) -> Finding<V>) -> Finding<V> {
      with([.edwardsKeyPairGeneration, .eddsa]) { () throws(PKCS11Error) -> (UInt, [UInt8]) in
        let keys = try pair(.edwardsKeyPairGeneration, parameters: parameters)
        return (keys.privateKey, try session.attribute(CKA_EC_POINT, of: keys.publicKey))
      } _: { made throws(PKCS11Error) in
        try body(made.0, made.1)
      }
    }
    result.point = trial { (_, point) in .found(Self.form(of: point, length: 32).form) }
    result.signature = trial { (key, point) throws(PKCS11Error) in
      let signature = try session.sign(Self.message, with: key, .eddsa)
      let bytes = Self.form(of: point, length: 32).bytes
      let verifies =
        (try? Curve25519.Signing.PublicKey(rawRepresentation: bytes))?
        .isValidSignature(signature, for: Self.message) ?? false
      return verifies ? .found(.works) : .untried("the signature does not verify")
    }
    return result
  }

  /// What surrounds a public key of `length` bytes in CKA_EC_POINT, and the key.
  private static func form(of point: [UInt8], length: Int) -> (form: Behaviour.PointForm, bytes: [UInt8]) {
    if point.count == length { return (.raw, point) }
    if point.count == length + 2, point[0] == 0x04, Int(point[1]) == length {
      return (.octetString, Array(point.dropFirst(2)))
    }
    if point.count == length + 3, point[0] == 0x03, Int(point[1]) == length + 1, point[2] == 0 {
      return (.bitString, Array(point.dropFirst(3)))
    }
    return (.other, point)
  }

  func oaep() -> Behaviour.OAEP {
    var result = Behaviour.OAEP()
    guard offered.contains(Probed.rsaOAEP), offered.contains(Probed.rsaKeyPairGeneration) else { return result }
    // One key pair for all: it is the slowest to make.
    let made: Result<(publicKey: UInt, privateKey: UInt), PKCS11Error>
    do throws(PKCS11Error) {
      if let restraint { throw PKCS11Error(.mechanismInvalid, in: "C_GenerateKeyPair", restraint) }
      made = .success(
        try session.generateKeyPair(
          Probed.rsaKeyPairGeneration,
          publicKey: [
            .flag(CKA_TOKEN, false), .flag(CKA_ENCRYPT, true), .number(CKA_MODULUS_BITS, 2048),
            .bytes(CKA_PUBLIC_EXPONENT, [1, 0, 1]),
          ], privateKey: Self.passing + Self.locked + [.flag(CKA_DECRYPT, true)]))
    } catch { made = .failure(error) }

    func trial(_ hash: UInt, _ mgf: UInt) -> Finding<Behaviour.Works> {
      with([Probed.rsaOAEP]) { () throws(PKCS11Error) in
        try made.get()
      } _: { keys throws(PKCS11Error) in
        let mechanism = RawMechanism(type: Probed.rsaOAEP, parameter: .oaep(hash: hash, mgf: mgf))
        let ciphertext = try session.encrypt(Self.message, with: keys.publicKey, mechanism)
        let back = try session.decrypt(ciphertext, with: keys.privateKey, mechanism)
        return back == Self.message ? .found(.works) : .untried("its own ciphertext does not open")
      }
    }
    result.sha1 = trial(CKM_SHA_1, CKG_MGF1_SHA1)
    result.sha256 = trial(CKM_SHA256, CKG_MGF1_SHA256)
    result.sha384 = trial(CKM_SHA384, CKG_MGF1_SHA384)
    result.sha512 = trial(CKM_SHA512, CKG_MGF1_SHA512)
    return result
  }
}
