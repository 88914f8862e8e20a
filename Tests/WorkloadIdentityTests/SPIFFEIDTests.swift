import Testing
import WorkloadIdentity

/// What the conformance suite cannot ask: how IDs are joined, compared and sorted.
@Suite("SPIFFE IDs")
struct SPIFFEIDTests {
  @Test("a trust domain and a path are joined, with the same rules")
  func joins() throws {
    let domain = try TrustDomain("example.org")
    #expect(domain.id.description == "spiffe://example.org" && domain.id.path.isEmpty)
    #expect(try SPIFFEID(domain, path: "/a/b") == SPIFFEID("spiffe://example.org/a/b"))
    #expect(try SPIFFEID(domain, path: "") == domain.id)
    for path in ["/", "a", "/a/", "//a", "/.", "/..", "/a%", "/\u{301}a", "/a\u{301}", "\u{301}/a"] {
      #expect(throws: SPIFFEError.self, "\(path)") { try SPIFFEID(domain, path: path) }
    }
    let rest = String(repeating: "a", count: 2048 - 21)
    #expect(try SPIFFEID(domain, path: "/" + rest).description.utf8.count == 2048)
    #expect(throws: SPIFFEError(.id, "")) { try SPIFFEID(domain, path: "/a" + rest) }
  }

  @Test("IDs are read from parts of texts, and sort by text")
  func order() throws {
    let text = "x spiffe://example.org/a y"
    #expect(try SPIFFEID(text.split(separator: " ")[1]).path == "/a")
    let ids = try ["spiffe://b/a", "spiffe://a.b", "spiffe://a/b", "spiffe://a", "spiffe://a/B"].map {
      try SPIFFEID($0)
    }
    #expect(ids.sorted().map(\.description) == ids.map(\.description).sorted())
    #expect(try SPIFFEID("spiffe://a/b") != SPIFFEID("spiffe://a/B"))
    #expect(try TrustDomain("a") < TrustDomain("b"))
  }
}
