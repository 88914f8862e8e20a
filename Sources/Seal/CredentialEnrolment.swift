package import AgentIdentity
public import Cosign
import JOSE
public import Wire

/// What the event `credential.enrolled` holds: the registrations as the authenticators made them, and the invitation
/// that was used up, so that the chain from a credential back to an officer can be verified again.
public struct CredentialEnrolment: Sendable, Equatable {
  /// One registration ceremony.
  public struct Registration: Sendable, Equatable {
    /// What the credential is for.
    public let purpose: CredentialPurpose
    /// The challenge that the server drew; 32 bytes.
    public let challenge: [UInt8]
    /// `clientDataJSON` as the browser made it.
    public let clientData: [UInt8]
    /// The attestation object as the authenticator made it.
    public let attestation: [UInt8]

    /// Collects what a ceremony gave.
    public init(purpose: CredentialPurpose, challenge: [UInt8], clientData: [UInt8], attestation: [UInt8]) {
      self.purpose = purpose
      self.challenge = challenge
      self.clientData = clientData
      self.attestation = attestation
    }
  }

  /// The person who enrols.
  public let person: String
  /// The console's origin, such as `https://approve.example.com`.
  public let origin: String
  /// Index of the authorised leaf that invited the person.
  public let invitationIndex: UInt64
  /// The invitation's token, which is used up.
  public let token: [UInt8]
  /// The ceremonies, each purpose at most once.
  public let registrations: [Registration]

  /// The kind of the event.
  public static let eventKind = "credential.enrolled"

  /// Makes a record of an enrolment.
  public init(
    person: String, origin: String, invitationIndex: UInt64, token: [UInt8], registrations: [Registration]
  ) {
    self.person = person
    self.origin = origin
    self.invitationIndex = invitationIndex
    self.token = token
    self.registrations = registrations
  }

  /// The event's content.
  public var json: JSONObject {
    [
      "person": .string(person), "origin": .string(origin), "invitation_index": .integer(Int64(invitationIndex)),
      "token": .string(Base64.URL.encode(token)),
      "registrations": .array(
        registrations.map {
          [
            "purpose": .string($0.purpose.rawValue), "challenge": .string(Base64.URL.encode($0.challenge)),
            "client_data_json": .string(Base64.URL.encode($0.clientData)),
            "attestation_object": .string(Base64.URL.encode($0.attestation)),
          ]
        }),
    ]
  }

  /// Reads an event's content.
  public init(_ value: JSONValue) throws {
    var reader = try ObjectReader(value, "the enrolment")
    person = try reader.string("person", maximumBytes: 64)
    origin = try reader.string("origin", maximumBytes: 300)
    invitationIndex = UInt64(try reader.integer("invitation_index", in: 1...JSONValue.greatestInteger))
    token = try reader.base64URL("token")
    registrations = try reader.array("registrations", limit: 2).map { value in
      var item = try ObjectReader(value, "a registration")
      guard let purpose = CredentialPurpose(rawValue: try item.string("purpose")) else {
        throw CodecError("a registration has an unknown purpose")
      }
      let registration = Registration(
        purpose: purpose, challenge: try item.base64URL("challenge", count: 32),
        clientData: try item.base64URL("client_data_json"), attestation: try item.base64URL("attestation_object"))
      try item.finish()
      return registration
    }
    try reader.finish()
    guard Set(registrations.map(\.purpose)).count == registrations.count,
      registrations.contains(where: { $0.purpose == .approval })
    else { throw CodecError("an enrolment has one registration for approvals and at most one for signing in") }
  }

  /// Verifies the ceremonies.
  /// - Parameters:
  ///   - console: the relying parties.
  ///   - index: the leaf that records the enrolment.
  ///   - now: when it was recorded.
  /// - Throws: a `webauthn_…` problem.
  public func credentials(
    of console: ConsoleIdentity, enrolmentIndex index: UInt64, at now: Timestamp
  ) throws(Problem) -> [(credential: Credential, attestation: Cosign.Attestation)] {
    var credentials: [(Credential, Cosign.Attestation)] = []
    for registration in registrations {
      do {
        let verified = try UnverifiedRegistration(
          clientDataJSON: registration.clientData, attestationObject: registration.attestation
        ).verified(
          RegistrationExpectations(
            relyingParty: try console.relyingParty(registration.purpose, origin: origin),
            challenge: registration.challenge, purpose: registration.purpose, anchors: [], now: now))
        credentials.append(
          (
            verified.credential(person: person, purpose: registration.purpose, enrolmentIndex: index),
            verified.attestation
          ))
      } catch let problem as Problem {
        throw problem
      } catch let error as CosignError {
        throw Problem(400, error.code.description, error.message)
      } catch {
        throw Problem(400, "webauthn_malformed", "The registration cannot be read; send what the browser returned.")
      }
    }
    return credentials
  }

  /// The principal that an approver is from this enrolment on.
  package static func approver(_ id: String, tenant: String, credential: Credential) throws -> Principal {
    let key = try credential.jwk()
    return Principal(
      id: id, kind: .approver, tenant: tenant, owner: "", thumbprint: key.thumbprint, key: key.bareJSON.canonical(),
      status: .active, enrolmentIndex: credential.enrolmentIndex)
  }
}

/// Who the console is to authenticators. Approval credentials have a relying-party id of their own.
public struct ConsoleIdentity: Sendable, Equatable {
  /// The host that serves the console.
  public let host: String
  /// Relying-party id of credentials that approve.
  public let approvalID: String
  /// Relying-party id of credentials that sign in.
  public let signInID: String

  /// Makes an identity.
  public init(host: String, approvalID: String, signInID: String) {
    self.host = host
    self.approvalID = approvalID
    self.signInID = signInID
  }

  /// The relying party of a purpose.
  /// - Parameter origin: `https://` and ``host``, with a port where it is not 443.
  /// - Throws: `webauthn_origin` where the origin is not the console's.
  public func relyingParty(_ purpose: CredentialPurpose, origin: String) throws(Problem) -> RelyingParty {
    let rest = origin.dropFirst("https://\(host)".count)
    guard origin.hasPrefix("https://\(host)"), rest.isEmpty || (rest.first == ":" && UInt16(rest.dropFirst()) != nil)
    else { throw Problem(401, "webauthn_origin", "The ceremony was made on another page than the console's.") }
    return RelyingParty(id: purpose == .approval ? approvalID : signInID, origins: [origin])
  }
}
