import Crypto
import KeyHierarchy
import Testing
import Wire

@testable import JOSE

struct SeededRandom: RandomSource {
  let seed: UInt8
  func bytes(_ count: Int) -> [UInt8] { Array(SHA512.hash(data: [seed])).prefix(count).map { $0 } }
}

@Suite("JWS (RFC 7515)")
struct JWSTests {
  let p256 = SigningKey(.p256, random: SeededRandom(seed: 1))
  let ed25519 = SigningKey(.ed25519, random: SeededRandom(seed: 2))

  private func code(_ body: () throws -> Void) -> JOSEError.Code? {
    do {
      try body()
      return nil
    } catch { return (error as? JOSEError)?.code }
  }

  private func token(_ header: String, _ payload: String = "{}", signature: [UInt8] = [1]) -> String {
    [Array(header.utf8), Array(payload.utf8), signature].map { Base64.URL.encode($0) }.joined(separator: ".")
  }

  @Test("RFC 8037 appendix A.4 and A.5: the signature of the specification")
  func rfc8037() throws {
    let key = try SigningKey(
      privateJWK: [
        "kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
      ])
    let text = try key.jws(Array("Example of Ed25519 signing".utf8), header: [:])
    #expect(
      text
        == "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    )
    let verified = try UnverifiedJWS(text).verified(with: key.verificationKey, allowed: [.edDSA])
    #expect(String(decoding: verified.payload, as: UTF8.self) == "Example of Ed25519 signing")
  }

  @Test("signs and verifies; every changed character is refused")
  func mutation() throws {
    for key in [p256, ed25519] {
      let text = try key.jws(Array("{\"a\":1}".utf8), header: ["typ": "x"])
      #expect(try UnverifiedJWS(text).verified(with: key.publicJWK, allowed: .proofOfPossession).type == "x")
      let bytes = Array(text.utf8)
      for index in bytes.indices {
        var changed = bytes
        changed[index] = bytes[index] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
        let mutant = String(decoding: changed, as: UTF8.self)
        #expect(
          code { _ = try UnverifiedJWS(mutant).verified(with: key.publicJWK, allowed: .proofOfPossession) } != nil)
      }
    }
  }

  @Test(
    "malformed tokens are refused",
    arguments: [
      "", ".", "..", "...", "a.b", "a.b.c", "e30.e30.AA", "eyJhbGciOiJFUzI1NiJ9.e30", "eyJhbGciOiJFUzI1NiJ9.e30.AA.AA",
      "eyJhbGciOiJFUzI1NiJ9.e30.AA.", " eyJhbGciOiJFUzI1NiJ9.e30.AA", "eyJhbGciOiJFUzI1NiJ9.e30.AA\n",
      "eyJhbGciOiJFUzI1NiJ9=.e30.AA", "eyJhbGciOiJFUzI1NiJ9.e3 0.AA", "eyJhbGciOiJFUzI1NiJ9.e30.AB",
      "eyJhbGciOiJFUzI1NiJ9.e30.A\u{E9}",
    ])
  func malformed(text: String) { #expect(code { _ = try UnverifiedJWS(text) } == .malformed) }

  @Test(
    "headers that are not strict, or ask for what is not understood, are refused",
    arguments: [
      #"{"alg":"ES256","alg":"ES256"}"#, #"{"alg":"ES256","\u0061lg":"none"}"#, #"{"alg":"ES256",}"#, "[]", "1", "{}",
      #"{"alg":1}"#, #"{"alg":null}"#, #"{"alg":"ES256","crit":["exp"]}"#, #"{"alg":"ES256","crit":[]}"#,
      #"{"alg":"ES256","b64":false}"#, #"{"alg":"ES256","b64":true}"#, #"{"alg":"ES256","b64":false,"crit":["b64"]}"#,
      #"{"alg":"ES256","kid":7}"#, #"{"alg":"ES256","typ":{}}"#, #"{"alg":"ES256","cty":1}"#,
      #"{"alg":"ES256","x":[[[[[[[[1]]]]]]]]}"#,
    ])
  func headers(header: String) { #expect(code { _ = try UnverifiedJWS(token(header)) } == .malformed) }

  @Test("length: at the limit and one byte beyond")
  func length() throws {
    let overhead = token(#"{"alg":"ES256"}"#, "").utf8.count
    let payload = String(repeating: "a", count: (16_384 - overhead) * 3 / 4)
    let text = token(#"{"alg":"ES256"}"#, payload)
    let filler = 16_384 - text.utf8.count
    #expect((0...3).contains(filler))
    _ = try UnverifiedJWS(text)
    let longer = token(#"{"alg":"ES256"}"#, payload + "aaa")
    #expect(longer.utf8.count > 16_384)
    #expect(code { _ = try UnverifiedJWS(longer) } == .malformed)
  }

  @Test(
    "none, HMAC, unknown and disallowed algorithms are refused",
    arguments: ["none", "NONE", "None", "HS256", "ES256K", "es256", "RS256", ""])
  func algorithms(name: String) throws {
    let jws = try UnverifiedJWS(token("{\"alg\":\"\(name)\"}"))
    #expect(code { _ = try jws.verified(with: p256.publicJWK, allowed: .proofOfPossession) } == .algorithmNotAllowed)
    let empty = try UnverifiedJWS(token("{\"alg\":\"\(name)\"}", signature: []))
    #expect(code { _ = try empty.verified(with: p256.publicJWK, allowed: .proofOfPossession) } == .algorithmNotAllowed)
  }

  @Test("the header's algorithm must be the key's")
  func confusion() throws {
    let text = try p256.jws([1], header: [:])
    #expect(
      code { _ = try UnverifiedJWS(text).verified(with: ed25519.verificationKey, allowed: .issuers) } == .keyMismatch)
    let only = JWK(p256.verificationKey, keyID: "k", algorithm: .es256)
    _ = try UnverifiedJWS(text).verified(with: only, allowed: .issuers)
    let named = try p256.jws([1], header: ["kid": "other"])
    #expect(code { _ = try UnverifiedJWS(named).verified(with: only, allowed: .issuers) } == .keyMismatch)
  }

  @Test("ES256 signatures of other lengths and in DER are refused")
  func signatureForm() throws {
    let input = Array("m".utf8)
    let signature = try p256.sign(input)
    let der = Array(try P256.Signing.ECDSASignature(rawRepresentation: signature).derRepresentation)
    for bad in [[], Array(signature.dropLast()), signature + [0], der, [UInt8](repeating: 0, count: 64)] {
      #expect(
        code { try p256.verificationKey.verify(signature: bad, message: input, algorithm: .es256) } == .signatureInvalid
      )
    }
  }

  @Test("types are compared without case and without application/")
  func types() throws {
    #expect(try UnverifiedJWS(token(#"{"alg":"ES256","typ":"application/AT+jwt"}"#)).type == "at+jwt")
    #expect(try UnverifiedJWS(token(#"{"alg":"ES256"}"#)).type == nil)
  }

  @Test("client keys: JWK round trip, and public members that do not belong are refused")
  func clientKeys() throws {
    for key in [p256, ed25519] {
      let again = try SigningKey(privateJWK: key.privateJWK)
      #expect(again.verificationKey == key.verificationKey)
      #expect(key.publicJWK.json.object?["d"] == nil)
      var object = try #require(key.privateJWK.object)
      object["x"] = .string(Base64.URL.encode([UInt8](repeating: 5, count: 32)))
      #expect(code { _ = try SigningKey(privateJWK: .object(object)) } == .malformedKey)
    }
    #expect(code { _ = try SigningKey(.p256, secret: [UInt8](repeating: 0, count: 32)) } == .malformedKey)
    #expect(code { _ = try SigningKey(.p256, secret: [UInt8](repeating: 0xFF, count: 32)) } == .malformedKey)
    #expect(code { _ = try SigningKey(.ed25519, secret: [1]) } == .malformedKey)
  }

  @Test("a custodian's key signs, and its thumbprint is the kid")
  func custodian() async throws {
    let signer = try JWSSigner(custodian: OneKey(key: p256), key: .oauthA)
    let jwt = try await signer.jwt(["iss": "x"], type: "at+jwt")
    let jws = try UnverifiedJWS(jwt)
    #expect(jws.keyID == p256.verificationKey.thumbprint)
    #expect(try jws.verified(with: signer.publicJWK, allowed: [.es256]).type == "at+jwt")
    #expect(code { _ = try JWSSigner(custodian: OneKey(key: p256), key: .recordMAC) } == .unsupportedKey)
  }
}

/// A custodian of one P-256 key, for these tests.
private struct OneKey: KeyCustodian {
  let key: SigningKey
  func publicKey(_ name: KeyName) throws(CustodyError) -> CustodyPublicKey {
    let members = key.verificationKey.requiredMembers
    guard name == .oauthA, let x = members["x"]?.string, let y = members["y"]?.string,
      let point = try? Base64.URL.decode(x) + Base64.URL.decode(y)
    else { throw CustodyError(.keyNotFound, "") }
    return CustodyPublicKey(algorithm: .ecdsaP256, bytes: [4] + point)
  }
  func sign(_ message: [UInt8], with name: KeyName) async throws(CustodyError) -> [UInt8] {
    try signBlocking(message, with: name)
  }
  func signBlocking(_ message: [UInt8], with name: KeyName) throws(CustodyError) -> [UInt8] {
    do { return try key.sign(message) } catch { throw CustodyError(.failed, "") }
  }
  func signCheckpoint(_ body: [UInt8], with name: KeyName) async throws(CustodyError) -> [UInt8] {
    throw CustodyError(.notPermitted, "")
  }
  func authenticate(_ message: [UInt8], with name: KeyName) async throws(CustodyError) -> [UInt8] {
    throw CustodyError(.notPermitted, "")
  }
  func randomBytes(_ count: Int) throws(CustodyError) -> [UInt8] { throw CustodyError(.notPermitted, "") }
  var operationCount: UInt64 { 0 }
}
