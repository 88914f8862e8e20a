import COSE
import Cosign
import Crypto
import CryptoExtras
import DemoClient
import Foundation
import JOSE
import SoftwareAuthenticator
import Wire

/// What verifying a browser's answer costs beside the bare verification of its signature, and beside py_webauthn with
/// the same answer.
enum WebAuthnVerification {
  /// Many short rounds: what else the machine does then disturbs a few of them, and the median none.
  private static let (rounds, operations) = (101, 100)

  static func measure() throws -> [Row] {
    let peer = try PythonPeer.start()
    defer { peer?.stop() }
    var rows: [Row] = []
    for (name, algorithm, least) in [("ES256", -7, 0.8), ("EdDSA", -8, nil), ("RS256", -257, nil)]
      as [(String, Int64, Double?)]
    {
      rows += try assertion(name, algorithm, atLeast: least, peer)
    }
    rows += try registration("packed self", isFull: false, peer)
    rows += try registration("packed full", isFull: true, peer)
    return rows
  }

  // MARK: - The two ceremonies

  private static func assertion(
    _ name: String, _ algorithm: Int64, atLeast: Double?, _ peer: PythonPeer?
  ) throws -> [Row] {
    var ceremony = Ceremony(algorithm: algorithm)
    let credential = try ceremony.enrol(.packedSelf).verified
      .credential(person: Ceremony.person, purpose: .approval, enrolmentIndex: 7)
    let answer = try ceremony.authenticator.get(options: ceremony.request, origin: Ceremony.origin)
    let body = answer.canonical()
    let expected = AssertionExpectations(
      relyingParty: Ceremony.relyingParty, challenge: ceremony.challenge, purpose: .approval)
    let bare = try BareSignature(answer, key: credential.publicKey)
    return try rows(
      "WebAuthn assertion verified, \(name)", bare: ("bare \(name) verification", bare.verify), atLeast,
      { _ = try UnverifiedAssertion(JSONValue(parsing: body)).verified(by: credential, expected) }, peer,
      ceremony.question(
        "assertion", answer, ["public_key": Ceremony.text(credential.publicKey), "sign_count": 0]))
  }

  private static func registration(_ name: String, isFull: Bool, _ peer: PythonPeer?) throws -> [Row] {
    var ceremony = Ceremony(algorithm: -7)
    let chain =
      isFull
      ? try AttestationChain(.init(model: ceremony.authenticator.aaguid, now: ceremony.now), random: KernelRandom())
      : nil
    let anchors = chain.map { [$0.root] } ?? []
    let (answer, verified) = try ceremony.enrol(chain.map { .packed($0) } ?? .packedSelf, anchors: anchors)
    let body = answer.canonical()
    let expected = ceremony.registration(anchors: anchors)
    // A full attestation has three signatures: the statement's, its certificate's and the intermediate authority's.
    let signatures = isFull ? 3 : 1
    let bare = try BareSignature(
      try ceremony.authenticator.get(options: ceremony.request, origin: Ceremony.origin), key: verified.publicKey)
    return try rows(
      "WebAuthn registration verified, \(name)",
      bare: (
        isFull ? "3 bare ES256 verifications" : "bare ES256 verification",
        { for _ in 0..<signatures { try bare.verify() } }
      ), nil,
      { _ = try UnverifiedRegistration(JSONValue(parsing: body)).verified(expected) }, peer,
      ceremony.question("registration", answer, ["roots": .array(anchors.map { .string(pem($0)) })]))
  }

  /// The rows of a verification.
  private static func rows(
    _ name: String, bare: (name: String, verify: () throws -> Void), _ atLeast: Double?,
    _ verify: @escaping () throws -> Void, _ peer: PythonPeer?, _ question: JSONValue
  ) throws -> [Row] {
    func timed(_ body: @escaping () throws -> Void) -> (Int) throws -> Double {
      { count in try Timing.seconds { for _ in 0..<count { try body() } } }
    }
    var bodies = [timed(verify), timed(bare.verify)]
    if let peer {
      try peer.prepare(question)
      bodies.append(peer.seconds(for:))
    }
    let rates = try Timing.rates(rounds: rounds, operations: operations, bodies)
    return [
      Row(name, rates[0], "/s", beside: bare.name, rates[1], atLeast: atLeast),
      peer.map { Row("  beside py_webauthn", rates[0], "/s", beside: $0.name, rates[2]) }
        ?? Row("  beside py_webauthn", rates[0], "/s", without: "py_webauthn", PythonPeer.absent),
    ]
  }

  private static func pem(_ der: [UInt8]) -> String {
    "-----BEGIN CERTIFICATE-----\n\(Base64.encode(der))\n-----END CERTIFICATE-----\n"
  }
}

/// A relying party, its authenticator and its options.
private struct Ceremony {
  static let origin = "https://approvals.example.org"
  static let person = "per_benchmark"
  static let relyingParty = RelyingParty(id: "approvals.example.org", origins: [origin])
  let algorithm: Int64
  let now = WallClock().now()
  let challenge = KernelRandom().bytes(32)
  var authenticator = SoftwareAuthenticator(random: KernelRandom())

  init(algorithm: Int64) { self.algorithm = algorithm }

  static func text(_ bytes: [UInt8]) -> JSONValue { .string(Base64.URL.encode(bytes)) }

  var request: JSONValue {
    ["rpId": .string(Self.relyingParty.id), "challenge": Self.text(challenge), "userVerification": "required"]
  }

  func registration(anchors: [[UInt8]]) -> RegistrationExpectations {
    RegistrationExpectations(
      relyingParty: Self.relyingParty, challenge: challenge, purpose: .approval, anchors: anchors, now: now)
  }

  mutating func enrol(
    _ attestation: SoftwareAuthenticator.AttestationKind, anchors: [[UInt8]] = []
  ) throws -> (answer: JSONValue, verified: VerifiedRegistration) {
    authenticator.attestation = attestation
    let answer = try authenticator.make(
      options: [
        "rp": ["id": .string(Self.relyingParty.id), "name": "Approvals"],
        "user": ["id": Self.text(Array(Self.person.utf8)), "name": "a", "displayName": "A"],
        "challenge": Self.text(challenge), "attestation": "direct",
        "pubKeyCredParams": [["type": "public-key", "alg": .integer(algorithm)]],
      ], origin: Self.origin)
    return (answer, try UnverifiedRegistration(answer).verified(registration(anchors: anchors)))
  }

  /// What the peer is to verify.
  func question(_ kind: String, _ answer: JSONValue, _ more: JSONObject) -> JSONValue {
    var question: JSONObject = [
      "kind": .string(kind), "credential": .string(String(decoding: answer.canonical(), as: UTF8.self)),
      "challenge": Self.text(challenge), "rp_id": .string(Self.relyingParty.id), "origin": .string(Self.origin),
    ]
    for member in more { question[member.name] = member.value }
    return .object(question)
  }
}

/// The signature of an assertion alone, with key and signature loaded beforehand.
private struct BareSignature {
  let verify: () throws -> Void

  init(_ answer: JSONValue, key encoded: [UInt8]) throws {
    func part(_ name: String) throws -> [UInt8] {
      try Base64.URL.decode(answer.object?["response"]?.object?[name]?.string ?? "")
    }
    let message = try part("authenticatorData") + Array(SHA256.hash(data: try part("clientDataJSON")))
    let signature = try part("signature")
    func check(_ holds: Bool) throws { if !holds { throw BenchmarkError("a good signature does not verify") } }
    switch try COSEKey(encoded: encoded).material {
    case .p256(let x, let y):
      let key = try P256.Signing.PublicKey(rawRepresentation: x + y)
      let loaded = try P256.Signing.ECDSASignature(derRepresentation: signature)
      verify = { try check(key.isValidSignature(loaded, for: message)) }
    case .ed25519(let x):
      let key = try Curve25519.Signing.PublicKey(rawRepresentation: x)
      verify = { try check(key.isValidSignature(signature, for: message)) }
    case .rsa(let n, let e):
      let key = try _RSA.Signing.PublicKey(n: n, e: e)
      let loaded = _RSA.Signing.RSASignature(rawRepresentation: signature)
      verify = {
        try check(key.isValidSignature(loaded, for: SHA256.hash(data: message), padding: .insecurePKCS1v1_5))
      }
    }
  }
}
