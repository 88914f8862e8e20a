import AgentIdentity
import CommandGate
import Foundation
import Seal
import Testing
import TestSupport
import TransparencyLog
import Wire

/// docs/leaf-vectors.json, which was made by a program that shares no line with this one.
@Suite struct LeafVectorTests {
  private static func vectors() throws -> [String: Any] {
    let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    let data = try Data(contentsOf: package.appendingPathComponent("docs/leaf-vectors.json"))
    let json = try JSONSerialization.jsonObject(with: data)
    return try #require(json as? [String: Any])
  }

  private static func group(_ name: String) throws -> [[String: Any]] {
    let vectors = try vectors()
    return try #require(vectors[name] as? [[String: Any]])
  }

  private static func bytes(_ vector: [String: Any], _ name: String) throws -> [UInt8] {
    let text = try #require(vector[name] as? String, "\(name)")
    return try #require(Hex.decode(text), "\(name)")
  }

  private static func leaf(_ vector: [String: Any]) throws -> (leaf: Leaf, time: Timestamp) {
    let fields = try #require(vector["fields"] as? [String: Any])
    func text(_ name: String) throws -> String { try #require(fields[name] as? String, "\(name)") }
    func bytes(_ name: String) throws -> [UInt8] { try Self.bytes(fields, name) }
    func number(_ name: String) throws -> UInt64 {
      let text = try text(name)
      return try #require(UInt64(text))
    }
    func command() throws -> CommandID {
      let bytes = try bytes("command")
      return try #require(CommandID(bytes))
    }
    func authorized() throws -> Leaf.Authorized {
      Leaf.Authorized(
        command: try command(), audience: try text("audience"), tenant: try text("tenant"),
        environment: try text("environment"), commitment: try bytes("commitment"),
        policyVersion: try text("policy_version"),
        notAfter: Timestamp(milliseconds: try #require(fields["not_after"] as? Int64)))
    }
    let statuses: [String: Leaf.Outcome.Status] = ["done": .done, "failed": .failed, "expired": .expired]
    let leaf: Leaf =
      switch vector["type"] as? String {
      case "genesis": .genesis(digest: try bytes("digest"))
      case "authorized": .authorized(try authorized())
      case "held": .held(try authorized())
      case "denied": .denied(try authorized(), code: try text("code"), refusal: try bytes("refusal"))
      case "outcome":
        .outcome(
          .init(
            authorizedIndex: try number("authorized_index"), status: statuses[try text("status")] ?? .failed,
            commitment: try bytes("commitment")))
      default: .event(.init(kind: try text("kind"), commitment: try bytes("commitment")))
      }
    return (leaf, Timestamp(milliseconds: try #require(vector["time"] as? Int64)))
  }

  @Test func leavesEncodeAndDecode() throws {
    var tally = Tally("leaf-vectors leaves")
    for vector in try Self.group("leaves") {
      let (leaf, time) = try Self.leaf(vector)
      let bytes = try Self.bytes(vector, "hex")
      let decoded = try? Leaf.decode(bytes)
      let hash = Hex.encode(MerkleHash.leaf(bytes).bytes)
      tally.expect(
        leaf.encoded(at: time) == bytes && decoded?.leaf == leaf && decoded?.time == time
          && hash == vector["leaf_hash"] as? String, "\(vector["name"] ?? "")")
    }
    tally.report()
  }

  @Test func malformedLeavesAreRefused() throws {
    var tally = Tally("leaf-vectors malformed leaves")
    for vector in try Self.group("malformed_leaves") {
      let bytes = try Self.bytes(vector, "hex")
      tally.expect((try? Leaf.decode(bytes)) == nil, "\(vector["why"] ?? "")")
    }
    tally.report()
  }

  /// One value has one encoding: whatever a changed byte or a changed length decodes to, it is encoded as read.
  @Test func everyFlippedBitIsAnotherLeafOrNone() throws {
    var (refused, others) = (0, 0)
    for vector in try Self.group("leaves") {
      let bytes = try Self.bytes(vector, "hex")
      let original = try Leaf.decode(bytes)
      for at in bytes.indices.prefix(400) {
        for bit in 0..<8 {
          var mutated = bytes
          mutated[at] ^= 1 << bit
          guard let other = try? Leaf.decode(mutated) else {
            refused += 1
            continue
          }
          others += 1
          #expect(
            other.leaf != original.leaf || other.time != original.time, "byte \(at) bit \(bit) is not part of the leaf")
          #expect(other.leaf.encoded(at: other.time) == mutated, "byte \(at) bit \(bit) gives a second encoding")
        }
        #expect((try? Leaf.decode(Array(bytes.prefix(at)))) == nil)
      }
    }
    print(
      "vectors: leaf bit flips: \(refused + others) ran, \(refused) refused, \(others) are other leaves, 0 left out")
    #expect(refused > 1000 && others > 1000)
  }

  @Test func commitmentsAndDigests() throws {
    var tally = Tally("leaf-vectors commitments and digests")
    for vector in try Self.group("commitments") {
      let text = { (name: String) in Hex.decode(vector[name] as? String ?? "") ?? [] }
      let content = SaltedContent(salt: text("salt"), content: text("content"))
      tally.expect(content.commitment == text("commitment"), "\(vector)")
    }
    for vector in try Self.group("idempotency") {
      let text = { (name: String) in vector[name] as? String ?? "?" }
      let digest = IdempotencyScope.digest(tenant: text("tenant"), principal: text("principal"), key: text("key"))
      tally.expect(Hex.encode(digest) == text("digest"), "\(vector)")
    }
    tally.report()
  }

  private static func evidence(_ vector: [String: Any]) throws -> CommandEvidence {
    func text(_ name: String) throws -> String { try #require(vector[name] as? String, "\(name)") }
    let fields = try #require(vector["fields"] as? [[String]])
    let index = try text("enrolment_index")
    let references = try (vector["references"] as? [[String]] ?? []).map {
      CommandEvidence.Reference($0[0], try #require(UInt64($0[1])))
    }
    return CommandEvidence(
      request: RequestRecord(
        method: try text("method"), targetURI: try text("target_uri"),
        fields: fields.map { RequestRecord.Field(name: $0[0], value: $0[1]) },
        signatureInput: try text("signature_input"), signature: try text("signature"), body: try bytes(vector, "body")),
      principal: try text("principal"), key: Array(try text("key").utf8),
      enrolmentIndex: try #require(UInt64(index)), references: references)
  }

  @Test func evidenceEncodesAndDecodes() throws {
    var tally = Tally("leaf-vectors evidence")
    for vector in try Self.group("evidence") {
      let evidence = try Self.evidence(vector)
      let bytes = try Self.bytes(vector, "hex")
      let decoded = try? CommandEvidence(decoding: bytes)
      tally.expect(
        evidence.encoded == bytes && decoded == evidence
          && Hex.encode(evidence.request.commandDigest) == vector["command_digest"] as? String, "\(vector)")
      for at in bytes.indices {
        for bit in 0..<8 {
          var mutated = bytes
          mutated[at] ^= 1 << bit
          guard let other = try? CommandEvidence(decoding: mutated) else { continue }
          #expect(other != evidence && other.encoded == mutated, "byte \(at) bit \(bit)")
        }
      }
    }
    tally.report()
  }

  @Test func malformedEvidenceIsRefused() throws {
    var tally = Tally("leaf-vectors malformed evidence")
    for vector in try Self.group("malformed_evidence") {
      let bytes = try Self.bytes(vector, "hex")
      tally.expect((try? CommandEvidence(decoding: bytes)) == nil, "\(vector["why"] ?? "")")
    }
    tally.report()
  }

  /// What people sign with hardware keys.
  @Test func challengesAreKnown() throws {
    var tally = Tally("leaf-vectors digests")
    for vector in try Self.group("digests") {
      let name = try #require(vector["subject"] as? String)
      guard let subject = AssertedSubject(rawValue: name) else {
        tally.leaveOut("digest of a \(name), which Seal does not compute")
        continue
      }
      let text = try #require(vector["document"] as? String)
      let document = try JSONValue(parsing: Array(text.utf8))
      tally.expect(
        document.canonical() == Array(text.utf8)
          && Hex.encode(subject.challenge(document)) == vector["digest"] as? String, "\(text)")
    }
    for _ in try Self.group("statements") { tally.leaveOut("statement, which Payments renders") }
    tally.report()
  }

  /// From a consent that a hardware key asserted, over the key's enrolment and the officer's invitation, to genesis.
  @Test func anAssertedConsentLeadsBackToGenesis() throws {
    let chain = try #require(try Self.vectors()["asserted_chain"] as? [String: Any])
    let verifier = EvidenceVerifier(genesis: try Genesis(decoding: Self.bytes(chain, "genesis")))
    let recorded = try #require(chain["leaves"] as? [[String: Any]])
    var leaves: [(leaf: [UInt8], content: SaltedContent)] = []
    for part in recorded {
      let content = SaltedContent(salt: try Self.bytes(part, "salt"), content: try Self.bytes(part, "content"))
      leaves.append((try Self.bytes(part, "leaf"), content))
    }
    #expect(try Leaf.decode(leaves[0].leaf).leaf == .genesis(digest: Genesis.digest(Self.bytes(chain, "genesis"))))
    let index = try #require((chain["consent_index"] as? String).flatMap { Int($0) })
    let (leaf, time) = try Leaf.decode(leaves[index].leaf)
    #expect(time.milliseconds == chain["decided"] as? Int64)

    func verify(_ content: [UInt8], without absent: Int? = nil, at time: Timestamp) throws -> SignedCommand {
      try verifier.verify(content, at: time) { at in
        guard at < UInt64(leaves.count), absent.map({ UInt64($0) }) != at else { return nil }
        return leaves[Int(at)]
      }
    }
    let content = leaves[index].content
    let signed = try verify(content.content, at: time)
    #expect(signed.principal.id == chain["principal"] as? String)
    #expect(signed.principal.tenant == chain["tenant"] as? String)
    #expect(signed.notAfter.milliseconds == chain["not_after"] as? Int64)
    #expect(Hex.encode(signed.commandDigest) == chain["command_digest"] as? String)
    #expect(signed.idempotencyKey == Base64.URL.encode(try Self.bytes(chain, "challenge")))
    guard case .authorized(let authorized) = leaf else {
      Issue.record("the consent's leaf is not of type authorized")
      return
    }
    #expect(authorized.commitment == content.commitment && authorized.notAfter == signed.notAfter)

    var tally = Tally("leaf-vectors asserted chain, broken")
    for absent in 1..<index {
      tally.expect((try? verify(content.content, without: absent, at: time)) == nil, "without leaf \(absent)")
    }
    for late in [Int64(0), 1] {
      let moment = Timestamp(milliseconds: signed.notAfter.milliseconds - 1 + late)
      tally.expect(((try? verify(content.content, at: moment)) == nil) == (late == 1), "at not_after - 1 + \(late) ms")
    }
    let consent = try #require(try Self.group("digests").first?["document"] as? String)
    let document = try #require(content.content.firstRange(of: Array(consent.utf8)))
    for at in stride(from: document.lowerBound, to: document.upperBound, by: 7) {
      var mutated = content.content
      mutated[at] ^= 1
      tally.expect((try? verify(mutated, at: time)) == nil, "byte \(at) of what was signed")
    }
    tally.report()
  }

  @Test func genesisIsRead() throws {
    let world = try TestWorld()
    let text = world.genesisText
    let read = try Genesis(decoding: text)
    #expect(read == world.genesis)
    #expect(try read.encoded() == text)
    let parsed = try JSONValue(parsing: text)
    let json = try #require(parsed.object)
    let changes: [(String, JSONValue?)] = [
      ("version", 2), ("origin", nil), ("origin", ""), ("created", -1), ("root_certificate_sha256", "00"),
      ("software_sha256", "zz"), ("log_keys", ["nonsense"]), ("roster", "nobody"), ("unknown", 1),
      ("roster", [["id": "x", "kind": "agent", "tenant": "t", "key": ["kty": "OKP"]]]), ("environment", 7),
      ("console", ["host": "a.test", "approval_rp_id": "a.test", "sign_in_rp_id": "a.test"]),
      ("console", ["host": "a.test"]),
    ]
    for (name, value) in changes {
      var changed = json
      changed[name] = value
      let bytes = JSONValue.object(changed).canonical()
      #expect(throws: (any Error).self, "\(name)") { try Genesis(decoding: bytes) }
    }
    #expect(throws: (any Error).self) { try Genesis(decoding: text + [0x20]) }
  }
}
