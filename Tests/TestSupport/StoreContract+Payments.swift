import AgentIdentity
import Consent
import Cosign
import Ledger
import Payments
import Policy
import Rails
import Testing
import Wire

// What the stores of credentials, policies, consents and payments promise; `storeContract` runs it.

private func bytes(_ byte: UInt8, _ count: Int = 32) -> [UInt8] { [UInt8](repeating: byte, count: count) }
private func at(_ milliseconds: Int64) -> Timestamp { Timestamp(milliseconds: milliseconds) }

// MARK: - People

func credentialContract(_ unit: inout some CosignStore) throws {
  func credential(_ id: UInt8, key: UInt8, person: String, _ purpose: CredentialPurpose = .approval) -> Credential {
    Credential(
      id: [id, 1], person: person, purpose: purpose, publicKey: bytes(key), signCount: 4, aaguid: bytes(2, 16),
      backupEligible: purpose == .signIn, backupState: false, enrolmentIndex: 9)
  }
  let (late, early) = (credential(200, key: 1, person: "p", .signIn), credential(3, key: 2, person: "p"))
  try unit.insert(late)
  try unit.insert(early)
  try unit.insert(credential(4, key: 3, person: "q"))
  refuses { try unit.insert(credential(3, key: 9, person: "p")) }
  refuses { try unit.insert(credential(9, key: 2, person: "p")) }
  let own = try unit.credentials(of: "p")
  #expect(own == [early, late])
  let (enrolled, other, none) = try (
    unit.isEnrolled(publicKey: bytes(3)), unit.isEnrolled(publicKey: bytes(4)), unit.credentials(of: "nobody")
  )
  #expect(enrolled && !other && none == [])
  try unit.setUse(signCount: .max, backupState: true, ofCredential: late.id)
  refuses { try unit.setUse(signCount: 1, backupState: true, ofCredential: [77]) }
  var used = late
  (used.signCount, used.backupState) = (.max, true)
  let (found, untouched, absent) = try (
    unit.credential(id: late.id), unit.credential(id: early.id), unit.credential(id: [])
  )
  #expect(found == used && untouched == early && absent == nil)
}

func groupContract(_ unit: inout some CosignStore) throws {
  func group(_ id: String, _ members: [String]) -> ApproverGroup {
    ApproverGroup(id: id, tenant: "t", name: "G \"1\"", version: 1, members: members)
  }
  try unit.insert(group("b", ["p", "q"]))
  try unit.insert(group("a", ["p"]))
  try unit.insert(group("c", []))
  refuses { try unit.insert(group("b", [])) }
  var changed = group("b", ["p", "q"])
  try changed.remove("p")
  try changed.add("0")
  try unit.update(changed)
  refuses { try unit.update(group("nothing", [])) }
  let (found, empty, absent) = try (unit.group("b"), unit.group("c"), unit.group("nothing"))
  #expect(found == changed && empty == group("c", []) && absent == nil)
  let (ofP, ofQ, ofNobody) = try (unit.groups(of: "p"), unit.groups(of: "q"), unit.groups(of: "nobody"))
  #expect(ofP == [group("a", ["p"])] && ofQ == [changed] && ofNobody == [])
}

func personInvitationContract(_ unit: inout some CosignStore) throws {
  func invitation(_ id: String, _ digest: UInt8, leaf: UInt64, group: String? = nil) -> PersonInvitation {
    PersonInvitation(
      id: id, digest: bytes(digest), person: "p", kind: "approver", name: "Ada", tenant: "t", group: group,
      expires: at(100), leafIndex: leaf)
  }
  try unit.insert(invitation("b", 2, leaf: 8, group: "g"))
  try unit.insert(invitation("a", 1, leaf: 5))
  refuses { try unit.insert(invitation("b", 9, leaf: 9)) }
  refuses { try unit.insert(invitation("x", 1, leaf: 9)) }
  try unit.setUsed(12, personInvitation: "a")
  refuses { try unit.setUsed(12, personInvitation: "nothing") }
  var used = invitation("a", 1, leaf: 5)
  used.usedIndex = 12
  let (found, newest) = try (unit.personInvitation(digest: bytes(1)), unit.personInvitation(person: "p"))
  #expect(found == used && newest == invitation("b", 2, leaf: 8, group: "g"))
  let (absent, nobody) = try (unit.personInvitation(digest: bytes(3)), unit.personInvitation(person: "nobody"))
  #expect(absent == nil && nobody == nil)
}

// MARK: - Policies and consents

func policyContract(_ unit: inout some PolicyStore) throws {
  func policy(_ version: Int64, tenant: String = "t") throws -> PolicyVersion {
    let document = try PolicyDocument([
      "version": .integer(version),
      "rules": [
        [
          "id": "first", "condition": ["kind": "first_payment"],
          "action": ["kind": "hold", "approvals": 2, "group": "g"],
        ]
      ],
    ])
    return PolicyVersion(tenant: tenant, document: document, leafIndex: UInt64(version) * 10)
  }
  var newest = try unit.policy(tenant: "t")
  #expect(newest == nil)
  for version in [1, 9, 10] as [Int64] { try unit.insert(try policy(version)) }
  try unit.insert(try policy(11, tenant: "u"))
  refuses { try unit.insert(try policy(9)) }
  newest = try unit.policy(tenant: "t")
  let wanted = try policy(10)
  #expect(newest == wanted)
}

private func terms(_ id: Int, version: Int64 = 1, owner: String = "o") throws -> ConsentTerms {
  var object: JSONObject = [
    "id": .string("con_" + Base64.URL.encode(bytes(UInt8(id), 16))), "version": .integer(version),
    "nonce": .string(Base64.URL.encode(bytes(1))), "owner": .string(owner), "tenant": "t", "agent": "a",
    "agent_thumbprint": .string(Base64.URL.encode(bytes(2))), "account": "acc", "currency": "USD",
    "rails": ["ach", "book"],
    "counterparties": [
      ["id": "c", "name": "Zoë", "ach": ["anything": [1, "x"]]], ["id": "d", "name": "D", "book": "acc2"],
    ],
    "limits": ["single": "10.00", "daily": "20.00", "hourly": 5, "zone": "Europe/Paris"],
    "cosign": ["above": "5.00", "approvals": 2, "group": "g"], "issued_at": 5, "expires": 500,
  ]
  object["previous"] = version == 1 ? nil : .string(Base64.URL.encode(bytes(3)))
  return try ConsentTerms(.object(object)) { (_, _) throws(Problem) in }
}

func consentContract(_ unit: inout some PaymentStore) throws {
  let first = ConsentRecord(terms: try terms(1), leafIndex: 10, status: .active)
  let id = first.terms.id
  var second = ConsentRecord(terms: try terms(1, version: 2), leafIndex: 20, status: .active)
  let other = ConsentRecord(terms: try terms(0, version: 1), leafIndex: 30, status: .active)
  try unit.insert(first)
  refuses { try unit.insert(first) }
  try unit.insert(second)
  refuses { try unit.insert(second) }
  refuses { try unit.insert(first) }
  try unit.insert(other)
  try unit.insert(ConsentRecord(terms: try terms(7, owner: "someone"), leafIndex: 31, status: .active))
  try unit.setStatus(.revoked, ofConsent: id)
  refuses { try unit.setStatus(.revoked, ofConsent: "nothing") }
  second.status = .revoked
  let (found, owned, absent, none) = try (
    unit.consent(id), unit.consents(owner: "o"), unit.consent("nothing"), unit.consents(owner: "nobody")
  )
  #expect(found == second && owned == [other, second] && absent == nil && none == [])
  let (old, new, missing) = try (
    unit.consent(id, version: 1), unit.consent(id, version: 2), unit.consent(id, version: 3)
  )
  #expect(old?.terms == first.terms && old?.leafIndex == 10 && new?.terms == second.terms && missing == nil)
  #expect(old?.terms.digest == first.terms.digest)

  let usd = try #require(Currency("USD"))
  try unit.insert(Account(id: "acc", tenant: "t", owner: "o", currency: usd, kind: .customer, overdraftLimit: 0))
  let (source, noAccount) = try (unit.sourceAccount("acc"), unit.sourceAccount("nothing"))
  #expect(source == SourceAccount(tenant: "t", owner: "o", currency: usd) && noAccount == nil)
  try unit.putUnderConsent(account: "acc")
  refuses { try unit.putUnderConsent(account: "nothing") }
  let account = try unit.account("acc")
  #expect(account?.isUnderConsent == true)
}

// MARK: - Payments

private func payment(
  _ id: String, leaf: UInt64, tenant: String = "t", consent: String = "con", to counterparty: String = "c",
  amount: Int64 = 100, at moment: Int64 = 0, expires: Int64? = nil, _ state: Payment.State = .posted,
  reference: String? = nil
) throws -> Payment {
  Payment(
    id: id, tenant: tenant, owner: "o", agent: "a", agentThumbprint: "x", consent: consent, consentVersion: 2,
    consentDigest: bytes(1), policyVersion: "policy/3", policyRecord: ["matched": ["first", "é"], "action": ["n": 1]],
    account: "acc", counterparty: counterparty, rail: "ach", credited: "bank",
    money: Money(minorUnits: amount, currency: try #require(Currency("USD"))), reference: reference,
    commandDigest: bytes(2), leafIndex: leaf, decidedAt: at(moment), expires: expires.map(at),
    needs: expires == nil
      ? [] : [.init(group: "g", name: "G", version: 3, members: ["p", "q"], approvals: 2)], state: state)
}

func paymentContract(_ unit: inout some PaymentStore) throws {
  let plain = try payment("plain", leaf: 1, reference: "for \"you\"")
  var held = try payment("held", leaf: 2, expires: 20, .held)
  for one in [plain, held] { try unit.insert(one) }
  refuses { try unit.insert(try payment("plain", leaf: 9)) }
  refuses { try unit.update(try payment("nothing", leaf: 9)) }
  let (found, waiting, absent) = try (unit.payment("plain"), unit.payment("held"), unit.payment("nothing"))
  #expect(found == plain && waiting == held && absent == nil)

  try unit.insert(try payment("soon", leaf: 3, expires: 10, .held))
  try unit.insert(try payment("same", leaf: 4, expires: 20, .held))
  try unit.insert(try payment("ended", leaf: 5, expires: 5, .declined))
  try unit.insert(try payment("elsewhere", leaf: 6, tenant: "u", expires: 15, .held))
  var due = try unit.heldPayments(expiringAtOrBefore: at(20), limit: 10)
  #expect(due == ["soon", "elsewhere", "held", "same"])
  due = try unit.heldPayments(expiringAtOrBefore: at(19), limit: 10)
  #expect(due == ["soon", "elsewhere"])
  due = try unit.heldPayments(expiringAtOrBefore: at(20), limit: 1)
  #expect(due == ["soon"])
  var list = try unit.heldPayments(tenant: "t", limit: 10).map(\.id)
  #expect(list == ["soon", "held", "same"])
  list = try unit.heldPayments(tenant: "t", limit: 2).map(\.id)
  #expect(list == ["soon", "held"])

  (held.state, held.endedBy, held.postedIndex, held.returnCode) = (.returned, "cmd", 40, "R01")
  try unit.update(held)
  let changed = try unit.payment("held")
  #expect(changed == held)
  (held.state, held.endedBy, held.postedIndex, held.returnCode) = (.held, nil, nil, nil)
  try unit.update(held)
  let restored = try unit.payment("held")
  #expect(restored == held)
  due = try unit.heldPayments(expiringAtOrBefore: at(20), limit: 10)
  #expect(due == ["soon", "elsewhere", "held", "same"])
}

/// Every state, with whether it counts written down a second time.
private let states: [(Payment.State, Bool)] = [
  (.reserved, true), (.held, true), (.releasing, true), (.ending, true), (.posted, true), (.sent, true),
  (.accepted, true), (.returned, true), (.declined, false), (.voided, false), (.expired, false), (.failed, false),
]

func limitContract(_ unit: inout some PaymentStore) throws {
  for (number, (state, counts)) in states.enumerated() {
    #expect(state.counts == counts)
    let consent = "of \(state)"
    var one = try payment("p\(number)", leaf: UInt64(number), consent: consent, amount: 7, at: 1000, state)
    try unit.insert(one)
    func look(_ unit: inout some PaymentStore, _ counts: Bool) throws {
      let (count, sum, paid) = try (
        unit.countPayments(consent: consent, after: at(999), limit: 10),
        unit.sumPayments(consent: consent, from: at(1000), to: at(1001)),
        unit.hasPaid(consent: consent, counterparty: "c")
      )
      #expect(count == (counts ? 1 : 0) && sum == (counts ? 7 : 0) && paid == counts, "\(state)")
    }
    try look(&unit, counts)
    one.state = counts ? .voided : .posted
    try unit.update(one)
    try look(&unit, !counts)
  }
  // Windows are half-open, and what comes in late takes its place.
  for (leaf, moment) in [(20, 30), (21, 10), (22, 20), (23, 20)] as [(UInt64, Int64)] {
    try unit.insert(try payment("w\(leaf)", leaf: leaf, to: "w", amount: moment, at: moment))
  }
  var sums: [Int64] = []
  for (start, end) in [(10, 20), (10, 21), (11, 30), (20, 31), (31, 99), (20, 20)] as [(Int64, Int64)] {
    sums.append(try unit.sumPayments(consent: "con", from: at(start), to: at(end)))
  }
  #expect(sums == [10, 50, 40, 70, 0, 0])
  var counted: [Int] = []
  for (moment, limit) in [(9, 10), (10, 10), (19, 10), (20, 10), (30, 10), (9, 4), (9, 3), (9, 1)] as [(Int64, Int)] {
    counted.append(try unit.countPayments(consent: "con", after: at(moment), limit: limit))
  }
  #expect(counted == [4, 3, 3, 1, 0, 4, 3, 1])
  let (paid, unpaid, other) = try (
    unit.hasPaid(consent: "con", counterparty: "w"), unit.hasPaid(consent: "con", counterparty: "c"),
    unit.hasPaid(consent: "nothing", counterparty: "w")
  )
  #expect(paid && !unpaid && !other)
}

func budgetContract(_ unit: inout some PaymentStore) throws {
  func window(_ start: Int64, _ end: Int64, _ spent: Int64, consent: String = "con") -> BudgetWindow {
    BudgetWindow(consent: consent, start: at(start), end: at(end), spent: spent)
  }
  for budget in [window(0, 10, 1), window(10, 20, 2), window(5, 25, 3), window(10, 20, 9, consent: "other")] {
    try unit.put(budget)
  }
  var found: [[Int64]] = []
  for moment in [-1, 0, 4, 5, 9, 10, 19, 20, 24, 25] as [Int64] {
    found.append(try unit.budgets(consent: "con", containing: at(moment)).map(\.spent))
  }
  #expect(found == [[], [1], [1], [1, 3], [1, 3], [2, 3], [2, 3], [3], [3], []])
  try unit.put(window(10, 20, 7))
  let (changed, absent, other) = try (
    unit.budget(consent: "con", start: at(10), end: at(20)), unit.budget(consent: "con", start: at(10), end: at(21)),
    unit.budget(consent: "other", start: at(10), end: at(20))
  )
  #expect(changed == window(10, 20, 7) && absent == nil && other?.spent == 9)
}

func approvalContract(_ unit: inout some PaymentStore) throws {
  func approval(_ person: String, leaf: UInt64, payment: String = "pay", approves: Bool = true) -> GivenApproval {
    GivenApproval(
      payment: payment, person: person, credential: [1, 2], approves: approves, command: "cmd", leafIndex: leaf,
      isSealed: false)
  }
  try unit.insert(approval("p", leaf: 9))
  try unit.insert(approval("z", leaf: 4, approves: false))
  try unit.insert(approval("p", leaf: 5, payment: "else"))
  refuses { try unit.insert(approval("p", leaf: 11)) }
  try unit.setSealed(payment: "pay", person: "p")
  refuses { try unit.setSealed(payment: "pay", person: "nobody") }
  refuses { try unit.removeApproval(payment: "pay", person: "nobody") }
  var sealed = approval("p", leaf: 9)
  sealed.isSealed = true
  var given = try unit.approvals(payment: "pay")
  #expect(given == [approval("z", leaf: 4, approves: false), sealed])
  try unit.removeApproval(payment: "pay", person: "p")
  given = try unit.approvals(payment: "pay")
  #expect(given == [approval("z", leaf: 4, approves: false)])
  try unit.insert(approval("p", leaf: 20))
  given = try unit.approvals(payment: "pay")
  #expect(given.map(\.leafIndex) == [4, 20])
  let none = try unit.approvals(payment: "nothing")
  #expect(none == [])
}

// MARK: - Rails

func railContract(_ unit: inout some PaymentStore) throws {
  func rail(_ leaf: UInt64, tenant: String = "t", bank: String = "b") throws -> ACHRail {
    ACHRail(
      tenant: tenant,
      originator: try ACHOriginator(
        immediateDestination: "021000021", immediateOrigin: " 123456789", destinationName: "BANK", originName: "US",
        companyName: "US", companyIdentification: "1123456789", odfi: "02100002", entryDescription: "PAY"),
      settlementAccount: "acc", bank: bank, leafIndex: leaf)
  }
  try unit.insert(try rail(5, bank: "old"))
  try unit.insert(try rail(17))
  try unit.insert(try rail(30, tenant: "u"))
  refuses { try unit.insert(try rail(17, tenant: "v")) }
  let (newest, old, none, noLeaf) = try (
    unit.rail(tenant: "t"), unit.rail(leafIndex: 5), unit.rail(tenant: "x"), unit.rail(leafIndex: .max)
  )
  let wanted = try (rail(17), rail(5, bank: "old"))
  #expect(newest == wanted.0 && old == wanted.1 && none == nil && noLeaf == nil)
}

func fileContract(_ unit: inout some PaymentStore) throws {
  func entry(_ leaf: UInt64, trace: UInt64, tenant: String = "t") -> RailEntry {
    RailEntry(leafIndex: leaf, payment: "p\(leaf)", tenant: tenant, trace: trace, railIndex: 1)
  }
  for one in [
    entry(12, trace: 2), entry(10, trace: 1), entry(11, trace: 999_999_999_999_999), entry(13, trace: 1),
    entry(9, trace: 1, tenant: "u"),
  ] { try unit.insert(one) }
  refuses { try unit.insert(entry(12, trace: 7)) }
  refuses {
    try unit.insert(RailEntry(leafIndex: 99, payment: "p10", tenant: "t", trace: 8, railIndex: 1))
  }
  var waiting = try unit.waitingEntries(tenant: "t", limit: 10).map(\.leafIndex)
  #expect(waiting == [10, 11, 12, 13])
  waiting = try unit.waitingEntries(tenant: "t", limit: 2).map(\.leafIndex)
  #expect(waiting == [10, 11])
  var tenants = try unit.tenantsWithWaitingEntries()
  #expect(tenants == ["t", "u"])
  for leaf in [13, 10] as [UInt64] { try unit.setFile(2, ofEntry: leaf) }
  try unit.setFile(1, ofEntry: 9)
  refuses { try unit.setFile(1, ofEntry: 77) }
  waiting = try unit.waitingEntries(tenant: "t", limit: 10).map(\.leafIndex)
  tenants = try unit.tenantsWithWaitingEntries()
  let filed = try unit.entries(tenant: "t", file: 2)
  #expect(waiting == [11, 12] && tenants == ["t"] && filed.map(\.leafIndex) == [10, 13])
  #expect(filed.allSatisfy { $0.file == 2 })
  let (elsewhere, byTrace, byPayment) = try (
    unit.entries(tenant: "t", file: 1), unit.entry(tenant: "t", trace: 1), unit.entry(payment: "p11")
  )
  #expect(elsewhere == [] && byTrace?.leafIndex == 13 && byPayment == entry(11, trace: 999_999_999_999_999))
  let (noTrace, noPayment) = try (unit.entry(tenant: "t", trace: .max), unit.entry(payment: "nothing"))
  #expect(noTrace == nil && noPayment == nil)

  func file(_ number: Int, tenant: String = "t") -> RailFile {
    RailFile(
      tenant: tenant, number: number, created: at(77), modifier: "B", leafIndex: 40, railIndex: 1, count: 2,
      digest: bytes(5))
  }
  var newest = try unit.newestFile(tenant: "t")
  #expect(newest == 0)
  for one in [file(2), file(1), file(9, tenant: "u")] { try unit.insert(one) }
  refuses { try unit.insert(file(2)) }
  newest = try unit.newestFile(tenant: "t")
  let (found, absent) = try (unit.file(tenant: "t", number: 2), unit.file(tenant: "t", number: 9))
  #expect(newest == 2 && found == file(2) && absent == nil)
}
