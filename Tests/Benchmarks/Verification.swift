import AgentIdentity
import Crypto
import DemoClient
import JOSE
import Seal
import Wire

/// What verifying a request costs beside the bare verification of its P-256 signature.
enum Verification {
  static func measure() throws -> [Row] {
    let random = KernelRandom()
    let key = SigningKey(.p256, random: random)
    let now = WallClock().now()
    let principal = Principal(
      id: "agt_" + Base64.URL.encode(random.bytes(16)), kind: .agent, tenant: "ten_benchmark", owner: "own_benchmark",
      thumbprint: key.verificationKey.thumbprint, key: key.publicJWK.bareJSON.canonical(), status: .active,
      enrolmentIndex: 12)
    let (message, body) = try signedRequest(key, random, now)
    let bare = P256.Signing.PrivateKey()
    // Of the length of the signature base, so that both hash as much.
    let text = [UInt8](repeating: 0x61, count: 1200)
    let signature = try bare.signature(for: text)
    let token = Base64.URL.encode(random.bytes(300))
    let uri = "https://localhost:8443/v1/ledger/accounts"
    let proof = try DPoPProof.make(
      key: key, method: "GET", uri: uri, id: Base64.URL.encode(random.bytes(16)), issuedAt: now, accessToken: token)
    guard let target = HTTPURI(uri) else { throw BenchmarkError("the URI cannot be read") }
    let expectations = DPoPExpectations(method: "GET", uri: target, accessToken: token)
    func check(_ holds: Bool) throws { if !holds { throw BenchmarkError("a good signature does not verify") } }
    let rates = try Timing.rates(
      rounds: 9, operations: 2000,
      [
        { count in
          try Timing.seconds { for _ in 0..<count { try check(bare.publicKey.isValidSignature(signature, for: text)) } }
        },
        { count in
          try Timing.seconds {
            for _ in 0..<count {
              _ = try UnverifiedCommand(message, body: body).verified(by: principal, key: key.verificationKey, at: now)
            }
          }
        },
        { count in
          try Timing.seconds { for _ in 0..<count { _ = try DPoPProof(proof).verified(expectations, now: now) } }
        },
      ])
    return [
      Row("signed request verified, P-256", rates[1], "/s", beside: "bare P-256 verification", rates[0]),
      Row("  its rest, parse, digest and evidence", 1e6 / rates[1] - 1e6 / rates[0], "us", most: 12),
      Row("DPoP proof verified, P-256", rates[2], "/s", beside: "bare P-256 verification", rates[0], atLeast: 0.8),
    ]
  }

  /// A transfer as agents send it.
  private static func signedRequest(
    _ key: SigningKey, _ random: KernelRandom, _ now: Timestamp
  ) throws -> (HTTPMessage, [UInt8]) {
    let party = Party(id: "agt", key: key, api: "https://localhost:8443", time: WallClock(), random: random)
    let account = "acc_" + Base64.URL.encode(random.bytes(16))
    let body: JSONValue = [
      "entries": [
        ["account": .string(account), "side": "debit", "amount": "0.01", "currency": "USD"],
        ["account": .string(account), "side": "credit", "amount": "0.01", "currency": "USD"],
      ]
    ]
    let request = try party.command(
      "/v1/ledger/transfers", body, token: Base64.URL.encode(random.bytes(480)))
    let target = HTTPMessage.Target(
      method: "POST", scheme: "https", authority: "localhost:8443", path: request.path, query: nil)
    return (HTTPMessage(target, headers: request.headers), request.body)
  }
}
