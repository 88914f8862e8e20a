import AgentIdentity
import Consent
import Crypto
import Foundation
import JOSE
import Ledger
import Rails
import Seal
public import Wire

// What leaves by ACH, and what the bank says about it. An entry is durable with its posting, a file with its event,
// before anyone can fetch it; the same file has the same bytes for ever.

extension PaymentsModule {
  /// A file has at most so many entries, so that its record stays small.
  public static var maximumFileEntries: Int { 10_000 }

  // MARK: - Configuration

  func checkRail(
    _ account: String, _ bank: JSONValue, _ context: CommandContext, in unit: inout Unit
  ) throws -> Ruling {
    let officer = context.principal
    guard officer.kind == .officer else {
      throw Problem(403, "officer_required", "Only a security officer says how payments leave.")
    }
    guard let settlement = try unit.account(account), settlement.tenant == officer.tenant,
      settlement.kind == .external, settlement.currency.code == "USD"
    else {
      throw Problem(
        422, "settlement_account", "Name an external account in USD of this tenant, which stands for the bank.")
    }
    _ = try known(try Self.key(of: bank), tenant: officer.tenant, in: &unit)
    return .allow
  }

  /// The bank that has a key already, if any.
  private func known(_ key: JWK, tenant: String, in unit: inout Unit) throws -> Principal? {
    let known = try unit.principal(thumbprint: key.thumbprint)
    if let known, known.kind != .bank || known.tenant != tenant || known.status != .active {
      throw Problem(409, "key_enrolled", "The bank's key belongs to someone else; the bank makes one of its own.")
    }
    return known
  }

  private static func key(of bank: JSONValue) throws(Problem) -> JWK {
    guard let key = try? JWK(bank), let algorithm = key.key.algorithms.first, [.es256, .edDSA].contains(algorithm)
    else {
      throw Problem(422, "bank_key", "'bank' must be the bank's public key as a JWK, P-256 or Ed25519.")
    }
    return key
  }

  func configure<Command>(
    _ originator: ACHOriginator, _ account: String, _ bank: JSONValue, _ sealed: Sealed<Command>, in unit: inout Unit
  ) throws -> JSONObject {
    let context = sealed.context
    let key = try Self.key(of: bank)
    let id: String
    // Someone else may have enrolled the key between the two commits.
    if let known = try known(key, tenant: context.principal.tenant, in: &unit) {
      id = known.id
    } else {
      id = "bnk_\(context.id)"
      try unit.insert(
        Principal(
          id: id, kind: .bank, tenant: context.principal.tenant, owner: "", thumbprint: key.thumbprint,
          key: key.bareJSON.canonical(), status: .active, enrolmentIndex: sealed.leafIndex))
    }
    try unit.insert(
      ACHRail(
        tenant: context.principal.tenant, originator: originator, settlementAccount: account, bank: id,
        leafIndex: sealed.leafIndex))
    return ["rail": "ach", "bank": .string(id), "settlement_account": .string(account)]
  }

  // MARK: - Files

  /// Cuts the next file of a tenant out of the entries that wait.
  /// - Returns: what to record about it, or nil where nothing waits, or the next file of the day is not due yet.
  public func cutFile(
    tenant: String, at now: Timestamp, leafIndex: UInt64, in unit: inout Unit
  ) throws -> JSONObject? {
    var waiting = try unit.waitingEntries(tenant: tenant, limit: Self.maximumFileEntries)
    guard let railIndex = waiting.first?.railIndex else { return nil }
    waiting = Array(waiting.prefix { $0.railIndex == railIndex })
    let number = try unit.newestFile(tenant: tenant) + 1
    guard let modifier = try modifier(of: number, tenant, at: now, in: &unit) else { return nil }
    let credits = try waiting.map { try credit(of: $0, in: &unit) }
    let fitting = ACHFileBuilder.fitting(credits)
    let bytes = try build(Array(credits.prefix(fitting)), railIndex, modifier, at: now, in: &unit)
    for entry in waiting.prefix(fitting) {
      try unit.setFile(number, ofEntry: entry.leafIndex)
      var payment = try existing(entry.payment, in: &unit)
      payment.state = .sent
      try unit.update(payment)
    }
    let file = RailFile(
      tenant: tenant, number: number, created: now, modifier: modifier, leafIndex: leafIndex, railIndex: railIndex,
      count: fitting, digest: Array(SHA256.hash(data: bytes)))
    try unit.insert(file)
    return [
      "tenant": .string(tenant), "file": .integer(Int64(number)), "entries": .integer(Int64(fitting)),
      "sha256": .string(Hex.encode(file.digest)),
    ]
  }

  /// The bytes of a file, made again from its entries.
  public func bytes(of file: RailFile, in unit: inout Unit) throws -> [UInt8] {
    let credits = try unit.entries(tenant: file.tenant, file: file.number).map { try credit(of: $0, in: &unit) }
    let bytes = try build(credits, file.railIndex, file.modifier, at: file.created, in: &unit)
    guard Array(SHA256.hash(data: bytes)) == file.digest else {
      throw Problem(503, "file_damaged", "The file is not what was recorded; restore the database.")
    }
    return bytes
  }

  private func build(
    _ credits: [ACHCredit], _ railIndex: UInt64, _ modifier: String, at now: Timestamp, in unit: inout Unit
  ) throws -> [UInt8] {
    guard let rail = try unit.rail(leafIndex: railIndex) else {
      throw Problem(503, "rail_not_configured", "The rail's configuration is missing; restore the database.")
    }
    let (date, time) = try Self.easternTime(now)
    do {
      return try ACHFileBuilder(
        originator: rail.originator, fileIDModifier: modifier.first ?? "A", creationDate: date, creationTime: time,
        effectiveEntryDate: BankingCalendar.nextBankingDay(after: date)
      ).build(credits)
    } catch { throw error.problem }
  }

  private func credit(of entry: RailEntry, in unit: inout Unit) throws -> ACHCredit {
    let payment = try existing(entry.payment, in: &unit)
    guard let terms = try unit.consent(payment.consent, version: payment.consentVersion)?.terms,
      let destination = terms.counterparty(payment.counterparty)?.ach
    else { throw Problem(503, "consent_missing", "The payment's consent is not stored; restore the database.") }
    do {
      return try ACHCredit(
        account: try ACHAccount(json: destination), amount: payment.money.minorUnits, leafIndex: entry.leafIndex,
        reference: payment.reference)
    } catch { throw error.problem }
  }

  /// A to Z and 0 to 9 for the files of one day in New York; nil where the next is not due. The first twelve go at
  /// once, later ones an hour apart, so that the 36 names last for any day.
  private func modifier(
    of number: Int, _ tenant: String, at now: Timestamp, in unit: inout Unit
  ) throws -> String? {
    let today = try Self.easternTime(now).0
    var earlier = 0
    while earlier < number - 1, let file = try unit.file(tenant: tenant, number: number - 1 - earlier),
      try Self.easternTime(file.created).0 == today
    { earlier += 1 }
    if earlier >= 12, let last = try unit.file(tenant: tenant, number: number - 1),
      now < last.created.adding(seconds: 3600)
    {
      return nil
    }
    let names = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
    return earlier < names.count ? String(names[earlier]) : nil
  }

  /// Date and time where ACH keeps its hours.
  private static func easternTime(_ moment: Timestamp) throws -> (CivilDate, CivilTime) {
    var calendar = Calendar(identifier: .gregorian)
    guard let zone = TimeZone(identifier: "America/New_York") else {
      throw Problem(
        503, "zone_missing", "The time zone America/New_York is not known here; reinstall the Swift runtime.")
    }
    calendar.timeZone = zone
    let parts = calendar.dateComponents(
      [.year, .month, .day, .hour, .minute], from: Date(timeIntervalSince1970: TimeInterval(moment.seconds)))
    guard let date = CivilDate(year: parts.year ?? 0, month: parts.month ?? 0, day: parts.day ?? 0),
      let time = CivilTime(hour: parts.hour ?? 0, minute: parts.minute ?? 0)
    else { throw Problem(500, "internal", "The present date cannot be told.") }
    return (date, time)
  }

  // MARK: - What the bank says

  private func bank(_ context: CommandContext, in unit: inout Unit) throws -> ACHRail {
    guard context.principal.kind == .bank, let rail = try unit.rail(tenant: context.principal.tenant),
      rail.bank == context.principal.id
    else { throw Problem(403, "bank_required", "Only the bank that the rail names answers for it.") }
    return rail
  }

  func checkAcceptance(
    of number: Int, _ traces: [UInt64]?, _ context: CommandContext, in unit: inout Unit
  ) throws -> Ruling {
    let rail = try bank(context, in: &unit)
    guard let file = try unit.file(tenant: rail.tenant, number: number) else {
      throw Problem(404, "file_not_found", "There is no file \(number); list the files first.")
    }
    if let traces {
      let known = Set(try unit.entries(tenant: rail.tenant, file: number).map(\.trace))
      guard let stranger = traces.first(where: { !known.contains($0) }) else {
        return Ruling(.allow, references: [.init("file", file.leafIndex)])
      }
      throw Problem(422, "trace_number", "File \(number) has no entry with the trace number \(stranger).")
    }
    return Ruling(.allow, references: [.init("file", file.leafIndex)])
  }

  func reserve(_ returns: [ACHReturn], _ context: CommandContext, in unit: inout Unit) throws -> Ruling {
    let rail = try bank(context, in: &unit)
    var references: [CommandEvidence.Reference] = []
    for item in returns {
      let trace = item.originalTraceNumber
      guard let entry = try unit.entry(tenant: rail.tenant, trace: trace.value), entry.file != nil else {
        throw Problem(422, "return_unknown_entry", "No entry with the trace number \(trace) was sent.")
      }
      var payment = try existing(entry.payment, in: &unit)
      guard [.sent, .accepted].contains(payment.state), payment.returnCode == nil else {
        throw Problem(409, "return_repeated", "The entry with the trace number \(trace) was returned already.")
      }
      guard item.amount == payment.money.minorUnits else {
        throw Problem(422, "return_amount", "The return of \(trace) has another amount than the entry.")
      }
      // The bank's own account is debited: it may go below zero, and no person's consent is needed to get money back.
      try unit.reserve(payment.reversal, tenant: payment.tenant) { _ in }
      payment.returnCode = item.code.text
      try unit.update(payment)
      references.append(.init("payment", entry.leafIndex))
    }
    guard references.count <= 64 else {
      throw Problem(422, "returns_too_many", "Send at most 64 entries back in one answer; divide the file.")
    }
    return Ruling(.allow, references: references)
  }

  func apply<Command>(_ returns: [ACHReturn], _ sealed: Sealed<Command>, in unit: inout Unit) throws -> JSONObject {
    var items: [JSONValue] = []
    var entries: [Entry] = []
    for item in returns {
      var payment = try payment(of: item, sealed.context, in: &unit)
      entries += payment.reversal
      payment.state = .returned
      try unit.update(payment)
      items.append([
        "payment": .string(payment.id), "code": .string(item.code.text),
        "trace_number": .string("\(item.originalTraceNumber)"),
      ])
    }
    try unit.post(entries, reserved: entries, under: sealed)
    return ["returns": .array(items)]
  }

  func release(_ returns: [ACHReturn], _ context: CommandContext, in unit: inout Unit) throws {
    for item in returns {
      var payment = try payment(of: item, context, in: &unit)
      try unit.unreserve(payment.reversal)
      payment.returnCode = nil
      try unit.update(payment)
    }
  }

  private func payment(of item: ACHReturn, _ context: CommandContext, in unit: inout Unit) throws -> Payment {
    guard let entry = try unit.entry(tenant: context.principal.tenant, trace: item.originalTraceNumber.value) else {
      throw Problem(503, "return_unknown_entry", "The returned entry is not stored; restore the database.")
    }
    return try existing(entry.payment, in: &unit)
  }
}

extension Payment {
  /// The entries that take it back.
  var reversal: [Entry] {
    entries.map { Entry(account: $0.account, side: $0.side == .debit ? .credit : .debit, money: $0.money) }
  }
}
