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
    return CommandEvidence(
      request: RequestRecord(
        method: try text("method"), targetURI: try text("target_uri"),
        fields: fields.map { RequestRecord.Field(name: $0[0], value: $0[1]) },
        signatureInput: try text("signature_input"), signature: try text("signature"), body: try bytes(vector, "body")),
      principal: try text("principal"), key: Array(try text("key").utf8),
      enrolmentIndex: try #require(UInt64(index)))
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
