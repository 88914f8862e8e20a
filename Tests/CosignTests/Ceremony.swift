import COSE
import Cosign
import SoftwareAuthenticator
import TestSupport
import Wire

/// A relying party, its options and what it expects, shared by the suites.
enum Ceremony {
  static let origin = "https://approvals.example.org"
  static let relyingParty = RelyingParty(id: "approvals.example.org", origins: [origin, "https://second.example:8443"])
  static let person = "per_7Qv3"
  static let now = Timestamp(seconds: 1_800_000_000)
  static let model = Array("trustcore-tests!".utf8)
  static let challenge = [UInt8](repeating: 0x5A, count: 32)

  static func creation(_ algorithms: [Int64] = [-7]) -> JSONValue {
    [
      "rp": ["id": .string(relyingParty.id), "name": "Approvals"],
      "user": ["id": .string(Base64.URL.encode(Array(person.utf8))), "name": "a", "displayName": "A"],
      "challenge": .string(Base64.URL.encode(challenge)), "attestation": "direct",
      "pubKeyCredParams": .array(algorithms.map { ["type": "public-key", "alg": .integer($0)] }),
    ]
  }

  static let request: JSONValue = [
    "rpId": .string(relyingParty.id), "challenge": .string(Base64.URL.encode(challenge)),
    "userVerification": "required",
  ]

  static func registration(
    _ purpose: CredentialPurpose = .approval, algorithms: [COSEAlgorithm] = [.es256, .edDSA, .rs256],
    anchors: [[UInt8]] = []
  ) -> RegistrationExpectations {
    RegistrationExpectations(
      relyingParty: relyingParty, challenge: challenge, algorithms: algorithms, purpose: purpose, anchors: anchors,
      now: now)
  }

  static func assertion(_ purpose: CredentialPurpose = .approval) -> AssertionExpectations {
    AssertionExpectations(relyingParty: relyingParty, challenge: challenge, purpose: purpose)
  }

  /// An authenticator with one credential, and the credential as the relying party stored it.
  static func enrolled(
    _ purpose: CredentialPurpose = .approval, algorithm: Int64 = -7, isSynced: Bool = false, seed: UInt64 = 1
  ) throws -> (authenticator: SoftwareAuthenticator, credential: Credential) {
    var authenticator = SoftwareAuthenticator(random: SeededRandom(seed), isSynced: isSynced)
    let answer = try authenticator.make(options: creation([algorithm]), origin: origin)
    let verified = try UnverifiedRegistration(answer).verified(registration(purpose))
    return (authenticator, verified.credential(person: person, purpose: purpose, enrolmentIndex: 7))
  }
}

/// The code of what a step throws, `accepted` where it throws nothing.
func outcome(_ body: () throws -> Void) -> String {
  do {
    try body()
    return "accepted"
  } catch let error as CosignError {
    return error.code.description
  } catch {
    return "\(error)"
  }
}

extension JSONValue {
  /// With a member of a member set, or removed.
  func setting(_ path: String..., to value: JSONValue?) -> JSONValue { setting(path[...], to: value) }

  private func setting(_ path: ArraySlice<String>, to value: JSONValue?) -> JSONValue {
    guard var object = self.object, let name = path.first else { return self }
    object[name] = path.count == 1 ? value : object[name]?.setting(path.dropFirst(), to: value)
    return .object(object)
  }
}
