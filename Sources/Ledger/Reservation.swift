package import Seal
import Wire

// How entries are reserved, posted and given back. Whoever moves money through the ledger does it with these, and
// nothing is posted without a seal.

extension LedgerStore {
  /// Checks entries against their accounts and reserves them.
  /// - Parameters:
  ///   - entries: balanced in each currency, each account once.
  ///   - tenant: whose accounts they may name.
  ///   - mayDebit: refuses a debit that is not the caller's to make.
  /// - Throws: `account_not_found`, `currency_mismatch`, `account_overdrawn`, `account_total_too_large`, or what
  ///   `mayDebit` throws; nothing is written then.
  package mutating func reserve(
    _ entries: [Entry], tenant: String, mayDebit: (Account) throws -> Void
  ) throws {
    // All checks come before the first write.
    var accounts: [Account] = []
    accounts.reserveCapacity(entries.count)
    for entry in entries {
      guard var account = try account(entry.account), account.tenant == tenant else {
        throw Problem(
          422, "account_not_found", "There is no account '\(entry.account)' in this tenant; check its identifier.")
      }
      guard account.currency == entry.money.currency else {
        throw Problem(
          422, "currency_mismatch",
          "Account '\(account.id)' holds \(account.currency), the entry is in \(entry.money.currency); convert first.")
      }
      switch entry.side {
      case .debit:
        try mayDebit(account)
        guard account.kind == .external || account.available >= entry.money.minorUnits else {
          throw Problem(
            422, "account_overdrawn",
            "Account '\(account.id)' does not have that much available; holds count as spent until they end.")
        }
        account.debitsPending = try Account.sum(account.debitsPending, entry.money.minorUnits)
        _ = try Account.sum(account.debitsPosted, account.debitsPending)
      case .credit:
        account.creditsPending = try Account.sum(account.creditsPending, entry.money.minorUnits)
        _ = try Account.sum(account.creditsPosted, account.creditsPending)
      }
      accounts.append(account)
    }
    for account in accounts { try update(account) }
  }

  /// Posts entries under a seal.
  /// - Parameter reserved: what was reserved for them, entry by entry.
  package mutating func post<Command>(
    _ entries: [Entry], reserved: [Entry], under seal: Sealed<Command>
  ) throws {
    for (entry, reservation) in zip(entries, reserved) {
      var account = try existing(entry.account)
      switch entry.side {
      case .debit:
        account.debitsPending -= reservation.money.minorUnits
        account.debitsPosted = try Account.sum(account.debitsPosted, entry.money.minorUnits)
      case .credit:
        account.creditsPending -= reservation.money.minorUnits
        account.creditsPosted = try Account.sum(account.creditsPosted, entry.money.minorUnits)
      }
      try update(account)
    }
    try post(entries, leafIndex: seal.leafIndex)
  }

  /// Gives back what was reserved for entries.
  package mutating func unreserve(_ entries: [Entry]) throws {
    for entry in entries {
      var account = try existing(entry.account)
      switch entry.side {
      case .debit: account.debitsPending -= entry.money.minorUnits
      case .credit: account.creditsPending -= entry.money.minorUnits
      }
      try update(account)
    }
  }

  private mutating func existing(_ id: String) throws -> Account {
    guard let account = try account(id) else {
      throw Problem(422, "account_not_found", "There is no account '\(id)'; check its identifier.")
    }
    return account
  }
}

extension Account {
  fileprivate static func sum(_ a: Int64, _ b: Int64) throws(Problem) -> Int64 {
    let (sum, overflow) = a.addingReportingOverflow(b)
    guard !overflow else {
      throw Problem(
        422, "account_total_too_large", "The account's totals would exceed what 64 bits hold; open a new account.")
    }
    return sum
  }
}
