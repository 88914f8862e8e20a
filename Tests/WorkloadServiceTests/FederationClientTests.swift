import NIOCore
import NIOPosix
import Testing
import Wire
import WorkloadIdentity

@testable import WorkloadService

extension FederationTerms {
  /// Terms as an officer gives them.
  static func of(_ trustDomain: TrustDomain, _ url: String, endpoint: SPIFFEID? = nil) throws -> FederationTerms {
    var object: JSONObject = [
      "trust_domain": .string(trustDomain.name), "bundle_endpoint_url": .string(url),
      "bundle_endpoint_profile": endpoint == nil ? "https_web" : "https_spiffe",
    ]
    object["endpoint_spiffe_id"] = endpoint.map { .string($0.description) }
    var reader = ObjectReader(object, "the terms")
    return try FederationTerms(reading: &reader)
  }
}

@Suite("Fetching from bundle endpoints", .serialized)
struct FederationClientTests {
  typealias Reply = FederationServer.Reply
  let here: FederationAuthority
  let now = FederationAuthority.now
  let client = BundleEndpointClient()
  let document = Array(#"{"keys":[]}"#.utf8)

  init() async throws { here = try await FederationAuthority() }

  /// Fetches as `/bundle` of the trust domain proves itself.
  private func fetch(
    _ server: FederationServer, path: String = "/bundle.json", host: String = "localhost", as id: SPIFFEID? = nil,
    with bundle: SPIFFEBundle? = nil, at moment: Timestamp? = nil, client: BundleEndpointClient? = nil
  ) async throws -> [UInt8] {
    try await (client ?? self.client).fetch(
      .of(here.domain, server.url(path, host: host), endpoint: try id ?? here.id("/bundle")),
      endpoint: try bundle ?? here.bundle(), now: moment ?? now)
  }

  private func fails(
    _ code: FederationError.Code, _ comment: Comment? = nil, source: SourceLocation = #_sourceLocation,
    _ body: () async throws -> [UInt8]
  ) async {
    await #expect(throws: FederationError(code, ""), comment, sourceLocation: source) { try await body() }
  }

  // MARK: - https_web

  @Test("https_web: what is asked, and what comes back")
  func web() async throws {
    try await FederationServer.run(try await here.server(names: ["localhost"]), .document(document)) {
      server async throws in
      let web = BundleEndpointClient(webAuthorities: [here.root])
      let terms = try FederationTerms.of(here.domain, server.url("/a/bundle.json"))
      #expect(try await web.fetch(terms, endpoint: nil, now: now) == document)
      let lines = server.requests.first?.split(separator: "\r\n").map { $0.lowercased() } ?? []
      #expect(lines.first == "get /a/bundle.json http/1.1")
      #expect(
        Set(lines.dropFirst()) == [
          "host: localhost:\(server.port)", "accept: application/json", "accept-encoding: identity",
          "connection: close",
        ])
      #expect(server.names == ["localhost"])
    }
  }

  @Test("https_web: certificates that are refused")
  func webRefusals() async throws {
    let other = try await FederationAuthority("other.test")
    let table: [(String, ServerIdentity, String)] = [
      ("of an unknown root", try await other.server(names: ["localhost"]), "localhost"),
      ("of another name", try await here.server(names: ["localhost.test"]), "localhost"),
      ("of no name", try await here.server(), "localhost"),
      ("for an address that it does not have", try await here.server(names: ["localhost"]), "127.0.0.1"),
      (
        "that has expired", try await here.server(names: ["localhost"], from: 1_550_000_000, seconds: 60), "localhost"
      ),
    ]
    let web = BundleEndpointClient(webAuthorities: [here.root])
    for (what, identity, host) in table {
      try await FederationServer.run(identity, .document(document)) { server async throws in
        let terms = try FederationTerms.of(here.domain, server.url(host: host))
        await fails(.tls, "\(what)") { try await web.fetch(terms, endpoint: nil, now: now) }
        #expect(server.requests.isEmpty, "\(what)")
      }
    }
    try await FederationServer.run(try await here.server(names: ["localhost"]), .document(document)) {
      server async throws in
      let terms = try FederationTerms.of(here.domain, server.url())
      // The system does not trust it.
      await fails(.tls) { try await client.fetch(terms, endpoint: here.bundle(), now: now) }
    }
  }

  @Test("TLS 1.2 is the least", arguments: [(11...11, false), (12...12, true), (13...13, true)])
  func versions(_ versions: ClosedRange<Int>, _ works: Bool) async throws {
    try await FederationServer.run(try await here.server(), .document(document), versions: versions) {
      server async throws in
      if works {
        #expect(try await fetch(server) == document)
      } else {
        await fails(.tls) { try await fetch(server) }
      }
    }
  }

  // MARK: - https_spiffe

  @Test("https_spiffe: the pinned identity, whatever the host's name", arguments: ["localhost", "127.0.0.1"])
  func spiffe(_ host: String) async throws {
    try await FederationServer.run(try await here.server(), .document(document)) { server async throws in
      #expect(try await fetch(server, host: host) == document)
      #expect(server.names == [host == "localhost" ? host : nil])
    }
  }

  @Test("https_spiffe: the bundle of another trust domain, from an endpoint of this one")
  func notSelfServing() async throws {
    try await FederationServer.run(try await here.server(), .document(document)) { server async throws in
      let terms = try FederationTerms.of(TrustDomain("other.test"), server.url(), endpoint: here.id("/bundle"))
      #expect(try await client.fetch(terms, endpoint: here.bundle(), now: now) == document)
      let other = try await FederationAuthority("other.test")
      await fails(.untrusted) { try await client.fetch(terms, endpoint: other.bundle(), now: now) }
      await fails(.untrusted) { try await client.fetch(terms, endpoint: nil, now: now) }
    }
  }

  @Test("https_spiffe: identities that are refused before anything is asked")
  func spiffeRefusals() async throws {
    let other = try await FederationAuthority("other.test")
    let impostor = try await FederationAuthority("example.org")
    var incomplete = try await here.server()
    incomplete.chain.removeLast()
    var repeated = try await here.server()
    repeated.chain += Array(repeating: repeated.chain[1], count: 8)
    let good = try await here.server()
    let table: [(String, ServerIdentity, SPIFFEBundle?, Timestamp)] = [
      ("another path", try await here.server("/other"), nil, now),
      ("another case", try await here.server("/Bundle"), nil, now),
      ("a longer path", try await here.server("/bundle/x"), nil, now),
      ("another trust domain", try await other.server(), nil, now),
      ("another trust domain whose root is in the bundle", try await other.server(), try here.bundle(other), now),
      ("the same name under another root", try await impostor.server(), nil, now),
      ("no issuer", incomplete, nil, now), ("too many issuers", repeated, nil, now),
      ("expired", good, nil, Timestamp(seconds: 2_600_000_001)),
      ("not valid yet", good, nil, Timestamp(seconds: 1_599_999_989)),
      (
        "an empty bundle", good,
        try SPIFFEBundle(
          trustDomain: here.domain, x509Authorities: [], jwtAuthorities: [], sequence: 1, refreshHint: nil), now
      ),
      ("a certificate of the Web", try await other.server(names: ["localhost"]), nil, now),
    ]
    for (what, identity, bundle, moment) in table {
      try await FederationServer.run(identity, .document(document)) { server async throws in
        await fails(.identity, "\(what)") { try await fetch(server, with: bundle, at: moment) }
        #expect(server.requests.isEmpty, "\(what)")
      }
    }
    try await FederationServer.run(good, .document(document)) { server async throws in
      for seconds in [2_600_000_000, 1_599_999_990] as [Int64] {
        #expect(try await fetch(server, at: Timestamp(seconds: seconds)) == document)
      }
    }
  }

  // MARK: - HTTP

  @Test("answers that are taken")
  func answers() async throws {
    let most = [UInt8](repeating: 0x20, count: SPIFFEBundle.maximumBytes)
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    let table: [(String, Reply, [UInt8])] = [
      ("empty", .document([]), []), ("a length", .document(document), document),
      ("the connection stays", Reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", [], .stay), Array("{}".utf8)),
      ("more after the end", Reply("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}x"), Array("{}".utf8)),
      ("chunks", Reply(chunks + "1\r\n{\r\n1;x=y\r\n}\r\n0\r\nTrailer: 1\r\n\r\n"), Array("{}".utf8)),
      ("up to the end", Reply("HTTP/1.1 200 OK\r\n\r\n", document), document),
      (
        "after 103", Reply("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), Array("{}".utf8)
      ),
      ("the most", .document(most), most),
      ("the most in one chunk", Reply(chunks + "100000\r\n", most + Array("\r\n0\r\n\r\n".utf8)), most),
      (
        "identity", Reply("HTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nContent-Length: 2\r\n\r\n{}"),
        Array("{}".utf8)
      ),
      ("64 fields", Reply("HTTP/1.1 200 OK\r\n" + Self.fields(63) + "Content-Length: 0\r\n\r\n"), []),
      ("a long field", Reply("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: \(Self.letters(8192))\r\n\r\n"), []),
    ]
    try await FederationServer.run(try await here.server()) { server async throws in
      for (what, reply, expected) in table {
        server.answer(reply)
        #expect(try await fetch(server) == expected, "\(what)")
      }
    }
  }

  private static func fields(_ count: Int) -> String { String(repeating: "X: 1\r\n", count: count) }
  private static func again(_ text: String) -> [UInt8] { Array(String(repeating: text, count: 2000).utf8) }
  private static func letters(_ count: Int) -> String { String(repeating: "x", count: count) }

  @Test("answers that are refused")
  func badAnswers() async throws {
    let over = [UInt8](repeating: 0x20, count: SPIFFEBundle.maximumBytes + 1)
    let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    let ok = "HTTP/1.1 200 OK\r\n"
    var table: [(String, Reply, FederationError.Code)] = [
      ("a length above the limit", Reply(ok + "Content-Length: \(over.count)\r\n\r\n", [], .stay), .tooLong),
      ("a chunk above the limit", Reply(chunks + "100001\r\n", over, .stay), .tooLong),
      ("endless chunks", Reply(chunks, [], .endless(Self.again("4\r\nabcd\r\n"))), .tooLong),
      ("an endless body", Reply(ok + "\r\n", [], .endless(Self.again("x"))), .tooLong),
      ("endless interim answers", Reply("", [], .endless(Self.again("HTTP/1.1 103 Early\r\n\r\n"))), .tooLong),
      ("an endless status line", Reply("HTTP/1.1 200 ", [], .endless(Self.again("x"))), .tooLong),
      (
        "an endless extension of a chunk", Reply(chunks + "1;", [], .endless(Self.again("x"))),
        .tooLong
      ),
      ("compressed", Reply(ok + "Content-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx"), .malformed),
      ("other text", Reply("SSH-2.0-x\r\n\r\n"), .malformed),
      ("two lengths", Reply(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx"), .malformed),
      ("length and chunks", Reply(ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), .malformed),
      ("a bad chunk", Reply(chunks + "zz\r\n"), .malformed),
      ("65 fields", Reply(ok + Self.fields(64) + "Content-Length: 0\r\n\r\n"), .malformed),
      ("a field too long", Reply(ok + "X: \(Self.letters(8193))\r\n\r\n"), .malformed),
      ("an endless field", Reply(ok + "X: ", [], .endless(Self.again("x"))), .malformed),
      ("endless fields", Reply(ok, [], .endless(Self.again("X: 1\r\n"))), .malformed),
      ("cut off", Reply(ok + "Content-Length: 3\r\n\r\n{}", [], .abort), .connection),
      ("cut off, with a farewell", Reply(ok + "Content-Length: 3\r\n\r\n{}"), .connection),
      ("up to the end, without a farewell", Reply(ok + "\r\n", document, .abort), .connection),
      ("a chunk too few", Reply(chunks + "1\r\n{\r\n", [], .close), .connection),
      ("nothing", Reply(""), .connection), ("nothing at all", Reply("", [], .abort), .connection),
    ]
    for status in [201, 204, 206, 300, 304, 305, 400, 401, 404, 500, 503] {
      table.append(("\(status)", Reply("HTTP/1.1 \(status) X\r\nContent-Length: 0\r\n\r\n"), .status))
    }
    try await FederationServer.run(try await here.server()) { server async throws in
      for (what, reply, code) in table {
        server.answer(reply)
        await fails(code, "\(what)") { try await fetch(server) }
      }
    }
  }

  @Test("one deadline for everything", .timeLimit(.minutes(1)))
  func deadline() async throws {
    let hasty = BundleEndpointClient(webAuthorities: nil, deadline: .milliseconds(300))
    let slow: [Reply] = [
      Reply("", [], .stay), Reply("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", [], .stay),
    ]
    try await FederationServer.run(try await here.server()) { server async throws in
      for reply in slow {
        server.answer(reply)
        await fails(.timeout) { try await fetch(server, client: hasty) }
      }
      server.answer { $0.hasPrefix("GET /a") ? .redirect("/b") : Reply("", [], .stay) }
      await fails(.timeout) { try await fetch(server, path: "/a", client: hasty) }
    }
    // Nobody speaks TLS.
    let mute = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton).bind(host: "127.0.0.1", port: 0)
      .get()
    let port = mute.localAddress?.port ?? 0
    let terms = try FederationTerms.of(here.domain, "https://127.0.0.1:\(port)/", endpoint: here.id("/bundle"))
    await fails(.timeout) { try await hasty.fetch(terms, endpoint: here.bundle(), now: now) }
    try await mute.close()
    await fails(.connection) { try await client.fetch(terms, endpoint: here.bundle(), now: now) }
  }

  @Test("a fetch that is cancelled ends", .timeLimit(.minutes(1)))
  func cancelled() async throws {
    try await FederationServer.run(try await here.server(), Reply("", [], .stay)) { server async throws in
      let asked = AsyncStream.makeStream(of: Void.self)
      server.answer { _ in
        asked.continuation.yield()
        return Reply("", [], .stay)
      }
      let task = Task { try await fetch(server) }
      for await _ in asked.stream { break }
      task.cancel()
      await fails(.overtaken) { try await task.value }
    }
  }

  // MARK: - Redirects

  @Test("redirects are followed, three at most")
  func redirects() async throws {
    let document = document
    try await FederationServer.run(try await here.server()) { server async throws in
      let base = server.url("")
      server.answer { request in
        let path = request.split(separator: " ")[1]
        guard let count = Int(path.drop { !$0.isNumber }), count > 0 else { return .document(document) }
        return .redirect(
          count % 2 == 0 ? "/x\(count - 1)" : base + "/x\(count - 1)", "\(300 + [1, 2, 7, 8][count % 4]) X")
      }
      for count in 0...3 { #expect(try await fetch(server, path: "/x\(count)") == document) }
      await fails(.redirect) { try await fetch(server, path: "/x4") }
      // 1 + 2 + 3 + 4, and of the last only four.
      #expect(server.requests.count == 14)
    }
  }

  @Test("a redirect's endpoint proves itself by the same terms")
  func redirectElsewhere() async throws {
    let other = try await FederationAuthority("other.test")
    let table: [(ServerIdentity, FederationError.Code?)] = [
      (try await here.server(), nil), (try await here.server("/other"), .identity),
      (try await other.server(), .identity),
    ]
    for (identity, code) in table {
      try await FederationServer.run(identity, .document(document)) { target async throws in
        try await FederationServer.run(try await here.server(), .redirect(target.url("/t?q=1"))) {
          server async throws in
          if let code {
            await fails(code) { try await fetch(server) }
            #expect(target.requests.isEmpty)
          } else {
            #expect(try await fetch(server) == document)
            #expect(target.requests.first?.hasPrefix("GET /t?q=1 HTTP/1.1\r\n") == true)
          }
        }
      }
    }
    let web = BundleEndpointClient(webAuthorities: [here.root])
    try await FederationServer.run(try await other.server(names: ["localhost"])) { target async throws in
      try await FederationServer.run(try await here.server(names: ["localhost"]), .redirect(target.url())) {
        server async throws in
        await fails(.tls) { try await web.fetch(.of(here.domain, server.url()), endpoint: nil, now: now) }
      }
    }
  }

  @Test("redirects that lead nowhere")
  func badRedirects() async throws {
    try await FederationServer.run(try await here.server()) { server async throws in
      let locations = [
        "http://localhost/", "https://user@localhost/", "//localhost/", "bundle.json", "?x", "", "https://", "/x#y",
        "https://localhost:0/", "file:///etc/passwd",
      ]
      for location in locations {
        server.answer(.redirect(location))
        await fails(.redirect, "\(location)") { try await fetch(server) }
      }
      server.answer(Reply("HTTP/1.1 302 X\r\nContent-Length: 0\r\n\r\n"))
      await fails(.redirect) { try await fetch(server) }
      server.answer(Reply("HTTP/1.1 302 X\r\nLocation: /a\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"))
      await fails(.redirect) { try await fetch(server) }
      #expect(server.requests.count == locations.count + 2)
    }
  }

  // MARK: - URLs

  @Test("URLs that are read")
  func urls() throws {
    let label = String(repeating: "a", count: 63)
    let table: [(String, host: String, port: Int, target: String, authority: String)] = [
      ("https://example.org", "example.org", 443, "/", "example.org"),
      ("HTTPS://Example.ORG:443/A", "example.org", 443, "/A", "example.org"),
      ("https://a:1/x?y=z", "a", 1, "/x?y=z", "a:1"), ("https://a:65535?y", "a", 65_535, "/?y", "a:65535"),
      ("https://a_b.c-d/@", "a_b.c-d", 443, "/@", "a_b.c-d"), ("https://10.0.0.1/", "10.0.0.1", 443, "/", "10.0.0.1"),
      ("https://[::1]:8443/b", "::1", 8443, "/b", "[::1]:8443"),
      ("https://[2001:DB8::1]", "2001:db8::1", 443, "/", "[2001:db8::1]"),
      ("https://\(label).b/", "\(label).b", 443, "/", "\(label).b"),
      ("https://a/" + String(repeating: "x", count: 2038), "a", 443, "/" + String(repeating: "x", count: 2038), "a"),
    ]
    for row in table {
      let url = try EndpointURL(row.0)
      #expect(
        (url.host, url.port, url.target, url.authority) == (row.host, row.port, row.target, row.authority), "\(row.0)")
    }
    #expect(try EndpointURL("https://a/").serverName == "a")
    for address in ["10.0.0.1", "[::1]"] { #expect(try EndpointURL("https://\(address)/").serverName == nil) }
  }

  @Test(
    "URLs that are refused",
    arguments: [
      "", "http://a/", "https:/a", "https://", "https:///x", "https://:443/", "https://a:/", "https://a:0/",
      "https://a:65536/", "https://a:-1/", "https://a:+1/", "https://a:1:2/", "https://u@a/", "https://u:p@a/",
      "https://a/#f", "https://a b/", "https://a/\u{E9}", "https://a%62/", "https://a..b/", "https://a./",
      "https://.a/",
      "https://[::1/", "https://[1.2.3.4]/", "https://[::1%25lo]/", "https://[x]/", "https://[::1]x/",
      "https://[::1]:x/",
      "https://a/\r\nX: y", "https://" + String(repeating: "a", count: 64) + "/",
      "https://a/" + String(repeating: "x", count: 2039),
    ])
  func badURLs(_ text: String) {
    #expect(throws: FederationError(.url, "")) { try EndpointURL(text) }
  }
}
