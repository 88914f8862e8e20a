import COSE
import TestSupport
import Testing
import Wire

@Suite("COSE keys")
struct COSEKeyTests {
  static let x = [UInt8](repeating: 0x11, count: 32)
  static let y = [UInt8](repeating: 0x22, count: 32)
  static let modulus = [0x80] + [UInt8](repeating: 0x33, count: 255)
  static let ec: CBORMap = [1: 2, 3: -7, -1: 1, -2: .bytes(x), -3: .bytes(y)]
  static let okp: CBORMap = [1: 1, 3: -8, -1: 6, -2: .bytes(x)]
  static let rsa: CBORMap = [1: 3, 3: -257, -1: .bytes(modulus), -2: .bytes([1, 0, 1])]

  struct Case: Sendable {
    let name: String
    let key: CBOR
    /// nil: accepted.
    let code: String?

    init(_ name: String, _ base: CBORMap, _ code: String? = nil, _ change: (inout CBORMap) -> Void = { _ in }) {
      var map = base
      change(&map)
      (self.name, self.key, self.code) = (name, .map(map), code)
    }
  }

  static func rsa(bits: Int) -> CBOR {
    var bytes = [UInt8](repeating: 0x33, count: (bits + 7) / 8)
    bytes[0] = 1 << UInt8((bits - 1) % 8)
    return .bytes(bytes)
  }

  static let cases: [Case] = {
    let malformed = "cose_key_malformed"
    let secret = "cose_key_private"
    let unsupported = "cose_key_unsupported"
    let algorithm = "cose_key_algorithm"
    var cases: [Case] = [
      Case("P-256", ec), Case("Ed25519", okp), Case("RSA", rsa),
      Case("no kty", ec, malformed) { $0[1] = nil }, Case("kty as text", ec, malformed) { $0[1] = "EC2" },
      Case("kty 5", ec, unsupported) { $0[1] = 5 }, Case("symmetric", [1: 4, 3: 5, -1: .bytes(x)], secret),
      Case("no alg", ec, algorithm) { $0[3] = nil }, Case("alg as text", ec, algorithm) { $0[3] = "ES256" },
      Case("ES384 on P-256", ec, algorithm) { $0[3] = -35 }, Case("EdDSA on EC2", ec, algorithm) { $0[3] = -8 },
      Case("ES256 on OKP", okp, algorithm) { $0[3] = -7 }, Case("RS1", rsa, algorithm) { $0[3] = -65_535 },
      Case("PS256", rsa, algorithm) { $0[3] = -37 }, Case("RS256 on EC2", ec, algorithm) { $0[3] = -257 },
      Case("ESP256", ec, algorithm) { $0[3] = -9 },
      Case("no crv", ec, malformed) { $0[-1] = nil }, Case("P-384", ec, algorithm) { $0[-1] = 2 },
      Case("secp256k1", ec, algorithm) { $0[-1] = 8 }, Case("Ed25519's crv on EC2", ec, algorithm) { $0[-1] = 6 },
      Case("Ed448", okp, algorithm) { $0[-1] = 7 }, Case("X25519", okp, algorithm) { $0[-1] = 4 },
      Case("no x", ec, malformed) { $0[-2] = nil }, Case("no y", ec, malformed) { $0[-3] = nil },
      Case("compressed y", ec, unsupported) { $0[-3] = true },
      Case("x of 31", ec, malformed) { $0[-2] = .bytes(Array(x.dropLast())) },
      Case("x of 33", ec, malformed) { $0[-2] = .bytes([0] + x) },
      Case("y of 31", ec, malformed) { $0[-3] = .bytes(Array(y.dropLast())) },
      Case("Ed25519 of 31", okp, malformed) { $0[-2] = .bytes(Array(x.dropLast())) },
      Case("Ed25519 of 33", okp, malformed) { $0[-2] = .bytes(x + [0]) },
      Case("y on OKP", okp, unsupported) { $0[-3] = .bytes(y) },
      Case("EC d", ec, secret) { $0[-4] = .bytes(x) }, Case("OKP d", okp, secret) { $0[-4] = .bytes(x) },
      Case("kid", ec) { $0[2] = .bytes([1]) }, Case("kid as text", ec, malformed) { $0[2] = "1" },
      Case("key_ops verify", ec) { $0[4] = [2] }, Case("key_ops sign and verify", ec) { $0[4] = [1, 2] },
      Case("key_ops sign", ec, unsupported) { $0[4] = [1] }, Case("key_ops empty", ec, unsupported) { $0[4] = [] },
      Case("key_ops as integer", ec, unsupported) { $0[4] = 2 },
      Case("key_ops of 8", ec) { $0[4] = [2, 1, 1, 1, 1, 1, 1, 1] },
      Case("key_ops of 9", ec, unsupported) { $0[4] = [2, 1, 1, 1, 1, 1, 1, 1, 1] },
      Case("Base IV", ec, unsupported) { $0[5] = .bytes(x) }, Case("unknown label", ec, unsupported) { $0[-99] = 1 },
      Case("unknown text label", ec, unsupported) { $0["x"] = 1 },
      Case("n with leading zero", rsa, malformed) { $0[-1] = .bytes([0] + modulus) },
      Case("n of 2048 bits", rsa) { $0[-1] = rsa(bits: 2048) },
      Case("n of 2047 bits", rsa, unsupported) { $0[-1] = rsa(bits: 2047) },
      Case("n of 4096 bits", rsa) { $0[-1] = rsa(bits: 4096) },
      Case("n of 4097 bits", rsa, unsupported) { $0[-1] = rsa(bits: 4097) },
      Case("n even", rsa, unsupported) { $0[-1] = .bytes(Array(modulus.dropLast()) + [0x32]) },
      Case("n empty", rsa, malformed) { $0[-1] = .bytes([]) }, Case("e empty", rsa, malformed) { $0[-2] = .bytes([]) },
      Case("e with leading zero", rsa, malformed) { $0[-2] = .bytes([0, 3]) },
      Case("e = 1", rsa, unsupported) { $0[-2] = .bytes([1]) }, Case("e = 3", rsa) { $0[-2] = .bytes([3]) },
      Case("e even", rsa, unsupported) { $0[-2] = .bytes([4]) },
      Case("e of 32 bits", rsa) { $0[-2] = .bytes([255, 255, 255, 255]) },
      Case("e of 33 bits", rsa, unsupported) { $0[-2] = .bytes([1, 0, 0, 0, 1]) },
      Case("no e", rsa, malformed) { $0[-2] = nil },
    ]
    for label in -12 ... -3 {
      cases.append(Case("RSA private \(label)", rsa, secret) { $0[CBOR(label)] = .bytes([1]) })
    }
    return cases
  }()

  @Test("keys are read or refused")
  func cases() throws {
    var tally = Tally("cose keys")
    for one in Self.cases {
      let found = refusal { () throws(COSEError) in _ = try COSEKey(encoded: one.key.encoded) }
      tally.expect(found == one.code, "\(one.name): \(found ?? "accepted")")
      guard one.code == nil, one.key.map?[2] == nil, one.key.map?[4] == nil else { continue }
      tally.expect(try COSEKey(one.key).cbor.encoded == one.key.encoded, "\(one.name): written otherwise")
    }
    tally.report()
    #expect(refusal { () throws(COSEError) in _ = try COSEKey([1, 2]) } == "cose_key_malformed")
  }

  @Test("keys made from numbers have the form of those read")
  func made() throws {
    #expect(try COSEKey(.p256(x: Self.x, y: Self.y)) == COSEKey(.map(Self.ec)))
    #expect(try COSEKey(.ed25519(Self.x)).algorithm == .edDSA)
    #expect(try COSEKey(.rsa(modulus: Self.modulus, exponent: [1, 0, 1])).cbor == .map(Self.rsa))
    #expect(throws: COSEError.self) { try COSEKey(.p256(x: [1], y: Self.y)) }
    #expect(throws: COSEError.self) { try COSEKey(.ed25519([])) }
    #expect(throws: COSEError.self) { try COSEKey(.rsa(modulus: [1], exponent: [3])) }
  }
}
