import Crypto
import DemoClient
import Envelope
import Seal
import SecretMemory
import Testing
import TransparencyLog
import Wire

/// What tests of keys have beside the money: a key, a data key under it, and someone to seal data keys to.
struct Vault: Sendable {
  /// The key of the class `files`.
  let key: String
  /// A data key under it, made by the owner for ``context``.
  let dataKey: String
  /// Who data keys are sealed to.
  let recipient: Recipient

  /// An X-Wing key pair.
  final class Recipient: Sendable {
    private let pair: RecoveryKey
    /// The public half, base64url.
    let text: String

    init() throws {
      pair = try RecoveryKey.generate()
      text = Base64.URL.encode(pair.publicKey.bytes)
    }

    /// The SHA-256 of the data key that came with an answer.
    func fingerprint(_ answer: Answer) throws -> [UInt8] {
      let id = try #require(answer["data_key"]?.string, "\(answer.text)")
      let sealed = try Base64.URL.decode(try #require(answer["sealed"]?.string))
      let secret = try pair.open(sealed, info: Array("trustcore/data-key/v1".utf8), aad: Array(id.utf8))
      return secret.withBytes { bytes in
        #expect(bytes.byteCount == 32)
        return unsafe bytes.withUnsafeBytes { unsafe Array(SHA256.hash(data: $0)) }
      }
    }
  }

  static let context: JSONValue = ["customer": "42"]

  init(_ deployment: Deployment, _ client: TrustCoreClient) async throws {
    recipient = try Recipient()
    let made = try await deployment.officer.submit(client, "/v1/keys", ["class": "files"])
    key = try #require(made["result", "key"]?.string, "\(made.text)")
    let drawn = try await deployment.owner.submit(
      client, "/v1/keys/\(key)/data-keys", ["context": Self.context, "recipient": .string(recipient.text)])
    dataKey = try #require(drawn["data_key"]?.string, "\(drawn.text)")
  }

  /// The body of a request for a data key.
  func request(_ context: JSONValue = Self.context) -> JSONValue {
    ["context": context, "recipient": .string(recipient.text)]
  }
}

extension Fixture {
  /// How many leaves come by the clock and not by a request.
  func leavesByTheClock(_ size: Int64) async throws -> Int64 {
    var count: Int64 = 0
    for start in stride(from: 0, to: size, by: 256) {
      let width = min(256, size - start)
      let path = try #require(TilePath(.entries, index: UInt64(start / 256), width: Int(width)))
      let answer = try await client.get("/log/\(path)", bearer: deployment.auditorToken)
      try #require(answer.status == 200, "\(path): \(answer.summary)")
      for entry in try EntryBundle.decode(answer.body, width: Int(width)) {
        if case .event(let event) = try Leaf.decode(entry).leaf, Self.byTheClock.contains(event.kind) { count += 1 }
      }
    }
    return count
  }

  /// What the daemon records by itself: the journal of uses, revocation lists, what becomes of ordered authorities, and
  /// certificates of its own; and the access tokens that parties ask for again where theirs end in the middle of a test.
  private static let byTheClock: Set = [
    "key-uses", "crl.issued", "authority.prepared", "authority.activated", "authority.certified", "certificate.issued",
    "token.issued",
  ]
}
