import Crypto
import Envelope
import Foundation
import SecretMemory
import TestSupport
import Testing
import Wire

@Suite("Recovery keys")
struct RecoveryKeyTests {
  private let info = Array("trustcore/test/v1".utf8)
  private let aad = Array("key_1".utf8)

  private func key(_ seed: UInt64) throws -> RecoveryKey { try RecoveryKey(seed: secret(SeededRandom(seed).bytes(32))) }

  private func seal(_ bytes: [UInt8], to key: RecoveryKey.PublicKey) throws -> [UInt8] {
    try key.seal(unsafe bytes.span.bytes, info: info, aad: aad)
  }

  @Test("What is sealed opens", arguments: [1, 32, 33, 4096]) func roundTrip(_ count: Int) throws {
    let key = try key(1)
    let bytes = SeededRandom(UInt64(count)).bytes(count)
    let sealed = try seal(bytes, to: key.publicKey)
    #expect(sealed.count == count + RecoveryKey.overheadByteCount)
    #expect(RecoveryKey.overheadByteCount == 1136)
    #expect(try array(key.open(sealed, info: info, aad: aad).secret) == bytes)
    #expect(try seal(bytes, to: key.publicKey) != sealed)
  }

  @Test("A seed makes one key pair, and another seed another") func seeds() throws {
    let (a, b, c) = try (key(1).publicKey, key(1).publicKey, key(2).publicKey)
    #expect(a == b)
    #expect(a != c)
    #expect(a.bytes.count == 1216)
    #expect(a.fingerprint == Array(SHA256.hash(data: a.bytes)))
    let new = try RecoveryKey.generate()
    #expect(new.seed.count == 32)
    let again = try RecoveryKey(seed: SecretBytes(copying: new.seed.bytes))
    #expect(new.publicKey == again.publicKey)
    #expect(try RecoveryKey.generate().publicKey != new.publicKey)
  }

  // draft-connolly-cfrg-xwing-kem, spec/test-vectors.json at 9b6ce9e: the seeds, and SHA-256 of the public keys.
  @Test(
    "The draft's seeds make the draft's public keys",
    arguments: [
      (
        "7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26",
        "2e816deebcd76c5c80d0cd2d174478871658e8e2ff42bc9d4a6e486372e856bb"
      ),
      (
        "badfd6dfaac359a5efbb7bcc4b59d538df9a04302e10c8bc1cbf1a0b3a5120ea",
        "c42ba5f8430d7d2c83739338203819f090e8303ce9c8b02107c272bfa5376916"
      ),
      (
        "ef58538b8d23f87732ea63b02b4fa0f4873360e2841928cd60dd4cee8cc0d4c9",
        "6b080d6b84f095342092fa7a22423e58bd681397ad0ef00eac92bd254db4fa95"
      ),
    ])
  func knownKeys(_ seed: String, _ fingerprint: String) throws {
    let key = try RecoveryKey(seed: secret(#require(Hex.decode(seed))))
    #expect(Hex.encode(key.publicKey.fingerprint) == fingerprint)
  }

  @Test("The library's own X-Wing opens it, and makes what we open") func library() throws {
    let seed = SeededRandom(1).bytes(32)
    let ours = try key(1)
    let theirs = try XWingMLKEM768X25519.PrivateKey(seedRepresentation: seed, publicKey: nil)
    #expect(Array(theirs.publicKey.rawRepresentation) == ours.publicKey.bytes)
    let suite = HPKE.Ciphersuite.XWingMLKEM768X25519_SHA256_AES_GCM_256
    let sealed = try seal([1, 2, 3], to: ours.publicKey)
    var recipient = try HPKE.Recipient(
      privateKey: theirs, ciphersuite: suite, info: Data(info), encapsulatedKey: Data(sealed[..<1120]))
    #expect(try Array(recipient.open(sealed[1120...], authenticating: aad)) == [1, 2, 3])
    var sender = try HPKE.Sender(recipientKey: theirs.publicKey, ciphersuite: suite, info: Data(info))
    let other = try Array(sender.encapsulatedKey + sender.seal([4, 5], authenticating: aad))
    #expect(try array(ours.open(other, info: info, aad: aad).secret) == [4, 5])
  }

  @Test("Another key, info or aad, and any bit flipped, is refused") func refusals() throws {
    let key = try key(1)
    let other = try self.key(2)
    let sealed = try seal(SeededRandom(3).bytes(32), to: key.publicKey)
    func code(_ sealed: [UInt8], _ key: borrowing RecoveryKey, info: [UInt8]? = nil, aad: [UInt8]? = nil)
      -> EnvelopeError.Code?
    {
      do throws(EnvelopeError) { _ = try key.open(sealed, info: info ?? self.info, aad: aad ?? self.aad) } catch {
        return error.code
      }
      return nil
    }
    #expect(code(sealed, key) == nil)
    #expect(code(sealed, other) == .notAuthentic)
    #expect(code(sealed, key, info: info + [0]) == .notAuthentic)
    #expect(code(sealed, key, aad: aad + [0]) == .notAuthentic)
    #expect(code(sealed, key, aad: []) == .notAuthentic)
    #expect(code(sealed, key, info: aad, aad: info) == .notAuthentic)
    #expect(code(Array(sealed.dropLast()), key) == .notAuthentic)
    #expect(code(sealed + [0], key) == .notAuthentic)
    for flipped in flips(of: info) { #expect(code(sealed, key, info: flipped) == .notAuthentic) }
    for flipped in flips(of: aad) { #expect(code(sealed, key, aad: flipped) == .notAuthentic) }
    // Every byte once, and every bit of what follows the encapsulated key. The highest bit of X25519's point, which is
    // ignored by the curve (RFC 7748, section 5), counts as well: X-Wing hashes the point as it was sent.
    let random = SeededRandom(4)
    for index in 0..<1120 {
      var flipped = sealed
      flipped[index] ^= 1 << UInt8(random.below(8))
      #expect(code(flipped, key) == .notAuthentic, "\(index)")
    }
    var high = sealed
    high[1119] ^= 0x80
    #expect(code(high, key) == .notAuthentic)
    for tail in flips(of: Array(sealed[1120...])) { #expect(code(sealed[..<1120] + tail, key) == .notAuthentic) }
  }

  @Test("Lengths") func lengths() throws {
    let key = try key(1)
    let none: [UInt8] = []
    let two: [UInt8] = [1, 2]
    for bytes in [none, [UInt8](repeating: 1, count: 4097)] {
      #expect(throws: EnvelopeError(.badLength, "")) { try seal(bytes, to: key.publicKey) }
    }
    let most = [UInt8](repeating: 1, count: RecoveryKey.maximumContextByteCount)
    let publicKey = key.publicKey
    let sealed = try publicKey.seal(unsafe two.span.bytes, info: most, aad: most)
    #expect(try array(key.open(sealed, info: most, aad: most).secret) == two)
    for (info, aad) in [(none, aad), (most + [1], aad), (info, most + [1])] {
      #expect(throws: EnvelopeError(.badLength, "")) { try publicKey.seal(unsafe two.span.bytes, info: info, aad: aad) }
      #expect(refusal(key, sealed, info, aad) == .badLength)
    }
    for count in [0, 1, 1120, 1136, 1136 + 4097] {
      #expect(refusal(key, [UInt8](repeating: 1, count: count), info, aad) == .badLength, "\(count)")
    }
    for count in [1137, 1136 + 4096] {
      #expect(refusal(key, [UInt8](repeating: 1, count: count), info, aad) == .notAuthentic, "\(count)")
    }
  }

  private func refusal(_ key: borrowing RecoveryKey, _ sealed: [UInt8], _ info: [UInt8], _ aad: [UInt8])
    -> EnvelopeError.Code?
  {
    do throws(EnvelopeError) { _ = try key.open(sealed, info: info, aad: aad) } catch { return error.code }
    return nil
  }

  @Test("Seeds have 32 bytes", arguments: [1, 31, 33, 64]) func seedLengths(_ count: Int) {
    #expect(throws: EnvelopeError(.badLength, "")) {
      _ = try RecoveryKey(seed: secret([UInt8](repeating: 1, count: count)))
    }
  }

  @Test("Public keys that are none") func publicKeys() throws {
    let good = try key(1).publicKey.bytes
    #expect(try RecoveryKey.PublicKey(good).bytes == good)
    // A coefficient of 0xFFF is not reduced modulo 3329.
    let unreduced = [0xFF, 0xFF, 0xFF] + good[3...]
    for bytes in [[], Array(good.dropLast()), good + [0], unreduced] {
      #expect(throws: EnvelopeError(.badKey, "")) { try RecoveryKey.PublicKey(bytes) }
    }
  }
}
