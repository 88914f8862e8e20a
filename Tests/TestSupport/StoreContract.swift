import AgentIdentity
package import CommandGate
package import KeyService
import Ledger
package import Payments
import Seal
import Testing
import TransparencyLog
import Wire
package import WorkloadService

/// Thrown to undo what a contract wrote, so that the next one finds the store as it was.
private struct Undo: Error {}

/// Holds a storage to what ``UnitStore`` and the store protocols of the domains promise.
/// - Parameter store: a fresh one.
package func storeContract<Store: UnitStore>(
  _ store: Store
) async throws where Store.Unit: PaymentStore & KeyStore & WorkloadStore {
  try await transactionContract(store)
  try await store.write { unit in
    func inFresh(_ body: (inout Store.Unit) throws -> Void) throws {
      do {
        try unit.savepoint { unit in
          try body(&unit)
          throw Undo()
        }
      } catch is Undo {}
    }
    try logStoreContract(inFresh)
    try inFresh(savepointContract)
    try inFresh(principalContract)
    try inFresh(commandContract)
    try inFresh(accountContract)
    try inFresh(holdContract)
    try inFresh(credentialContract)
    try inFresh(groupContract)
    try inFresh(personInvitationContract)
    try inFresh(policyContract)
    try inFresh(consentContract)
    try inFresh(paymentContract)
    try inFresh(limitContract)
    try inFresh(budgetContract)
    try inFresh(approvalContract)
    try inFresh(railContract)
    try inFresh(fileContract)
    try inFresh(keyContract)
    try inFresh(keyVersionContract)
    try inFresh(dataKeyContract)
    try inFresh(keyEventContract)
    try inFresh(keyTaskContract)
    try inFresh(keyManifestContract)
    try inFresh(registrationContract)
    try inFresh(registrationPageContract)
    try inFresh(authorityContract)
    try inFresh(authorityOrderContract)
    try inFresh(issuanceContract)
    try inFresh(revocationContract)
    try inFresh(federationContract)
  }
  let head = try await store.read { try $0.head() }
  #expect(head == nil)
}

func refuses(_ body: () throws -> Void, at location: SourceLocation = #_sourceLocation) {
  #expect(throws: (any Error).self, sourceLocation: location) { try body() }
}

private func principal(_ id: String, _ thumbprint: String) -> Principal {
  Principal(
    id: id, kind: .agent, tenant: "t", owner: "o", thumbprint: thumbprint, key: [1, 2], status: .pending,
    enrolmentIndex: 0)
}

private func transactionContract<Store: UnitStore>(_ store: Store) async throws {
  let body: @Sendable (inout Store.Unit) throws -> Void = { unit in
    try unit.insert(principal("a", "x"))
    throw Undo()
  }
  await #expect(throws: Undo.self) { try await store.write(body) }
  // What a read writes is refused or has no effect.
  try? await store.read { unit in try unit.insert(principal("a", "x")) }
  let found = try await store.read { unit in try unit.principal(id: "a") }
  #expect(found == nil)
}

private func savepointContract(_ unit: inout some GateUnit) throws {
  try unit.insert(principal("a", "x"))
  refuses {
    try unit.savepoint { unit in
      try unit.insert(principal("b", "y"))
      throw Undo()
    }
  }
  let kept = try unit.savepoint { unit in
    try unit.insert(principal("c", "z"))
    return 7
  }
  let (a, b, c) = try (unit.principal(id: "a"), unit.principal(id: "b"), unit.principal(id: "c"))
  #expect(kept == 7 && a != nil && b == nil && c != nil)
}

private func principalContract(_ unit: inout some PrincipalStore) throws {
  let one = principal("a", "x")
  try unit.insert(one)
  refuses { try unit.insert(principal("a", "y")) }
  refuses { try unit.insert(principal("b", "x")) }
  var found = try unit.principal(id: "a")
  #expect(found == one)
  found = try unit.principal(thumbprint: "x")
  #expect(found == one)
  var changed = one
  (changed.status, changed.enrolmentIndex, changed.since) = (.active, 17, Timestamp(milliseconds: 5))
  try unit.update(changed)
  found = try unit.principal(id: "a")
  #expect(found == changed)
  refuses { try unit.update(principal("nobody", "z")) }
  let (nobody, noKey) = try (unit.principal(id: "nobody"), unit.principal(thumbprint: "none"))
  #expect(nobody == nil && noKey == nil)
  func registrar(_ id: String, _ thumbprint: String) -> Principal {
    Principal(
      id: id, kind: .registrar, tenant: "t", owner: "", thumbprint: thumbprint, key: [3], status: .active,
      enrolmentIndex: 4)
  }
  let registrars = [registrar("reg_0", "r0"), registrar("reg_1", "r1")]
  for one in registrars.reversed() { try unit.insert(one) }
  let (ofKind, others) = try (unit.principals(.registrar), unit.principals(.bank))
  #expect(ofKind == registrars && others.isEmpty)
  let invitation = Invitation(digest: [UInt8](repeating: 3, count: 32), owner: "o", tenant: "t")
  try unit.insert(invitation)
  refuses { try unit.insert(invitation) }
  let (present, absent) = try (unit.invitation(digest: invitation.digest), unit.invitation(digest: [1]))
  #expect(present == invitation && absent == nil)
}

private func commandContract(_ unit: inout some CommandStore) throws {
  func record(_ index: UInt64, id: UInt8, key: UInt8) throws -> CommandRecord {
    CommandRecord(
      id: try #require(CommandID([UInt8](repeating: id, count: 16))), leafIndex: index,
      idempotency: [UInt8](repeating: key, count: 32), digest: [UInt8](repeating: 9, count: 32), principal: "a",
      state: .authorized)
  }
  let late = try record(9, id: 2, key: 2)
  var early = try record(3, id: 1, key: 1)
  try unit.insert(late)
  try unit.insert(early)
  refuses { try unit.insert(try record(3, id: 5, key: 5)) }
  refuses { try unit.insert(try record(5, id: 1, key: 5)) }
  refuses { try unit.insert(try record(5, id: 5, key: 1)) }
  var waiting = try unit.unfinished()
  #expect(waiting == [early, late])
  early.state = .done
  early.outcomeIndex = 10
  early.checkpointSize = 10
  early.result = [4, 5]
  try unit.update(early)
  refuses { try unit.update(try record(77, id: 7, key: 7)) }
  waiting = try unit.unfinished()
  #expect(waiting == [late])
  // A held command is finished once it is known to be sealed.
  var held = try record(5, id: 6, key: 6)
  held.state = .held
  try unit.insert(held)
  waiting = try unit.unfinished()
  #expect(waiting == [held, late])
  held.checkpointSize = 8
  try unit.update(held)
  waiting = try unit.unfinished()
  #expect(waiting == [late])
  let found = try [
    unit.command(id: early.id), unit.command(leafIndex: 3), unit.command(idempotency: early.idempotency),
  ]
  #expect(found == [early, early, early])
  let absent = try [
    unit.command(leafIndex: 4), unit.command(leafIndex: .max), unit.command(idempotency: [1]),
    unit.command(id: try record(0, id: 8, key: 8).id),
  ]
  #expect(absent == [nil, nil, nil, nil])
  let content = SaltedContent(salt: [UInt8](repeating: 1, count: 32), content: [1, 2, 3])
  try unit.insertContent(content, leafIndex: 3)
  refuses { try unit.insertContent(content, leafIndex: 3) }
  let (kept, none) = try (unit.content(leafIndex: 3), unit.content(leafIndex: .max))
  #expect(kept == content && none == nil)
}

private func accountContract(_ unit: inout some LedgerStore) throws {
  let usd = try #require(Currency("USD"))
  func account(_ id: String, owner: String) -> Account {
    Account(id: id, tenant: "t", owner: owner, currency: usd, kind: .customer, overdraftLimit: 5)
  }
  var a = account("a", owner: "o")
  try unit.insert(account("b", owner: "o"))
  try unit.insert(a)
  try unit.insert(account("c", owner: "p"))
  refuses { try unit.insert(a) }
  (a.debitsPosted, a.creditsPosted, a.debitsPending, a.creditsPending) = (1, .max, 3, 4)
  a.isUnderConsent = true
  try unit.update(a)
  refuses { try unit.update(account("nobody", owner: "o")) }
  let (found, absent) = try (unit.account("a"), unit.account("nobody"))
  #expect(found == a && absent == nil)
  let owned = try unit.accounts(owner: "o")
  #expect(owned == [a, account("b", owner: "o")])
  let entries = [
    Entry(account: "a", side: .debit, money: Money(minorUnits: 7, currency: usd)),
    Entry(account: "b", side: .credit, money: Money(minorUnits: 7, currency: usd)),
  ]
  try unit.post(entries, leafIndex: 12)
  refuses { try unit.post(entries, leafIndex: 12) }
  let (posted, none) = try (unit.postings(leafIndex: 12), unit.postings(leafIndex: 13))
  #expect(posted == entries && none == [])
}

private func holdContract(_ unit: inout some LedgerStore) throws {
  let kwd = try #require(Currency("KWD"))
  func hold(_ id: String, expires: Int64, _ state: Hold.State) -> Hold {
    Hold(
      id: id, tenant: "t", owner: "o",
      entries: [Entry(account: "a", side: .debit, money: Money(minorUnits: 1, currency: kwd))], expiresAt: expires,
      state: state)
  }
  for (id, expires, state) in [
    ("late", 30, .held), ("early", 10, .held), ("ended", 5, .captured), ("middle", 20, .reserved),
  ] as [(String, Int64, Hold.State)] {
    try unit.insert(hold(id, expires: expires, state))
  }
  refuses { try unit.insert(hold("late", expires: 1, .held)) }
  var due = try unit.heldExpiring(atOrBefore: 30, limit: 10)
  #expect(due == ["early", "late"])
  due = try unit.heldExpiring(atOrBefore: 29, limit: 10)
  #expect(due == ["early"])
  due = try unit.heldExpiring(atOrBefore: 30, limit: 1)
  #expect(due == ["early"])
  try unit.setState(.held, ofHold: "middle")
  refuses { try unit.setState(.held, ofHold: "nobody") }
  due = try unit.heldExpiring(atOrBefore: 30, limit: 10)
  #expect(due == ["early", "middle", "late"])
  let (found, absent) = try (unit.hold("middle"), unit.hold("nobody"))
  #expect(found == hold("middle", expires: 20, .held) && absent == nil)
}
