import Crypto
import Foundation
import JOSE
import TestSupport
import Testing
import Wire

@testable import AgentIdentity

@Suite("HTTP Message Signatures (RFC 9421)")
struct RFC9421Tests {
  typealias Object = [String: Any]

  /// The public half of a key of appendix B.1.
  private func key(_ keys: Object, _ name: String) throws -> VerificationKey? {
    guard var jwk = (keys[name] as? Object)?["jwk"] as? Object else { return nil }
    for member in ["d", "p", "q", "dp", "dq", "qi"] { jwk[member] = nil }
    return try JWK(try JSONValue(parsing: Array(try JSONSerialization.data(withJSONObject: jwk)))).key
  }

  @Test("appendix B: signature bases, signatures, digests", .enabled(if: Vectors.has("rfc9421")))
  func appendixB() throws {
    let document = try Vectors.object("rfc9421/rfc9421-appendix-b.json")
    let keys = try #require(document["keys"] as? Object)
    var tally = Tally("rfc9421 appendix B")
    for test in try #require(document["cases"] as? [Object]) {
      let id = test["id"] as? String ?? ""
      var (message, body) = RawMessage.parse(try #require(test["message"] as? String))
      if message.values("signature").isEmpty {
        message.headers.append(HTTPMessage.Field("Signature-Input", try #require(test["signature_input"] as? String)))
        message.headers.append(HTTPMessage.Field("Signature", try #require(test["signature"] as? String)))
      }
      let signature = try #require(try HTTPSignature.all(of: message).first)
      #expect(signature.input.keyID == test["keyid"] as? String)
      let base = try SignatureBase.build(message, signature.input)
      let isValid = try #require(test["valid"] as? Bool)
      let expected = Array(try #require(test["signature_base"] as? String).utf8)
      tally.expect((base == expected) == isValid, "\(id): \(String(decoding: base, as: UTF8.self))")
      let algorithm = try #require(test["alg"] as? String)
      let holds: Bool
      if algorithm == "hmac-sha256" {
        // Offered to nobody: the base is ours, the HMAC is this test's.
        let secret = (keys["test-shared-secret"] as? Object)?["secret_base64"] as? String
        holds = HMAC<SHA256>.isValidAuthenticationCode(
          signature.signature, authenticating: base,
          using: SymmetricKey(data: try Base64.decode(try #require(secret))))
      } else {
        let name = try #require(test["keyid"] as? String)
        let key = try #require(try key(keys, name))
        let named = try #require(JWSAlgorithm.allCases.first { $0.httpSignatureName == algorithm })
        holds = (try? key.verify(signature: signature.signature, message: base, algorithm: named)) != nil
      }
      tally.expect(holds == isValid, "\(id): signature")
      let digests = message.values("content-digest")
      if !digests.isEmpty {
        tally.expect((try? ContentDigest.verify(digests, body: body)) != nil, "\(id): digest")
      }
    }
    tally.report()
  }

  // MARK: Section 2

  /// A message, what is covered, and the lines that the specification gives.
  struct Example: Sendable {
    let message: String
    var scheme = "https"
    let lines: [String]
    init(_ message: String, scheme: String = "https", _ lines: [String]) {
      self.message = message
      self.scheme = scheme
      self.lines = lines
    }
  }

  static let dictionary = "GET / HTTP/1.1\nExample-Dict:  a=1, b=2;x=1;y=2, c=(a   b    c), d"
  static let examples: [Example] = [
    Example(
      """
      GET / HTTP/1.1
      Host: www.example.com
      Date: Tue, 20 Apr 2021 02:07:56 GMT
      X-OWS-Header:   Leading and trailing whitespace.  \u{20}
      X-Obs-Fold-Header: Obsolete
          line folding.
      Cache-Control: max-age=60
      Cache-Control:    must-revalidate
      Example-Dict:  a=1,    b=2;x=1;y=2,   c=(a   b   c)
      """,
      [
        #""host": www.example.com"#, #""date": Tue, 20 Apr 2021 02:07:56 GMT"#,
        #""x-ows-header": Leading and trailing whitespace."#, #""x-obs-fold-header": Obsolete line folding."#,
        #""cache-control": max-age=60, must-revalidate"#, #""example-dict": a=1,    b=2;x=1;y=2,   c=(a   b   c)"#,
        #""example-dict";sf: a=1, b=2;x=1;y=2, c=(a b c)"#,
      ]),
    Example(
      dictionary,
      [
        #""example-dict";key="a": 1"#, #""example-dict";key="d": ?1"#, #""example-dict";key="b": 2;x=1;y=2"#,
        #""example-dict";key="c": (a b c)"#,
      ]),
    Example(
      "GET / HTTP/1.1\nExample-Header: value, with, lots\nExample-Header: of, commas",
      [
        #""example-header": value, with, lots, of, commas"#,
        #""example-header";bs: :dmFsdWUsIHdpdGgsIGxvdHM=:, :b2YsIGNvbW1hcw==:"#,
      ]),
    Example(
      "GET / HTTP/1.1\nExample-Header: value, with, lots, of, commas",
      [#""example-header";bs: :dmFsdWUsIHdpdGgsIGxvdHMsIG9mLCBjb21tYXM=:"#]),
    Example(
      "POST /path?param=value HTTP/1.1\nHost: www.example.com",
      [
        #""@method": POST"#, #""@target-uri": https://www.example.com/path?param=value"#,
        #""@authority": www.example.com"#, #""@request-target": /path?param=value"#, #""@path": /path"#,
      ]),
    Example("POST /path?param=value HTTP/1.1\nHost: www.example.com", scheme: "HTTP", [#""@scheme": http"#]),
    Example(
      "GET https://www.example.com/path?param=value HTTP/1.1",
      [#""@request-target": https://www.example.com/path?param=value"#]),
    Example(
      "CONNECT www.example.com:80 HTTP/1.1\nHost: www.example.com", [#""@request-target": www.example.com:80"#]),
    Example("OPTIONS * HTTP/1.1\nHost: www.example.com", [#""@request-target": *"#]),
    Example(
      "GET /path?param=value&foo=bar&baz=bat%2Dman HTTP/1.1", [#""@query": ?param=value&foo=bar&baz=bat%2Dman"#]),
    Example("POST /path?queryString HTTP/1.1", [#""@query": ?queryString"#]),
    Example("POST /path HTTP/1.1", [#""@query": ?"#]),
    Example(
      "GET /path?param=value&foo=bar&baz=batman&qux= HTTP/1.1",
      [
        #""@query-param";name="baz": batman"#, #""@query-param";name="qux": "#,
        #""@query-param";name="param": value"#,
      ]),
    Example(
      "GET /parameters?var=this%20is%20a%20big%0Amultiline%20value&bar=with+plus+whitespace&fa%C3%A7ade%22%3A%20=something HTTP/1.1",
      [
        #""@query-param";name="var": this%20is%20a%20big%0Amultiline%20value"#,
        #""@query-param";name="bar": with%20plus%20whitespace"#,
        #""@query-param";name="fa%C3%A7ade%22%3A%20": something"#,
      ]),
    Example("HTTP/1.1 200 OK\nDate: Fri, 26 Mar 2010 00:05:00 GMT", [#""@status": 200"#]),
    Example("GET / HTTP/1.1\nX-Empty-Header: ", [#""x-empty-header": "#]),
  ]

  @Test("section 2: the canonical lines of every example", .enabled(if: Vectors.has("rfc9421")))
  func section2() throws {
    let document = String(
      decoding: try Vectors.data("rfc9421/rfc9421-section2-canonicalisation-examples.md"), as: UTF8.self)
    var tally = Tally("rfc9421 section 2")
    for example in Self.examples {
      for line in example.lines {
        let shown = line.hasSuffix(" ") ? line.dropLast() + "(SP)" : Substring(line)
        #expect(document.contains(shown), "the specification does not show \(line)")
        let (message, _) = RawMessage.parse(example.message, scheme: example.scheme)
        let identifier = line.prefix(upTo: try #require(line.range(of: ": ")).lowerBound)
        let built = try Self.line(String(identifier), of: message)
        tally.expect(built == line, built)
      }
    }
    // Section 2.1.4's trailer, which no HTTP text parser of this test delivers.
    let trailer = HTTPMessage(
      status: 200, headers: [HTTPMessage.Field("Trailer", "Expires")],
      trailers: [HTTPMessage.Field("Expires", "Wed, 9 Nov 2022 07:28:00 GMT")])
    for line in [#""@status": 200"#, #""trailer": Expires"#, #""expires";tr: Wed, 9 Nov 2022 07:28:00 GMT"#] {
      #expect(document.contains(line))
      let identifier = line.prefix(upTo: try #require(line.range(of: ": ")).lowerBound)
      tally.expect(try Self.line(String(identifier), of: trailer) == line, line)
    }
    tally.leaveOut("'\"@query-param\";name=\"façade…\"' without encoding: the specification shows it as invalid")
    tally.report()
  }

  static func input(_ identifiers: String) throws -> SignatureInput {
    guard case .innerList(let list) = try StructuredField.list("(\(identifiers))")[0] else {
      throw ProofError(.signatureMalformed, "")
    }
    return try SignatureInput(list)
  }

  /// The base's line for one component.
  static func line(_ identifier: String, of message: HTTPMessage) throws -> String {
    let base = try SignatureBase.build(
      message, input(identifier), fields: SignatureBase.knownFields.merging(["example-dict": .dictionary]) { $1 })
    let lines = String(decoding: base, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
    #expect(lines.count == 2)
    return String(lines[0])
  }

  @Test("what RFC 9421 does not define is refused")
  func refusals() throws {
    let (request, _) = RawMessage.parse("GET /p?a=1&a=2&b=3 HTTP/1.1\nHost: h\nX: 1\nNo-List: \u{E9}\nE-D: (")
    let malformed = [
      #""@unknown""#, #""@signature-params""#, #""X""#, #""x";foo"#, #""x";sf=?0"#, #""x";bs;sf"#, #""x";bs;key="a""#,
      #""@method";sf"#, #""@method";name="a""#, #""@query-param""#, #""@query-param";name=b"#, #""x";name="a""#,
      #""x";key=a"#, #""x" "x""#, #""@method" "x" "@method""#, #""@query-param";name="b" "@query-param";name="b""#,
      "x", "1", #""""#, #""no-list""#, #""x";sf"#, #""e-d";sf"#, #""x y""#, #""x:""#, #""@method";req="a""#,
    ]
    for identifiers in malformed {
      #expect(throws: ProofError(.signatureMalformed, ""), "\(identifiers)") {
        try SignatureBase.build(request, Self.input(identifiers))
      }
    }
    let uncovered = [
      #""missing""#, #""x";tr"#, #""@status""#, #""@method";req"#, #""@query-param";name="a""#,
      #""@query-param";name="c""#, #""@status";req"#,
    ]
    for identifiers in uncovered {
      #expect(throws: ProofError(.signatureCoverage, ""), "\(identifiers)") {
        try SignatureBase.build(request, Self.input(identifiers))
      }
    }
    // The same names with other parameters are other components, and parameters in another order are not.
    _ = try Self.input(#""x" "x";bs "x";tr"#)
    #expect(throws: ProofError.self) { try Self.input(#""x";tr;bs "x";bs;tr"#) }
    let many = (0...SignatureInput.maximumComponents).map { "\"x\($0)\"" }
    _ = try Self.input(many.dropLast().joined(separator: " "))
    #expect(throws: ProofError.self) { try Self.input(many.joined(separator: " ")) }
  }

  @Test("a response's signature can bind the request (section 2.4)")
  func responses() throws {
    let (request, _) = RawMessage.parse("POST /foo?q=1 HTTP/1.1\nHost: h:443\nX: 1")
    let response = HTTPMessage(status: 503, to: request, headers: [HTTPMessage.Field("X", "2")])
    #expect(try Self.line(#""x";req"#, of: response) == #""x";req: 1"#)
    #expect(try Self.line(#""x""#, of: response) == #""x": 2"#)
    #expect(try Self.line(#""@method";req"#, of: response) == #""@method";req: POST"#)
    #expect(try Self.line(#""@authority";req"#, of: response) == #""@authority";req: h"#)
    #expect(throws: ProofError(.signatureCoverage, "")) { try Self.line(#""@method""#, of: response) }
    #expect(throws: ProofError(.signatureCoverage, "")) {
      try Self.line(#""x";req"#, of: HTTPMessage(status: 200, headers: []))
    }
  }

  @Test(
    "authorities are normalised (RFC 9110 section 4.2.3)",
    arguments: [
      ("https", "EXAMPLE.com:443", "example.com"), ("https", "example.com:80", "example.com:80"),
      ("http", "example.com:80", "example.com"), ("https", "example.com:", "example.com"),
      ("https", "[::1]:443", "[::1]"), ("https", "example.com:4430", "example.com:4430"),
    ])
  func authorities(scheme: String, authority: String, normal: String) {
    let target = HTTPMessage.Target(method: "GET", scheme: scheme, authority: authority, path: "", query: nil)
    #expect(target.authority == normal)
    #expect(target.uri == "\(scheme)://\(normal)/")
  }

  @Test("signatures are matched by label across both fields")
  func labels() throws {
    func message(_ input: String?, _ signature: String?) -> HTTPMessage {
      HTTPMessage(
        HTTPMessage.Target(method: "GET", scheme: "https", authority: "h", path: "/", query: nil),
        headers: [("Signature-Input", input), ("SIGNATURE", signature)].compactMap { name, value in
          value.map { HTTPMessage.Field(name, $0) }
        })
    }
    let two = try HTTPSignature.all(of: message(#"a=("@method");created=1, b=();tag="t""#, "b=:Ag==:, a=:AQ==:"))
    #expect(two.map(\.label) == ["a", "b"])
    #expect(two.map(\.signature) == [[1], [2]])
    #expect(two[0].input.created == 1 && two[1].input.tag == "t")
    for (input, signature) in [(nil, "a=:AQ==:"), ("a=()", nil), ("", "a=:AQ==:"), (nil, nil)] as [(String?, String?)] {
      #expect(throws: ProofError(.signatureMissing, "")) { try HTTPSignature.all(of: message(input, signature)) }
    }
    for (input, signature) in [
      ("a=()", "b=:AQ==:"), ("a=(), b=()", "a=:AQ==:"), ("a=()", "a=:AQ==:, b=:AQ==:"), ("a=()", "a=AQ"),
      ("a=()", "a=(:AQ==:)"), ("a=1", "a=:AQ==:"), ("a", "a=:AQ==:"), ("a=(), a=()", "a=:AQ==:"),
      ("a=()", "a=:AQ==:, a=:AQ==:"), ("a=();created=1;created=2", "a=:AQ==:"), ("a=();created=\"1\"", "a=:AQ==:"),
      ("a=();created=1.5", "a=:AQ==:"), ("a=();keyid=k", "a=:AQ==:"), ("a=();nonce=:AQ==:", "a=:AQ==:"),
      ("a=();expires=@1", "a=:AQ==:"), ("a=();alg=ed25519", "a=:AQ==:"), ("a=(", "a=:AQ==:"), ("a=()", "a=:AQ:"),
      ("a=();x=\"" + String(repeating: "x", count: HTTPSignature.maximumBytes) + "\"", "a=:AQ==:"),
    ] {
      #expect(throws: ProofError(.signatureMalformed, ""), "\(input) \(signature)") {
        try HTTPSignature.all(of: message(input, signature))
      }
    }
  }
}
