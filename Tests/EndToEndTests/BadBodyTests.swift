import AgentIdentity
import DemoClient
import JOSE
import Testing
import Wire

extension EndToEndTests {
  /// Bad bodies to every route that takes one, made from a good one: what the description's schema refuses, and what no
  /// JSON text may be. Nothing of it may change an account or the log.
  @Suite(.serialized) struct BadBodies {
    private static func nested(_ depth: Int) -> String {
      String(repeating: "[", count: depth) + String(repeating: "]", count: depth)
    }

    /// Texts that no route may take, whatever its schema.
    private static func texts(_ good: JSONValue) -> [(String, [UInt8])] {
      let text = good.canonical()
      var cases: [(String, [UInt8])] = [
        ("empty", []), ("blank", Array("  \n".utf8)), ("no JSON", Array("entries=1".utf8)), ("NUL", [0]),
        ("cut", Array(text.dropLast())), ("cut in half", Array(text.prefix(max(1, text.count / 2)))),
        ("followed by text", text + Array("{}".utf8)), ("byte-order mark", [0xEF, 0xBB, 0xBF] + text),
        ("UTF-16", text.flatMap { [$0, 0] }), ("an array", Array("[".utf8) + text + Array("]".utf8)),
        ("null", Array("null".utf8)), ("a number", Array("1".utf8)), ("a string", Array("\"\"".utf8)),
        ("trailing comma", Array(text.dropLast()) + Array(",}".utf8)), ("NaN", Array(#"{"a":NaN}"#.utf8)),
        ("comment", Array("/**/".utf8) + text),
        ("invalid UTF-8", Array(#"{"a":""#.utf8) + [0xC3, 0x28] + Array(#""}"#.utf8)),
        ("lone surrogate", Array(#"{"a":"\ud800"}"#.utf8)), ("number out of range", Array(#"{"a":1e400}"#.utf8)),
        ("64 deep", Array(nested(64).utf8)), ("64 deep in a member", Array("{\"a\":\(nested(63))}".utf8)),
        ("65 deep", Array("{\"a\":\(nested(64))}".utf8)), ("1,700 deep", Array(nested(1700).utf8)),
      ]
      if let member = good.object?.members.first {
        let again = JSONValue.object([member.name: member.value]).canonical()
        cases.append(
          ("member twice", Array("{".utf8) + again.dropFirst().dropLast() + Array(",".utf8) + text.dropFirst()))
        cases.append(("another member twice", Array(#"{"zz":1,"zz":1,"#.utf8) + text.dropFirst()))
      }
      return cases
    }

    /// Values to put in the place of any other.
    private static let wrong: [JSONValue] = [
      .null, true, 0, -1, 1, .double(1.5), .double(1e300), .integer(JSONValue.greatestInteger), "", "x", "1e3", "-1",
      "01", "+1",
      "1,00", " 1", "1.", ".5", "1.001", "99999999999999999999999", .string(String(repeating: "9", count: 200)),
      .string(String(repeating: "x", count: 3000)), "\u{0}", "../..", [], [:], [[]], ["x": 1],
      .array(Array(repeating: 1, count: 300)),
    ]

    /// A value with one node replaced, by every wrong value, and with members left out and put in.
    private static func mutations(_ value: JSONValue) -> [JSONValue] {
      var all = wrong
      switch value {
      case .object(let object):
        for member in object {
          for changed in mutations(member.value) {
            var copy = object
            copy[member.name] = changed
            all.append(.object(copy))
          }
          var without = object
          without[member.name] = nil
          all.append(.object(without))
        }
        var more = object
        more["unknown"] = 1
        all.append(.object(more))
      case .array(let values):
        for (index, item) in values.enumerated().prefix(2) {
          for changed in mutations(item) {
            var copy = values
            copy[index] = changed
            all.append(.array(copy))
          }
        }
        all.append(.array(Array(values.dropLast())))
        if let first = values.first { all.append(.array(values + [first])) }
      default: break
      }
      return all
    }

    @Test func whatIsNoGoodJSONIsRefused() async throws {
      let fixture = try await Fixture.shared
      let good = try await GoodBody.all(fixture)
      try await fixture.warm()
      let before = try await fixture.standing()
      var count = 0
      for operation in fixture.description.operations where operation.bodyType == "application/json" {
        let good = try #require(good[operation.id], "\(operation.id) has no good body: add one")
        for (name, bytes) in Self.texts(good.body) {
          let answer = try await fixture.send(try await good.request(bytes, fixture))
          count += 1
          #expect((400..<500).contains(answer.status), "\(operation.id), \(name): \(answer.summary)")
          if name == "member twice" || name == "another member twice" {
            #expect(answer.code == "json_duplicate_member", "\(operation.id), \(name): \(answer.summary)")
          }
          if name == "65 deep" { #expect(answer.code == "json_too_deep", "\(operation.id): \(answer.summary)") }
          if name.hasPrefix("64 deep") { #expect(answer.code != "json_too_deep", "\(operation.id): \(answer.summary)") }
        }
      }
      print("routes: \(count) texts that are no good JSON were refused")
      #expect(try await fixture.standing() == before)
    }

    @Test func whatTheSchemaRefusesTheServerRefuses() async throws {
      let fixture = try await Fixture.shared
      let good = try await GoodBody.all(fixture)
      try await fixture.warm()
      let before = try await fixture.standing()
      var (count, allowed) = (0, 0)
      var denied: [Int64] = []
      for operation in fixture.description.operations where operation.bodyType == "application/json" {
        let good = try #require(good[operation.id])
        let body = good.body
        let schema = try #require(operation.bodySchema)
        #expect(fixture.description.schemas.faults(of: body, in: schema).isEmpty, "\(operation.id)")
        for changed in Self.mutations(body) {
          guard !fixture.description.schemas.faults(of: changed, in: schema).isEmpty else {
            allowed += 1
            continue
          }
          let answer = try await fixture.send(try await good.request(changed.canonical(), fixture))
          count += 1
          if let index = answer["leaf_index"]?.integer { denied.append(index) }
          #expect(
            (400..<500).contains(answer.status),
            "\(operation.id): \(String(decoding: changed.canonical(), as: UTF8.self).prefix(200)): \(answer.summary)")
        }
      }
      print("routes: \(count) bodies that a schema refuses were refused; \(allowed) that it allows were left out")
      // The log may have grown by denials, one leaf each, and by nothing else: a capture's amount is read where its hold is.
      #expect(Set(denied).count == denied.count)
      try await fixture.sealed(denied.max() ?? 0)
      #expect(try await fixture.standing() == .init(accounts: before.accounts, size: before.size + Int64(denied.count)))
    }

    /// What a browser writes and nobody reads (WebAuthn Level 3 section 5.1): its change changes nothing.
    private static let passedOver: Set = [
      "authenticatorAttachment", "clientExtensionResults", "transports", "publicKeyAlgorithm", "unknown",
    ]

    /// A ceremony's answer without what nobody reads.
    private static func essence(_ value: JSONValue, in place: String = "") -> JSONValue {
      guard let object = value.object else { return value }
      var kept = JSONObject()
      for member in object where place.isEmpty || !passedOver.contains(member.name) {
        // A registration repeats its authenticator data.
        if member.name == "authenticatorData", object["attestationObject"] != nil { continue }
        kept[member.name] =
          ["approval", "consent"].contains(member.name) && object["assertion"] != nil
          ? member.value : essence(member.value, in: member.name)
      }
      return .object(kept)
    }

    /// Whether an assertion differs in nothing but that it names no person, which it need not.
    private static func onlyLacksHandle(_ assertion: JSONValue?) -> Bool {
      guard let response = assertion?.object?["response"]?.object, response["signature"] != nil else { return false }
      return response["userHandle"] == nil || response["userHandle"] == .null
    }

    /// Each part of a ceremony's answer replaced by what it is not: refused, with nothing on the record; and the good
    /// one still counts afterwards.
    @Test func garbageInCeremoniesIsRefused() async throws {
      let fixture = try await Fixture.shared
      let all = try await GoodBody.all(fixture)
      try await fixture.warm()
      let before = try await fixture.standing()
      var count = 0
      func refuse(_ changed: JSONValue, _ good: GoodBody) async throws {
        let answer = try await fixture.send(try await good.request(changed.canonical(), fixture))
        count += 1
        let text = String(decoding: changed.canonical(), as: UTF8.self).prefix(300)
        #expect((400..<500).contains(answer.status), "\(good.path): \(text): \(answer.summary)")
        #expect(answer["leaf_index"] == nil, "\(good.path): \(text): \(answer.summary)")
      }
      for id in ["decide", "giveConsent", "amendConsent"] {
        let good = try #require(all[id])
        for changed in Self.mutations(good.body) where Self.essence(changed, in: id) != Self.essence(good.body, in: id)
        {
          if Self.onlyLacksHandle(changed.object?["assertion"]) { continue }
          try await refuse(changed, good)
        }
      }
      #expect(try await fixture.standing() == before)
      // These use their challenge up with each attempt, so each gets a new one.
      let person = try Person("Carol", fixture.deployment.ready)
      let token = try await fixture.invitation()
      try await fixture.warm()
      let invited = try await fixture.standing()
      let enrol = GoodBody("/v1/enrolments", [:], .bearer(token))
      func registration() async throws -> JSONValue {
        let options = try await fixture.post("/v1/enrolments/options", [:], bearer: token)
        return ["approval": try person.make(try #require(options["approval"]))]
      }
      func signIn() async throws -> JSONValue {
        try fixture.treasury.bob.person.tap(try #require(try await fixture.post("/v1/sessions/options", [:]).json))
      }
      for (good, fresh) in [(enrol, registration), (GoodBody("/v1/sessions", [:]), signIn)] {
        for index in Self.mutations(try await fresh()).indices {
          let base = try await fresh()
          let changed = Self.mutations(base)[index]
          guard Self.essence(changed, in: "x") != Self.essence(base, in: "x") else { continue }
          if Self.onlyLacksHandle(changed) { continue }
          try await refuse(changed, good)
        }
      }
      #expect(try await fixture.standing() == invited)
      for id in ["decide", "giveConsent"] {
        let good = try #require(all[id])
        let answer = try await fixture.send(try await good.request(good.body.canonical(), fixture))
        #expect([200, 201].contains(answer.status), "\(id): \(answer.text)")
      }
      #expect(
        try await fixture.send(try await enrol.request(try await registration().canonical(), fixture)).status == 201)
      #expect(try await fixture.post("/v1/sessions", try await signIn()).status == 200)
      print("routes: \(count) ceremonies with garbage in them were refused")
    }

    /// Numbers that are equal to integers, and are not written as integers.
    @Test func countersAreIntegersWithoutFractionAndExponent() async throws {
      let fixture = try await Fixture.shared
      let good = try await GoodBody.all(fixture)
      try await fixture.warm()
      let before = try await fixture.standing()
      let (from, to) = (fixture.account, fixture.other)
      let payment = fixture.payment("1.00", seconds: 60).canonical()
      for number in [
        "1.0", "1e0", "1E2", "100e-2", "1.50", "-0", "9007199254740993", "1e400", "0x10", "01", "+1", "Infinity",
      ] {
        let entries =
          #"{"account":"\#(from)","side":"debit","amount":\#(number),"currency":"EUR"}"#
          + #",{"account":"\#(to)","side":"credit","amount":\#(number),"currency":"EUR"}"#
        for (id, path, text) in [
          ("transfer", "/v1/ledger/transfers", #"{"entries":[\#(entries)]}"#),
          ("authorizeHold", "/v1/ledger/holds", #"{"entries":[\#(entries)],"expires_in":60}"#),
          (
            "authorizeHold", "/v1/ledger/holds",
            #"{"entries":[\#(entries.replacing("\"amount\":\(number)", with: "\"amount\":1"))],"expires_in":\#(number)}"#
          ),
          ("openAccount", "/v1/ledger/accounts", #"{"currency":"EUR","overdraft_limit":\#(number)}"#),
          (
            "authorizePayment", "/v1/payments/authorize",
            String(decoding: payment, as: UTF8.self).replacing("\"1.00\"", with: number)
          ),
          (
            "authorizePayment", "/v1/payments/authorize",
            String(decoding: payment, as: UTF8.self).replacing("\"expires_in\":60", with: "\"expires_in\":\(number)")
          ), ("answerACH", "/v1/rails/ach/answers", #"{"accepted_file":\#(number)}"#),
        ] where !(id == "openAccount" && number == "-0") {
          let good = try #require(good[id])
          let answer = try await fixture.send(try await good.request(Array(text.utf8), to: path, fixture))
          #expect([400, 422].contains(answer.status), "\(id) \(number): \(answer.summary)")
        }
      }
      #expect(try await fixture.standing() == before)
    }

    @Test func formsAreReadStrictly() async throws {
      let fixture = try await Fixture.shared
      try await fixture.warm()
      let before = try await fixture.standing()
      let good = try fixture.agent.tokenRequest()
      let text = String(decoding: good.body, as: UTF8.self)
      let many = (0..<40).map { "&f\($0)=1" }.joined()
      for form in [
        "", "&&&", "=", "%", "%zz=1", "grant_type=%C3%28", text + "&grant_type=client_credentials", text + many,
        text + "&a=%+1",
        text.replacing("client_credentials", with: "password"), text.replacing("grant_type", with: "grant%00type"),
        text + "&scope=owner", text + "&client_id=nobody", "{}", String(repeating: "a=1&", count: 10_000),
        text.replacing("client_assertion=", with: "client_assertion=x"), String(text.dropLast(4)),
      ] {
        var request = try fixture.agent.tokenRequest()
        request.body = Array(form.utf8)
        let answer = try await fixture.send(request)
        #expect([400, 401].contains(answer.status), "\(form.prefix(60)): \(answer.summary)")
        #expect(answer.json?.object?["error"]?.string != nil, "\(form.prefix(60)): RFC 6749 section 5.2 wants 'error'")
      }
      #expect(try await fixture.standing() == before)
    }

    @Test func otherMediaTypesAreRefused() async throws {
      let fixture = try await Fixture.shared
      let good = try await GoodBody.all(fixture)
      try await fixture.warm()
      let before = try await fixture.standing()
      for operation in fixture.description.operations {
        guard let wanted = operation.bodyType else { continue }
        var request: OutgoingRequest
        if let good = good[operation.id] {
          request = try await good.request(good.body.canonical(), fixture)
        } else {
          request = try fixture.agent.tokenRequest()
        }
        for type in [
          "text/plain", "application/jsonx", "application/json, text/plain", "", "multipart/form-data; boundary=x", nil,
        ] {
          request.headers.removeAll { $0.name.lowercased() == "content-type" }
          if let type { request.headers.append(HTTPMessage.Field("Content-Type", type)) }
          let answer = try await fixture.send(request)
          #expect(
            answer.summary == "415 content_type_not_supported", "\(operation.id), \(type ?? "none"), wants \(wanted)")
        }
      }
      #expect(try await fixture.standing() == before)
    }

    /// One byte above a route's limit is refused before anything else is looked at; at the limit the body is read.
    @Test func bodiesHaveALimit() async throws {
      let fixture = try await Fixture.shared
      let good = try await GoodBody.all(fixture)
      try await fixture.warm()
      let before = try await fixture.standing()
      for operation in fixture.description.operations {
        guard let type = operation.bodyType else { continue }
        let path = good[operation.id]?.path ?? operation.path
        let headers = [HTTPMessage.Field("Content-Type", type)]
        // The refusal names the limit.
        let huge = try await fixture.send(
          OutgoingRequest("POST", path, headers: headers, body: Array(repeating: 0x20, count: (1 << 20) + 1)))
        #expect(huge.summary == "413 body_too_large", "\(operation.id)")
        let digits = (huge["detail"]?.string ?? "").filter(\.isNumber)
        let limit = try #require(Int(digits), "\(operation.id)")
        #expect(limit <= 1 << 20, "\(operation.id)")
        for (count, refused) in [(limit, false), (limit + 1, true)] {
          let body = Array(repeating: UInt8(0x20), count: count)
          let sent = OutgoingRequest("POST", path, headers: headers, body: body)
          let answer = try await fixture.send(sent)
          #expect((answer.code == "body_too_large") == refused, "\(operation.id), \(count) bytes: \(answer.summary)")
          let chunked = try await RawConnection.exchange(
            fixture,
            [
              "POST \(path) HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: \(type)\r\nTransfer-Encoding: chunked\r\n\r\n"
            ]
            .map { Array($0.utf8) } + Self.chunks(body))
          let problem = (try? JSONValue(parsing: chunked.body))?.object?["code"]?.string
          #expect(chunked.statuses.count == 1, "\(operation.id), \(count) bytes in chunks: \(chunked.statuses)")
          #expect(
            (problem == "body_too_large") == refused,
            "\(operation.id), \(count) bytes in chunks: \(chunked.text.prefix(300))")
        }
      }
      #expect(try await fixture.standing() == before)
    }

    private static func chunks(_ body: [UInt8]) -> [[UInt8]] {
      stride(from: 0, to: body.count, by: 65_000).map { start in
        let part = body[start..<min(start + 65_000, body.count)]
        return Array((String(part.count, radix: 16) + "\r\n").utf8) + part + Array("\r\n".utf8)
      } + [Array("0\r\n\r\n".utf8)]
    }
  }
}
