import AgentIdentity
import CommandGate
import Consent
import Cosign
import Seal
import SoftwareAuthenticator
import StorageSQLite
import TestSupport
import Testing
import Wire

@Suite struct ConsentRefusalTests {
  @Test func putAndRevoke() async throws {
    let b = try await RefusalBench()
    let (d, world, terms) = (b.d, b.world, b.terms)
    let amend = "/v1/consents/\(terms.id)/amend"
    func next(_ json: inout JSONObject) {
      json["version"] = 2
      json["previous"] = .string(Base64.URL.encode(terms.digest))
    }
    try await b.denies("consent_not_permitted") { b in try await b.consent(by: b.sten) { _ in } }
    try await b.denies("consent_not_permitted") { b in try await b.consent(by: b.ada) { _ in } }
    try await b.denies("consent_agent_unknown") { b in try await b.consent { $0["agent"] = "agt_9" } }
    try await b.denies("consent_agent_unknown") { b in try await b.consent { $0["agent"] = "own_1" } }
    try await b.denies("consent_agent_key") { b in
      try await b.consent { $0["agent_thumbprint"] = .string(world.agents[1].principal.thumbprint) }
    }
    try await b.denies("consent_agent_key", "it is pending") { b in
      try await b.consent {
        $0["agent"] = "agt_3"
        $0["agent_thumbprint"] = .string(world.agents[2].principal.thumbprint)
      }
    }
    for account in ["acc_none", b.other] {
      try await b.denies("consent_account_unknown") { b in try await b.consent { $0["account"] = .string(account) } }
    }
    try await b.denies("consent_currency") { b in try await b.consent { $0["account"] = .string(b.euros) } }
    func cosign(_ approvals: Int64, _ group: String) -> JSONValue {
      ["above": "1000.00", "approvals": .integer(approvals), "group": .string(group)]
    }
    try await b.denies("group_not_found") { b in try await b.consent { $0["cosign"] = cosign(1, "grp_none") } }
    // Olga, Ada and Ben are three, and Olga does not approve for herself.
    try await b.denies("group_too_small") { b in try await b.consent { $0["cosign"] = cosign(3, b.group) } }
    try await b.denies("consent_exists") { b in try await b.consent(new: false) { _ in } }
    try await b.denies("consent_not_found") { b in
      let id = "con_" + Base64.URL.encode([UInt8](repeating: 5, count: 16))
      try await b.consent("/v1/consents/\(id)/amend", new: false) {
        next(&$0)
        $0["id"] = .string(id)
      }
    }
    try await b.denies("consent_version_conflict") { b in
      try await b.consent(amend, new: false) {
        next(&$0)
        $0["version"] = 3
      }
    }
    try await b.denies("consent_version_conflict") { b in
      try await b.consent(amend, new: false) {
        next(&$0)
        $0["previous"] = .string(Base64.URL.encode([UInt8](repeating: 0, count: 32)))
      }
    }
    try await b.denies("consent_amendment") { b in
      try await b.consent(amend, new: false) {
        next(&$0)
        $0["agent"] = "agt_2"
        $0["agent_thumbprint"] = .string(world.agents[1].principal.thumbprint)
      }
    }
    try await b.denies("consent_expired") { b in
      var json = terms.json
      json["id"] = .string("con_" + Base64.URL.encode(world.random.bytes(16)))
      let now = world.clock.now()
      (json["issued_at"], json["expires"]) = (
        .integer(now.adding(seconds: -60).milliseconds), .integer(now.adding(seconds: -1).milliseconds)
      )
      try await d.submit("/v1/consents", .consent, .object(json), by: b.olga)
    }

    try await b.rejects("consent_version") { b in try await b.consent(new: false, next) }
    try await b.rejects("consent_version") { b in try await b.consent(amend, new: false) { _ in } }
    try await b.rejects("consent_not_canonical") { b in try await b.consent { $0["rails"] = ["book", "ach"] } }
    try await b.rejects("assertion_missing") { _ in
      try await d.submit("/v1/consents", .object(terms.json), by: world.owner)
    }
    try await b.rejects("route_not_found") { _ in try await d.submit("/v1/consents/x/else", [:], by: world.owner) }

    let revoke = "/v1/consents/\(terms.id)/revoke"
    try await b.denies("consent_not_found") { _ in
      try await d.submit("/v1/consents/con_none/revoke", [:], by: world.owner)
    }
    for party in [world.stranger, b.agent] {
      try await b.denies("consent_not_permitted") { _ in try await d.submit(revoke, [:], by: party) }
    }
    try await d.submit(revoke, [:], by: world.officer)
    try await b.denies("consent_revoked") { _ in try await d.submit(revoke, [:], by: world.owner) }
    try await b.denies("consent_revoked") { b in try await b.consent(amend, new: false, next) }
  }
}

@Suite struct GovernanceRefusalTests {
  @Test func invitationsGroupsAndPolicies() async throws {
    let b = try await RefusalBench()
    let (d, world) = (b.d, b.world)
    func invite(_ change: (inout JSONObject) -> Void = { _ in }, by party: TestParty? = nil) async throws {
      var body: JSONObject = [
        "digest": .string(Base64.URL.encode(world.random.bytes(32))), "expires_in": 60,
        "person": ["kind": "approver", "name": "Zoe"],
      ]
      change(&body)
      try await d.submit("/v1/invitations", .object(body), by: party ?? world.officer)
    }
    func publish(_ version: Int64, _ rules: JSONValue = [], by party: TestParty? = nil) async throws {
      try await d.submit(
        "/v1/policies", ["policy": ["version": .integer(version), "rules": rules]], by: party ?? world.officer)
    }
    let remove = "/v1/groups/\(b.group)/remove"
    for party in [world.owner, b.agent] {
      try await b.denies("officer_required") { _ in try await invite(by: party) }
      try await b.denies("officer_required") { _ in try await d.submit("/v1/groups", ["name": "X"], by: party) }
      try await b.denies("officer_required") { b in
        try await d.submit(remove, ["person": .string(b.ada.id)], by: party)
      }
      try await b.denies("officer_required") { _ in try await publish(1, by: party) }
    }
    try await b.denies("group_not_found") { _ in try await invite({ $0["group"] = "grp_none" }) }
    for id in ["own_9", "agt_1"] {
      try await b.denies("owner_not_found") { _ in
        try await invite({ $0["person"] = ["kind": "owner", "id": .string(id), "name": "Zoe"] })
      }
    }
    let digest = JSONValue.string(Base64.URL.encode([UInt8](repeating: 7, count: 32)))
    try await invite({ $0["digest"] = digest })
    try await b.denies("invitation_exists") { _ in try await invite({ $0["digest"] = digest }) }
    try await b.denies("group_not_found") { b in
      try await d.submit("/v1/groups/grp_none/remove", ["person": .string(b.ada.id)], by: world.officer)
    }
    try await b.denies("member_not_found") { b in
      try await d.submit(remove, ["person": .string(b.eve.id)], by: world.officer)
    }
    try await b.denies("policy_version_conflict") { _ in try await publish(2) }
    try await b.denies("group_not_found") { _ in
      try await publish(
        1,
        [
          [
            "id": "r", "condition": ["kind": "first_payment"],
            "action": ["kind": "hold", "approvals": 1, "group": "grp_none"],
          ]
        ])
    }

    try await b.rejects("person_kind_unknown") { _ in
      try await invite({ $0["person"] = ["kind": "king", "name": "Z"] })
    }
    try await b.rejects("name_characters") { _ in
      try await d.submit("/v1/groups", ["name": "a\u{202E}b"], by: world.officer)
    }
    try await b.rejects("policy_rule_repeated") { _ in
      let rule: JSONValue = ["id": "r", "condition": ["kind": "first_payment"], "action": ["kind": "deny"]]
      try await publish(1, [rule, rule])
    }
    try await b.rejects("route_not_found") { _ in try await d.submit("/v1/groups/x/else", [:], by: world.officer) }
  }

  /// Two that pass the same check in one batch: the second one fails when it is carried out.
  @Test func theSecondOfTwoFails() async throws {
    try await OneByOne.run { executor in
      let s = try await Simulation<MemoryDisk>(seed: 12, on: executor)
      let group = try #require(s.model.groups.keys.sorted().first)
      let person = try #require(s.model.groups[group]?.first)
      func pair(_ deed: () async throws -> Deed) async throws -> [Deed] { [try await deed(), try await deed()] }
      let pairs = [
        try await pair {
          try await s.command(
            "/v1/policies", ["policy": ["version": 1, "rules": []]], .publish(1, []), by: s.world.officer)
        },
        try await pair {
          try await s.command(
            "/v1/groups/\(group)/remove", ["person": .string(person)], .remove(group: group, person: person),
            by: s.world.officer)
        },
        try await pair {
          let id = s.model.consents.keys.sorted()[0]
          return try await s.command("/v1/consents/\(id)/revoke", [:], .revoke(id), by: s.world.officer)
        },
      ]
      for (deeds, code) in zip(pairs, ["policy_version_conflict", "member_not_found", "consent_revoked"]) {
        try await s.carryOut([.expirePayment("")] + deeds)
        #expect(s.verdicts[deeds[0].key ?? []] == .done)
        #expect(s.verdicts[deeds[1].key ?? []] == .refused(code))
      }
      try await s.finish()
    }
  }

  @Test func enrolment() async throws {
    let b = try await RefusalBench()
    let (d, world) = (b.d, b.world)
    func expect(_ code: String, _ body: () async throws -> Void) async throws {
      let before = d.store.image.tables
      await #expect(throws: Problem.self) {
        do { try await body() } catch let problem as Problem {
          #expect(problem.code == code)
          throw problem
        }
      }
      let after = d.store.image.tables
      #expect(after.credentials == before.credentials && after.groups == before.groups)
      #expect(after.principals == before.principals && after.personInvitations == before.personInvitations)
    }
    let (receipt, token) = try await d.invite("Zoe", group: b.board, seconds: 60)
    let zoe = TestPerson(id: try receipt.text("person"), name: "Zoe", random: world.random)
    let index = receipt.command.leafIndex
    try await expect("invitation_invalid") {
      try await d.enrol(zoe, invitationIndex: index, token: world.random.bytes(32))
    }
    try await expect("invitation_invalid") { try await d.enrol(b.eve, invitationIndex: index, token: token) }
    try await expect("invitation_invalid") { try await d.enrol(zoe, invitationIndex: index - 1, token: token) }
    world.clock.advance(seconds: 60)
    try await expect("invitation_expired") { try await d.enrol(zoe, invitationIndex: index, token: token) }
    let (second, other) = try await d.invite("Yul", group: b.board)
    let yul = TestPerson(id: try second.text("person"), name: "Yul", random: world.random)
    try await d.enrol(yul, invitationIndex: second.command.leafIndex, token: other)
    try await expect("invitation_used") {
      try await d.enrol(yul, invitationIndex: second.command.leafIndex, token: other)
    }
    let (third, last) = try await d.invite("Xia", group: b.board)
    let xia = TestPerson(id: try third.text("person"), name: "Xia", random: world.random)
    let taken = try #require(d.store.image.tables.credentials.values.first { $0.person == yul.id }?.id)
    try await expect("credential_enrolled") {
      try await d.enrol(
        xia, invitationIndex: third.command.leafIndex, token: last, faults: Faults { $0.credentialID = taken })
    }
    let board = b.board
    try await d.gate.record { unit, _ in
      guard var group = unit.group(board) else { return nil }
      var number = 0
      while group.members.count < ApproverGroup.maximumMembers {
        try group.add("apr_\(number)")
        number += 1
      }
      try unit.update(group)
      return nil
    }
    try await expect("group_full") { try await d.enrol(xia, invitationIndex: third.command.leafIndex, token: last) }
  }
}
