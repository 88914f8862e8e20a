package import Consent
import Ledger
package import Payments
package import Policy
package import Wire

// MARK: - Policies and consents

extension ReplayStore {
  package func policy(tenant: String) -> PolicyVersion? { tables.policies[tenant]?.last }

  package mutating func insert(_ policy: PolicyVersion) throws {
    var versions = tables.policies[policy.tenant] ?? []
    let place = versions.partition(at: policy.document.version, by: \.document.version)
    guard place == versions.endIndex || versions[place].document.version != policy.document.version else {
      throw StorageError("the policy's version exists already")
    }
    versions.insert(policy, at: place)
    tables.policies[policy.tenant] = versions
  }

  package func consent(_ id: String) -> ConsentRecord? { tables.consents[id]?.current }

  package func consent(_ id: String, version: Int) -> (terms: ConsentTerms, leafIndex: UInt64)? {
    tables.consents[id]?.all.first { $0.terms.version == version }.map { ($0.terms, $0.leafIndex) }
  }

  package func consents(owner: String) -> [ConsentRecord] {
    tables.consents.values.compactMap(\.current).filter { $0.terms.owner == owner }
      .sorted { $0.terms.id < $1.terms.id }
  }

  package mutating func insert(_ record: ConsentRecord) throws {
    let (id, version) = (record.terms.id, record.terms.version)
    guard tables.consents[id]?.all.contains(where: { $0.terms.version == version }) != true else {
      throw StorageError("the consent's version exists already")
    }
    tables.consents[id, default: .init(status: record.status, all: [])].all.append(record)
    tables.consents[id]?.status = record.status
  }

  package mutating func setStatus(_ status: ConsentRecord.Status, ofConsent id: String) throws {
    try tables.consents.change(id, "consent") { $0.status = status }
  }

  package func sourceAccount(_ id: String) -> SourceAccount? {
    account(id).map { SourceAccount(tenant: $0.tenant, owner: $0.owner, currency: $0.currency) }
  }

  package mutating func putUnderConsent(account id: String) throws {
    try tables.accounts.change(id, "account") { $0.isUnderConsent = true }
  }
}

// MARK: - Payments

extension ReplayStore {
  package func payment(_ id: String) -> Payment? { tables.payments[id] }

  package mutating func insert(_ payment: Payment) throws {
    try tables.payments.add(payment, at: payment.id, "payment")
    // As a rule the newest.
    let place = (tables.decided[payment.consent] ?? []).partition(after: payment.decidedAt, by: \.at)
    tables.decided[payment.consent, default: []].insert(.init(at: payment.decidedAt, id: payment.id), at: place)
    if payment.state.counts { tables.counting[payment.counterpartyKey, default: 0] += 1 }
  }

  package mutating func update(_ payment: Payment) throws {
    guard let before = tables.payments[payment.id] else { throw StorageError("there is no such payment") }
    try tables.payments.change(payment.id, "payment") {
      ($0.state, $0.endedBy) = (payment.state, payment.endedBy)
      ($0.postedIndex, $0.returnCode) = (payment.postedIndex, payment.returnCode)
    }
    let change = (payment.state.counts ? 1 : 0) - (before.state.counts ? 1 : 0)
    if change != 0 { tables.counting[before.counterpartyKey, default: 0] += change }
  }

  private func held(_ isAsked: (Payment) -> Bool) -> [Payment] {
    tables.payments.values.filter { $0.state == .held && $0.expires != nil && isAsked($0) }.sorted {
      ($0.expires ?? $0.decidedAt, $0.leafIndex) < ($1.expires ?? $1.decidedAt, $1.leafIndex)
    }
  }

  package func heldPayments(expiringAtOrBefore moment: Timestamp, limit: Int) -> [String] {
    held { $0.expires ?? moment <= moment }.prefix(limit).map(\.id)
  }

  package func heldPayments(tenant: String, limit: Int) -> [Payment] {
    Array(held { $0.tenant == tenant }.prefix(limit))
  }

  /// The payments under a consent that count and were decided at a moment or later, the newest first, as long as
  /// `body` asks for more.
  private func counting(_ consent: String, from moment: Timestamp, _ body: (Payment) throws -> Bool) rethrows {
    let decided = tables.decided[consent] ?? []
    for place in decided.indices.reversed() {
      guard decided[place].at >= moment else { return }
      guard let payment = tables.payments[decided[place].id], payment.state.counts else { continue }
      guard try body(payment) else { return }
    }
  }

  package func countPayments(consent: String, after moment: Timestamp, limit: Int) -> Int {
    var count = 0
    counting(consent, from: moment) { payment in
      if payment.decidedAt > moment { count += 1 }
      return count < limit
    }
    return min(count, limit)
  }

  package func sumPayments(consent: String, from start: Timestamp, to end: Timestamp) throws -> Int64 {
    var sum: Int64 = 0
    try counting(consent, from: start) { payment in
      guard payment.decidedAt < end else { return true }
      let (next, overflow) = sum.addingReportingOverflow(payment.money.minorUnits)
      guard !overflow else { throw StorageError("the payments under a consent exceed what 64 bits hold") }
      sum = next
      return true
    }
    return sum
  }

  package func hasPaid(consent: String, counterparty: String) -> Bool {
    tables.counting[.init(first: consent, second: counterparty)] ?? 0 > 0
  }

  package func budget(consent: String, start: Timestamp, end: Timestamp) -> BudgetWindow? {
    tables.budgets[consent]?.last { $0.start == start && $0.end == end }
  }

  package func budgets(consent: String, containing moment: Timestamp) -> [BudgetWindow] {
    (tables.budgets[consent] ?? []).filter { $0.start <= moment && moment < $0.end }
      .sorted { ($0.end, $0.start) < ($1.end, $1.start) }
  }

  package mutating func put(_ budget: BudgetWindow) throws {
    let place = tables.budgets[budget.consent]?.lastIndex { $0.start == budget.start && $0.end == budget.end }
    if let place {
      tables.budgets[budget.consent]?[place].spent = budget.spent
    } else {
      tables.budgets[budget.consent, default: []].append(budget)
    }
  }

  // MARK: - Approvals

  package func approvals(payment: String) -> [GivenApproval] {
    (tables.approvers[payment] ?? []).compactMap { tables.approvals[.init(first: payment, second: $0)] }
      .sorted { $0.leafIndex < $1.leafIndex }
  }

  package mutating func insert(_ approval: GivenApproval) throws {
    try tables.approvals.add(approval, at: .init(first: approval.payment, second: approval.person), "approval")
    tables.approvers[approval.payment, default: []].insert(approval.person)
  }

  package mutating func setSealed(payment: String, person: String) throws {
    try tables.approvals.change(.init(first: payment, second: person), "approval") { $0.isSealed = true }
  }

  package mutating func removeApproval(payment: String, person: String) throws {
    guard tables.approvals.removeValue(forKey: .init(first: payment, second: person)) != nil else {
      throw StorageError("there is no such approval")
    }
    tables.approvers[payment]?.remove(person)
  }
}

// MARK: - Rails

extension ReplayStore {
  package func rail(tenant: String) -> ACHRail? {
    tables.rails.values.filter { $0.tenant == tenant }.max { $0.leafIndex < $1.leafIndex }
  }

  package func rail(leafIndex: UInt64) -> ACHRail? { tables.rails[leafIndex] }

  package mutating func insert(_ rail: ACHRail) throws {
    try tables.rails.add(rail, at: rail.leafIndex, "rail")
  }

  package mutating func insert(_ entry: RailEntry) throws {
    guard tables.entries[entry.leafIndex] == nil, tables.paying[entry.payment] == nil else {
      throw StorageError("the entry exists already")
    }
    tables.entries[entry.leafIndex] = entry
    tables.paying[entry.payment] = entry.leafIndex
    let trace = ReplayTables.Numbered(tenant: entry.tenant, number: entry.trace)
    tables.traces[trace] = max(entry.leafIndex, tables.traces[trace] ?? 0)
    note(entry.file, of: entry)
  }

  /// Keeps the look-ups by file in step.
  private mutating func note(_ file: Int?, of entry: RailEntry) {
    guard let file else {
      tables.waiting[entry.tenant, default: []].insert(entry.leafIndex)
      return
    }
    tables.waiting[entry.tenant]?.remove(entry.leafIndex)
    tables.filed[.init(entry.tenant, file), default: []].append(entry.leafIndex)
  }

  package func waitingEntries(tenant: String, limit: Int) -> [RailEntry] {
    (tables.waiting[tenant] ?? []).sorted().prefix(limit).compactMap { tables.entries[$0] }
  }

  package func tenantsWithWaitingEntries() -> [String] {
    tables.waiting.filter { !$0.value.isEmpty }.map(\.key).sorted()
  }

  package func entry(tenant: String, trace: UInt64) -> RailEntry? {
    tables.traces[.init(tenant: tenant, number: trace)].flatMap { tables.entries[$0] }
  }

  package func entry(payment: String) -> RailEntry? { tables.paying[payment].flatMap { tables.entries[$0] } }

  package func entries(tenant: String, file: Int) -> [RailEntry] {
    (tables.filed[.init(tenant, file)] ?? []).sorted().compactMap { tables.entries[$0] }
  }

  package mutating func setFile(_ number: Int, ofEntry leafIndex: UInt64) throws {
    guard let entry = tables.entries[leafIndex] else { throw StorageError("there is no such entry") }
    if let file = entry.file { tables.filed[.init(entry.tenant, file)]?.removeAll { $0 == leafIndex } }
    tables.entries[leafIndex]?.file = number
    note(number, of: entry)
  }

  package func newestFile(tenant: String) -> Int { tables.newestFile[tenant] ?? 0 }

  package func file(tenant: String, number: Int) -> RailFile? { tables.files[.init(tenant, number)] }

  package mutating func insert(_ file: RailFile) throws {
    try tables.files.add(file, at: .init(file.tenant, file.number), "file")
    tables.newestFile[file.tenant] = try max(file.number, newestFile(tenant: file.tenant))
  }
}

// MARK: - Keys

extension ReplayTables.Numbered {
  init(_ tenant: String, _ number: Int) { self.init(tenant: tenant, number: UInt64(clamping: number)) }
}

extension Payment {
  fileprivate var counterpartyKey: ReplayTables.Pair { .init(first: consent, second: counterparty) }
}

extension Array {
  /// Where an element with a key belongs before its equals; the array is in the order of its keys.
  fileprivate func partition<Key: Comparable>(at key: Key, by of: (Element) -> Key) -> Int {
    firstIndex { of($0) >= key } ?? endIndex
  }

  /// Where an element with a key belongs behind its equals.
  func partition<Key: Comparable>(after key: Key, by of: (Element) -> Key) -> Int {
    (lastIndex { of($0) <= key } ?? -1) + 1
  }
}
