import Envelope
import OperatorClient
import SecretMemory
import Testing
import Wire

@Suite("Data keys over the wire")
struct DataKeyTests {
  static let secret = [UInt8](repeating: 0x5A, count: 32)

  /// What a daemon answers: the key sealed to the recipient, bound to its name.
  static func delivery(
    _ seen: StubDaemon.Seen, id: String = "dek_1", info: String = "trustcore/data-key/v1", secret: [UInt8] = secret
  ) throws -> JSONObject {
    let recipient = try RecoveryKey.PublicKey(Base64.URL.decode(seen.json["recipient"]?.string ?? ""))
    let sealed = try unsafe recipient.seal(secret.span.bytes, info: Array(info.utf8), aad: Array("dek_1".utf8))
    return ["data_key": .string(id), "key": "key_1", "version": 1, "sealed": .string(Base64.URL.encode(sealed))]
  }

  static func bytes(_ key: DataKey) -> [UInt8] { unsafe key.secret.secret.withUnsafeBytes { unsafe Array($0) } }

  @Test("a new one, and one that exists, arrive sealed to a key of this one request")
  func arrives() async throws {
    try await StubDaemon.run({ (201, try Self.delivery($0)) }) { stub in
      let client = try stub.client
      let context = try FileContext(["customer=42"])
      let made = try await client.newDataKey(under: "key_1", context: context, as: .owner)
      #expect(made.id == "dek_1" && made.key == "key_1")
      #expect(Self.bytes(made) == Self.secret)
      let header = try EnvelopeHeader(key: made.key, dataKey: made.id)
      #expect(Self.bytes(try await client.openDataKey(header, context: context, as: .owner)) == Self.secret)
      #expect(stub.seen.map(\.path) == ["/v1/keys/key_1/data-keys", "/v1/data-keys/dek_1/open"])
      #expect(stub.seen.allSatisfy { $0.json["context"] == ["customer": "42"] })
      #expect(stub.seen[0].json["recipient"] != stub.seen[1].json["recipient"])
    }
  }

  @Test("a delivery that was exchanged, is for another purpose, or has no key in it is refused")
  func refused() async throws {
    typealias Answer = @Sendable (StubDaemon.Seen) throws -> JSONObject
    let answers: [(String, Answer)] = [
      ("another name", { try Self.delivery($0, id: "dek_2") }),
      ("another purpose", { try Self.delivery($0, info: "trustcore/other/v1") }),
      ("a short key", { try Self.delivery($0, secret: [1, 2, 3]) }), ("nothing", { _ in [:] }),
      ("noise", { _ in ["data_key": "dek_1", "key": "key_1", "sealed": "AAAA"] }),
      ("no base64url", { _ in ["data_key": "dek_1", "key": "key_1", "sealed": "A=="] }),
    ]
    for (name, answer) in answers {
      try await StubDaemon.run({ (200, try answer($0)) }) { stub in
        let client = try stub.client
        let error = await ClientTests.error {
          _ = try await client.newDataKey(under: "key_1", context: try FileContext(["a=b"]), as: .owner)
        }
        #expect(error == OperatorError(.unexpectedAnswer, ""), "\(name)")
        #expect(error?.exitCode == 70)
      }
    }
  }

  @Test("contexts: both sides of each limit")
  func contexts() throws {
    func code(_ texts: [String]) -> OperatorError.Code? {
      do throws(OperatorError) {
        _ = try FileContext(texts)
        return nil
      } catch { return error.code }
    }
    let many = (0..<17).map { "n\($0)=v" }
    #expect(code([]) == .usage)
    #expect(code(Array(many.prefix(16))) == nil)
    #expect(code(many) == .usage)
    #expect(code(["nothing"]) == .usage)
    #expect(code(["=v"]) == .usage)
    #expect(code(["n="]) == nil)
    #expect(code(["a=1", "a=1"]) == .usage)
    #expect(code([String(repeating: "n", count: 64) + "=v"]) == nil)
    #expect(code([String(repeating: "n", count: 65) + "=v"]) == .usage)
    #expect(code(["n=" + String(repeating: "v", count: 256)]) == nil)
    #expect(code(["n=" + String(repeating: "v", count: 257)]) == .usage)
    #expect(try FileContext(["b=2=3", "a=1"]).canonical == Array(#"{"a":"1","b":"2=3"}"#.utf8))
  }
}
