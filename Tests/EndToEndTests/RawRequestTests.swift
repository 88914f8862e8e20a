import AgentIdentity
import DemoClient
import Testing
import TrustCoreAPI
import Wire

extension EndToEndTests {
  /// Requests that no client library sends.
  @Suite(.serialized) struct RawRequests {
    private func closing(_ line: String, _ fields: [String] = []) -> String {
      ([line, "Host: localhost", "Connection: close"] + fields).map { $0 + "\r\n" }.joined() + "\r\n"
    }

    /// One answer, of this status and with a problem of this code.
    private func expect(_ reply: RawConnection.Reply, _ status: Int, _ code: String, _ what: String) {
      #expect(reply.statuses == [status], "\(what): \(reply.text.prefix(300))")
      #expect(
        (try? JSONValue(parsing: reply.body))?.object?["code"]?.string == code, "\(what): \(reply.body.prefix(300))")
      #expect(reply.isClosed, "\(what)")
    }

    @Test func pathsAreTakenAsTheyCome() async throws {
      let fixture = try await Fixture.shared
      try await fixture.warm()
      let before = try await fixture.standing()
      for path in [
        "//healthz", "/healthz/", "/healthz//", "/./healthz", "/x/../healthz", "/../healthz", "/%68ealthz",
        "/healthz%00", "/HEALTHZ",
        "/healthz%", "/healthz%zz", "/healthz;x=1", "/healthz%2F", "/v1//ledger/accounts", "/v1/ledger/accounts/",
        "/v1/ledger/accounts//x",
        "/v1/ledger%2Faccounts", "/log//checkpoint", "/log/../v1/status", "/.well-known/jwks.json/", "\\healthz", "*",
        "healthz",
        "/" + String(repeating: "a/", count: 4000), "/" + String(repeating: "a", count: 15_000),
      ] {
        let reply = try await RawConnection.exchange(fixture, closing("GET \(path) HTTP/1.1"))
        #expect(
          reply.isClosed && [[404], [400]].contains(reply.statuses), "\(path.prefix(60)): \(reply.text.prefix(200))")
      }
      for id in [
        "..", "%2e%2e", "%00", "%", "%zz", "%C3%28", "a%2Fb", String(repeating: "x", count: 15_000), "\u{e9}", "'",
        "%27%20OR%201=1",
      ] {
        for path in [
          "/v1/ledger/accounts/\(id)", "/v1/ledger/holds/\(id)", "/v1/receipts/\(id)", "/v1/agents/\(id)",
          "/v1/consents/\(id)", "/v1/payments/\(id)", "/v1/approvals/\(id)", "/v1/rails/ach/files/\(id)",
        ] {
          let reply = try await RawConnection.exchange(fixture, closing("GET \(path) HTTP/1.1"))
          #expect(
            reply.isClosed && [[401], [400]].contains(reply.statuses), "\(path.prefix(60)): \(reply.text.prefix(200))")
        }
      }
      // With a caller that may read, the same are not found.
      for id in ["%00", "%", "%zz", "%C3%28", "a%2Fb", "'", String(repeating: "x", count: 9000)] {
        for (path, code) in [
          ("/v1/ledger/accounts/", "account_not_found"), ("/v1/ledger/holds/", "hold_not_found"),
          ("/v1/receipts/", "receipt_not_found"),
          ("/v1/agents/", "agent_not_found"), ("/v1/consents/", "consent_not_found"),
          ("/v1/payments/", "payment_not_found"),
        ] {
          // What is no URI cannot be proved for either.
          let token = try await fixture.agent.token(fixture.client)
          let request =
            try (try? fixture.agent.read(path + id, token: token)) ?? fixture.agent.read(path + "x", token: token)
          let reply = try await RawConnection.exchange(
            fixture, closing("GET \(path)\(id) HTTP/1.1", request.headers.map { "\($0.name): \($0.value)" }))
          let found = (try? JSONValue(parsing: reply.body))?.object?["code"]?.string
          #expect(
            reply.statuses == [404] && found == code || reply.statuses == [401] && found == "invalid_dpop_proof",
            "\(path)\(id.prefix(20)): \(reply.text.prefix(200))")
        }
      }
      // The same for a person, whose session is no part of the path.
      for id in [
        "%00", "%", "%zz", "%C3%28", "a%2Fb", "'", "<script>", "%3Cscript%3E", "\u{202e}",
        String(repeating: "x", count: 9000),
      ] {
        for path in ["/v1/approvals/", "/console/approvals/"] {
          let reply = try await RawConnection.exchange(
            fixture, closing("GET \(path)\(id) HTTP/1.1", ["Cookie: " + fixture.treasury.alice.cookie]))
          #expect(
            reply.isClosed && [[404], [400]].contains(reply.statuses),
            "\(path)\(id.prefix(20)): \(reply.text.prefix(200))")
          #expect(!reply.body.contains("<script>") || path == "/v1/approvals/", "\(reply.body)")
        }
        let number = try await RawConnection.exchange(fixture, closing("GET /v1/rails/ach/files/\(id) HTTP/1.1"))
        #expect([[401], [400]].contains(number.statuses), "\(id.prefix(20)): \(number.text.prefix(200))")
      }
      #expect(try await fixture.standing() == before)
    }

    /// Cookies as no browser sends them: many, twice, empty, huge, and beside the good one.
    @Test func cookiesAreTakenAsTheyCome() async throws {
      let fixture = try await Fixture.shared
      let good = fixture.treasury.alice.cookie
      for (fields, status) in [
        (["Cookie: " + good], 200), (["Cookie: a=b; " + good + "; c=d"], 200),
        (["Cookie: a=b", "Cookie: " + good], 200),
        (["Cookie: " + good, "Cookie: " + good], 200), (["cookie:" + good], 200),
        (["Cookie: a=\(good)"], 401), (["Cookie: \"\(good)\""], 401), (["Cookie: \(good)="], 401),
        (["Cookie: " + good.replacing("=", with: " =")], 401),
        (["Cookie: " + good.replacing("__Host-", with: "")], 401),
        (["Cookie: \(good)x; \(good)"], 401), (["Cookie: ;;;;"], 401), (["Cookie: ="], 401), (["Cookie:"], 401),
        (["Cookie: " + String(repeating: "a=b; ", count: 2000)], 401),
        (["Cookie: __Host-trustcore=" + String(repeating: "A", count: 12_000)], 401),
        ((0..<40).map { "Cookie: a\($0)=\($0)" }, 401),
      ] {
        let reply = try await RawConnection.exchange(fixture, closing("GET /v1/approvals HTTP/1.1", fields))
        #expect(reply.isClosed && reply.statuses == [status], "\(fields[0].prefix(80)): \(reply.text.prefix(200))")
        // A page answers the same people.
        let page = try await RawConnection.exchange(fixture, closing("GET /console HTTP/1.1", fields))
        #expect(
          page.statuses == [200] && page.text.contains("id=\"sign-out\"") == (status == 200), "\(fields[0].prefix(80))")
      }
    }

    @Test func headerFieldsHaveALimit() async throws {
      let fixture = try await Fixture.shared
      // Connection is one; Host is no field any more once it is read.
      for (count, status) in [(63, 200), (64, 431), (200, 431)] {
        let fields = (0..<count).map { "X-\($0): 1" }
        let reply = try await RawConnection.exchange(fixture, closing("GET /healthz HTTP/1.1", fields))
        #expect(reply.statuses == [status], "\(count) fields: \(reply.text.prefix(300))")
        if status == 431 { expect(reply, 431, "header_fields_too_large", "\(count) fields") }
      }
      // Names and values, and the target: "connection" "close" "x" "/healthz".
      let room = 16_384 - "connectionclosex/healthz".utf8.count
      for (count, status) in [(room, 200), (room + 1, 431), (60_000, 431)] {
        let reply = try await RawConnection.exchange(
          fixture, closing("GET /healthz HTTP/1.1", ["X: " + String(repeating: "a", count: count)]))
        #expect(reply.statuses == [status], "\(count) bytes: \(reply.text.prefix(300))")
      }
      // Far above, the parser itself may give up; nothing but a refusal may come of it.
      let flood = try await RawConnection.exchange(
        fixture, closing("GET /healthz HTTP/1.1", (0..<400).map { "X-\($0): " + String(repeating: "a", count: 1000) }))
      #expect(flood.isClosed && [[431], [400], []].contains(flood.statuses), "\(flood.text.prefix(300))")
      for (count, status) in [(64, 200), (65, 431)] {
        let fields = (0..<count).map { HTTPMessage.Field("x-\($0)", "1") }
        #expect(
          try await fixture.client.send(OutgoingRequest("GET", "/healthz", headers: fields)).status == status,
          "\(count) fields")
      }
      #expect(try await fixture.get("/healthz").status == 200)
    }

    /// Shapes by which two servers in a row would disagree about where a request ends (RFC 9112 section 11.2).
    @Test func requestSmugglingShapesAreRefused() async throws {
      let fixture = try await Fixture.shared
      try await fixture.warm()
      let before = try await fixture.standing()
      let hidden = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
      let post = "POST /oauth/register HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      for (name, text) in [
        ("two lengths", post + "Content-Length: 2\r\nContent-Length: 44\r\n\r\n{}" + hidden),
        ("two lengths in one field", post + "Content-Length: 2, 44\r\n\r\n{}" + hidden),
        ("length and chunks", post + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + hidden),
        ("chunks and length", post + "Transfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n0\r\n\r\n" + hidden),
        ("signed length", post + "Content-Length: +2\r\n\r\n{}" + hidden),
        ("negative length", post + "Content-Length: -2\r\n\r\n{}" + hidden),
        ("length in hexadecimal", post + "Content-Length: 0x2\r\n\r\n{}" + hidden),
        ("length beyond 64 bits", post + "Content-Length: 99999999999999999999999\r\n\r\n{}" + hidden),
        ("unknown coding", post + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + hidden),
        ("chunked before another", post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + hidden),
        ("bad chunk size", post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n" + hidden),
        ("huge chunk size", post + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n{}\r\n0\r\n\r\n" + hidden),
        ("blank before colon", post + "Content-Length : 2\r\n\r\n{}" + hidden),
        ("folded field", post + "X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}" + hidden),
        ("NUL in a field", post + "X: a\0b\r\nContent-Length: 2\r\n\r\n{}" + hidden),
        ("bare CR", post + "X: a\rContent-Length: 44\r\n\r\n" + hidden),
        ("no version", "GET /healthz\r\n\r\n" + hidden),
        ("version 9", "GET /healthz HTTP/9.9\r\nHost: localhost\r\n\r\n" + hidden),
        ("NUL in the target", "GET /health\0z HTTP/1.1\r\nHost: localhost\r\n\r\n" + hidden),
        ("garbage", "\u{1}\u{2}\u{3}\u{4}garbage\r\n\r\n"),
        ("lower-case method", "get /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" + hidden),
        ("another protocol", "SSH-2.0-x\r\n"), ("HTTP/2 without its agreement", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      ] {
        let reply = try await RawConnection.exchange(fixture, text, halfCloses: true)
        #expect(reply.isClosed, "\(name): the connection stays open")
        #expect(
          reply.statuses.allSatisfy { (400..<500).contains($0) } && reply.statuses.count <= 1,
          "\(name): \(reply.statuses)")
      }
      #expect(try await fixture.standing() == before)
    }

    @Test func halfRequestsEndWithTheirConnection() async throws {
      let fixture = try await Fixture.shared
      try await fixture.warm()
      let before = try await fixture.standing()
      let post = "POST /oauth/register HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      for text in [
        "", "G", "GET /heal", "GET /healthz HTTP/1.1\r\n", "GET /healthz HTTP/1.1\r\nHost: loc",
        post + "Content-Length: 100\r\n\r\n{}",
        post + "Transfer-Encoding: chunked\r\n\r\n", post + "Transfer-Encoding: chunked\r\n\r\n5\r\n{}",
      ] {
        let reply = try await RawConnection.exchange(fixture, text, halfCloses: true)
        #expect(reply.isClosed, "\(text.debugDescription)")
        #expect(!reply.statuses.contains { $0 < 400 || $0 >= 500 }, "\(text.debugDescription): \(reply.statuses)")
      }
      // A length above the limit is refused before the body comes, and one that lies is cut off at the limit of the route.
      let declared = try await RawConnection.exchange(
        fixture, post + "Connection: close\r\nContent-Length: 99999999\r\n\r\n{}"
      ) {
        !$0.statuses.isEmpty
      }
      #expect(declared.statuses == [413])
      let short = try await RawConnection.exchange(
        fixture,
        "POST /oauth/register HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n{}garbage",
        halfCloses: true)
      #expect(short.isClosed && short.statuses.allSatisfy { (400..<500).contains($0) }, "\(short.text)")
      #expect(try await fixture.standing() == before)
      #expect(try await fixture.get("/healthz").status == 200)
    }

    @Test func onlyTLS13IsSpoken() async throws {
      let fixture = try await Fixture.shared
      await #expect(throws: (any Error).self) { try await old(fixture) }
    }

    private func old(_ fixture: Fixture) async throws {
      var options = TrustCoreClient.Options(authority: fixture.deployment.ready["ca"])
      options.offersOnlyTLS12 = true
      let client = try TrustCoreClient(api: fixture.client.api, options)
      do { _ = try await client.get("/healthz") } catch {
        await client.close()
        throw error
      }
      await client.close()
    }
  }
}
