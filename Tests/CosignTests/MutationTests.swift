import COSE
import Cosign
import Foundation
import SoftwareAuthenticator
import TestSupport
import Testing
import Wire

/// Changed answers: nothing crashes, and no change of what was signed is accepted. `FUZZ_ROUNDS` sets how many random
/// changes there are.
@Suite("WebAuthn under mutation (fuzz)")
struct MutationTests {
  static let rounds = ProcessInfo.processInfo.environment["FUZZ_ROUNDS"].flatMap { Int($0) } ?? 3000

  private static func text(_ answer: JSONValue, _ name: String) throws -> [UInt8] {
    try Base64.URL.decode(try #require(answer.object?["response"]?.object?[name]?.string))
  }

  private static func mutated(_ seed: [UInt8], _ random: SeededRandom) -> [UInt8] {
    var bytes = seed
    for _ in 0...random.below(3) where !bytes.isEmpty {
      let at = random.below(bytes.count)
      switch random.below(6) {
      case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
      case 1: bytes[at] ^= 1 << UInt8(random.below(8))
      case 2: bytes.insert(UInt8(truncatingIfNeeded: random.next()), at: at)
      case 3: bytes.remove(at: at)
      case 4: bytes.removeSubrange(at..<min(bytes.count, at + random.below(16)))
      default: bytes.append(contentsOf: bytes[at..<min(bytes.count, at + random.below(32))])
      }
    }
    return bytes
  }

  @Test("an assertion with any bit turned is refused", arguments: [-7, -8] as [Int64])
  func assertionBits(_ algorithm: Int64) throws {
    let enrolled = try Ceremony.enrolled(algorithm: algorithm)
    var authenticator = enrolled.authenticator
    let answer = try authenticator.get(options: Ceremony.request, origin: Ceremony.origin)
    let names = ["authenticatorData", "clientDataJSON", "signature"]
    let parts = try names.map { try Self.text(answer, $0) }
    func accepts(_ parts: [[UInt8]]) -> Bool {
      let assertion = UnverifiedAssertion(
        credentialID: enrolled.credential.id, authenticatorData: parts[0], clientDataJSON: parts[1],
        signature: parts[2], userHandle: nil)
      return (try? assertion.verified(by: enrolled.credential, Ceremony.assertion())) != nil
    }
    #expect(accepts(parts))
    var tally = Tally("webauthn assertion \(algorithm), turned bits")
    for index in parts.indices {
      for bit in 0..<parts[index].count * 8 {
        var changed = parts
        changed[index][bit / 8] ^= 1 << UInt8(bit % 8)
        tally.expect(!accepts(changed), "bit \(bit) of \(names[index])")
      }
    }
    tally.report()
  }

  @Test("a self attestation with any bit turned is refused")
  func registrationBits() throws {
    var authenticator = SoftwareAuthenticator(random: SeededRandom(6), attestation: .packedSelf)
    let answer = try authenticator.make(options: Ceremony.creation(), origin: Ceremony.origin)
    let (clientData, object) = (try Self.text(answer, "clientDataJSON"), try Self.text(answer, "attestationObject"))
    func accepts(_ clientData: [UInt8], _ object: [UInt8]) -> Bool {
      (try? UnverifiedRegistration(clientDataJSON: clientData, attestationObject: object)
        .verified(Ceremony.registration())) != nil
    }
    #expect(accepts(clientData, object))
    var tally = Tally("webauthn self attestation, turned bits")
    for bit in 0..<object.count * 8 {
      var changed = object
      changed[bit / 8] ^= 1 << UInt8(bit % 8)
      tally.expect(!accepts(clientData, changed), "bit \(bit) of the object")
    }
    for bit in 0..<clientData.count * 8 {
      var changed = clientData
      changed[bit / 8] ^= 1 << UInt8(bit % 8)
      tally.expect(!accepts(changed, object), "bit \(bit) of the client data")
    }
    tally.report()
  }

  @Test("no turned byte of a certified attestation is anchored")
  func certifiedBytes() throws {
    let chain = try AttestationChain(.init(model: Ceremony.model, now: Ceremony.now), random: SeededRandom(4))
    var authenticator = SoftwareAuthenticator(random: SeededRandom(6), attestation: .packed(chain))
    let answer = try authenticator.make(options: Ceremony.creation(), origin: Ceremony.origin)
    let (clientData, object) = (try Self.text(answer, "clientDataJSON"), try Self.text(answer, "attestationObject"))
    let expected = Ceremony.registration(anchors: [chain.root])
    let registered = try UnverifiedRegistration(clientDataJSON: clientData, attestationObject: object)
      .verified(expected)
    var tally = Tally("webauthn certified attestation, turned bytes")
    for index in object.indices {
      var changed = object
      changed[index] ^= 0x11
      guard
        let verified = try? UnverifiedRegistration(clientDataJSON: clientData, attestationObject: changed)
          .verified(expected)
      else {
        tally.expect(true, "")
        continue
      }
      // A changed issuer's name leads elsewhere; the credential itself stays as it was signed.
      tally.expect(
        verified.attestation.trust == .untrusted && verified.credentialID == registered.credentialID
          && verified.publicKey == registered.publicKey, "byte \(index)")
    }
    tally.report()
  }

  @Test("random changes")
  func random() throws {
    let random = SeededRandom(0x7765_6261)
    let enrolled = try Ceremony.enrolled()
    var authenticator = enrolled.authenticator
    let signed = try authenticator.get(options: Ceremony.request, origin: Ceremony.origin)
    let chain = try AttestationChain(.init(model: Ceremony.model, now: Ceremony.now), random: SeededRandom(4))
    var maker = SoftwareAuthenticator(random: SeededRandom(6), attestation: .packed(chain))
    let made = try maker.make(
      options: Ceremony.creation(), origin: Ceremony.origin, faults: Faults { $0.extensions = ["prf": ["a": [1, 2]]] })
    let clientData = try Self.text(made, "clientDataJSON")
    let object = try Self.text(made, "attestationObject")
    let expected = Ceremony.registration(anchors: [chain.root])
    var accepted = 0
    for _ in 0..<Self.rounds {
      let changed = Self.mutated(object, random)
      let registration = UnverifiedRegistration(clientDataJSON: clientData, attestationObject: changed)
      if let verified = try? registration.verified(expected), changed != object {
        #expect(verified.attestation.trust == .untrusted, "\(Hex.encode(changed))")
        accepted += 1
      }
      let other = Self.mutated(clientData, random)
      let second = UnverifiedRegistration(clientDataJSON: other, attestationObject: object)
      #expect(other == clientData || (try? second.verified(expected)) == nil, "\(Hex.encode(other))")
      for (answer, isAssertion) in [(signed, true), (made, false)] {
        let text = Self.mutated(answer.canonical(), random)
        guard let json = try? JSONValue(parsing: text) else { continue }
        if isAssertion {
          guard let assertion = try? UnverifiedAssertion(json) else { continue }
          #expect((try? UnverifiedAssertion(recorded: assertion.json)) == assertion)
          _ = try? assertion.verified(by: enrolled.credential, Ceremony.assertion())
        } else {
          _ = try? UnverifiedRegistration(json).verified(expected)
        }
      }
    }
    print("fuzz: webauthn: \(Self.rounds) rounds, \(accepted) changed attestations accepted as untrusted")
  }
}
