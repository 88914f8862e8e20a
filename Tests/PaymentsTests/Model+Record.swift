import Wire

// What the record must say next, and what follows from it.

extension Model {
  /// The decision about a command, by the present state; what is reserved is reserved.
  mutating func decide(_ command: ModelCommand, id: String, leaf: UInt64, at now: Timestamp) -> Verdict {
    do {
      if case .agent = command.kind, agents[command.by]?.isRevoked ?? true { throw Refused("agent_revoked") }
      let isAsserted =
        switch command.intent {
        case .decide, .put: true
        default: false
        }
      guard now < command.notAfter else { throw Refused(isAsserted ? "approval_expired" : "signature_expired") }
      var copy = self
      let held = try copy.reserve(command, id, leaf, now)
      self = copy
      if held { return .held }
      inFlight[leaf] = (id, command)
      return .done
    } catch {
      return .refused((error as? Refused)?.code ?? "\(error)")
    }
  }

  private mutating func use(_ person: String, _ count: UInt32) throws {
    guard count > counts[person] ?? 0 else { throw Refused("webauthn_counter") }
    counts[person] = count
  }

  /// - Returns: whether the command is held for approvals.
  private mutating func reserve(
    _ command: ModelCommand, _ id: String, _ leaf: UInt64, _ now: Timestamp
  ) throws -> Bool {
    switch command.intent {
    case .pay(let consent, let payee, let rail, let amount, let currency, let expiresIn):
      return try pay(command, id, leaf, now, consent, payee, rail, amount, currency, expiresIn)
    case .decide(let id, let approves, let count):
      try use(command.by, count)
      try mayDecide(id, command.by, approves, now)
      guard let index = index(id) else { throw Refused("payment_not_found") }
      payments[index].approvals.append(.init(person: command.by, approves: approves, leaf: leaf))
      if !approves {
        (payments[index].state, payments[index].endedBy) = (.ending, leaf)
      } else if payments[index].isComplete(standing(payments[index])) {
        (payments[index].state, payments[index].endedBy) = (.releasing, leaf)
      }
    case .void(let id):
      guard let index = index(id) else { throw Refused("payment_not_found") }
      guard payments[index].consent.owner == command.owner else { throw Refused("payment_not_permitted") }
      guard payments[index].state == .held else { throw Refused("payment_ended") }
      (payments[index].state, payments[index].endedBy) = (.ending, leaf)
    case .transfer(let from, let to, let amount, let currency): try move(from, to, amount, currency, command)
    case .hold(let from, let to, let amount, let currency, let seconds):
      try move(from, to, amount, currency, command)
      holds.append(
        ModelHold(
          id: id, owner: command.owner, from: from, to: to, amount: amount, expires: now.adding(seconds: seconds),
          state: .reserved))
    case .capture(let id): try end(id, command, as: .capturing, now)
    case .release(let id): try end(id, command, as: .voiding, now)
    case .put(let terms, let count):
      try use(command.by, count)
      try check(terms, now)
    case .revoke(let id):
      guard let consent = consents[id] else { throw Refused("consent_not_found") }
      if case .officer = command.kind {
      } else {
        guard consent.owner == command.by else { throw Refused("consent_not_permitted") }
      }
      guard !consent.isRevoked else { throw Refused("consent_revoked") }
    case .publish(let version, _):
      guard version == policy.version + 1 else { throw Refused("policy_version_conflict") }
    case .remove(let group, let person):
      guard groups[group]?.contains(person) == true else { throw Refused("member_not_found") }
    case .configure: break
    case .accept(let file, let traces):
      guard files.contains(where: { $0.number == file }) else { throw Refused("file_not_found") }
      let known = payments.filter { $0.file == file }.compactMap(\.trace)
      guard (traces ?? []).allSatisfy(known.contains) else { throw Refused("trace_number") }
    case .sendBack(let traces):
      for trace in traces {
        guard let index = payments.firstIndex(where: { $0.trace == trace && $0.file != nil }) else {
          throw Refused("return_unknown_entry")
        }
        guard [.sent, .accepted].contains(payments[index].state), !payments[index].isReturning else {
          throw Refused("return_repeated")
        }
        payments[index].isReturning = true
      }
    case .revokeAgent(let id):
      guard agents[id]?.isRevoked == false else { throw Refused("agent_revoked") }
    }
    return false
  }

  private mutating func pay(
    _ command: ModelCommand, _ id: String, _ leaf: UInt64, _ now: Timestamp, _ consentID: String, _ payee: String,
    _ rail: String, _ amount: Int64, _ currency: String, _ expiresIn: Int64
  ) throws -> Bool {
    guard let consent = consents[consentID], consent.owner == command.owner else { throw Refused("consent_not_found") }
    guard !consent.isRevoked else { throw Refused("consent_revoked") }
    guard consent.agent == command.by else { throw Refused("consent_wrong_agent") }
    guard now < consent.expires else { throw Refused("consent_expired") }
    guard consent.currency == currency else { throw Refused("consent_currency") }
    guard consent.rails.contains(rail) else { throw Refused("consent_rail_not_permitted") }
    let target = consent.payees.first { $0.id == payee }
    guard let target, (rail == "ach" ? target.ach : target.book) != nil else {
      throw Refused("consent_counterparty_not_permitted")
    }
    guard amount <= consent.single else { throw Refused("consent_single_limit") }
    guard spent(consent, on: now) + amount <= consent.daily else { throw Refused("consent_daily_limit") }
    guard hour(consent.id, now) < consent.hourly else { throw Refused("consent_hourly_limit") }

    var wanted: [(group: String, count: Int)] = []
    if let cosign = consent.cosign, amount > cosign.above { wanted = [(cosign.group, cosign.approvals)] }
    let judgement = judge(consent, payee, rail, amount, at: now)
    if judgement.isDenied { throw Refused("policy_denied") }
    let named = judgement.holds.filter { $0.group != nil }
    for (count, name) in named + judgement.holds.filter({ $0.group == nil }) {
      guard let group = name ?? wanted.first?.group else { throw Refused("approval_group_missing") }
      if let place = wanted.firstIndex(where: { $0.group == group }) {
        wanted[place].count = max(wanted[place].count, count)
      } else {
        wanted.append((group, count))
      }
    }
    let needs = try wanted.map { want in
      let members = groups[want.group] ?? []
      // The owner is never asked about what the owner's agent wants.
      guard members.count(where: { $0 != consent.owner }) >= want.count else { throw Refused("group_too_small") }
      return ModelPayment.Need(group: want.group, members: members, count: want.count)
    }
    let credited: String
    if rail == "book" {
      credited = target.book ?? ""
    } else {
      guard currency == "USD" else { throw Refused("rail_currency") }
      credited = settlement
    }
    try move(consent.account, credited, amount, currency, nil)
    payments.append(
      ModelPayment(
        id: id, leaf: leaf, consent: consent, agent: command.by, payee: payee, rail: rail, credited: credited,
        amount: amount, policy: policy.version, time: now,
        expires: needs.isEmpty ? nil : now.adding(seconds: expiresIn),
        needs: needs, state: needs.isEmpty ? .reserved : .held))
    return !needs.isEmpty
  }

  /// Whether money may be moved; nobody asks for a payment's, whose consent said so.
  private func move(
    _ from: String, _ to: String, _ amount: Int64, _ currency: String, _ command: ModelCommand?
  ) throws {
    guard let source = accounts[from] else { throw Refused("account_not_found") }
    guard source.currency == currency else { throw Refused("currency_mismatch") }
    if let command {
      guard source.owner == command.owner else { throw Refused("account_not_permitted") }
      if case .agent = command.kind, source.isUnderConsent { throw Refused("account_under_consent") }
    }
    guard source.isExternal || available(from) >= amount else { throw Refused("account_overdrawn") }
    guard let target = accounts[to] else { throw Refused("account_not_found") }
    guard target.currency == currency else { throw Refused("currency_mismatch") }
  }

  private mutating func end(
    _ id: String, _ command: ModelCommand, as state: ModelHold.State, _ now: Timestamp
  ) throws {
    guard let index = holds.firstIndex(where: { $0.id == id }) else { throw Refused("hold_not_found") }
    guard holds[index].owner == command.owner else { throw Refused("hold_not_permitted") }
    if holds[index].state == .expired || (holds[index].state == .held && now >= holds[index].expires) {
      throw Refused("hold_expired")
    }
    guard holds[index].state == .held else { throw Refused("hold_ended") }
    holds[index].state = state
  }

  /// The approvals that still count: whoever was taken out of the group since does not approve any more.
  private func standing(_ payment: ModelPayment) -> [ModelPayment.Approval] {
    payment.approvals.filter { given in
      payment.needs.contains { $0.members.contains(given.person) && groups[$0.group]?.contains(given.person) == true }
    }
  }

  /// Whether a person may decide about a payment.
  func mayDecide(_ id: String, _ person: String, _ approves: Bool, _ now: Timestamp) throws {
    guard let payment = payments.first(where: { $0.id == id }), !payment.needs.isEmpty else {
      throw Refused("payment_not_found")
    }
    guard payment.state == .held else { throw Refused("payment_ended") }
    guard let expires = payment.expires, now < expires else { throw Refused("approval_expired") }
    guard person != payment.consent.owner else { throw Refused("approval_by_initiator") }
    guard payment.needs.contains(where: { $0.members.contains(person) && groups[$0.group]?.contains(person) == true })
    else { throw Refused("approval_not_permitted") }
    guard !payment.approvals.contains(where: { $0.person == person }) else { throw Refused("approval_repeated") }
    guard approves else { return }
    guard let consent = consents[payment.consent.id], !consent.isRevoked else { throw Refused("consent_revoked") }
    guard consent.nonce == payment.consent.nonce else { throw Refused("approval_consent_changed") }
    guard now < consent.expires else { throw Refused("consent_expired") }
    guard policy.version == payment.policy else { throw Refused("approval_policy_changed") }
    guard agents[payment.agent]?.isRevoked == false else { throw Refused("agent_revoked") }
  }

  private func check(_ terms: ModelConsent, _ now: Timestamp) throws {
    guard now < terms.expires else { throw Refused("consent_expired") }
    guard agents[terms.agent]?.isRevoked == false else { throw Refused("consent_agent_key") }
    if let cosign = terms.cosign {
      let members = groups[cosign.group] ?? []
      guard members.count(where: { $0 != terms.owner }) >= cosign.approvals else { throw Refused("group_too_small") }
    }
    try succeeds(terms)
  }

  private func succeeds(_ terms: ModelConsent) throws {
    guard let current = consents[terms.id] else {
      guard terms.version == 1 else { throw Refused("consent_not_found") }
      return
    }
    guard terms.version > 1 else { throw Refused("consent_exists") }
    guard !current.isRevoked else { throw Refused("consent_revoked") }
    guard terms.version == current.version + 1, terms.previous == current.nonce else {
      throw Refused("consent_version_conflict")
    }
  }

  // MARK: - Outcomes

  /// What becomes of an authorised command; nil where it must have had an outcome already.
  mutating func finish(_ leaf: UInt64, at now: Timestamp) -> Verdict? {
    guard let (id, command) = inFlight.removeValue(forKey: leaf) else { return nil }
    do {
      guard now < command.notAfter else { throw Refused("seal_expired") }
      var copy = self
      try copy.apply(command, id, leaf)
      self = copy
      return .done
    } catch {
      giveBack(command, id, leaf)
      return .refused((error as? Refused)?.code ?? "\(error)")
    }
  }

  private mutating func post(_ index: Int, _ leaf: UInt64) {
    let payment = payments[index]
    posted.append(.init(leaf: leaf, from: payment.consent.account, to: payment.credited, amount: payment.amount))
    (payments[index].state, payments[index].postedAt) = (.posted, leaf)
    if payment.expires != nil { payments[index].ends += 1 }
    guard payment.rail == "ach" else { return }
    payments[index].trace = odfi * 10_000_000 + leaf % 10_000_000
    payments[index].railIndex = rails
  }

  private mutating func apply(_ command: ModelCommand, _ id: String, _ leaf: UInt64) throws {
    switch command.intent {
    case .pay: if let index = index(id) { post(index, leaf) }
    case .decide(let id, let approves, _):
      guard let index = index(id) else { return }
      if let place = payments[index].approvals.firstIndex(where: { $0.leaf == leaf }) {
        payments[index].approvals[place].isSealed = true
      }
      guard payments[index].endedBy == leaf else { return }
      if approves {
        guard payments[index].isComplete(standing(payments[index]).filter(\.isSealed)) else {
          throw Refused("approval_incomplete")
        }
        post(index, leaf)
      } else {
        payments[index].state = .declined
        payments[index].ends += 1
      }
    case .void(let id):
      guard let index = index(id) else { return }
      payments[index].state = .voided
      payments[index].ends += 1
    case .transfer(let from, let to, let amount, _):
      posted.append(.init(leaf: leaf, from: from, to: to, amount: amount))
    case .hold: set(id, .held)
    case .capture(let id):
      guard let hold = holds.first(where: { $0.id == id }) else { return }
      posted.append(.init(leaf: leaf, from: hold.from, to: hold.to, amount: hold.amount))
      set(id, .captured)
    case .release(let id): set(id, .voided)
    case .put(let terms, _):
      try succeeds(terms)
      consents[terms.id] = terms
      accounts[terms.account]?.isUnderConsent = true
    case .revoke(let id):
      guard consents[id]?.isRevoked == false else { throw Refused("consent_revoked") }
      consents[id]?.isRevoked = true
    case .publish(let version, let rules):
      guard version == policy.version + 1 else { throw Refused("policy_version_conflict") }
      policy = (version, rules)
    case .remove(let group, let person):
      guard let place = groups[group]?.firstIndex(of: person) else { throw Refused("member_not_found") }
      groups[group]?.remove(at: place)
    case .configure: rails += 1
    case .accept(let file, let traces):
      for index in payments.indices where payments[index].file == file && payments[index].state == .sent {
        guard let trace = payments[index].trace, traces?.contains(trace) ?? true else { continue }
        payments[index].state = .accepted
      }
    case .sendBack(let traces):
      for index in payments.indices {
        guard let trace = payments[index].trace, traces.contains(trace), payments[index].isReturning else { continue }
        let payment = payments[index]
        posted.append(.init(leaf: leaf, from: payment.credited, to: payment.consent.account, amount: payment.amount))
        (payments[index].state, payments[index].isReturning) = (.returned, false)
      }
    case .revokeAgent(let id): agents[id]?.isRevoked = true
    }
  }

  private mutating func set(_ id: String, _ state: ModelHold.State) {
    if let index = holds.firstIndex(where: { $0.id == id }) { holds[index].state = state }
  }

  private mutating func giveBack(_ command: ModelCommand, _ id: String, _ leaf: UInt64) {
    switch command.intent {
    case .pay: if let index = index(id) { payments[index].state = .failed }
    case .decide(let id, _, _), .void(let id):
      guard let index = index(id) else { return }
      payments[index].approvals.removeAll { $0.leaf == leaf }
      if payments[index].endedBy == leaf { (payments[index].state, payments[index].endedBy) = (.held, nil) }
    case .hold: set(id, .expired)
    case .capture(let id), .release(let id): set(id, .held)
    case .sendBack(let traces):
      for index in payments.indices {
        guard let trace = payments[index].trace, traces.contains(trace) else { continue }
        payments[index].isReturning = false
      }
    default: break
    }
  }

  // MARK: - Events

  /// - Returns: whether a payment had to expire.
  mutating func expire(payment id: String, at now: Timestamp) -> Bool {
    guard let index = index(id), payments[index].state == .held, let expires = payments[index].expires, expires <= now
    else { return false }
    payments[index].state = .expired
    payments[index].ends += 1
    return true
  }

  /// - Returns: whether a hold had to expire.
  mutating func expire(hold id: String, at now: Timestamp) -> Bool {
    guard let index = holds.firstIndex(where: { $0.id == id }), holds[index].state == .held,
      holds[index].expires <= now
    else { return false }
    holds[index].state = .expired
    return true
  }

  /// - Returns: how many entries the next file had to have; nil where none had to be cut.
  mutating func cut(at now: Timestamp) -> Int? {
    let waiting = payments.indices.filter { payments[$0].trace != nil && payments[$0].file == nil }
      .sorted { (payments[$0].postedAt ?? 0) < (payments[$1].postedAt ?? 0) }
    let today = Self.date(now, "America/New_York")
    guard let first = waiting.first,
      files.count(where: { Self.date($0.time, "America/New_York") == today }) < 36
    else { return nil }
    // A file goes out under one configuration.
    let going = waiting.prefix { payments[$0].railIndex == payments[first].railIndex }
    let number = files.count + 1
    files.append((number, now))
    for index in going { (payments[index].file, payments[index].state) = (number, .sent) }
    return going.count
  }
}
