import AgentIdentity
import Consent
import Cosign
import Ledger
import Policy
import Rails
public import Seal
public import Wire

/// The one command that touches consent, ledger and rail together: a payment, held for approvals or not, and what
/// becomes of it.
public struct PaymentsModule<Unit: PaymentStore>: CommandModule {
  /// The audience that leaves name.
  public static var audience: String { "payments" }

  /// The module's own check of seals.
  public let verifier: SealVerifier

  /// Makes the module.
  public init(verifier: SealVerifier) { self.verifier = verifier }

  /// Reads a command in a signed request.
  public func parse(_ signed: SignedCommand) throws(Problem) -> PaymentCommand { try PaymentCommand(signed) }

  /// The policy that is in force for the principal's tenant.
  public func policyVersion(for context: CommandContext, in unit: inout Unit) throws -> String {
    try unit.policy(tenant: context.principal.tenant)?.document.name ?? PolicyDocument.builtin.name
  }

  // MARK: - T1

  /// Decides: by consent, policy and approvals, in this order; and reserves budget and funds together.
  public func reserve(_ command: PaymentCommand, context: CommandContext, in unit: inout Unit) throws -> Ruling {
    switch command {
    case .authorize(let request): return try authorize(request, context, in: &unit)
    case .decide(let id, let terms): return try decide(id, terms, context, in: &unit)
    case .void(let id):
      var payment = try ending(id, for: context, in: &unit)
      (payment.state, payment.endedBy) = (.ending, context.id.description)
      try unit.update(payment)
      return Ruling(.allow, references: [.init("held", payment.leafIndex)])
    case .configure(_, let account, let bank): return try checkRail(account, bank, context, in: &unit)
    case .accepted(let number, let traces): return try checkAcceptance(of: number, traces, context, in: &unit)
    case .returned(let returns): return try reserve(returns, context, in: &unit)
    }
  }

  private func authorize(
    _ request: PaymentRequest, _ context: CommandContext, in unit: inout Unit
  ) throws -> Ruling {
    let (agent, now) = (context.principal, context.decidedAt)
    guard agent.kind == .agent else {
      throw Problem(403, "payment_not_permitted", "Only an agent with a consent pays; owners move money in the ledger.")
    }
    guard let consent = try unit.consent(request.consent), consent.terms.tenant == agent.tenant,
      consent.terms.owner == agent.owner
    else {
      throw Problem(404, "consent_not_found", "There is no such consent for this agent; check its identifier.")
    }
    guard consent.status == .active else {
      throw Problem(403, "consent_revoked", "The consent is revoked; ask the owner for a new one.")
    }
    let terms = consent.terms
    let day = DayWindow.containing(now, zone: terms.limits.zone)
    var budgets = try unit.budgets(consent: terms.id, containing: now)
    if !budgets.contains(where: { $0.start == day.start && $0.end == day.end }) {
      let spent = try unit.sumPayments(consent: terms.id, from: day.start, to: day.end)
      budgets.append(BudgetWindow(consent: terms.id, start: day.start, end: day.end, spent: spent))
    }
    let usage = ConsentUsage(
      spentInWindow: budgets.first { $0.start == day.start && $0.end == day.end }?.spent ?? 0,
      countInHour: try unit.countPayments(
        consent: terms.id, after: HourWindow(endingAt: now).after, limit: terms.limits.hourly),
      isFirstToCounterparty: try !unit.hasPaid(consent: terms.id, counterparty: request.counterparty))
    let need = try terms.check(
      PaymentIntent(
        agent: agent.id, agentThumbprint: context.signed.principal.thumbprint, owner: agent.owner,
        tenant: agent.tenant, rail: request.rail, counterparty: request.counterparty, money: request.money),
      usage: usage, at: now)

    let policy = try unit.policy(tenant: agent.tenant)
    let decision = (policy?.document ?? .builtin).decide(
      PolicyFacts(
        tenant: agent.tenant, agent: agent.id, owner: agent.owner, agentSince: agent.since, consent: terms.id,
        rail: request.rail, counterparty: request.counterparty, isFirstPayment: usage.isFirstToCounterparty,
        money: request.money, at: now))
    if decision.action == .deny {
      throw Problem(
        403, "policy_denied",
        "\(decision.policyVersion) denies this payment (\(decision.matched.joined(separator: ", "))); ask a security officer."
      )
    }
    let needs = try self.needs(need, decision.holds, of: agent, in: &unit)

    let payment = Payment(
      id: context.id.description, tenant: agent.tenant, owner: agent.owner, agent: agent.id,
      agentThumbprint: agent.thumbprint, consent: terms.id, consentVersion: terms.version,
      consentDigest: terms.digest, policyVersion: decision.policyVersion, policyRecord: decision.record,
      account: terms.account, counterparty: request.counterparty, rail: request.rail,
      credited: try credited(request, terms, tenant: agent.tenant, in: &unit), money: request.money,
      reference: request.reference, commandDigest: context.signed.commandDigest, leafIndex: context.leafIndex,
      decidedAt: now, expires: needs.isEmpty ? nil : now.adding(seconds: request.expiresIn), needs: needs,
      state: needs.isEmpty ? .reserved : .held)
    try unit.reserve(payment.entries, tenant: agent.tenant) { account in
      guard account.owner == agent.owner else {
        throw Problem(403, "account_not_permitted", "The consent's account is not the owner's any more.")
      }
    }
    for var budget in budgets {
      budget.spent += request.money.minorUnits
      try unit.put(budget)
    }
    try unit.insert(payment)
    var references = [CommandEvidence.Reference("consent", consent.leafIndex)]
    if let policy { references.append(.init("policy", policy.leafIndex)) }
    guard let expires = payment.expires else { return Ruling(.allow, references: references) }
    return Ruling(.hold(until: expires, payment.summary(given: 0)), references: references)
  }

  /// The approvals that consent and policy ask for, one need for each group.
  private func needs(
    _ consent: CosignNeed, _ holds: [PolicyAction], of agent: Principal, in unit: inout Unit
  ) throws -> [Payment.Need] {
    var wanted: [(group: String, approvals: Int)] = []
    if case .approvals(let count, let group) = consent { wanted.append((group, count)) }
    func isNamed(_ hold: PolicyAction) -> Bool { if case .hold(_, _?) = hold { true } else { false } }
    // A hold that names no group takes the consent's, or else the first that another hold names.
    for case .hold(let count, let named) in holds.filter(isNamed) + holds.filter({ !isNamed($0) }) {
      guard let group = named ?? wanted.first?.group else {
        throw Problem(
          403, "approval_group_missing",
          "The policy holds this payment, but neither it nor the consent names who approves; ask a security officer.")
      }
      if let index = wanted.firstIndex(where: { $0.group == group }) {
        wanted[index].approvals = max(wanted[index].approvals, count)
      } else {
        wanted.append((group, count))
      }
    }
    return try wanted.map { want in
      guard let group = try unit.group(want.group), group.tenant == agent.tenant else {
        throw Problem(422, "group_not_found", "The group of approvers does not exist any more; amend the consent.")
      }
      // The owner whose agent asks does not approve.
      guard group.members.count(where: { $0 != agent.owner }) >= want.approvals else {
        throw Problem(422, "group_too_small", "The group has too few members to approve this; invite more approvers.")
      }
      return Payment.Need(
        group: group.id, name: group.name, version: group.version, members: group.members, approvals: want.approvals)
    }
  }

  /// The account that a payment credits; refuses what its rail cannot carry.
  private func credited(
    _ request: PaymentRequest, _ terms: ConsentTerms, tenant: String, in unit: inout Unit
  ) throws -> String {
    let counterparty = terms.counterparty(request.counterparty)
    if request.rail == "book", let account = counterparty?.book { return account }
    guard let destination = counterparty?.ach, let rail = try unit.rail(tenant: tenant) else {
      throw Problem(
        422, "rail_not_configured", "Payments cannot leave by this rail yet; a security officer configures it.")
    }
    guard request.money.currency.code == "USD" else {
      throw Problem(422, "rail_currency", "ACH carries US dollars alone.")
    }
    do {
      _ = try ACHCredit(
        account: try ACHAccount(json: destination), amount: request.money.minorUnits, leafIndex: 0,
        reference: request.reference)
    } catch { throw error.problem }
    return rail.settlementAccount
  }

  private func ending(_ id: String, for context: CommandContext, in unit: inout Unit) throws -> Payment {
    guard let payment = try unit.payment(id), payment.tenant == context.principal.tenant else {
      throw Problem(404, "payment_not_found", "There is no payment '\(id)' in this tenant; check its identifier.")
    }
    guard payment.owner == context.principal.ownership else {
      throw Problem(403, "payment_not_permitted", "Only the payment's agent or owner ends it.")
    }
    guard payment.state == .held else {
      throw Problem(409, "payment_ended", "The payment is \(payment.state.rawValue); only a held one can be ended.")
    }
    return payment
  }

  // MARK: - T2

  /// Carries a sealed command out.
  public func apply(_ sealed: Sealed<PaymentCommand>, at now: Timestamp, in unit: inout Unit) throws -> JSONObject {
    switch sealed.command {
    case .authorize:
      var payment = try existing(sealed.context.id.description, in: &unit)
      try post(&payment, under: sealed, in: &unit)
      return payment.summary(given: 0)
    case .decide(let id, let terms): return try apply(terms, to: id, sealed, in: &unit)
    case .void(let id):
      var payment = try existing(id, in: &unit)
      try giveBack(&payment, as: .voided, in: &unit)
      return ["payment": .string(id), "state": .string(payment.state.rawValue)]
    case .configure(let originator, let account, let bank):
      return try configure(originator, account, bank, sealed, in: &unit)
    case .accepted(let number, let traces):
      let tenant = sealed.context.principal.tenant
      let named = traces.map { Set($0) }
      let entries = try unit.entries(tenant: tenant, file: number).filter { named?.contains($0.trace) ?? true }
      for entry in entries {
        var payment = try existing(entry.payment, in: &unit)
        guard payment.state == .sent else { continue }
        payment.state = .accepted
        try unit.update(payment)
      }
      return ["file": .integer(Int64(number)), "entries": .integer(Int64(entries.count))]
    case .returned(let returns): return try apply(returns, sealed, in: &unit)
    }
  }

  func post<Command>(
    _ payment: inout Payment, under sealed: Sealed<Command>, in unit: inout Unit
  ) throws {
    try unit.post(payment.entries, reserved: payment.entries, under: sealed)
    (payment.state, payment.postedIndex) = (.posted, sealed.leafIndex)
    try unit.update(payment)
    guard payment.rail == "ach" else { return }
    guard let rail = try unit.rail(tenant: payment.tenant), let odfi = UInt64(rail.originator.odfi) else {
      throw Problem(503, "rail_not_configured", "The rail's configuration is missing; restore the database.")
    }
    try unit.insert(
      RailEntry(
        leafIndex: sealed.leafIndex, payment: payment.id, tenant: payment.tenant,
        trace: odfi * 10_000_000 + sealed.leafIndex % 10_000_000, railIndex: rail.leafIndex))
  }

  /// Gives funds and budget back.
  func giveBack(_ payment: inout Payment, as state: Payment.State, in unit: inout Unit) throws {
    try unit.unreserve(payment.entries)
    for var budget in try unit.budgets(consent: payment.consent, containing: payment.decidedAt) {
      budget.spent -= payment.money.minorUnits
      try unit.put(budget)
    }
    payment.state = state
    try unit.update(payment)
  }

  /// Gives back what a command reserved.
  public func release(_ command: PaymentCommand, context: CommandContext, in unit: inout Unit) throws {
    switch command {
    case .authorize:
      var payment = try existing(context.id.description, in: &unit)
      try giveBack(&payment, as: .failed, in: &unit)
    case .decide(let id, _):
      try unit.removeApproval(payment: id, person: context.principal.id)
      try reopen(id, endedBy: context, in: &unit)
    case .void(let id): try reopen(id, endedBy: context, in: &unit)
    case .configure, .accepted: return
    case .returned(let returns): try release(returns, context, in: &unit)
    }
  }

  private func reopen(_ id: String, endedBy context: CommandContext, in unit: inout Unit) throws {
    var payment = try existing(id, in: &unit)
    guard payment.endedBy == context.id.description else { return }
    (payment.state, payment.endedBy) = (.held, nil)
    try unit.update(payment)
  }

  /// Ends a held payment whose time has come.
  /// - Returns: what to record about it, or nil where it is not held any more or not yet due.
  public func expire(_ id: String, at now: Timestamp, in unit: inout Unit) throws -> JSONObject? {
    guard var payment = try unit.payment(id), payment.state == .held, let expires = payment.expires, expires <= now
    else { return nil }
    try giveBack(&payment, as: .expired, in: &unit)
    return ["payment": .string(id), "expires_at": .string(expires.description)]
  }

  func existing(_ id: String, in unit: inout Unit) throws -> Payment {
    guard let payment = try unit.payment(id) else {
      throw Problem(404, "payment_not_found", "There is no payment '\(id)'; check its identifier.")
    }
    return payment
  }
}

extension Payment {
  /// The payment as answers show it.
  public func summary(given: Int) -> JSONObject {
    var object: JSONObject = [
      "payment": .string(id), "state": .string(state.rawValue), "amount": .string(money.decimal),
      "currency": .string(money.currency.code), "rail": .string(rail), "counterparty": .string(counterparty),
      "consent": .string(consent), "consent_version": .integer(Int64(consentVersion)),
      "policy": .object(policyRecord),
    ]
    if let expires {
      object["expires_at"] = .string(expires.description)
      object["approvals_given"] = .integer(Int64(given))
      object["approvals_needed"] = .integer(Int64(needs.reduce(0) { $0 + $1.approvals }))
    }
    return object
  }
}
