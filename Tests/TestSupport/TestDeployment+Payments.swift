import AgentIdentity
package import CommandGate
package import Consent
package import Cosign
import Crypto
package import Payments
package import Rails
package import Seal
package import SoftwareAuthenticator
package import Wire

// People, consents, payments, approvals and the bank: what the API and the console do for whoever calls them.

extension TestDeployment {
  // MARK: - People

  /// Makes a group of approvers and returns its identifier.
  package func makeGroup(_ name: String) async throws -> String {
    try await submit("/v1/groups", ["name": .string(name)], by: world.officer).text("group")
  }

  /// Has the officer invite a person.
  /// - Parameter owner: the rostered owner who is to get hardware keys; nil for a new approver.
  /// - Returns: the receipt, and the token that the person brings.
  package func invite(
    _ name: String, owner: TestParty? = nil, group: String? = nil, seconds: Int64 = 3600
  ) async throws -> (receipt: Receipt, token: [UInt8]) {
    let token = world.random.bytes(32)
    var person: JSONObject = ["kind": owner == nil ? "approver" : "owner", "name": .string(name)]
    person["id"] = owner.map { .string($0.principal.id) }
    var body: JSONObject = [
      "digest": .string(Base64.URL.encode(Array(SHA256.hash(data: token)))), "expires_in": .integer(seconds),
      "person": .object(person),
    ]
    body["group"] = group.map { .string($0) }
    return (try await submit("/v1/invitations", .object(body), by: world.officer), token)
  }

  /// Has a person enrol credentials for both purposes under an invitation.
  @discardableResult
  package func enrol(
    _ person: TestPerson, invitationIndex: UInt64, token: [UInt8], faults: Faults = Faults()
  ) async throws -> UInt64? {
    let enrolment = CredentialEnrolment(
      person: person.id, origin: TestWorld.origin, invitationIndex: invitationIndex, token: token,
      registrations: try [CredentialPurpose.approval, .signIn].map {
        try person.register($0, challenge: world.random.bytes(32), faults: faults)
      })
    return try await gate.record { unit, moment in
      let credentials = try enrolment.credentials(
        of: TestWorld.console, enrolmentIndex: moment.leafIndex, at: moment.time
      ).map(\.credential)
      try GovernanceModule.enrol(
        enrolment, credentials, digest: Array(SHA256.hash(data: token)), leafIndex: moment.leafIndex, at: moment.time,
        in: &unit)
      return EventRecord(kind: CredentialEnrolment.eventKind, content: enrolment.json)
    }
  }

  /// Invites a person and has the person enrol.
  package func enrolPerson(_ name: String, owner: TestParty? = nil, group: String? = nil) async throws -> TestPerson {
    let (receipt, token) = try await invite(name, owner: owner, group: group)
    let person = TestPerson(id: try receipt.text("person"), name: name, random: world.random)
    try await enrol(person, invitationIndex: receipt.command.leafIndex, token: token)
    return person
  }

  /// Signs a person in, as the console records it.
  package func signIn(_ person: TestPerson) async throws {
    let challenge = world.random.bytes(32)
    let assertion = try UnverifiedAssertion(try person.assert(.signIn, challenge: challenge))
    try await gate.record { unit, _ in
      guard let credential = try unit.credential(id: assertion.credentialID) else {
        throw Problem(401, "credential_unknown", "The credential is not enrolled.")
      }
      let verified = try assertion.verified(
        by: credential,
        AssertionExpectations(
          relyingParty: try TestWorld.console.relyingParty(.signIn, origin: TestWorld.origin), challenge: challenge,
          purpose: .signIn))
      try unit.setUse(signCount: verified.signCount, backupState: verified.backupState, ofCredential: credential.id)
      return EventRecord(
        kind: "session.opened",
        content: [
          "person": .string(credential.person), "credential": .string(Base64.URL.encode(credential.id)),
          "sign_count": .integer(Int64(verified.signCount)), "backup_state": .bool(verified.backupState),
        ])
    }
  }

  // MARK: - Assertions

  /// A command that a person's hardware key proves.
  package func sign(
    _ path: String, _ kind: AssertedSubject, _ subject: JSONValue, by person: TestPerson, faults: Faults = Faults()
  ) async throws -> SignedCommand {
    let assertion = try person.assert(.approval, challenge: kind.challenge(subject), faults: faults)
    var body: JSONObject = ["assertion": assertion]
    body[kind.rawValue] = subject
    let command = try UnverifiedAssertedCommand(
      targetURI: "https://\(TestWorld.authority)\(path)", body: JSONValue.object(body).canonical())
    let (known, principal) = try await store.read { unit in
      (try unit.credential(id: command.credentialID), try unit.principal(id: person.id))
    }
    guard let known, let principal else {
      throw Problem(401, "credential_unknown", "The credential is not enrolled.")
    }
    return try command.verified(
      by: principal, credential: known,
      relyingParty: try TestWorld.console.relyingParty(.approval, origin: TestWorld.origin), at: world.clock.now())
  }

  /// Signs and submits a command that a person's hardware key proves.
  @discardableResult
  package func submit(
    _ path: String, _ kind: AssertedSubject, _ subject: JSONValue, by person: TestPerson, faults: Faults = Faults()
  ) async throws -> Receipt {
    try await gate.submit(
      try await sign(path, kind, subject, by: person, faults: faults), to: Self.audience(of: path))
  }

  // MARK: - Policies and consents

  /// Puts a policy in force.
  @discardableResult
  package func publishPolicy(version: Int64, rules: JSONValue) async throws -> Receipt {
    try await submit(
      "/v1/policies", ["policy": ["version": .integer(version), "rules": rules]], by: world.officer)
  }

  /// Draws terms up for an agent: rails follow from the counterparties.
  /// - Parameter previous: the version that they are to replace.
  package func draftConsent(
    owner: TestPerson, agent: TestParty, account: String, counterparties: [JSONValue], single: String = "10000.00",
    daily: String = "50000.00", hourly: Int64 = 100, zone: String = "America/New_York", cosign: JSONValue? = nil,
    seconds: Int64 = 30 * 86_400, replacing previous: ConsentTerms? = nil
  ) throws -> ConsentTerms {
    let now = world.clock.now()
    let rails = ["ach", "book"].filter { rail in counterparties.contains { $0.object?[rail] != nil } }
    var terms: JSONObject = [
      "id": .string(previous?.id ?? "con_" + Base64.URL.encode(world.random.bytes(16))),
      "version": .integer(Int64(previous?.version ?? 0) + 1),
      "nonce": .string(Base64.URL.encode(world.random.bytes(32))), "owner": .string(owner.id),
      "tenant": .string(TestWorld.tenant), "agent": .string(agent.principal.id),
      "agent_thumbprint": .string(agent.principal.thumbprint), "account": .string(account), "currency": "USD",
      "rails": .array(rails.map { .string($0) }), "counterparties": .array(counterparties),
      "limits": [
        "single": .string(single), "daily": .string(daily), "hourly": .integer(hourly), "zone": .string(zone),
      ],
      "issued_at": .integer(now.milliseconds), "expires": .integer(now.adding(seconds: seconds).milliseconds),
    ]
    terms["previous"] = previous.map { .string(Base64.URL.encode($0.digest)) }
    terms["cosign"] = cosign
    return try ConsentTerms(.object(terms)) { (_, _) throws(Problem) in }
  }

  /// Has the owner sign terms: a first version, or one that replaces the version before.
  @discardableResult
  package func issueConsent(_ terms: ConsentTerms, by owner: TestPerson) async throws -> Receipt {
    try await submit(
      terms.version == 1 ? "/v1/consents" : "/v1/consents/\(terms.id)/amend", .consent, .object(terms.json), by: owner)
  }

  // MARK: - Payments

  /// Has an agent ask for a payment.
  /// - Parameter amount: a decimal.
  @discardableResult
  package func authorize(
    _ amount: String, to counterparty: String, by rail: String = "ach", under consent: String, agent: TestParty,
    reference: String? = nil, seconds: Int64? = nil, idempotencyKey: String? = nil
  ) async throws -> Receipt {
    var body: JSONObject = [
      "consent": .string(consent), "counterparty": .string(counterparty), "rail": .string(rail),
      "amount": .string(amount), "currency": "USD",
    ]
    body["reference"] = reference.map { .string($0) }
    body["expires_in"] = seconds.map { .integer($0) }
    return try await submit("/v1/payments/authorize", .object(body), by: agent, idempotencyKey: idempotencyKey)
  }

  /// Ends a held payment.
  @discardableResult
  package func void(_ payment: String, by party: TestParty) async throws -> Receipt {
    try await submit("/v1/payments/\(payment)/void", [:], by: party)
  }

  /// The terms of a decision that a person is asked for.
  package func approvalTerms(
    of payment: String, _ decision: ApprovalTerms.Decision, by person: TestPerson
  ) async throws -> ApprovalTerms {
    let (nonce, now, payments) = (world.random.bytes(32), world.clock.now(), payments)
    return try await store.read { unit in
      guard let principal = try unit.principal(id: person.id) else {
        throw Problem(401, "credential_unknown", "The person is not enrolled.")
      }
      return try payments.terms(of: payment, decision: decision, by: principal, nonce: nonce, at: now, in: &unit).terms
    }
  }

  /// Has a person decide about a held payment.
  @discardableResult
  package func decide(
    _ decision: ApprovalTerms.Decision, _ payment: String, by person: TestPerson
  ) async throws -> Receipt {
    try await submit(
      "/v1/approvals/\(payment)/decisions", .approval,
      .object(try await approvalTerms(of: payment, decision, by: person).json), by: person)
  }

  /// Ends a held payment whose time has come, as the daemon does.
  @discardableResult
  package func expirePayment(_ payment: String) async throws -> UInt64? {
    try await gate.record { [payments] unit, moment in
      try payments.expire(payment, at: moment.time, in: &unit).map { EventRecord(kind: "payment.expired", content: $0) }
    }
  }

  /// The payment as it stands.
  package func payment(_ id: String) async throws -> Payment? { try await store.read { unit in try unit.payment(id) } }

  // MARK: - The bank

  /// Has the officer say how payments leave.
  @discardableResult
  package func configureRail(settlementAccount: String) async throws -> Receipt {
    try await submit(
      "/v1/rails/ach",
      [
        "originator": [
          "immediate_destination": "021000021", "immediate_origin": "1234567890", "destination_name": "TEST BANK",
          "origin_name": "TRUSTCORE", "company_name": "TRUSTCORE", "company_identification": "1234567890",
          "odfi": "02100002", "entry_description": "PAYMENTS",
        ], "settlement_account": .string(settlementAccount), "bank": try JSONValue(parsing: world.bank.principal.key),
      ], by: world.officer)
  }

  /// Cuts the next file, as the daemon does.
  /// - Returns: the file and its bytes; nil where nothing waits.
  @discardableResult
  package func cutFile() async throws -> (file: RailFile, bytes: [UInt8])? {
    let payments = payments
    let index = try await gate.record { unit, moment in
      try payments.cutFile(tenant: TestWorld.tenant, at: moment.time, leafIndex: moment.leafIndex, in: &unit)
        .map { EventRecord(kind: "rail.file", content: $0) }
    }
    guard index != nil else { return nil }
    return try await store.read { unit in
      let number = try unit.newestFile(tenant: TestWorld.tenant)
      return try unit.file(tenant: TestWorld.tenant, number: number).map {
        (file: $0, bytes: try payments.bytes(of: $0, in: &unit))
      }
    }
  }

  /// What the bank answers.
  package enum BankAnswer: Sendable {
    /// It has taken a file.
    case accepted(file: Int)
    /// It sends entries of a file back, those to these account numbers.
    case returned(ACHReturnCode, accounts: Set<String>, file: [UInt8])
  }

  /// Has the bank answer.
  @discardableResult
  package func bankAnswer(_ answer: BankAnswer) async throws -> Receipt {
    let body: JSONValue =
      switch answer {
      case .accepted(let number): ["accepted_file": .integer(Int64(number))]
      case .returned(let code, let accounts, let file):
        ["returns": .string(String(decoding: try Self.returns(code, accounts, of: file), as: UTF8.self))]
      }
    return try await submit("/v1/rails/ach/answers", body, by: world.bank)
  }

  private static func returns(_ code: ACHReturnCode, _ accounts: Set<String>, of file: [UInt8]) throws -> [UInt8] {
    let file = try ACHFile(parsing: file, .originated)
    let items = file.entries
      .filter { accounts.contains($0.accountNumber.split(separator: " ").joined()) }
      .map { ACHReturnFile.Item($0, code) }
    guard let created = file.creationDate else { throw Problem(500, "internal", "The file has no date.") }
    let day = BankingCalendar.nextBankingDay(after: created)
    return try ACHReturnFile.build(
      items,
      header: ACHFileHeader(
        immediateDestination: "021000021", immediateOrigin: " 021000021", destinationName: "TRUSTCORE",
        originName: "TEST BANK", creationDate: day, creationTime: CivilTime.morning, fileIDModifier: "A"),
      settlement: day)
  }
}

extension JSONValue {
  /// A counterparty that is paid by ACH.
  package static func payee(_ id: String, account: String, class code: String = "ccd") -> JSONValue {
    [
      "id": .string(id), "name": .string("\(id) Ltd"),
      "ach": [
        "routing_number": "021000021", "account_number": .string(account), "account_type": "checking",
        "class": .string(code), "receiver_name": .string(id.uppercased()),
      ],
    ]
  }

  /// A counterparty that is paid within the ledger.
  package static func payee(_ id: String, book account: String) -> JSONValue {
    ["id": .string(id), "name": .string("\(id) Ltd"), "book": .string(account)]
  }
}
