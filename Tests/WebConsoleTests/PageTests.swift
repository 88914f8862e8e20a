import Testing
import WebConsole

/// What holds for every page: its headers, its structure, and that no text becomes markup.
@Suite struct PageTests {
  static func source(_ page: ConsolePage) -> String { String(decoding: page.body, as: UTF8.self) }

  @Test func headers() {
    for (name, page) in Samples.pages("x") {
      #expect(page.status == (name == "problem" ? 404 : 200))
      #expect(page.contentType == "text/html; charset=utf-8")
      let headers = Dictionary(uniqueKeysWithValues: page.headers.map { ($0.name, $0.value) })
      #expect(
        headers == [
          "content-security-policy":
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; "
            + "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
          "cache-control": "no-store",
          "permissions-policy": "publickey-credentials-get=(self), publickey-credentials-create=(self)",
          "x-content-type-options": "nosniff",
          "referrer-policy": "no-referrer",
          "cross-origin-opener-policy": "same-origin",
          "cross-origin-resource-policy": "same-origin",
        ], "\(name)")
    }
  }

  @Test func assets() {
    for (asset, type, lines) in [
      (Console.script, "text/javascript; charset=utf-8", 250), (Console.style, "text/css; charset=utf-8", 150),
    ] {
      #expect(asset.status == 200 && asset.contentType == type)
      #expect(asset.headers.contains { $0 == ("cache-control", "no-cache") })
      #expect(asset.headers.contains { $0 == ("x-content-type-options", "nosniff") })
      let text = Self.source(asset)
      #expect(text.split(separator: "\n", omittingEmptySubsequences: false).count <= lines + 1)
      for forbidden in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "://", "import(", "@import", "url("] {
        let isThere = text.contains(forbidden)
        #expect(!isThere, "\(forbidden)")
      }
    }
  }

  /// Each element that the script looks for stands on a page.
  @Test func scriptFindsWhatItLooksFor() throws {
    let ids = Set(
      try Samples.pages("x").flatMap { try Markup(Self.source($0.page)).attributes }.filter { $0.name == "id" }
        .map(\.value))
    let used = Self.source(Console.script).matches(of: /'#([a-z-]+)/).map { String($0.1) }
    #expect(used.count > 10 && Set(used).subtracting(ids).isEmpty, "\(Set(used).subtracting(ids))")
  }

  @Test func nothingInline() throws {
    for (name, page) in Samples.pages("x") {
      let markup = try Markup(Self.source(page))
      #expect(markup.tokens.first == .start("!DOCTYPE", attributes: [:]))
      for (tag, attribute, value) in markup.attributes {
        #expect(!attribute.hasPrefix("on") && attribute != "style", "\(name): \(tag) \(attribute)")
        if ["src", "href", "action"].contains(attribute) {
          #expect(value == "/console" || value.hasPrefix("/console/"), "\(name): \(value)")
        }
      }
      let ids = markup.attributes.filter { $0.name == "id" }.map(\.value)
      #expect(ids.count == Set(ids).count, "\(name)")
      for (_, attribute, value) in markup.attributes
      where ["for", "aria-labelledby", "aria-describedby"].contains(attribute) {
        #expect(ids.contains(value), "\(name): \(attribute)=\(value)")
      }
      #expect(!markup.tokens.contains(.start("style", attributes: [:])))
      #expect(!markup.attributes.contains { $0.name == "autofocus" })
      #expect(markup.attributes.contains { $0 == ("html", "lang", "en") })
      let scripts = markup.tokens.indices.filter {
        if case .start("script", _) = markup.tokens[$0] { true } else { false }
      }
      #expect(scripts.count == 1 && markup.tokens[scripts[0] + 1] == .end("script"), "\(name)")
    }
  }

  /// A text, however hostile, changes no page's structure, and no control of it gets through.
  @Test(arguments: [
    "<script>alert(1)</script>", "\"><img src=x onerror=alert(1)>", "' onclick='alert(1)", "</title></pre></main>",
    "<!--", "&lt;", "\u{202E}\u{0}\r\n\t", "../../evil?x#y", "javascript:alert(1)", "שלום",
    "a\u{301}\u{301}\u{301}\u{301}",
    "", " ", "\n", String(repeating: "W", count: 10_000),
  ])
  func textStaysText(_ text: String) throws {
    let usual = Samples.pages("x")
    for (index, (name, page)) in Samples.pages(text).enumerated() {
      let spans = /\ ?span \/span/
      let outline = try Markup(Self.source(page)).outline.replacing(spans, with: "")
      let expected = try Markup(Self.source(usual[index].page)).outline.replacing(spans, with: "")
      if name == "approval" && text.isEmpty {
        #expect(!outline.contains("button /button"), "nothing is decided about an empty statement")
      } else {
        #expect(outline == expected, "\(name)")
      }
    }
  }

  @Test func identifiersArePathSegments() throws {
    let item = Console.Pending(id: "a/b?c#d é\"%~", headline: "x", expires: Samples.expires, given: 0, needed: 1)
    let links = try Markup(Self.source(Console.pending([item], person: "x"))).attributes.filter { $0.name == "href" }
    #expect(links.contains { $0.value == "/console/approvals/a%2Fb%3Fc%23d%20%C3%A9%22%25~" })
    let payments = try Markup(Self.source(Samples.approval(id: "a/b\r\n\"<é"))).attributes
    #expect(payments.contains { $0.name == "data-payment" && $0.value == "a/b\r\n\"<é" })
  }

  @Test func buttonsOnlyWhereThePersonMayDecide() throws {
    let usual = try Markup(Self.source(Samples.approval()))
    let values = usual.attributes.filter { $0.tag == "button" && $0.name == "value" }.map(\.value)
    #expect(values == ["decline", "approve"])
    let enabled = usual.tokens.filter {
      if case .start("button", let attributes) = $0 { attributes["disabled"] == nil } else { false }
    }
    #expect(enabled.isEmpty, "without the script, no button can be pressed")
    for page in [
      Samples.approval(state: "done"), Samples.approval(mine: "approve"), Samples.approval(obstacle: "No."),
      Samples.approval(statement: ""),
    ] {
      #expect(!(try Markup(Self.source(page)).attributes.contains { $0.name == "id" && $0.value == "decision" }))
    }
    #expect(try Markup(Self.source(Samples.approval(obstacle: "Not <you>."))).text(of: "obstacle") == "Not <you>.")
    #expect(try Markup(Self.source(Samples.approval(state: "expired"))).text(of: "state") == "expired")
    #expect(try Markup(Self.source(Samples.approval())).text(of: "approvals") == "1 of 2")
    #expect(
      Self.source(Samples.approval()).contains(
        "<time datetime=\"2026-11-21T09:00:00.000Z\">2026-11-21 09:00 UTC</time>"))
  }

  /// The structure, as it is meant to be.
  @Test func golden() throws {
    func whole(_ button: String, _ content: String) -> String {
      "!DOCTYPE html head meta title /title meta meta link script /script /head body header p /p \(button)/header "
        + "main \(content) noscript p /p /noscript /main /body /html"
    }
    let signOut = "button#sign-out /button "
    let messages = "p#progress /p p#failure /p"
    let facts =
      "dl div dt /dt dd#state /dd /div div dt /dt dd#approvals /dd /div div dt /dt dd time /time /dd /div "
      + "div dt /dt dd code /code /dd /div /dl"
    let statement =
      "p a /a /p h1 /h1 section h2#statement-title /h2 pre#statement span /span /pre /section \(facts) "
    let item = "li a span /span span time /time /span /a /li"
    let expected = [
      "sign-in": ("", "h1 /h1 p /p div button#sign-in /button /div \(messages)"),
      "enrol": (
        "",
        "h1 /h1 p /p ol li#step-approval strong /strong /li li#step-sign-in strong /strong /li /ol form#enrol "
          + "p label /label input#invitation /p p#invitation-hint /p div button /button /div /form \(messages) "
          + "p#enrolled a /a /p"
      ),
      "pending": (signOut, "h1 /h1 p /p ul \(item) \(item) /ul \(messages)"),
      "nothing pending": (signOut, "h1 /h1 p /p p /p \(messages)"),
      "approval": (
        signOut, statement + "div#decision div button /button button /button /div p /p /div \(messages)"
      ),
      "decided": (signOut, statement + "p#decided /p \(messages)"),
      "ended": (signOut, statement + "p /p \(messages)"),
      "obstacle": (signOut, statement + "p#obstacle /p \(messages)"),
      "problem": ("", "h1 /h1 p /p p code /code code /code /p p a /a /p"),
    ]
    for (name, page) in Samples.pages("x") {
      let (button, content) = try #require(expected[name])
      #expect(try Markup(Self.source(page)).outline == whole(button, content), "\(name)")
    }
  }
}
