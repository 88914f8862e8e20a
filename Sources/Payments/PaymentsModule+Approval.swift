public import AgentIdentity
import Consent
public import Cosign
import Policy
import Seal
public import Wire

// Approvals of held payments. Whatever an approver signed is compared with what stands now: a payment that was held
// under another version of consent or policy is not released, it is asked for again.

extension PaymentsModule {
  /// The terms that a person is asked to sign, as things stand.
  /// - Throws: the problem that keeps this person from deciding.
  public func terms(
    of id: String, decision: ApprovalTerms.Decision, by person: Principal, nonce: [UInt8], at now: Timestamp,
    in unit: inout Unit
  ) throws -> (terms: ApprovalTerms, statement: PaymentStatement) {
    let payment = try payment(id, for: person, in: &unit)
    let (need, _) = try open(payment, for: person, decision: decision, at: now, in: &unit)
    let statement = try PaymentStatement(of: payment, in: &unit)
    let expiry = min(now.adding(seconds: Self.decisionSeconds), payment.expires ?? now)
    do {
      return (
        try ApprovalTerms(
          nonce: nonce, approver: person.id, groupVersion: Int64(need.version), commandDigest: payment.commandDigest,
          consentDigest: payment.consentDigest, policyVersion: payment.policyVersion, decision: decision,
          statementDigest: statement.digest, rendererVersion: PaymentStatement.rendererVersion,
          locale: PaymentStatement.locale, expiry: expiry), statement
      )
    } catch { throw Problem(500, "internal", "The approval's terms cannot be stated.") }
  }

  /// A person has so many seconds from reading to tapping.
  public static var decisionSeconds: Int64 { 300 }

  private func payment(_ id: String, for person: Principal, in unit: inout Unit) throws -> Payment {
    guard let payment = try unit.payment(id), payment.tenant == person.tenant, !payment.needs.isEmpty else {
      throw Problem(404, "payment_not_found", "No payment '\(id)' waits for approvals here; check its identifier.")
    }
    return payment
  }

  /// Checks that a person may decide now.
  private func open(
    _ payment: Payment, for person: Principal, decision: ApprovalTerms.Decision, at now: Timestamp,
    in unit: inout Unit
  ) throws -> (need: Payment.Need, approvals: [GivenApproval]) {
    guard payment.state == .held else {
      throw Problem(409, "payment_ended", "The payment is \(payment.state.rawValue); nothing is left to decide.")
    }
    guard let expires = payment.expires, now < expires else {
      throw Problem(409, "approval_expired", "The time for approvals is over; the agent may ask again.")
    }
    guard person.id != payment.agent, person.id != payment.owner else {
      throw Problem(
        403, "approval_by_initiator", "Whoever asks for a payment, or whose agent asks, does not approve it.")
    }
    let need = try payment.needs.first { need in
      try need.members.contains(person.id) && unit.group(need.group)?.members.contains(person.id) == true
    }
    guard let need else {
      throw Problem(403, "approval_not_permitted", "Only members of the payment's group of approvers decide about it.")
    }
    let approvals = try unit.approvals(payment: payment.id)
    guard !approvals.contains(where: { $0.person == person.id }) else {
      throw Problem(409, "approval_repeated", "This person has decided already; another member must.")
    }
    // A decline is safe under any version; an approval rests on what the payment was held under.
    guard decision == .approve else { return (need, approvals) }
    guard let consent = try unit.consent(payment.consent), consent.status == .active else {
      throw Problem(409, "consent_revoked", "The owner has revoked the consent; the payment cannot be released.")
    }
    guard consent.terms.digest == payment.consentDigest else {
      throw Problem(
        409, "approval_consent_changed", "The consent was amended since; the agent must ask for the payment again.")
    }
    guard now < consent.terms.expires else {
      throw Problem(409, "consent_expired", "The consent has expired; the payment cannot be released.")
    }
    let policy = try unit.policy(tenant: payment.tenant)?.document ?? .builtin
    guard policy.name == payment.policyVersion else {
      throw Problem(
        409, "approval_policy_changed", "The policy was changed since; the agent must ask for the payment again.")
    }
    guard let agent = try unit.principal(id: payment.agent), agent.status == .active,
      agent.thumbprint == payment.agentThumbprint
    else { throw Problem(409, "agent_revoked", "The agent was revoked; the payment cannot be released.") }
    return (need, approvals)
  }

  // MARK: - T1

  func decide(
    _ id: String, _ terms: ApprovalTerms, _ context: CommandContext, in unit: inout Unit
  ) throws -> Ruling {
    let person = context.principal
    var payment = try payment(id, for: person, in: &unit)
    guard terms.commandDigest == payment.commandDigest else {
      throw Problem(403, "approval_wrong_command", "The approval was given to another command than this one.")
    }
    guard terms.approver == person.id else {
      throw Problem(403, "approval_wrong_person", "The approval was asked of someone else.")
    }
    let (need, approvals) = try open(
      payment, for: person, decision: terms.decision, at: context.decidedAt, in: &unit)
    guard terms.groupVersion == Int64(need.version) else {
      throw Problem(409, "approval_group_changed", "The approval names another version of the group; open it again.")
    }
    guard terms.consentDigest == payment.consentDigest else {
      throw Problem(409, "approval_consent_changed", "The approval names another version of the consent.")
    }
    guard terms.policyVersion == payment.policyVersion else {
      throw Problem(409, "approval_policy_changed", "The approval names another version of the policy.")
    }
    guard terms.statementDigest == (try PaymentStatement(of: payment, in: &unit).digest),
      terms.rendererVersion == PaymentStatement.rendererVersion, terms.locale == PaymentStatement.locale
    else {
      throw Problem(
        409, "approval_statement_mismatch", "The approver read something else than what is asked; open it again.")
    }
    guard let asserted = context.signed.asserted,
      !approvals.contains(where: { $0.credential == asserted.credential.id })
    else { throw Problem(409, "approval_repeated", "This key has decided already; another person's key must.") }
    let approves = terms.decision == .approve
    let approval = GivenApproval(
      payment: id, person: person.id, credential: asserted.credential.id, approves: approves,
      command: context.id.description, leafIndex: context.leafIndex, isSealed: false)
    try unit.insert(approval)
    var references = [CommandEvidence.Reference("held", payment.leafIndex)]
    let (isComplete, counted) = try tally(approvals + [approval], of: payment, in: &unit)
    if !approves || isComplete {
      payment.state = approves ? .releasing : .ending
      payment.endedBy = context.id.description
      try unit.update(payment)
    }
    if payment.state == .releasing {
      // The release rests on all that it needs: what an auditor of this one leaf must look at.
      if let consent = try unit.consent(payment.consent) { references.append(.init("consent", consent.leafIndex)) }
      if let policy = try unit.policy(tenant: payment.tenant) { references.append(.init("policy", policy.leafIndex)) }
      references += counted.filter { $0 != approval }.map { .init("approval", $0.leafIndex) }
    }
    return Ruling(.allow, references: references)
  }

  /// Whether every group has given as many approvals as it must, and the approvals that count for any. A person counts
  /// for a group as a member of its roster who is one still, and whom nobody has revoked.
  private func tally(
    _ approvals: [GivenApproval], of payment: Payment, in unit: inout Unit
  ) throws -> (isComplete: Bool, counted: [GivenApproval]) {
    let valid = try approvals.filter { try $0.approves && unit.principal(id: $0.person)?.status == .active }
    var (isComplete, people): (Bool, Set<String>) = (true, [])
    for need in payment.needs {
      let present = try unit.group(need.group)?.members ?? []
      let counted = valid.map(\.person).filter { need.members.contains($0) && present.contains($0) }
      isComplete = isComplete && counted.count >= need.approvals
      people.formUnion(counted)
    }
    return (isComplete, valid.filter { people.contains($0.person) })
  }

  // MARK: - T2

  func apply(
    _ terms: ApprovalTerms, to id: String, _ sealed: Sealed<PaymentCommand>, in unit: inout Unit
  ) throws -> JSONObject {
    let command = sealed.context.id.description
    try unit.setSealed(payment: id, person: sealed.context.principal.id)
    var payment = try existing(id, in: &unit)
    let approvals = try unit.approvals(payment: id)
    if payment.endedBy == command {
      if terms.decision == .approve {
        // An approval that this one counted on may have failed between the two commits, and none that T1 left out may
        // take its place.
        guard try tally(approvals.filter(\.isSealed), of: payment, in: &unit).isComplete else {
          throw Problem(409, "approval_incomplete", "Another approval could not be recorded; decide again.")
        }
        try post(&payment, under: sealed, in: &unit)
      } else {
        try giveBack(&payment, as: .declined, in: &unit)
      }
    }
    var result = payment.summary(given: approvals.count { $0.approves })
    result["decision"] = .string(terms.decision.rawValue)
    result["approvals"] = .array(approvals.map { .object($0.json) })
    return result
  }
}

extension GivenApproval {
  /// The decision as answers and receipts name it.
  public var json: JSONObject {
    [
      "approver": .string(person), "decision": .string(approves ? "approve" : "decline"),
      "command_id": .string(command), "leaf_index": .integer(Int64(leafIndex)),
    ]
  }
}
