import AgentIdentity
public import Seal
public import Wire

/// The ledger: double entry, holds, and no posting without a seal.
public struct LedgerModule<Unit: LedgerStore>: CommandModule {
  /// The audience that leaves name.
  public static var audience: String { "ledger" }

  /// The ledger's own check of seals.
  public let verifier: SealVerifier

  /// Makes a ledger that trusts what a verifier mints.
  public init(verifier: SealVerifier) { self.verifier = verifier }

  /// Reads a ledger command in a signed request.
  public func parse(_ signed: SignedCommand) throws(Problem) -> LedgerCommand {
    let prefix = "/v1/ledger/"
    let path = signed.path
    guard signed.method == "POST", path.hasPrefix(prefix) else {
      throw Problem(404, "route_not_found", "The ledger has no command at this path.")
    }
    return try LedgerCommand(path: String(path.dropFirst(prefix.count)), body: signed.body)
  }

  // MARK: - T1

  /// Checks a command against accounts and holds, and reserves funds.
  public func reserve(_ command: LedgerCommand, context: CommandContext, in unit: inout Unit) throws -> Ruling {
    let principal = context.principal
    switch command {
    case .openAccount(_, let kind, _):
      switch (kind, principal.kind) {
      case (.external, .officer), (.customer, .owner): break
      case (.external, _):
        throw Problem(403, "account_kind_not_permitted", "Only a security officer opens external accounts.")
      case (.customer, _):
        throw Problem(403, "account_kind_not_permitted", "Only an owner opens customer accounts.")
      }
    case .transfer(let entries):
      try reserve(entries, for: principal, in: &unit)
    case .hold(let entries, let seconds):
      try reserve(entries, for: principal, in: &unit)
      try unit.insert(
        Hold(
          id: context.id.description, tenant: principal.tenant, owner: principal.ownership, entries: entries,
          expiresAt: context.decidedAt.adding(seconds: seconds).milliseconds, state: .reserved))
    case .capture(let id, let amount):
      let hold = try ending(id, for: context, in: &unit)
      _ = try captured(hold, amount)
      for entry in hold.entries where entry.side == .debit {
        if let account = try unit.account(entry.account) { try Self.permit(account, by: principal) }
      }
      try unit.setState(.capturing, ofHold: id)
    case .void(let id):
      _ = try ending(id, for: context, in: &unit)
      try unit.setState(.voiding, ofHold: id)
    }
    return .allow
  }

  private func reserve(_ entries: [Entry], for principal: Principal, in unit: inout Unit) throws {
    try unit.reserve(entries, tenant: principal.tenant) { account in
      guard account.owner == principal.ownership else {
        throw Problem(
          403, "account_not_permitted", "Only the account's owner and the owner's agents may debit '\(account.id)'.")
      }
      try Self.permit(account, by: principal)
    }
  }

  private static func permit(_ account: Account, by principal: Principal) throws(Problem) {
    guard principal.kind != .agent || !account.isUnderConsent else {
      throw Problem(
        403, "account_under_consent",
        "The owner has put '\(account.id)' under consent; agents pay from it through /v1/payments/authorize.")
    }
  }

  /// The hold that a command wants to end, if it may.
  private func ending(_ id: String, for context: CommandContext, in unit: inout Unit) throws -> Hold {
    guard let hold = try unit.hold(id), hold.tenant == context.principal.tenant else {
      throw Problem(404, "hold_not_found", "There is no hold '\(id)' in this tenant; check its identifier.")
    }
    guard hold.owner == context.principal.ownership else {
      throw Problem(403, "hold_not_permitted", "Only the hold's owner and the owner's agents may end it.")
    }
    // The first to be recorded wins: capture, void or expiry.
    if hold.state == .expired || (hold.state == .held && context.decidedAt.milliseconds >= hold.expiresAt) {
      throw Problem(409, "hold_expired", "The hold has expired and its funds are released; authorise a new one.")
    }
    guard hold.state == .held else {
      throw Problem(409, "hold_ended", "The hold is \(hold.state.rawValue) and cannot be ended again.")
    }
    return hold
  }

  /// The entries that a capture posts.
  private func captured(_ hold: Hold, _ amount: JSONValue?) throws(Problem) -> [Entry] {
    guard let amount else { return hold.entries }
    guard hold.entries.count == 2 else {
      throw Problem(
        422, "capture_not_divisible", "A hold of more than two entries is captured whole; leave 'amount' out.")
    }
    let money = try Money(amount: amount, currency: hold.entries[0].money.currency)
    guard money.minorUnits <= hold.entries[0].money.minorUnits else {
      throw Problem(422, "capture_exceeds_hold", "A capture may not exceed its hold; authorise a new one for the rest.")
    }
    return hold.entries.map { Entry(account: $0.account, side: $0.side, money: money) }
  }

  // MARK: - T2

  /// Carries out a sealed command.
  public func apply(_ sealed: Sealed<LedgerCommand>, at now: Timestamp, in unit: inout Unit) throws -> JSONObject {
    let context = sealed.context
    switch sealed.command {
    case .openAccount(let currency, let kind, let limit):
      let account = Account(
        id: "acc_" + context.id.description, tenant: context.principal.tenant, owner: context.principal.ownership,
        currency: currency, kind: kind, overdraftLimit: limit)
      try unit.insert(account)
      return ["account": .object(account.description)]
    case .transfer(let entries):
      try unit.post(entries, reserved: entries, under: sealed)
      return ["entries": .array(entries.map { .object($0.description) })]
    case .hold(let entries, _):
      let id = context.id.description
      try unit.setState(.held, ofHold: id)
      let expiresAt = try unit.hold(id)?.expiresAt ?? 0
      return [
        "hold": .string(id), "entries": .array(entries.map { .object($0.description) }),
        "expires_at": .string(Timestamp(milliseconds: expiresAt).description),
      ]
    case .capture(let id, let amount):
      let hold = try existing(id, in: &unit)
      let entries = try captured(hold, amount)
      try unit.post(entries, reserved: hold.entries, under: sealed)
      try unit.setState(.captured, ofHold: id)
      return ["hold": .string(id), "entries": .array(entries.map { .object($0.description) })]
    case .void(let id):
      try unit.unreserve(try existing(id, in: &unit).entries)
      try unit.setState(.voided, ofHold: id)
      return ["hold": .string(id)]
    }
  }

  /// Gives back what a command reserved.
  public func release(_ command: LedgerCommand, context: CommandContext, in unit: inout Unit) throws {
    switch command {
    case .openAccount: return
    case .transfer(let entries): try unit.unreserve(entries)
    case .hold(let entries, _):
      try unit.unreserve(entries)
      try unit.setState(.expired, ofHold: context.id.description)
    case .capture(let id, _), .void(let id): try unit.setState(.held, ofHold: id)
    }
  }

  /// Releases a hold whose time has come.
  /// - Returns: what to record about it, or nil where the hold is no longer held or not yet due.
  public func expire(_ id: String, at now: Timestamp, in unit: inout Unit) throws -> JSONObject? {
    guard let hold = try unit.hold(id), hold.state == .held, hold.expiresAt <= now.milliseconds else { return nil }
    try unit.unreserve(hold.entries)
    try unit.setState(.expired, ofHold: id)
    return ["hold": .string(id), "expires_at": .string(Timestamp(milliseconds: hold.expiresAt).description)]
  }

  private func existing(_ id: String, in unit: inout Unit) throws -> Hold {
    guard let hold = try unit.hold(id) else {
      throw Problem(404, "hold_not_found", "There is no hold '\(id)'; check its identifier.")
    }
    return hold
  }
}

extension Account {
  /// The account as answers show it.
  public var description: JSONObject {
    func text(_ units: Int64) -> JSONValue { .string(Money(minorUnits: units, currency: currency).decimal) }
    return [
      "id": .string(id), "currency": .string(currency.code), "kind": .string(kind.rawValue),
      "balance": text(balance), "available": text(available), "overdraft_limit": text(overdraftLimit),
      "debits_posted": text(debitsPosted), "credits_posted": text(creditsPosted),
      "debits_pending": text(debitsPending), "credits_pending": text(creditsPending),
    ]
  }
}

extension Entry {
  /// The entry as answers show it.
  public var description: JSONObject {
    [
      "account": .string(account), "side": .string(side.rawValue), "amount": .string(money.decimal),
      "currency": .string(money.currency.code),
    ]
  }
}
