import Testing
import WebConsole
import Wire

/// What a person reads is what the record holds, whatever the text is.
@Suite struct StatementTests {
  /// A text, and how it stands in the page: without `span`, `""` where only the round trip counts.
  static let cases: [(name: String, text: String, source: String)] = [
    ("empty", "", ""),
    ("one line", "Pay USD 1.00", "Pay USD 1.00"),
    ("many lines", "Pay USD 1.00\nTo: Acme\n", "Pay USD 1.00\nTo: Acme\n"),
    ("empty lines", "\n\na\n\n\nb\n\n", "\n\na\n\n\nb\n\n"),
    ("blanks", "  a   b  \n ", "  a   b  \n "),
    ("markup", "</pre><script>alert(1)</script>", "&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt;"),
    ("references", "&amp; &lt;b&gt; &#60; &", "&amp;amp; &amp;lt;b&amp;gt; &amp;#60; &amp;"),
    ("quotes", "\"a\" 'b' `c`", "&quot;a&quot; &#39;b&#39; `c`"),
    ("comment", "<!-- --> ]]> <?x?>", "&lt;!-- --&gt; ]]&gt; &lt;?x?&gt;"),
    ("override", "9.00\u{202E}00.01\u{202C}", "9.00<mark>U+202E</mark>00.01<mark>U+202C</mark>"),
    ("isolates", "\u{2066}a\u{2069}\u{200F}\u{061C}", ""),
    ("controls", "a\u{0}b\tc\u{1B}[31m\u{7F}\u{85}", ""),
    ("carriage return", "a\r\nb\rc", "a<mark>U+000D</mark>\nb<mark>U+000D</mark>c"),
    ("line separators", "a\u{2028}b\u{2029}c\u{B}\u{C}", ""),
    ("invisible", "a\u{200B}\u{200D}\u{AD}\u{FEFF}\u{2060}\u{3164}\u{2800}\u{FE0F}b", ""),
    ("odd blanks", "1\u{A0}000\u{202F}0\u{3000}", "1<mark>U+00A0</mark>000<mark>U+202F</mark>0<mark>U+3000</mark>"),
    ("tags, private and annotations", "\u{FFF9}\u{600}\u{E0041}\u{E000}\u{10FFFF}\u{FFFE}", ""),
    ("a name that is text", "U+202E", "U+202E"),
    ("three marks", "Z\u{301}\u{302}\u{303}", "Z\u{301}\u{302}\u{303}"),
    ("four marks", "Z\u{301}\u{302}\u{303}\u{304}", "Z\u{301}\u{302}\u{303}<mark>U+0304</mark>"),
    ("mark on a digit", "1\u{336}", "1<mark>U+0336</mark>"),
    ("mark at the start", "\u{301}a\n\u{301}", "<mark>U+0301</mark>a\n<mark>U+0301</mark>"),
    ("mark around", "a\u{20DD}", "a<mark>U+20DD</mark>"),
    ("Hindi", "हिन्दी", "हिन्दी"),
    ("Hebrew name", "To: שלום עולם 5.00", "To: <bdi>שלום עולם</bdi> 5.00"),
    ("Hebrew with points", "שָׁלוֹם", "<bdi>שָׁלוֹם</bdi>"),
    ("Arabic and digits", "محمد 100 علي", "<bdi>محمد</bdi> 100 <bdi>علي</bdi>"),
    ("composed and decomposed", "\u{E9} e\u{301}", "\u{E9} e\u{301}"),
    ("emoji", "💶 €", "💶 €"),
    ("long word", String(repeating: "W", count: 5000), String(repeating: "W", count: 5000)),
  ]

  @Test(arguments: cases.indices) func isShownExactly(_ index: Int) throws {
    let (name, text, source) = Self.cases[index]
    let page = String(decoding: Samples.approval(statement: text).body, as: UTF8.self)
    // Scalars, because Swift compares strings by canonical equivalence.
    let shown = try Markup(page).text(of: "statement")
    #expect(Array(shown.unicodeScalars) == Array(text.unicodeScalars), "\(name)")
    if !source.isEmpty {
      let written = try #require(page.firstMatch(of: /<pre id="statement">((?:.|\n)*)<\/pre>/)).1
        .replacing("<span>", with: "").replacing("</span>", with: "")
      #expect(Array(written.unicodeScalars) == Array(source.unicodeScalars), "\(name)")
    }
    #expect(page.unicodeScalars.allSatisfy { $0 == "\n" || !Self.moves($0) }, "\(name)")
  }

  @Test func standsOnceOnThePage() throws {
    let line = "Pay USD 12,345.67 to Acme"
    let page = String(decoding: Samples.approval(statement: line).body, as: UTF8.self)
    #expect(page.ranges(of: line).count == 1)
  }

  /// Each line is an element of its own, so that a wrapped line cannot pass for two.
  @Test func linesAreElements() throws {
    for (text, lines) in [("", 0), ("a", 1), ("a\n", 1), ("a\nb", 2), ("\n", 1), ("\n\n", 2), ("a\r\nb", 2)] {
      let page = String(decoding: Samples.approval(statement: text).body, as: UTF8.self)
      #expect(page.ranges(of: "<span>").count == lines, "\(text.debugDescription)")
    }
  }

  private static func moves(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator: true
    default: false
    }
  }
}
