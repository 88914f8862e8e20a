import COSE
import Cosign
import Crypto
import SoftwareAuthenticator
import TestSupport
import Testing
import Wire

@Suite("Packed attestation")
struct AttestationTests {
  typealias Template = AttestationChain.Template

  /// Who is trusted in a case.
  enum Anchors: Sendable { case none, root, intermediate, leaf, stranger, malformed, rootAndStranger, expiredAndRoot }

  struct Case: Sendable {
    let name: String
    /// `anchored`, `untrusted`, or the code of a refusal.
    let outcome: String
    var anchors = Anchors.root
    var template = Template(model: Ceremony.model, now: Ceremony.now)
    var chain: @Sendable (inout AttestationChain) -> Void = { _ in }
    var faults = Faults()

    init(_ name: String, _ outcome: String = "webauthn_attestation", _ set: (inout Case) -> Void = { _ in }) {
      (self.name, self.outcome) = (name, outcome)
      set(&self)
    }
  }

  static func statement(_ change: @escaping @Sendable (inout CBORMap) -> Void) -> (inout Case) -> Void {
    {
      $0.faults.statement = {
        var map = $0
        change(&map)
        return map
      }
    }
  }

  static func presented(_ change: @escaping @Sendable (AttestationChain) -> [[UInt8]]) -> (inout Case) -> Void {
    { $0.chain = { $0.presented = change($0) } }
  }

  static let second = Ceremony.now

  static let cases: [Case] = [
    // Where the path ends.
    Case("anchor root", "anchored"),
    Case("anchor intermediate", "anchored") { $0.anchors = .intermediate },
    Case("anchor leaf", "anchored") { $0.anchors = .leaf },
    Case("anchor among others", "anchored") { $0.anchors = .rootAndStranger },
    Case("anchor renewed", "anchored") { $0.anchors = .expiredAndRoot },
    Case("no anchor", "untrusted") { $0.anchors = .none },
    Case("another's anchor", "untrusted") { $0.anchors = .stranger },
    Case("anchor no certificate") { $0.anchors = .malformed },
    Case("root presented", "anchored", presented { $0.presented + [$0.root] }),
    Case("root presented, not trusted", "untrusted") {
      $0.anchors = .none
      presented { $0.presented + [$0.root] }(&$0)
    },
    Case("leaf alone below an intermediate", "anchored") {
      $0.anchors = .intermediate
      presented { [$0.leaf] }(&$0)
    },
    Case("leaf alone below the root", "untrusted", presented { [$0.leaf] }),
    Case("no intermediates", "anchored") { $0.template.intermediates = 0 },
    Case("8 certificates", "anchored") { $0.template.intermediates = 7 },
    Case("9 certificates") { $0.template.intermediates = 8 },
    Case("no certificates", "webauthn_attestation", statement { $0["x5c"] = [] }),
    Case("x5c no array", "webauthn_attestation", statement { $0["x5c"] = .bytes([]) }),
    Case("x5c of texts", "webauthn_attestation", statement { $0["x5c"] = ["x"] }),
    Case("certificate malformed", "webauthn_attestation", presented { [$0.leaf.dropLast()] }),
    Case("certificate with bytes behind", "webauthn_attestation", presented { [$0.leaf + [0]] }),
    Case("certificate of almost 8 KiB", "anchored") {
      $0.template.organization = String(repeating: "x", count: 7600)
    },
    Case("certificate beyond 8 KiB") { $0.template.organization = String(repeating: "x", count: 8192) },
    Case("order turned", "webauthn_attestation", presented { $0.presented.reversed() }),
    Case("link missing", "webauthn_attestation", presented { [$0.leaf, $0.root] }),
    Case("leaf twice", "webauthn_attestation", presented { [$0.leaf, $0.leaf] }),
    Case("intermediate no authority") { $0.template.intermediatesAreAuthorities = false },
    Case("intermediate may not sign") { $0.template.intermediatesMaySign = false },
    Case("path length 1 kept", "anchored") { $0.template.pathLength = 1 },
    Case("path length 0 exceeded", "untrusted") { $0.template.pathLength = 0 },
    Case("path length 1 exceeded", "untrusted") {
      $0.template.pathLength = 1
      $0.template.intermediates = 2
    },
    // Validity, both ends to the second.
    Case("valid from now", "anchored") { $0.template.notBefore = second },
    Case("valid from the next second") { $0.template.notBefore = second.adding(seconds: 1) },
    Case("leaf valid until now", "anchored") { $0.template.leafNotAfter = second },
    Case("leaf ended a second ago") { $0.template.leafNotAfter = second.adding(seconds: -1) },
    Case("leaf ended, itself the anchor") {
      $0.anchors = .leaf
      $0.template.leafNotAfter = second.adding(seconds: -1)
    },
    Case("authorities valid until now", "anchored") { $0.template.notAfter = second },
    Case("authorities ended a second ago") { $0.template.notAfter = second.adding(seconds: -1) },
    Case("root ended, no intermediate") {
      $0.template.intermediates = 0
      $0.template.notAfter = second.adding(seconds: -1)
    },
    // Section 8.2.1.
    Case("version 1") { $0.template.version = 1 },
    Case("no C") { $0.template.country = nil },
    Case("C of one letter") { $0.template.country = "D" },
    Case("C of three letters") { $0.template.country = "DEU" },
    Case("no O") { $0.template.organization = nil },
    Case("O empty") { $0.template.organization = "" },
    Case("no OU") { $0.template.unit = nil },
    Case("other OU") { $0.template.unit = "Authenticator attestation" },
    Case("no CN") { $0.template.commonName = nil },
    Case("CN empty") { $0.template.commonName = "" },
    Case("no basic constraints") { $0.template.isAuthority = nil },
    Case("an authority") { $0.template.isAuthority = true },
    Case("no AAGUID", "anchored") { $0.template.model = nil },
    Case("other AAGUID") { $0.template.model = [UInt8](repeating: 1, count: 16) },
    Case("short AAGUID") { $0.template.model = Array(Ceremony.model.prefix(15)) },
    Case("AAGUID critical") { $0.template.isModelCritical = true },
    Case("AAGUID without octet string") { $0.template.isModelBare = true },
    Case("unknown critical extension") { $0.template.hasUnknownCritical = true },
    Case("key usage with signatures", "anchored") { $0.template.allowsSignatures = true },
    Case("key usage without signatures") { $0.template.allowsSignatures = false },
    // The statement.
    Case("EdDSA attests ES256", "anchored") { $0.template.algorithm = .edDSA },
    Case("RS256 attests ES256", "anchored") { $0.template.algorithm = .rs256 },
    Case("ES384 attests ES256", "anchored") { $0.template.algorithm = .es384 },
    Case("ES512 attests ES256", "anchored") { $0.template.algorithm = .es512 },
    Case("alg of another key", "webauthn_attestation", statement { $0["alg"] = -8 }),
    Case("alg of another hash", "webauthn_attestation", statement { $0["alg"] = -35 }),
    Case("alg not verified", "webauthn_attestation", statement { $0["alg"] = -37 }),
    Case("alg RS1", "webauthn_attestation", statement { $0["alg"] = -65_535 }),
    Case("alg a text", "webauthn_attestation", statement { $0["alg"] = "ES256" }),
    Case("no alg", "webauthn_attestation", statement { $0["alg"] = nil }),
    Case("no sig", "webauthn_attestation", statement { $0["sig"] = nil }),
    Case("sig empty", "webauthn_attestation", statement { $0["sig"] = .bytes([]) }),
    Case(
      "sig changed", "webauthn_attestation",
      statement { $0["sig"] = $0["sig"]?.bytes.map { .bytes($0.dropLast() + [$0[$0.count - 1] ^ 1]) } }),
    Case(
      "sig of 513 bytes", "webauthn_attestation", statement { $0["sig"] = .bytes([UInt8](repeating: 1, count: 513)) }),
    Case("ecdaaKeyId beside x5c", "webauthn_attestation", statement { $0["ecdaaKeyId"] = .bytes([1]) }),
    Case(
      "ecdaaKeyId", "webauthn_attestation",
      statement {
        $0["x5c"] = nil
        $0["ecdaaKeyId"] = .bytes([1])
      }),
    Case("unknown member", "webauthn_attestation", statement { $0["ver"] = "2" }),
    Case("x5c taken away", "webauthn_attestation", statement { $0["x5c"] = nil }),
    Case("client data changed after signing") { $0.faults.clientDataAfterSigning = { $0 + [0x20] } },
    Case("counter changed after signing") {
      $0.faults.authenticatorDataAfterSigning = {
        var data = $0
        data[36] ^= 1
        return data
      }
    },
    Case("model changed after signing") {
      $0.template.model = nil
      $0.faults.authenticatorDataAfterSigning = {
        var data = $0
        data[40] ^= 1
        return data
      }
    },
    Case("identifier changed after signing", "webauthn_credential") {
      $0.faults.authenticatorDataAfterSigning = {
        var data = $0
        data[60] ^= 1
        return data
      }
    },
  ]

  @Test("each rule")
  func rules() throws {
    var tally = Tally("webauthn packed attestation")
    let stranger = try AttestationChain(Template(model: nil, now: Ceremony.now), random: SeededRandom(98))
    // From the same seed: the same name and key, in a certificate that ended.
    var ended = Template(model: nil, now: Ceremony.now)
    ended.notAfter = Ceremony.now.adding(seconds: -1)
    let expired = try AttestationChain(ended, random: SeededRandom(4))
    for one in Self.cases {
      var chain = try AttestationChain(one.template, random: SeededRandom(4))
      one.chain(&chain)
      let anchors: [[UInt8]] =
        switch one.anchors {
        case .none: []
        case .root: [chain.root]
        case .intermediate: [chain.intermediates[chain.intermediates.count - 1]]
        case .leaf: [chain.leaf]
        case .stranger: [stranger.root, stranger.leaf]
        case .malformed: [[0x30, 0x00]]
        case .rootAndStranger: [stranger.root, chain.root]
        case .expiredAndRoot: [expired.root, chain.root]
        }
      let (found, trust) = try run(.packed(chain), one.faults, anchors)
      tally.expect(found == one.outcome, "\(one.name): \(found), not \(one.outcome)")
      if found == "anchored", let anchor = anchors.last {
        tally.expect(trust == .anchored(Array(SHA256.hash(data: anchor))), "\(one.name): names another anchor")
      }
    }
    tally.report()
  }

  private func run(
    _ kind: SoftwareAuthenticator.AttestationKind, _ faults: Faults, _ anchors: [[UInt8]], algorithm: Int64 = -7
  ) throws -> (outcome: String, trust: Attestation.Trust?) {
    var authenticator = SoftwareAuthenticator(random: SeededRandom(5), attestation: kind)
    let answer = try authenticator.make(
      options: Ceremony.creation([algorithm]), origin: Ceremony.origin, faults: faults)
    var attestation: Attestation?
    let found = outcome {
      attestation = try UnverifiedRegistration(answer).verified(Ceremony.registration(anchors: anchors)).attestation
    }
    guard let attestation else { return (found, nil) }
    switch (attestation.kind, attestation.trust) {
    case (.certified, .anchored): return ("anchored", attestation.trust)
    case (.certified, .untrusted): return ("untrusted", attestation.trust)
    case (.selfAttested, .none): return ("self", attestation.trust)
    default: return ("\(attestation)", attestation.trust)
    }
  }

  @Test("self attestation", arguments: [-7, -8, -257] as [Int64])
  func selfAttestation(_ algorithm: Int64) throws {
    var tally = Tally("webauthn self attestation \(algorithm)")
    func changed(_ change: @escaping @Sendable (inout CBORMap) -> Void) -> Faults {
      Faults {
        $0.statement = {
          var map = $0
          change(&map)
          return map
        }
      }
    }
    let refused = "webauthn_attestation"
    let other: Int64 = algorithm == -7 ? -8 : -7
    let cases: [(String, Faults, String)] = [
      ("control", Faults(), "self"),
      ("alg of another key", changed { $0["alg"] = CBOR(Int(other)) }, refused),
      ("no alg", changed { $0["alg"] = nil }, refused),
      ("no sig", changed { $0["sig"] = nil }, refused),
      (
        "sig changed", changed { $0["sig"] = $0["sig"]?.bytes.map { .bytes($0.dropLast() + [$0[$0.count - 1] ^ 1]) } },
        refused
      ),
      ("sig cut", changed { $0["sig"] = $0["sig"]?.bytes.map { .bytes($0.dropLast()) } }, refused),
      ("x5c null", changed { $0["x5c"] = .null }, refused),
      ("ecdaaKeyId", changed { $0["ecdaaKeyId"] = .bytes([1]) }, refused),
      ("client data changed", Faults { $0.clientDataAfterSigning = { $0 + [0x0A] } }, refused),
      (
        "flags changed",
        Faults {
          $0.authenticatorDataAfterSigning = {
            var data = $0
            data[32] ^= 2
            return data
          }
        }, refused
      ),
    ]
    for (name, faults, expected) in cases {
      let found = try run(.packedSelf, faults, [], algorithm: algorithm).outcome
      tally.expect(found == expected, "\(name): \(found), not \(expected)")
    }
    tally.report()
  }
}
