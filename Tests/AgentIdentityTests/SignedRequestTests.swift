import Crypto
import JOSE
import Testing
import Wire

@testable import AgentIdentity

struct SeededRandom: RandomSource {
  let seed: UInt8
  func bytes(_ count: Int) -> [UInt8] { Array(SHA512.hash(data: [seed])).prefix(count).map { $0 } }
}

@Suite("Signed requests")
struct SignedRequestTests {
  static let now = Timestamp(seconds: 1_800_000_000)
  static let body = Array(#"{"amount":"12.50"}"#.utf8)
  static let target = HTTPMessage.Target(
    method: "POST", scheme: "https", authority: "api.example:8443", path: "/v1/payments/authorize", query: "a=1")
  static let headers = [
    HTTPMessage.Field("Content-Type", "application/json"), HTTPMessage.Field("Idempotency-Key", "\"k1\""),
    HTTPMessage.Field("Authorization", "DPoP abc.def.ghi"), HTTPMessage.Field("User-Agent", "t"),
  ]
  static let nonce = "0123456789abcdef"
  let key = SigningKey(.p256, random: SeededRandom(seed: 1))
  let ed25519 = SigningKey(.ed25519, random: SeededRandom(seed: 2))

  /// A signed request; the closure may spoil it.
  private func request(
    _ key: SigningKey? = nil, created: Timestamp = now, nonce: String = nonce, expires: Timestamp? = nil,
    policy: SignaturePolicy = .command, _ change: (inout [HTTPMessage.Field]) -> Void = { _ in }
  ) throws -> HTTPMessage {
    var headers = Self.headers
    headers += try RequestSigner(key: key ?? self.key, policy: policy).sign(
      Self.target, headers: headers, body: Self.body, created: created, nonce: nonce, expires: expires)
    change(&headers)
    return HTTPMessage(Self.target, headers: headers)
  }

  private func verify(
    _ message: HTTPMessage, with other: SigningKey? = nil, body: [UInt8] = body, now: Timestamp = now
  ) -> ProofError.Code? {
    do throws(ProofError) {
      _ = try UnverifiedSignedRequest(message).verified(with: (other ?? key).verificationKey, body: body, now: now)
      return nil
    } catch { return error.code }
  }

  /// Replaces text in a field's value.
  private func edit(_ name: String, _ old: String, _ new: String) -> (inout [HTTPMessage.Field]) -> Void {
    { headers in
      headers = headers.map { field in
        guard field.name == name else { return field }
        let parts = field.value.split(separator: old, omittingEmptySubsequences: false)
        #expect(parts.count > 1, "\(old) is not in \(name)")
        return HTTPMessage.Field(name, parts.joined(separator: new))
      }
    }
  }

  @Test("a signed request verifies, and says what was signed")
  func good() throws {
    for key in [key, ed25519] {
      let message = try request(key, expires: Self.now.adding(seconds: 60))
      let verified = try UnverifiedSignedRequest(message).verified(
        with: key.verificationKey, body: Self.body, now: Self.now)
      #expect(verified.keyThumbprint == key.verificationKey.thumbprint)
      #expect(verified.created == Self.now)
      #expect(verified.notAfter == Self.now.adding(seconds: 60))
      #expect(verified.nonce == Self.nonce)
      #expect(verified.components == SignaturePolicy.commandComponents)
      let base = String(decoding: verified.signatureBase, as: UTF8.self)
      #expect(
        base.hasPrefix("\"@method\": POST\n\"@target-uri\": https://api.example:8443/v1/payments/authorize?a=1\n"))
      try key.verificationKey.verify(
        signature: verified.signature, message: verified.signatureBase, algorithm: verified.algorithm)
    }
  }

  @Test("another order of components and parameters, and further components, verify")
  func order() throws {
    let policy = SignaturePolicy(
      components: ["authorization", "user-agent", "@authority", "content-digest"] + [
        "@target-uri", "content-type", "idempotency-key", "@method",
      ])
    #expect(verify(try request(policy: policy)) == nil)
    let message = try request()
    // Parameters in an order of the client's own, and without a tag, which is optional.
    let text = SignaturePolicy.commandComponents.map { "\"\($0)\"" }.joined(separator: " ")
    let parameters =
      "keyid=\"\(key.verificationKey.thumbprint)\";nonce=\"\(Self.nonce)\";alg=\"ecdsa-p256-sha256\";created=1800000000"
    guard case .innerList(let list) = try StructuredField.list("(\(text));\(parameters)")[0] else {
      Issue.record("the list is not an inner list")
      return
    }
    let base = try SignatureBase.build(message, try SignatureInput(list))
    let signature = Base64.encode(try key.sign(base))
    let headers =
      message.headers.filter { !$0.name.hasPrefix("Signature") } + [
        // White space that an intermediary may add is not part of what is signed.
        HTTPMessage.Field("signature-input", "x=(  \(text) ); \(parameters)"),
        HTTPMessage.Field("signature", "x=:\(signature):"),
      ]
    #expect(verify(HTTPMessage(Self.target, headers: headers)) == nil)
  }

  @Test("components with parameters and fields in several lines cannot be kept as evidence, and are refused")
  func evidence() throws {
    let lines = [HTTPMessage.Field("X-A", "1"), HTTPMessage.Field("X-A", "2")]
    for component in ["\"x-a\"", "\"x-a\";bs", "\"content-type\";bs"] {
      var message = try request()
      message.headers.append(contentsOf: lines)
      let text = SignaturePolicy.commandComponents.map { "\"\($0)\"" }.joined(separator: " ") + " " + component
      let parameters = "created=1800000000;nonce=\"\(Self.nonce)\";keyid=\"\(key.verificationKey.thumbprint)\""
      guard case .innerList(let list) = try StructuredField.list("(\(text));\(parameters)")[0] else {
        Issue.record("the list is not an inner list")
        return
      }
      let signature = Base64.encode(try key.sign(try SignatureBase.build(message, try SignatureInput(list))))
      message.headers.removeAll { $0.name.hasPrefix("Signature") }
      message.headers.append(HTTPMessage.Field("signature-input", "x=(\(text));\(parameters)"))
      message.headers.append(HTTPMessage.Field("signature", "x=:\(signature):"))
      #expect(verify(message) == .signatureCoverage, "\(component)")
    }
  }

  @Test("missing and malformed signatures")
  func malformed() throws {
    let message = try request()
    for name in ["Signature", "Signature-Input"] {
      #expect(verify(try request { $0.removeAll { $0.name == name } }) == .signatureMissing)
    }
    #expect(verify(HTTPMessage(Self.target, headers: Self.headers)) == .signatureMissing)
    let thumbprint = key.verificationKey.thumbprint
    for (old, new) in [
      (";created=1800000000", ""), (";nonce=\"\(Self.nonce)\"", ""), (";nonce=\"\(Self.nonce)\"", ";nonce=\"\""),
      (";keyid=\"\(thumbprint)\"", ""), ("trustcore", "other"), ("trustcore", "Trustcore"),
      (";tag=", ";foo=1;tag="), (";created=", ";created=1;created="), (";created=1800000000", ";created=-1"),
      ("created=1800000000", "created=999999999999999"), ("\"@method\" ", "\"@method\" \"@method\" "),
      ("\"@method\" ", "\"@method\" \"@nothing\" "), (";nonce=", ";expires=1800000301;nonce="),
      (";nonce=", ";expires=1800000000;nonce="), (";nonce=", ";expires=1799999999;nonce="), ("sig=", "other="),
    ] {
      let changed = try request(nil, created: Self.now, edit("Signature-Input", old, new))
      let code = verify(changed)
      // A component that is not defined is found when the base is built, after the policy.
      #expect(code == .signatureMalformed, "\(old) → \(new)")
    }
    #expect(
      verify(
        try request {
          $0.append(HTTPMessage.Field("Signature", "b=:AQ==:")); $0.append(HTTPMessage.Field("Signature-Input", "b=()"))
        }) == .signatureMalformed)
    #expect(verify(message) == nil)
  }

  @Test("nonces: both sides of both limits")
  func nonces() throws {
    for (count, expected) in [(15, false), (16, true), (128, true), (129, false)] {
      let code = verify(try request(nonce: String(repeating: "n", count: count)))
      #expect((code == nil) == expected, "\(count)")
    }
  }

  @Test("every component of the policy must be covered, plainly", arguments: SignaturePolicy.commandComponents)
  func coverage(name: String) throws {
    let fewer = SignaturePolicy(components: SignaturePolicy.commandComponents.filter { $0 != name })
    #expect(verify(try request(policy: fewer)) == .signatureCoverage)
    // Covered with a parameter is another component.
    let parameter = name.hasPrefix("@") ? ";req" : ";bs"
    #expect(
      verify(try request(nil, edit("Signature-Input", "\"\(name)\"", "\"\(name)\"\(parameter)"))) == .signatureCoverage)
  }

  @Test("a covered field must be there, once", arguments: ["Content-Type", "Idempotency-Key", "Authorization"])
  func onceOnly(name: String) throws {
    #expect(verify(try request { $0.removeAll { $0.name == name } }) == .signatureCoverage)
    #expect(verify(try request { $0.append(HTTPMessage.Field(name.lowercased(), "second")) }) == .signatureCoverage)
  }

  @Test("times: both sides of each limit")
  func times() throws {
    let message = try request()
    #expect(verify(message, now: Self.now.adding(seconds: -5)) == nil)
    #expect(verify(message, now: Self.now.adding(seconds: -6)) == .signatureNotYetValid)
    #expect(verify(message, now: Timestamp(milliseconds: Self.now.adding(seconds: 300).milliseconds - 1)) == nil)
    #expect(verify(message, now: Self.now.adding(seconds: 300)) == .signatureExpired)
    let short = try request(expires: Self.now.adding(seconds: 1))
    #expect(verify(short) == nil)
    #expect(verify(short, now: Self.now.adding(seconds: 1)) == .signatureExpired)
    #expect(verify(try request(expires: Self.now.adding(seconds: 300))) == nil)
    #expect(verify(try request(expires: Self.now.adding(seconds: 301))) == .signatureMalformed)
  }

  @Test("the key and the algorithm must be those named")
  func keys() throws {
    #expect(verify(try request(), with: ed25519) == .keyMismatch)
    let other = SigningKey(.p256, random: SeededRandom(seed: 9))
    let thumbprints = (key.verificationKey.thumbprint, other.verificationKey.thumbprint)
    let stolen = try request(nil, edit("Signature-Input", thumbprints.0, thumbprints.1))
    #expect(verify(stolen, with: other) == .signatureInvalid)
    for algorithm in ["ed25519", "hmac-sha256", "ES256", "none", ""] {
      let changed = try request(nil, edit("Signature-Input", ";tag=", ";alg=\"\(algorithm)\";tag="))
      #expect(verify(changed) == .keyMismatch)
    }
  }

  @Test("digests: missing, wrong, malformed, of another body")
  func digests() throws {
    #expect(verify(try request(), body: Self.body + [0x20]) == .digestMismatch)
    #expect(verify(try request(), body: []) == .digestMismatch)
    #expect(verify(try request { $0.removeAll { $0.name == "Content-Digest" } }) == .digestMissing)
    for (value, code) in [
      ("md5=:AQ==:", .digestMissing), ("", .digestMissing), ("sha-256", .digestMismatch),
      ("sha-256=:AQ==:", .digestMismatch), ("sha-256=AQ", .digestMismatch), ("sha-256=:AQ:", .digestMismatch),
      (",", .digestMismatch), (ContentDigest.value(of: Self.body) + ", sha-512=:AQ==:", .digestMismatch),
      (ContentDigest.value(of: [1]) + ", " + ContentDigest.value(of: Self.body), .digestMismatch),
    ] as [(String, ProofError.Code)] {
      let changed = try request { headers in
        headers = headers.map { $0.name == "Content-Digest" ? HTTPMessage.Field($0.name, value) : $0 }
      }
      #expect(verify(changed) == code, "\(value)")
    }
  }

  @Test("RFC 9530's digests, both algorithms, and unknown ones beside a known one")
  func contentDigest() throws {
    let body = Array("{\"hello\": \"world\"}\n".utf8)
    #expect(ContentDigest.value(of: body) == "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:")
    let both =
      ContentDigest.value(of: body) + ", sha-512=:"
      + Base64.encode(Array(SHA512.hash(data: body))) + ":"
    try ContentDigest.verify([both], body: body)
    try ContentDigest.verify(["unixsum=1", ContentDigest.value(of: body)].suffix(1).map { $0 }, body: body)
    try ContentDigest.verify(["crc32c=:AAAAAA==:", ContentDigest.value(of: body)], body: body)
    #expect(throws: ProofError(.digestMismatch, "")) {
      try ContentDigest.verify([ContentDigest.value(of: body) + String(repeating: " ", count: 1024)], body: body)
    }
  }

  @Test("each part of the request is bound: any change is refused")
  func bound() throws {
    let message = try request()
    let targets =
      [
        ("PUT", "https", "api.example:8443", "/v1/payments/authorize", "a=1"),
        ("POST", "http", "api.example:8443", "/v1/payments/authorize", "a=1"),
        ("POST", "https", "api.example", "/v1/payments/authorize", "a=1"),
        ("POST", "https", "api.example:8443", "/v1/payments/authorise", "a=1"),
        ("POST", "https", "api.example:8443", "/v1/payments/authorize", "a=2"),
        ("POST", "https", "api.example:8443", "/v1/payments/authorize", nil),
      ] as [(String, String, String, String, String?)]
    for (method, scheme, authority, path, query) in targets {
      let target = HTTPMessage.Target(method: method, scheme: scheme, authority: authority, path: path, query: query)
      #expect(verify(HTTPMessage(target, headers: message.headers)) == .signatureInvalid)
    }
    for (name, old, new) in [
      ("Content-Type", "json", "xml"), ("Idempotency-Key", "k1", "k2"), ("Authorization", "abc", "abd"),
      ("Signature-Input", "created=1800000000", "created=1800000001"), ("Signature-Input", "abcdef", "abcdeg"),
      ("Signature-Input", "\"@method\" \"@target-uri\"", "\"@target-uri\" \"@method\""),
    ] { #expect(verify(try request(nil, edit(name, old, new))) == .signatureInvalid, "\(name) \(new)") }
    #expect(verify(try request { $0.removeAll { $0.name == "User-Agent" } }) == nil)
  }

  @Test("mutated signature fields never verify and never crash")
  func mutation() throws {
    let message = try request()
    var random = SplitMix64(seed: 7)
    var refused = 0
    for _ in 0..<400 {
      var headers = message.headers
      let index = headers.count - 1 - Int(random.next() % 3)
      var bytes = Array(headers[index].value.utf8)
      let at = Int(random.next() % UInt64(bytes.count))
      bytes[at] = UInt8(0x20 + random.next() % 95)
      let value = String(decoding: bytes, as: UTF8.self)
      if value == headers[index].value { continue }
      headers[index] = HTTPMessage.Field(headers[index].name, value)
      let code = verify(HTTPMessage(Self.target, headers: headers))
      // A label is not signed: changed in both fields it would still verify, in one it cannot.
      #expect(code != nil, "\(value)")
      refused += 1
    }
    #expect(refused > 300)
  }
}
