public import Wire

/// What the ledger can be told to do.
public enum LedgerCommand: Sendable, Equatable {
  /// Open an account.
  case openAccount(currency: Currency, kind: Account.Kind, overdraftLimit: Int64)
  /// Post balanced entries at once.
  case transfer([Entry])
  /// Reserve balanced entries for so many seconds.
  case hold([Entry], seconds: Int64)
  /// Post a hold, or a part of one that has one debit and one credit.
  case capture(hold: String, amount: JSONValue?)
  /// Release a hold.
  case void(hold: String)

  /// A transfer has at most this many entries.
  public static let maximumEntries = 256
  /// A hold lives at most 31 days.
  public static let maximumHoldSeconds: Int64 = 31 * 86_400

  /// Parses a command from a request's path, relative to `/v1/ledger/`, and its body.
  /// - Throws: a 404 `route_not_found` for another path; a 4xx that says which rule the body breaks.
  public init(path: String, body: [UInt8]) throws(Problem) {
    let parts = path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    self = try Problem.reading {
      let json = try JSONValue(parsing: body)
      switch parts.count {
      case 1 where parts[0] == "accounts": return try Self.account(json)
      case 1 where parts[0] == "transfers":
        var reader = try ObjectReader(json, "the transfer")
        let entries = try Self.entries(&reader)
        _ = try reader.optionalString("memo", maximumBytes: 140)
        try reader.finish()
        return .transfer(entries)
      case 1 where parts[0] == "holds":
        var reader = try ObjectReader(json, "the hold")
        let entries = try Self.entries(&reader)
        let seconds = try reader.integer("expires_in", in: 1...Self.maximumHoldSeconds)
        _ = try reader.optionalString("memo", maximumBytes: 140)
        try reader.finish()
        return .hold(entries, seconds: seconds)
      case 3 where parts[0] == "holds" && parts[2] == "capture":
        var reader = try ObjectReader(json, "the capture")
        let amount = reader.optional("amount")
        try reader.finish()
        return .capture(hold: parts[1], amount: amount)
      case 3 where parts[0] == "holds" && parts[2] == "void":
        try ObjectReader(json, "the void").finish()
        return .void(hold: parts[1])
      default: throw Problem(404, "route_not_found", "The ledger has no command at this path.")
      }
    }
  }

  private static func account(_ json: JSONValue) throws -> LedgerCommand {
    var reader = try ObjectReader(json, "the account")
    let currency = try currency(try reader.string("currency", maximumBytes: 3))
    guard let kind = Account.Kind(rawValue: try reader.optionalString("kind") ?? "customer") else {
      throw Problem(422, "account_kind_unknown", "An account's kind is 'customer' or 'external'.")
    }
    let limit = try reader.optional("overdraft_limit").map {
      try Money(amount: $0, currency: currency, allowZero: true).minorUnits
    }
    try reader.finish()
    return .openAccount(currency: currency, kind: kind, overdraftLimit: limit ?? 0)
  }

  private static func currency(_ code: String) throws(Problem) -> Currency {
    guard let currency = Currency(code) else {
      throw Problem(422, "currency_unknown", "Use an ISO 4217 code such as USD; '\(code)' is none that is known.")
    }
    return currency
  }

  private static func entries(_ reader: inout ObjectReader) throws -> [Entry] {
    var entries: [Entry] = []
    var sums: [Currency: Int64] = [:]
    for value in try reader.array("entries", limit: maximumEntries) {
      var item = try ObjectReader(value, "an entry")
      let account = try item.string("account", maximumBytes: 64)
      guard let side = Entry.Side(rawValue: try item.string("side", maximumBytes: 6)) else {
        throw Problem(422, "entry_side_unknown", "An entry's side is 'debit' or 'credit'.")
      }
      let currency = try currency(try item.string("currency", maximumBytes: 3))
      let money = try Money(amount: try item.value("amount"), currency: currency)
      try item.finish()
      entries.append(Entry(account: account, side: side, money: money))
      // 256 entries of at most 10^15 cannot overflow.
      sums[currency, default: 0] += side == .debit ? money.minorUnits : -money.minorUnits
    }
    guard entries.count >= 2 else {
      throw Problem(422, "transfer_too_few_entries", "A transfer needs at least one debit and one credit.")
    }
    guard Set(entries.map(\.account)).count == entries.count else {
      throw Problem(422, "transfer_account_repeated", "Name each account once; add its amounts up.")
    }
    if let (currency, difference) = sums.first(where: { $0.value != 0 }) {
      let gap = Money(minorUnits: abs(difference), currency: currency).decimal
      throw Problem(
        422, "transfer_unbalanced",
        "In \(currency) the debits and credits differ by \(gap); they must be equal in each currency.")
    }
    return entries
  }
}
