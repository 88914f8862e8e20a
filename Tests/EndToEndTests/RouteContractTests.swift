import AgentIdentity
import DemoClient
import Testing
import Wire

extension EndToEndTests {
  /// Every operation of `/openapi.json`, by its own words.
  @Suite(.serialized) struct RouteContract {
    private static let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

    /// A path of a template, with values that lead nowhere.
    static func path(_ template: String) -> String {
      template.replacing("{path}", with: "0/000").replacing("{command_id}", with: "AAAAAAAAAAAAAAAAAAAAAA")
        .replacing("{id}", with: "nobody").replacing("{payment}", with: "nobody").replacing("{number}", with: "999999")
    }

    @Test func unknownPathsAre404ForEveryone() async throws {
      let fixture = try await Fixture.shared
      let token = try await fixture.agent.token(fixture.client)
      let credentials: [[HTTPMessage.Field]] = [
        [], [HTTPMessage.Field("Authorization", "Bearer " + fixture.deployment.auditorToken)],
        [HTTPMessage.Field("Authorization", "DPoP " + token)], [HTTPMessage.Field("Authorization", "nonsense")],
      ]
      for path in [
        "/", "/nowhere", "/v1", "/v1/ledger", "/v1/ledger/transfers/x", "/oauth", "/.well-known/nothing", "/console/",
        "/console/nothing", "/console/assets/", "/console/approvals/x/y", "/v1/approvals/x/y", "/v1/consents/x/y",
        "/v1/payments/x/y", "/v1/rails", "/v1/rails/wire", "/v1/groups/x", "/v1/sessions/x", "/v1/enrolments/x",
      ] {
        for method in Self.methods where method != "HEAD" {
          for headers in credentials {
            let answer = try await fixture.send(OutgoingRequest(method, path, headers: headers))
            #expect(answer.summary == "404 route_not_found", "\(method) \(path)")
          }
        }
      }
    }

    @Test func wrongMethodsAre405WithAllow() async throws {
      let fixture = try await Fixture.shared
      for (template, operations) in Dictionary(grouping: fixture.description.operations, by: \.path) {
        var allowed = Set(operations.map(\.method))
        if allowed.contains("GET") { allowed.insert("HEAD") }
        for method in Self.methods where !allowed.contains(method) {
          let answer = try await fixture.send(OutgoingRequest(method, Self.path(template)))
          #expect(answer.status == 405, "\(method) \(template): \(answer.summary)")
          let listed = (answer.header("allow") ?? "").split(separator: ",").map { $0.trimmingPrefix(" ") }
          #expect(Set(listed.map(String.init)) == allowed, "\(method) \(template): \(listed)")
          if method != "HEAD" { #expect(answer.code == "method_not_allowed", "\(method) \(template)") }
        }
      }
    }

    @Test func headIsGetWithoutBody() async throws {
      let fixture = try await Fixture.shared
      for operation in fixture.description.operations where operation.method == "GET" {
        let path = Self.path(operation.path)
        let (get, head) = (try await fixture.get(path), try await fixture.send(OutgoingRequest("HEAD", path)))
        #expect(head.status == get.status, "\(path)")
        #expect(head.body.isEmpty, "\(path)")
        for name in ["content-type", "cache-control", "www-authenticate"] {
          #expect(head.header(name) == get.header(name), "\(path): \(name)")
        }
        // The length of what GET would give; the published checkpoint may have grown in between, no other may.
        if get.status == 200, operation.id != "logCheckpoint" {
          #expect(head.header("content-length") == get.header("content-length"), "\(path)")
        }
      }
    }

    @Test func securityHeadersAreOnEveryAnswer() async throws {
      let fixture = try await Fixture.shared
      for path in ["/healthz", "/nowhere", "/v1/ledger/accounts"] + Self.pages + Self.assets {
        let answer = try await fixture.get(path)
        #expect(answer.header("x-content-type-options") == "nosniff")
        #expect(answer.header("strict-transport-security") != nil)
        #expect(answer.status < 300 || answer.header("cache-control") == "no-store")
      }
    }

    private static let pages = ["/console", "/console/enrol", "/console/approvals/nobody"]
    private static let assets = ["/console/assets/console.css", "/console/assets/console.js"]

    /// What a browser is told about the pages, with a session and without, and where there is nothing to show.
    @Test func pagesAreLockedUp() async throws {
      let fixture = try await Fixture.shared
      let (alice, payment) = (fixture.treasury.alice, try await fixture.held())
      var answers: [Answer] = []
      for path in Self.pages + ["/console/approvals/\(payment)"] {
        answers += [try await fixture.get(path), try await fixture.get(path, as: alice)]
      }
      #expect(answers.map(\.status) == [200, 200, 200, 200, 200, 404, 200, 200])
      for answer in answers {
        let policy = answer.header("content-security-policy") ?? ""
        for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'"] {
          #expect(policy.contains(directive), "\(policy)")
        }
        #expect(!policy.contains("unsafe") && !policy.contains("*"), "\(policy)")
        #expect(answer.header("cache-control") == "no-store")
        #expect(answer.header("referrer-policy") == "no-referrer")
        #expect(answer.header("cross-origin-opener-policy") == "same-origin")
        #expect(answer.header("content-type") == "text/html; charset=utf-8")
        #expect(answer.headers.count { $0.name == "content-security-policy" } == 1)
      }
      // Nobody who is not signed in, and nobody outside the group, reads anything of a payment.
      let carol = try await fixture.newcomer("Carol")
      let stranger = try await fixture.get("/console/approvals/\(payment)", as: carol)
      #expect(stranger.status == 404)
      for answer in [answers[6], stranger] {
        #expect(!answer.text.contains("1,500.00") && !answer.text.contains("savings"))
      }
      #expect(answers[7].text.contains("1,500.00"))
      #expect(try await fixture.decide(payment, alice, "decline").status == 200)
    }

    @Test func withoutCredentialsNothingClosedOpens() async throws {
      let fixture = try await Fixture.shared
      try await fixture.warm()
      let before = try await fixture.standing()
      for operation in fixture.description.operations {
        let path = Self.path(operation.path)
        var headers: [HTTPMessage.Field] = []
        if let type = operation.bodyType { headers.append(HTTPMessage.Field("Content-Type", type)) }
        let answer = try await fixture.send(
          OutgoingRequest(
            operation.method, path, headers: headers, body: operation.bodyType == nil ? [] : Array("{}".utf8)))
        if operation.security != nil {
          #expect([400, 401].contains(answer.status), "\(operation.id): \(answer.summary)")
        }
      }
      #expect(try await fixture.standing() == before)
    }

    /// Credentials that are not: in each field that any route reads, on every route, signed properly but for that field.
    @Test func garbageInCredentialFieldsIsRefused() async throws {
      let fixture = try await Fixture.shared
      try await fixture.warm()
      let before = try await fixture.standing()
      let token = try await fixture.agent.token(fixture.client)
      let long = String(repeating: "A", count: 8000)
      let garbage = [
        "x", "\"", ",", "=", ";;;", "()", "sig=", "sig=()", "sig=:AAAA:", "sig=:????:", "sha-256=:AAAA:", "sha-256=x",
        "md5=:AAAA:", "Bearer", "Bearer ", "DPoP", "DPoP  ", "DPoP a.b.c", "Basic eDp5", "Bearer \(long)",
        "DPoP \(long)",
        "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "..", "sig=(\"@method\");created=99999999999999999999", long,
        "sig=(\"@method\" \"@method\");created=1;nonce=\"aaaaaaaaaaaaaaaa\";keyid=\"x\"", "\u{e9}\u{1F600}",
        "__Host-trustcore", "__Host-trustcore=", "__Host-trustcore=%00", "__Host-trustcore=\(long)", "trustcore=x",
        "__Host-trustcore=\(fixture.agent.fresh())", "__Host-trustcore=; __Host-trustcore=", ";;=;,",
        "x" + fixture.treasury.alice.cookie, String(fixture.treasury.alice.cookie.dropLast()),
        fixture.treasury.alice.cookie.uppercased(), fixture.treasury.alice.cookie + "A",
      ]
      var count = 0
      for operation in fixture.description.operations where operation.security != nil {
        let path = Self.path(operation.path)
        let relevant =
          switch operation.security {
          case "dpopToken" where operation.isSigned:
            ["Authorization", "Signature", "Signature-Input", "Content-Digest", "Idempotency-Key"]
          case "dpopToken": ["Authorization", "DPoP"]
          case "session": ["Cookie"]
          case "clientAssertion": ["DPoP"]
          default: ["Authorization"]
          }
        for field in relevant {
          for value in garbage {
            var request: OutgoingRequest
            switch operation.security {
            case "dpopToken" where operation.isSigned:
              request = try fixture.agent.command(path, ["nothing": 1], token: token)
            case "dpopToken":
              let body = operation.bodyType == nil ? [] : Array("{}".utf8)
              request = try fixture.agent.read(path, token: token, method: operation.method, body: body)
            case "clientAssertion": request = try fixture.agent.tokenRequest()
            default:
              request = OutgoingRequest(operation.method, path)
              if let type = operation.bodyType {
                request.headers.append(HTTPMessage.Field("Content-Type", type))
                request.body = Array("{}".utf8)
              }
            }
            request.headers.removeAll { $0.name.lowercased() == field.lowercased() }
            request.headers.append(HTTPMessage.Field(field, value))
            // A field that would do for itself is another than the one that was signed.
            let answer = try await fixture.send(request)
            count += 1
            #expect(
              (400..<500).contains(answer.status), "\(operation.id), \(field): \(value.prefix(40)): \(answer.summary)")
          }
        }
      }
      print("routes: \(count) requests with garbage in a credential field were refused")
      #expect(try await fixture.standing() == before)
    }
  }
}
