public import Wire

/// What an agent asks to pay, as authenticated: who comes from the request's signature, the rest from its body.
public struct PaymentIntent: Sendable, Equatable {
  /// The principal that asks.
  public var agent: String
  /// The thumbprint of the key that signed.
  public var agentThumbprint: String
  /// The principal that the agent acts for.
  public var owner: String
  /// The tenant of both.
  public var tenant: String
  /// By which rail.
  public var rail: String
  /// To whom, by the identifier in the consent.
  public var counterparty: String
  /// How much.
  public var money: Money

  /// Makes an intent.
  public init(
    agent: String, agentThumbprint: String, owner: String, tenant: String, rail: String, counterparty: String,
    money: Money
  ) {
    self.agent = agent
    self.agentThumbprint = agentThumbprint
    self.owner = owner
    self.tenant = tenant
    self.rail = rail
    self.counterparty = counterparty
    self.money = money
  }
}

/// What was spent under a consent before a payment, whichever of its versions was current.
public struct ConsentUsage: Sendable, Equatable {
  /// Minor units reserved or spent in the ``DayWindow`` of the payment.
  public var spentInWindow: Int64
  /// Payments reserved or made in the ``HourWindow`` that ends with the payment.
  public var countInHour: Int
  /// True if the counterparty was never paid under this consent.
  public var isFirstToCounterparty: Bool

  /// Makes a usage.
  public init(spentInWindow: Int64, countInHour: Int, isFirstToCounterparty: Bool) {
    self.spentInWindow = spentInWindow
    self.countInHour = countInHour
    self.isFirstToCounterparty = isFirstToCounterparty
  }
}

/// Whether people must agree before a payment.
public enum CosignNeed: Sendable, Equatable {
  /// The consent asks for no approval.
  case none
  /// So many members of a group must approve.
  case approvals(Int, group: String)
}

extension ConsentTerms {
  /// Judges a payment by the terms alone: whether they are signed, current and not revoked, the caller knows.
  ///
  /// The order is fixed, and a refusal names the first rule that is broken. First who asks, so that a stranger learns
  /// nothing about the rest:
  /// 1. `consent_wrong_tenant`, which a caller should answer as if the consent did not exist; `consent_wrong_owner`,
  ///    `consent_wrong_agent`, `consent_wrong_key` (403)
  /// 2. `consent_expired` (403)
  /// 3. `consent_currency` (422)
  /// 4. `consent_rail_not_permitted`; `consent_counterparty_not_permitted`, also for one without this rail (403)
  /// 5. `amount_not_positive`, `consent_single_limit`, `consent_daily_limit`, `consent_hourly_limit` (422)
  /// - Parameters:
  ///   - intent: the payment.
  ///   - usage: what was spent before it, in the windows of `moment`.
  ///   - moment: when the payment is decided.
  /// - Returns: the approvals that it needs; limits hold with approvals too.
  public func check(
    _ intent: PaymentIntent, usage: ConsentUsage, at moment: Timestamp
  ) throws(Problem) -> CosignNeed {
    try checkWho(intent)
    guard moment < expires else {
      throw Problem(403, "consent_expired", "The consent has expired; ask the owner for a new version.")
    }
    guard intent.money.currency == currency else {
      throw Problem(422, "consent_currency", "The consent is for payments in \(currency) alone.")
    }
    guard rails.contains(where: intent.rail.isExactly) else {
      throw Problem(403, "consent_rail_not_permitted", "The consent does not permit this rail; use one that it names.")
    }
    guard let counterparty = counterparty(intent.counterparty),
      counterparty.rails.contains(where: intent.rail.isExactly)
    else {
      throw Problem(
        403, "consent_counterparty_not_permitted", "The consent does not permit payments to this counterparty here.")
    }
    try checkLimits(intent.money.minorUnits, usage)
    guard let cosign, intent.money.minorUnits > cosign.above.minorUnits else { return .none }
    return .approvals(cosign.approvals, group: cosign.group)
  }

  private func checkWho(_ intent: PaymentIntent) throws(Problem) {
    guard intent.tenant.isExactly(tenant) else {
      throw Problem(403, "consent_wrong_tenant", "The consent belongs to another tenant.")
    }
    guard intent.owner.isExactly(owner) else {
      throw Problem(403, "consent_wrong_owner", "The consent was given by another owner than the agent's.")
    }
    guard intent.agent.isExactly(agent) else {
      throw Problem(403, "consent_wrong_agent", "The consent was given to another agent.")
    }
    guard intent.agentThumbprint.isExactly(agentThumbprint) else {
      throw Problem(
        403, "consent_wrong_key", "The consent was given to another key of this agent; sign with the key that it names."
      )
    }
  }

  private func checkLimits(_ units: Int64, _ usage: ConsentUsage) throws(Problem) {
    guard units > 0 else { throw Problem(422, "amount_not_positive", "An amount must be greater than zero.") }
    guard units <= limits.single.minorUnits else {
      throw Problem(
        422, "consent_single_limit", "One payment may be at most \(limits.single.decimal) \(currency).")
    }
    let (sum, overflow) = usage.spentInWindow.addingReportingOverflow(units)
    guard !overflow, sum <= limits.daily.minorUnits else {
      throw Problem(
        422, "consent_daily_limit",
        "Payments of one day may add up to at most \(limits.daily.decimal) \(currency); the day ends at midnight in "
          + "\(limits.zone).")
    }
    guard usage.countInHour < limits.hourly else {
      throw Problem(
        422, "consent_hourly_limit", "At most \(limits.hourly) payments may be made within an hour; wait.")
    }
  }
}
