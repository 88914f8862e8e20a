import DemoClient
import Foundation
import TestSupport
import Testing
import Wire

extension EndToEndTests {
  /// A deployment whose HSM fails under it, seen by those who use it: what needs the HSM is refused by a clear code, what
  /// does not goes on, and all is well again once the HSM is, with nobody starting anything anew.
  @Suite(.serialized) struct HSMTrouble {
    private static let note = Data("what was written once".utf8)

    /// Whether keys can be used.
    private static func works(_ office: KeyOffice, _ key: String) async throws -> Bool {
      try await office.tool(["keys", "encrypt", key] + KeyOffice.context).status == 0
    }

    @Test func aDataTokenThatIsPulledOutStopsKeysAlone() async throws {
      let office = try KeyOffice("pulled", faulty: true)
      let faults = try #require(office.faults)
      let running = try await office.start()
      let key = try await office.makeKey()
      let file = try await office.encrypted(Self.note, under: key, as: "note")
      let slot = try #require(faults.slot(labelled: "data"))

      faults.removeToken(slot)
      let refused = try await office.tool(["keys", "encrypt", key] + KeyOffice.context)
      #expect(refused.summary == "75 hsm_unavailable", "\(refused.complaint)")
      // A data key that is in memory serves for its age still.
      #expect(try await office.decrypt(file).output == Array(Self.note))
      let token = try await running.token("data")
      #expect(token["state"] == "down", "\(token)")
      let reason = token["reason"]?.string ?? ""
      #expect(
        reason.contains("C_") && reason.contains("CKR_TOKEN_NOT_PRESENT") && reason.contains("class reinitialise"),
        "\(reason)")
      for role in ["log", "identity"] { #expect(try await running.token(role)["state"] == "ready") }
      let told = try await office.tool(["status"])
      #expect(told.summary == "75 not_ready" && told.text.contains("CKR_TOKEN_NOT_PRESENT"), "\(told.text)")
      #expect(try await office.tool(["hsm", "status"]).summary == "75 not_ready")

      // What is ordered is on the record and waits, with its reason; money moves as ever.
      let created = try await running.deployment.officer.submit(running.client, "/v1/keys", ["class": "documents"])
      #expect(created.status == 202 && created["key", "state"] == "pending", "\(created.text)")
      let rotated = try await running.order("rotate", key)
      #expect(rotated.status == 202 && rotated["key", "task_state"] == "pending", "\(rotated.text)")
      let status = try await running.read("/v1/status")
      let tasks = (status["tasks"]?.array ?? []).compactMap(\.object)
      #expect(tasks.map { $0["kind"]?.string } == ["create", "rotate"], "\(status.text)")
      #expect(tasks.allSatisfy { $0["obstacle"]?.string?.contains("data token is away") == true }, "\(status.text)")
      #expect(try await running.order("rotate", key).summary == "409 key_busy")
      for _ in 0..<5 { #expect(try await running.openAccount().status == 201) }
      _ = try await running.deployment.owner.token(running.client)

      faults.returnToken(slot)
      try await Built.eventually("the use of keys") { try await Self.works(office, key) }
      try await Built.eventually("the end of what waited") {
        try await running.read("/v1/status")["tasks"]?.array?.isEmpty == true
      }
      let listed = try await office.json(["keys", "list"])["keys"]?.array?.compactMap(\.object)
      #expect(listed?.allSatisfy { $0["state"] == "active" } == true)
      #expect(Set((listed ?? []).compactMap { $0["version"]?.integer }) == [1, 2])
      #expect(try await office.decrypt(file).output == Array(Self.note))
      #expect(try await running.token("data")["state"] == "ready")
      #expect(try await office.tool(["status"]).status == 0)

      // A token without room: what makes no object goes on.
      faults.setFull(true, slot)
      let full = try await running.order("rotate", key)
      #expect(full.status == 202, "\(full.text)")
      let waiting = try await running.read("/v1/status")
      #expect(
        waiting["tasks"]?.array?.first?.object?["obstacle"]?.string?.contains("no room") == true, "\(waiting.text)")
      #expect(try await running.token("data")["state"] == "full")
      #expect(try await Self.works(office, key))
      #expect(try await running.openAccount().status == 201)
      faults.setFull(false, slot)
      try await Built.eventually("the rotation") {
        let shown = try await office.json(["keys", "show", key])
        return shown["version"] == 3 && shown["tasks"]?.array?.isEmpty == true
      }
      #expect(try await running.token("data")["state"] == "ready")
      try await office.stop(running)
      #expect(try await office.isSound())
    }

    /// Logins end behind the daemon's back, on every token, again and again: nobody who asks meanwhile sees any of it.
    @Test func loginsThatExpireUnderLoadAreNotSeen() async throws {
      let office = try KeyOffice("expire", faulty: true)
      let faults = try #require(office.faults)
      let running = try await office.start()
      let key = try await office.makeKey()
      let recipient = try Vault.Recipient()
      let logins = faults.logins
      let drawn = try await withThrowingTaskGroup(of: [[UInt8]].self) { group in
        for lane in 0..<6 {
          group.addTask {
            var made: [[UInt8]] = []
            for round in 0..<15 {
              if lane == 0, round % 3 == 1 { faults.expireLogins() }
              let answer = try await running.draw(key, recipient)
              #expect(answer.status == 201, "\(answer.text)")
              guard answer.status == 201 else { continue }
              made.append(try recipient.fingerprint(answer))
              let id = answer["data_key"]?.string ?? ""
              let opened = try await running.deployment.owner.submit(
                running.client, "/v1/data-keys/\(id)/open",
                ["context": Vault.context, "recipient": .string(recipient.text)])
              #expect(opened.status == 200, "\(opened.text)")
              let isSame = try recipient.fingerprint(opened) == made.last
              #expect(isSame)
              #expect(try await running.openAccount().status == 201)
            }
            return made
          }
        }
        return try await group.reduce(into: []) { $0 += $1 }
      }
      #expect(drawn.count == 90 && Set(drawn).count == 90)
      #expect(faults.logins > logins)
      for token in ["log", "identity", "data"] { #expect(try await running.token(token)["state"] == "ready") }
      try await office.stop(running)
      #expect(try await office.isSound())
    }

    /// The log's token hangs: nothing is done that is not sealed, and what was recorded is finished once it answers.
    @Test func aLogTokenThatHangsHoldsEverythingBack() async throws {
      let office = try KeyOffice("hang", faulty: true)
      let faults = try #require(office.faults)
      let running = try await office.start()
      let owner = running.deployment.owner
      _ = try await owner.token(running.client)
      let before = try await owner.get(running.client, "/v1/ledger/accounts")
      let stuck = faults.hold(.sign, .slot(try #require(faults.slot(labelled: "log"))))
      let key = owner.fresh()
      func open() async throws -> Answer {
        try await owner.submit(
          running.client, "/v1/ledger/accounts", ["currency": "EUR"], .init(idempotencyKey: key))
      }
      let request = Task { try await open() }
      try await stuck.waitUntilHeld()
      // It is on the record and not done; who asks again learns that.
      #expect(try await open().summary == "409 idempotency_key_in_flight")
      #expect(try await owner.get(running.client, "/v1/ledger/accounts").text == before.text)
      // Its callers get a deadline after 10 s, the token its name after four of them: not waited for here.
      stuck.remove()
      let answer = try await request.value
      #expect(answer.status == 201, "\(answer.text)")
      let again = try await open()
      #expect(again.body == answer.body)
      #expect(try await running.token("log")["state"] == "ready")
      try await office.stop(running)
      #expect(try await office.isSound())
    }

    /// The PIN of the data token is wrong at the start: a person has to decide, and until then all but keys works.
    @Test func aWrongPINIsNotTriedAgain() async throws {
      let office = try KeyOffice("pin", faulty: true)
      let faults = try #require(office.faults)
      var running = try await office.start()
      let key = try await office.makeKey()
      let file = try await office.encrypted(Self.note, under: key, as: "note")
      try await office.stop(running)
      let path = office.state + "/hsm/pins/data.pin"
      let good = try Data(contentsOf: URL(fileURLWithPath: path))
      func write(_ pin: Data) throws {
        try pin.write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
      }
      try write(Data("0000".utf8))
      running = try await office.start()
      let token = try await running.token("data")
      #expect(token["state"] == "latched", "\(token)")
      #expect(token["reason"]?.string?.contains("CKR_PIN_INCORRECT") == true, "\(token)")
      let attempts = faults.calls(.login)
      let told = try await office.tool(["status"])
      #expect(told.summary == "75 not_ready" && told.text.contains("CKR_PIN_INCORRECT"), "\(told.text)")
      #expect(try await office.decrypt(file).summary == "77 wrong_pin")
      #expect(try await office.tool(["keys", "encrypt", key] + KeyOffice.context).summary == "77 wrong_pin")
      #expect(try await running.openAccount().status == 201)
      #expect(try await running.read("/v1/status")["keys_mode"] == "waiting")
      #expect(faults.calls(.login) == attempts)
      try await office.stop(running)
      try write(good)
      running = try await office.start()
      #expect(try await office.decrypt(file).output == Array(Self.note))
      #expect(try await office.tool(["status"]).status == 0)
      try await office.stop(running)
      #expect(try await office.isSound())
    }

    /// A module that hands out what it unwraps is not used, at the start as little as later.
    @Test func aTokenThatHandsKeysOutIsNotUsed() async throws {
      let office = try KeyOffice("hostile", faulty: true)
      let faults = try #require(office.faults)
      var running = try await office.start()
      let key = try await office.makeKey()
      #expect(try await running.read("/v1/status")["hostile_unwrap"] == "refused")
      // It turns while the daemon runs, which looks again at each login.
      let slot = try #require(faults.slot(labelled: "data"))
      faults.setUnwrapping(.asAsked)
      faults.removeToken(slot)
      #expect(try await !Self.works(office, key))
      faults.returnToken(slot)
      let fixed = running
      try await Built.eventually("the look at the token") {
        #expect(try await !Self.works(office, key))
        return try await fixed.token("data")["state"] == "latched"
      }
      let reason = try await running.token("data")["reason"]?.string ?? ""
      #expect(reason.contains("unwraps keys that may leave it"), "\(reason)")
      #expect(try await running.openAccount().status == 201)
      try await office.stop(running)

      let refused = try await Built.pipe(
        "/usr/bin/env",
        office.environment.map { "\($0)=\($1)" } + [
          try Built.program("trustcored"), "serve", "--dev", "--state", office.state, "--pkcs11-module", faults.library,
        ])
      #expect(refused.status == 70 && refused.complaint.contains("root-kek"), "\(refused.complaint)")
      #expect(refused.complaint.contains("unwraps keys that may leave it"), "\(refused.complaint)")

      // One that lets the call pass, and locks the key all the same, does no harm.
      faults.setUnwrapping(.locked)
      running = try await office.start()
      #expect(try await running.read("/v1/status")["hostile_unwrap"] == "locked")
      #expect(try await Self.works(office, key))
      try await office.stop(running)
      #expect(try await office.isSound())
    }
  }
}
