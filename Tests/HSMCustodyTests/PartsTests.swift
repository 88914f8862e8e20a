@testable import HSMCustody
import KeyHierarchy
import PKCS11
import Testing

@Suite("Custody's parts")
struct PartsTests {
  private static let complete: [MechanismType: MechanismInfo.Uses] = [
    .ecdsa: .sign, .eddsa: .sign, .hmacSHA256: .sign, .aesKeyWrapPad: [.wrap, .unwrap], .aesGCM: [.encrypt, .decrypt],
  ]

  private func missing(_ role: TokenRole, _ has: [MechanismType: MechanismInfo.Uses]) throws -> [String] {
    try role.missingMechanisms { has[$0] }
  }

  @Test("A token with every mechanism fits every role", arguments: TokenRole.allCases)
  func fits(_ role: TokenRole) throws {
    #expect(try missing(role, Self.complete).isEmpty)
    #expect(try !missing(role, [:]).isEmpty)
  }

  @Test("RSA is optional, and the wanted exponent's alone") func optional() {
    #expect(KeyName.all.filter(\.isOptional) == [.svidJWTRSA])
    #expect(Set(KeyName.all + KeyName.prepared).isSuperset(of: KeyName.replaceable))
    #expect(KeyName.required.count == KeyName.all.count - 3)
    let modulus = [0x80] + [UInt8](repeating: 7, count: 255)
    let key = CustodyPublicKey(rsaModulus: modulus)
    #expect(key?.bytes.count == 270)
    #expect(key?.rsaModulus == modulus)
    for bad in [[], Array(modulus.dropFirst()), [0] + modulus, [0x7f] + modulus.dropFirst(), modulus.dropLast() + [6]] {
      #expect(CustodyPublicKey(rsaModulus: bad) == nil)
    }
    var bytes = key?.bytes ?? []
    for index in [0, 3, 7, 8, 9, 264, 265, 269] {
      bytes[index] ^= 0xff
      #expect(CustodyPublicKey(algorithm: .rsa2048, bytes: bytes).rsaModulus == nil, "\(index)")
      bytes[index] ^= 0xff
    }
    #expect(CustodyPublicKey(algorithm: .ed25519, bytes: bytes).rsaModulus == nil)
  }

  @Test("Each of three ways to wrap will do", arguments: [MechanismType.aesKeyWrap, .aesKeyWrapKWP])
  func wrapping(_ mechanism: MechanismType) throws {
    var other = Self.complete
    other[.aesKeyWrapPad] = nil
    other[mechanism] = [.wrap, .unwrap]
    #expect(try missing(.data, other).isEmpty)
  }

  @Test("The table names role, mechanism, use and finding") func table() throws {
    #expect(try missing(.log, [.ecdsa: .sign]) == ["log | CKM_EDDSA | sign | absent"])
    var partial = Self.complete
    partial[.aesKeyWrapPad] = .wrap
    partial[.aesGCM] = nil
    #expect(
      try missing(.data, partial) == [
        "data | CKM_AES_KEY_WRAP_PAD or CKM_AES_KEY_WRAP_KWP or CKM_AES_KEY_WRAP | wrap+unwrap | not for this use",
        "data | CKM_AES_GCM | encrypt+decrypt | absent",
      ])
  }

  @Test(
    "Public points, bare and in an OCTET STRING",
    arguments: [
      (.ecdsaP256, 65), (.ecdsaP384, 97), (.ed25519, 32),
    ] as [(KeyAlgorithm, Int)])
  func points(_ algorithm: KeyAlgorithm, _ length: Int) {
    let point = [4] + [UInt8](repeating: 9, count: length - 1)
    #expect(algorithm.point(point) == point)
    #expect(algorithm.point([4, UInt8(length)] + point) == point)
    for wrong in [
      [], Array(point.dropLast()), point + [0], [3, UInt8(length)] + point, [4, UInt8(length - 1)] + point,
    ] {
      #expect(algorithm.point(wrong) == nil)
    }
    if algorithm != .ed25519 {
      #expect(algorithm.point([2] + point.dropFirst()) == nil, "a compressed point")
    }
  }

  @Test(
    "Module errors in custody's terms",
    arguments: [
      (.pinIncorrect, .wrongPIN), (.pinLocked, .wrongPIN), (.mechanismInvalid, .mechanismMissing),
      (.keyFunctionNotPermitted, .notPermitted), (.userAlreadyLoggedIn, .unavailable), (.tokenNotPresent, .unavailable),
      (.sessionHandleInvalid, .unavailable), (.generalError, .failed), (.dataLengthRange, .failed),
      (.sessionCount, .full), (.deviceMemory, .full), (.aeadDecryptFailed, .notAuthentic), (.keyChanged, .keyChanged),
      (.leaks, .hostileUnwrap), (.rootMissing, .keyNotFound), (.pinExpired, .wrongPIN),
    ] as [(PKCS11Error.Code, CustodyError.Code)])
  func errors(_ code: PKCS11Error.Code, _ expected: CustodyError.Code) {
    #expect(CustodyError(PKCS11Error(code, in: "C_Sign"), "key").code == expected)
  }
}
