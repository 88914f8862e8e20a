package import Cosign
package import Seal
package import SoftwareAuthenticator
import Synchronization
package import Wire

/// A person with a hardware key for approvals and a passkey for signing in, both in software.
package final class TestPerson: Sendable {
  /// Identifier of the principal.
  package let id: String
  /// What the person is called.
  package let name: String
  private let keys: Mutex<[CredentialPurpose: SoftwareAuthenticator]>

  /// A person whose authenticators hold nothing yet.
  package init(id: String, name: String, random: SeededRandom) {
    self.id = id
    self.name = name
    keys = Mutex([
      .approval: SoftwareAuthenticator(random: random),
      .signIn: SoftwareAuthenticator(random: random, isSynced: true),
    ])
  }

  private static func relyingPartyID(_ purpose: CredentialPurpose) -> String {
    purpose == .approval ? TestWorld.console.approvalID : TestWorld.console.signInID
  }

  private func use<Result>(
    _ purpose: CredentialPurpose, _ body: (inout SoftwareAuthenticator) throws -> Result
  ) throws -> Result {
    try keys.withLock { keys in
      guard var authenticator = keys[purpose] else { throw Problem(500, "internal", "There is no authenticator.") }
      defer { keys[purpose] = authenticator }
      return try body(&authenticator)
    }
  }

  /// Makes a credential.
  package func register(
    _ purpose: CredentialPurpose, challenge: [UInt8], faults: Faults = Faults()
  ) throws -> CredentialEnrolment.Registration {
    let options: JSONValue = [
      "rp": ["id": .string(Self.relyingPartyID(purpose)), "name": "TrustCore"],
      "user": ["id": .string(Base64.URL.encode(id.utf8)), "name": .string(name), "displayName": .string(name)],
      "challenge": .string(Base64.URL.encode(challenge)),
      "pubKeyCredParams": [["type": "public-key", "alg": -7], ["type": "public-key", "alg": -8]],
      "attestation": "none",
    ]
    let answer = try use(purpose) { try $0.make(options: options, origin: TestWorld.origin, faults: faults) }
    func bytes(_ member: String) throws -> [UInt8] {
      try Base64.URL.decode(answer.object?["response"]?.object?[member]?.string ?? "")
    }
    return CredentialEnrolment.Registration(
      purpose: purpose, challenge: challenge, clientData: try bytes("clientDataJSON"),
      attestation: try bytes("attestationObject"))
  }

  /// Signs a challenge; returns what a browser would.
  package func assert(
    _ purpose: CredentialPurpose, challenge: [UInt8], faults: Faults = Faults()
  ) throws -> JSONValue {
    let options: JSONValue = [
      "rpId": .string(Self.relyingPartyID(purpose)), "challenge": .string(Base64.URL.encode(challenge)),
    ]
    return try use(purpose) { try $0.get(options: options, origin: TestWorld.origin, faults: faults) }
  }
}
