import AgentIdentity
import Cosign
import Foundation
import JOSE
import Ledger
import Seal
import TestSupport
import Testing
import TransparencyLog
import Wire

/// Every parser that takes bytes from outside, fed with mutated good input: it must accept or refuse, never crash, and
/// what it accepts it must write again as it read it. `FUZZ_ROUNDS` sets how many inputs each parser gets.
@Suite("Parsers under mutation (fuzz)")
struct ParserFuzzTests {
  /// A parser with good input. `parse` returns the text that the accepted value writes, where one value has one text.
  struct Target: Sendable, CustomTestStringConvertible {
    let name: String
    let seeds: [[UInt8]]
    let parse: @Sendable ([UInt8]) throws -> [UInt8]?

    init(_ name: String, _ seeds: [[UInt8]], _ parse: @escaping @Sendable ([UInt8]) throws -> [UInt8]?) {
      self.name = name
      self.seeds = seeds
      self.parse = parse
    }

    var testDescription: String { name }
  }

  static let rounds = ProcessInfo.processInfo.environment["FUZZ_ROUNDS"].flatMap { Int($0) } ?? 3000

  @Test("accepts or refuses, and writes again what it accepts", arguments: targets)
  func mutation(_ target: Target) {
    let random = SeededRandom(0x7472_7573_7463_6F72)
    var accepted = 0
    for seed in target.seeds { #expect((try? target.parse(seed)) != nil, "\(target.name) refuses its seed") }
    for round in 0..<Self.rounds {
      let input = Self.mutated(target.seeds[round % target.seeds.count], random)
      guard let written = try? target.parse(input) else { continue }
      accepted += 1
      #expect(written == input, "\(target.name) reads \(Hex.encode(input)) and writes it otherwise")
    }
    print("fuzz: \(target.name): \(Self.rounds) inputs, \(accepted) accepted and written again")
  }

  private static func mutated(_ seed: [UInt8], _ random: SeededRandom) -> [UInt8] {
    var bytes = seed
    for _ in 0...random.below(3) where !bytes.isEmpty {
      let at = random.below(bytes.count)
      switch random.below(6) {
      case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
      case 1: bytes[at] ^= 1 << UInt8(random.below(8))
      case 2: bytes.insert(random.pick([0, 10, 32, 34, 44, 47, 48, 61, 0x7F, 0xFF]), at: at)
      case 3: bytes.remove(at: at)
      case 4: bytes.removeSubrange(at..<min(bytes.count, at + random.below(16)))
      default: bytes.append(contentsOf: bytes[at..<min(bytes.count, at + random.below(32))])
      }
    }
    return bytes
  }

  // MARK: - Parsers

  private static func text(_ bytes: [UInt8]) throws -> String {
    struct NotUTF8: Error {}
    guard let text = String(validating: bytes, as: UTF8.self) else { throw NotUTF8() }
    return text
  }

  static let targets: [Target] = {
    let random = SeededRandom(1)
    let evidence = CommandEvidence(
      request: RequestRecord(
        method: "POST", targetURI: "https://localhost/v1/ledger/transfers",
        fields: [
          .init(name: "content-type", value: "application/json"), .init(name: "authorization", value: "DPoP x"),
        ],
        signatureInput: "sig=(\"@method\");created=1", signature: "sig=:AAAA:", body: Array("{}".utf8)),
      principal: "agt_x", key: Array(#"{"kty":"OKP"}"#.utf8), enrolmentIndex: 7)
    let referring = CommandEvidence(
      request: evidence.request, principal: evidence.principal, key: evidence.key, enrolmentIndex: 7,
      references: [.init("consent", 5), .init("approval", 6)])
    let enrolment = CredentialEnrolment(
      person: "apr_x", origin: "https://approve.example.com", invitationIndex: 3, token: random.bytes(16),
      registrations: [
        .init(
          purpose: .approval, challenge: random.bytes(32), clientData: random.bytes(40), attestation: random.bytes(60))
      ])
    let decided = Leaf.Authorized(
      command: CommandID(from: random), audience: "ledger", tenant: "ten_x", environment: "development",
      commitment: random.bytes(32), policyVersion: "builtin/1", notAfter: Timestamp(seconds: 1_800_000_300))
    let leaves: [Leaf] = [
      .genesis(digest: random.bytes(32)), .authorized(decided), .held(decided),
      .denied(decided, code: "account_overdrawn", refusal: random.bytes(32)),
      .outcome(.init(authorizedIndex: 9, status: .done, commitment: random.bytes(32))),
      .event(.init(kind: "token.issued", commitment: random.bytes(32))),
    ]
    return [
      Target("leaf", leaves.map { $0.encoded(at: Timestamp(seconds: 1_800_000_000)) }) { bytes in
        let (leaf, time) = try Leaf.decode(bytes)
        return leaf.encoded(at: time)
      },
      Target("evidence", [evidence.encoded, referring.encoded]) { try CommandEvidence(decoding: $0).encoded },
      Target("enrolment", [JSONValue.object(enrolment.json).canonical()]) { bytes in
        // Its members may come in any order; what is read is what would be written.
        let json = try JSONValue(parsing: bytes)
        struct Other: Error {}
        guard json.canonical() == bytes else { throw Other() }
        return JSONValue.object(try CredentialEnrolment(json).json).canonical()
      },
      Target("checkpoint body", [Array("tc.dev.invalid/log\n12\n\(Base64.encode(random.bytes(32)))\n".utf8)]) {
        Array(try Checkpoint(body: try text($0)).body.utf8)
      },
      Target("signed note", [note(random)]) { Array(try SignedNote(parsing: $0).rendered.utf8) },
      Target("tlog-proof", [proof(random)]) { Array(try TLogProof(parsing: try text($0)).rendered.utf8) },
      Target("vkey", [vkey(random)]) { Array(try NoteVerifierKey(vkey: try text($0)).vkey.utf8) },
      Target("tile path", ["tile/0/x001/067.p/8", "tile/entries/000"].map { Array($0.utf8) }) {
        struct Refused: Error {}
        guard let path = TilePath(try text($0)) else { throw Refused() }
        return Array(path.description.utf8)
      },
      Target("command id", [Array(CommandID(from: random).description.utf8)]) {
        struct Refused: Error {}
        guard let id = CommandID(text: try text($0)) else { throw Refused() }
        return Array(id.description.utf8)
      },
      Target("base64url", [Array(Base64.URL.encode(random.bytes(40)).utf8)]) {
        Array(Base64.URL.encode(try Base64.URL.decode(try text($0))).utf8)
      },
    ]
  }()

  private static func note(_ random: SeededRandom) -> [UInt8] {
    Array("tc/log\n3\n\(Base64.encode(random.bytes(32)))\n\n— tc/log \(Base64.encode(random.bytes(68)))\n".utf8)
  }

  private static func proof(_ random: SeededRandom) -> [UInt8] {
    let hashes = (0..<3).map { _ in Base64.encode(random.bytes(32)) + "\n" }.joined()
    return Array("c2sp.org/tlog-proof@v1\nindex 2\n\(hashes)\n".utf8) + note(random)
  }

  private static func vkey(_ random: SeededRandom) -> [UInt8] {
    let key = try? NoteVerifierKey(name: "tc.dev.invalid/log", publicKey: random.bytes(32))
    return Array((key?.vkey ?? "").utf8)
  }

  // MARK: - Parsers whose values have more than one text

  static let lenient: [Target] = {
    let random = SeededRandom(2)
    let jwk = #"{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#
    let header = Base64.URL.encode(Array(#"{"alg":"EdDSA","typ":"dpop+jwt","jwk":\#(jwk)}"#.utf8))
    let claims = Base64.URL.encode(
      Array(#"{"aud":["a"],"exp":1800000300,"htm":"POST","iat":1800000000,"jti":"x"}"#.utf8))
    let token = Array("\(header).\(claims).\(Base64.URL.encode(random.bytes(64)))".utf8)
    let transfer = Array(
      #"{"entries":[{"account":"a","side":"debit","amount":"1.50","currency":"USD"},{"account":"b","side":"credit","amount":150,"currency":"USD"}]}"#
        .utf8)
    let seal = Array(#"{"sealed":{"leaf":"AA","salt":"AA","content":"AA","proof":"x"}}"#.utf8)
    return [
      Target("JWK", [Array(jwk.utf8)]) {
        _ = try JWK(try JSONValue(parsing: $0)); return nil
      },
      Target("JWT", [token]) {
        _ = try UnverifiedJWT(try text($0)); return nil
      },
      Target("DPoP proof", [token]) {
        _ = try DPoPProof(try text($0)); return nil
      },
      Target("structured dictionary", [Array(#"a=1, b=("x" :AAAA:);c=?1, d=@1, e=%"f""#.utf8)]) {
        _ = try StructuredField.dictionary(try text($0))
        return nil
      },
      Target("HTTP URI", [Array("https://Example.com:443/a/%7eb?c=d#e".utf8)]) {
        _ = HTTPURI(try text($0)); return nil
      },
      Target("transfer", [transfer]) {
        _ = try LedgerCommand(path: "transfers", body: $0); return nil
      },
      Target("seal", [seal]) {
        _ = try SealBundle(try JSONValue(parsing: $0)); return nil
      },
      Target(
        "asserted command",
        [Array(#"{"approval":{"expiry":1},"assertion":{"id":"AA","rawId":"AA","type":"public-key"}}"#.utf8)]
      ) {
        _ = try UnverifiedAssertedCommand(targetURI: "https://localhost/v1/approvals/x/decisions", body: $0)
        return nil
      },
      Target("genesis", [Array(#"{"version":1}"#.utf8)]) {
        _ = try Genesis(decoding: $0); return nil
      },
    ]
  }()

  @Test("does not crash", arguments: lenient)
  func mutationOfLenient(_ target: Target) {
    let random = SeededRandom(3)
    for round in 0..<Self.rounds {
      _ = try? target.parse(Self.mutated(target.seeds[round % target.seeds.count], random))
    }
  }
}
