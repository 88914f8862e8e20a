import AgentIdentity
import CommandGate
import Cosign
import Crypto
import Payments
import Seal
import Wire

/// People: enrolment of their credentials, and signing in to the console.
struct PeopleRoutes<Store: UnitStore>: Sendable where Store.Unit: PaymentStore {
  let gate: Gate<Store>
  let store: Store
  let console: ConsoleIdentity
  /// The console's origin as browsers write it.
  let origin: String
  let authenticator: Authenticator<Store>
  let ceremonies: Ceremonies
  let time: any TimeSource
  let random: any RandomSource

  var routes: [Route] {
    [
      Route(
        "POST", "/v1/enrolments/options", "enrolmentOptions",
        "What a browser needs to make a person's credentials, under an officer's invitation.", access: .invitation,
        body: .json("Empty"), maximumBody: 1024, content: .json("EnrolmentOptions"), refusals: [403],
        handle: enrolmentOptions),
      Route(
        "POST", "/v1/enrolments", "enrol", "Enrols a person's credentials and uses the invitation up.",
        access: .invitation, body: .json("Enrolment"), maximumBody: 1 << 18, success: 201,
        content: .json("EnrolmentResult"), refusals: [403], handle: enrol),
      Route(
        "POST", "/v1/sessions/options", "signInOptions", "What a browser needs to sign a person in.", access: .open,
        body: .json("Empty"), maximumBody: 1024, content: .json("AssertionOptions"), handle: signInOptions),
      Route(
        "POST", "/v1/sessions", "signIn", "Signs a person in to the console, which reads and never decides.",
        access: .open, body: .json("AuthenticationResponse"), maximumBody: 65_536, content: .json("Session"),
        refusals: [401, 403, 409], handle: signIn),
      Route(
        "POST", "/v1/sessions/end", "signOut", "Ends the session.", access: .session, body: .json("Empty"),
        maximumBody: 1024, content: .json("Session"), refusals: [403], handle: signOut),
    ]
  }

  // MARK: - Enrolment

  private func token(_ request: APIRequest) throws(Problem) -> (bytes: [UInt8], digest: [UInt8]) {
    let text = try Authenticator<Store>.bearer(request)
    guard let token = try? Base64.URL.decode(text), (16...64).contains(token.count) else {
      throw Problem(
        401, "invitation_invalid", "The invitation's token is base64url; send it as 'Authorization: Bearer <token>'.",
        headers: ["WWW-Authenticate": "Bearer error=\"invalid_token\""])
    }
    return (token, Array(SHA256.hash(data: token)))
  }

  private func enrolmentOptions(_ request: APIRequest) async throws -> APIResponse {
    try ObjectReader(try JSONValue(parsing: request.body), "the body").finish()
    let digest = try token(request).digest
    let now = time.now()
    let invitation = try await store.read { unit in
      try GovernanceModule<Store.Unit>.open(digest: digest, at: now, in: &unit)
    }
    var answer: JSONObject = ["person": .string(invitation.person), "name": .string(invitation.name)]
    for purpose in CredentialPurpose.allCases {
      let challenge = random.bytes(32)
      try ceremonies.expect(challenge, for: .enrol(invitation: digest, purpose: purpose.rawValue), at: now)
      answer[purpose.rawValue] = creation(purpose, challenge, invitation)
    }
    return APIResponse(200, answer, headers: [("cache-control", "no-store")])
  }

  /// PublicKeyCredentialCreationOptionsJSON (WebAuthn Level 3 section 5.1.9).
  private func creation(
    _ purpose: CredentialPurpose, _ challenge: [UInt8], _ invitation: PersonInvitation
  ) -> JSONValue {
    let approves = purpose == .approval
    return [
      "rp": [
        "id": .string(approves ? console.approvalID : console.signInID),
        "name": .string(approves ? "TrustCore approvals" : "TrustCore"),
      ],
      "user": [
        "id": .string(Base64.URL.encode(Array(invitation.person.utf8))), "name": .string(invitation.name),
        "displayName": .string(invitation.name),
      ],
      "challenge": .string(Base64.URL.encode(challenge)),
      "pubKeyCredParams": .array([-7, -8, -257].map { ["type": "public-key", "alg": .integer($0)] }),
      "timeout": .integer(Ceremonies.seconds * 1000), "excludeCredentials": [],
      "authenticatorSelection": [
        "residentKey": approves ? "discouraged" : "required", "requireResidentKey": .bool(!approves),
        "userVerification": "required",
      ],
      "attestation": approves ? "direct" : "none",
    ]
  }

  private func enrol(_ request: APIRequest) async throws -> APIResponse {
    let (token, digest) = try token(request)
    let now = time.now()
    var reader = try ObjectReader(try JSONValue(parsing: request.body), "the enrolment")
    var answers = [(CredentialPurpose.approval, try reader.value("approval"))]
    if let answer = reader.optional("sign_in") { answers.append((.signIn, answer)) }
    try reader.finish()
    let invitation = try await store.read { unit in
      try GovernanceModule<Store.Unit>.open(digest: digest, at: now, in: &unit)
    }
    var registrations: [CredentialEnrolment.Registration] = []
    for (purpose, answer) in answers {
      let (clientData, challenge) = try Self.clientData(answer)
      guard let text = answer.object?["response"]?.object?["attestationObject"]?.string,
        let attestation = try? Base64.URL.decode(text)
      else { throw Self.malformed }
      // The strict reader has the last word about the form; what it read is read again from what is kept.
      do { _ = try UnverifiedRegistration(answer) } catch {
        throw Problem(400, error.code.description, error.message)
      }
      guard ceremonies.take(challenge, for: .enrol(invitation: digest, purpose: purpose.rawValue), at: now) else {
        throw Ceremonies.unknown
      }
      registrations.append(
        .init(purpose: purpose, challenge: challenge, clientData: clientData, attestation: attestation))
    }
    let enrolment = CredentialEnrolment(
      person: invitation.person, origin: origin, invitationIndex: invitation.leafIndex, token: token,
      registrations: registrations)
    let verified = try enrolment.credentials(of: console, enrolmentIndex: 0, at: now)
    let index = try await gate.record { unit, moment in
      let credentials = verified.map { $0.credential.enrolled(at: moment.leafIndex) }
      try GovernanceModule<Store.Unit>.enrol(
        enrolment, credentials, digest: digest, leafIndex: moment.leafIndex, at: moment.time, in: &unit)
      return EventRecord(kind: CredentialEnrolment.eventKind, content: enrolment.json)
    }
    return APIResponse(
      201,
      [
        "person": .string(invitation.person), "leaf_index": .integer(Int64(index ?? 0)),
        "credentials": .array(
          verified.map { credential, attestation in
            [
              "id": .string(Base64.URL.encode(credential.id)), "purpose": .string(credential.purpose.rawValue),
              "attestation": .string(attestation.format),
            ]
          }),
      ], headers: [("cache-control", "no-store")])
  }

  // MARK: - Sessions

  private func signInOptions(_ request: APIRequest) async throws -> APIResponse {
    try ObjectReader(try JSONValue(parsing: request.body), "the body").finish()
    return APIResponse(
      200,
      Self.assertionOptions(
        ceremonies.signInChallenge(at: time.now()), relyingParty: console.signInID, credentials: []),
      headers: [("cache-control", "no-store")])
  }

  private func signIn(_ request: APIRequest) async throws -> APIResponse {
    let now = time.now()
    let body = try JSONValue(parsing: request.body)
    let challenge = try Self.clientData(body).challenge
    guard ceremonies.isSignIn(challenge, at: now) else { throw Ceremonies.unknown }
    let assertion: UnverifiedAssertion
    do { assertion = try UnverifiedAssertion(body) } catch {
      throw Problem(400, error.code.description, error.message)
    }
    let known = try await store.read { unit -> (Credential, Principal)? in
      guard let credential = try unit.credential(id: assertion.credentialID),
        let person = try unit.principal(id: credential.person)
      else { return nil }
      return (credential, person)
    }
    guard let (credential, person) = known, person.status == .active else {
      throw Problem(401, "credential_unknown", "The credential is not enrolled; enrol it with an invitation.")
    }
    guard credential.purpose == .signIn else {
      throw Problem(403, "credential_purpose", "This credential approves and never signs in; use the other one.")
    }
    let verified: VerifiedAssertion
    do {
      verified = try assertion.verified(
        by: credential,
        AssertionExpectations(
          relyingParty: try console.relyingParty(.signIn, origin: origin), challenge: challenge, purpose: .signIn))
    } catch let error as CosignError {
      throw Problem(401, error.code.description, error.message)
    }
    try ceremonies.useSignIn(challenge, at: now)
    try await gate.record { unit, _ in
      try unit.setUse(
        signCount: verified.signCount, backupState: verified.backupState, ofCredential: credential.id)
      return EventRecord(
        kind: "session.opened",
        content: [
          "person": .string(person.id), "credential": .string(Base64.URL.encode(credential.id)),
          "sign_count": .integer(Int64(verified.signCount)), "backup_state": .bool(verified.backupState),
        ])
    }
    let token = random.bytes(32)
    try ceremonies.open(token, for: person.id, at: now)
    return APIResponse(
      200, ["person": .string(person.id), "expires_in": .integer(Ceremonies.sessionSeconds)],
      headers: [
        (
          "set-cookie",
          Authenticator<Store>.cookie(Base64.URL.encode(token), seconds: Ceremonies.sessionSeconds)
        ), ("cache-control", "no-store"),
      ])
  }

  private func signOut(_ request: APIRequest) async throws -> APIResponse {
    try ObjectReader(try JSONValue(parsing: request.body), "the body").finish()
    let person = try await authenticator.session(request)
    if let token = authenticator.sessionToken(request) { ceremonies.close(token) }
    return APIResponse(
      200, ["person": .string(person.id), "expires_in": 0],
      headers: [("set-cookie", Authenticator<Store>.cookie("", seconds: 0)), ("cache-control", "no-store")])
  }

  // MARK: - Parts

  /// PublicKeyCredentialRequestOptionsJSON (WebAuthn Level 3 section 5.1.10).
  static func assertionOptions(
    _ challenge: [UInt8], relyingParty: String, credentials: [Credential]
  ) -> JSONObject {
    [
      "challenge": .string(Base64.URL.encode(challenge)), "rpId": .string(relyingParty),
      "timeout": .integer(Ceremonies.seconds * 1000), "userVerification": "required",
      "allowCredentials": .array(
        credentials.map { ["type": "public-key", "id": .string(Base64.URL.encode($0.id))] }),
    ]
  }

  /// The client data of a browser's answer, and the challenge that it claims to answer.
  static func clientData(_ answer: JSONValue) throws(Problem) -> (bytes: [UInt8], challenge: [UInt8]) {
    guard let text = answer.object?["response"]?.object?["clientDataJSON"]?.string, text.utf8.count <= 16_384,
      let bytes = try? Base64.URL.decode(text),
      let challenge = (try? JSONValue(parsing: bytes))?.object?["challenge"]?.string.flatMap({
        try? Base64.URL.decode($0)
      })
    else { throw malformed }
    return (bytes, challenge)
  }

  private static var malformed: Problem {
    Problem(400, "webauthn_malformed", "Send the credential as the browser's toJSON() writes it.")
  }
}

extension Credential {
  /// The credential as a leaf enrols it.
  fileprivate func enrolled(at index: UInt64) -> Credential {
    Credential(
      id: id, person: person, purpose: purpose, publicKey: publicKey, signCount: signCount, aaguid: aaguid,
      backupEligible: backupEligible, backupState: backupState, enrolmentIndex: index)
  }
}
