import Consent
import Testing
import TestSupport
import Wire

@Suite struct ConsentTermsTests {
  typealias Case = (change: [String: JSONValue?], code: String?)

  static let counterparty: JSONValue = ["id": "x", "name": "X", "book": "b"]
  static func counterparties(_ count: Int) -> JSONValue {
    .array(
      [["id": "ach", "name": "A", "ach": ["routing": "021000021"]]]
        + (1..<count).map { ["id": .string("p\($0)"), "name": "P", "book": "b"] })
  }
  static func name(_ text: String) -> [String: JSONValue?] { ["counterparties.0.name": .string(text)] }

  /// Changes to the full consent, with the code of the refusal, or nil where it stands.
  static let cases: [Case] = [
    ([:], nil),
    // Identifiers and digests.
    (["id": nil], "json_member"), (["id": 1], "json_member"), (["id": ""], "json_member"),
    (["id": "con_AAECAwQFBgcICQoLDA0OD"], "consent_id"), (["id": "con_AAECAwQFBgcICQoLDA0ODwA"], "consent_id"),
    (["id": "com_AAECAwQFBgcICQoLDA0ODw"], "consent_id"), (["id": "AAECAwQFBgcICQoLDA0ODw"], "consent_id"),
    (["id": "con_AAECAwQFBgcICQoLDA0ODx"], "consent_id"), (["id": "con_AAECAwQFBgcICQoLDA0OD="], "consent_id"),
    (["id": "con_AAECAwQFBgcICQoLDA0O+w"], "consent_id"), (["id": "con_AAECAwQFBgcICQoLDA0O-w"], nil),
    (["version": 0], "json_member"), (["version": -1], "json_member"), (["version": "2"], "json_member"),
    (["version": .double(2)], "json_member"), (["version": nil], "json_member"), (["version": 1], "consent_previous"),
    (["version": .integer(JSONValue.greatestInteger)], nil),
    (["version": .integer(JSONValue.greatestInteger + 1)], "json_member"),
    (["version": 1, "previous": nil], nil), (["previous": nil], "consent_previous"),
    (["previous": .null], "json_member"),
    (["previous": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw"], "json_member"),
    (["previous": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwd"], "json_member"),
    (["nonce": nil], "json_member"), (["nonce": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg"], "json_member"),
    (["nonce": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="], "json_member"),
    (["nonce": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8A"], "json_member"),
    (["agent_thumbprint": nil], "json_member"), (["agent_thumbprint": "CQk"], "json_member"),
    (["agent_thumbprint": "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQl"], "json_member"),
    (["owner": nil], "json_member"), (["owner": ""], "json_member"), (["owner": "a b"], "consent_identifier"),
    (["owner": .string(String(repeating: "o", count: 64))], nil),
    (["owner": .string(String(repeating: "o", count: 65))], "json_member"),
    (["tenant": nil], "json_member"), (["tenant": "t/1"], "consent_identifier"), (["tenant": "T.-_9"], nil),
    (["agent": nil], "json_member"), (["agent": "é"], "consent_identifier"),
    (["agent": "\u{212A}"], "consent_identifier"),
    (["account": nil], "json_member"), (["account": "a\n"], "consent_identifier"), (["account": 7], "json_member"),
    // Currency and amounts.
    (["currency": nil], "json_member"), (["currency": "usd"], "currency_unknown"),
    (["currency": "XXX"], "currency_unknown"), (["currency": "USDX"], "json_member"),
    (["currency": "\u{212A}WD"], "json_member"), (["currency": "JPY"], "amount_excess_precision"),
    (["limits.single": "0"], "amount_not_positive"), (["limits.single": 0], "amount_not_positive"),
    (["limits.single": -1], "amount_not_positive"), (["limits.single": "-1"], "amount_malformed"),
    (["limits.single": "1.001"], "amount_excess_precision"), (["limits.single": .double(1.5)], "amount_malformed"),
    (["limits.single": "1e2"], "amount_malformed"), (["limits.single": nil], "json_member"),
    (["limits.single": "250.00"], nil), (["limits.single": "250.01"], "consent_single_above_daily"),
    (["limits.single": 10_000], nil), (["limits.single": .null], "amount_malformed"),
    (["limits.daily": "100.00"], nil), (["limits.daily": "99.99"], "consent_single_above_daily"),
    (["limits.daily": .integer(Money.greatest)], nil),
    (["limits.daily": .integer(Money.greatest + 1)], "amount_too_large"), (["limits.daily": nil], "json_member"),
    (["limits": nil], "json_member"), (["limits": []], "json_member"), (["limits.weekly": "1"], "json_member"),
    (["limits.currency": "USD"], "json_member"),
    (["limits.zone": nil], "json_member"), (["limits.zone": "Europe/Atlantis"], "consent_zone_unknown"),
    (["limits.zone": "EST"], "consent_zone_unknown"), (["limits.zone": "GMT+5"], "consent_zone_unknown"),
    (["limits.zone": "america/new_york"], "consent_zone_unknown"), (["limits.zone": "UTC"], nil),
    (["limits.zone": "Asia/Kolkata"], nil), (["limits.zone": "Etc/Unknown"], "consent_zone_unknown"),
    (["limits.zone": "../etc/passwd"], "consent_zone_unknown"), (["limits.zone": "+01:00"], "consent_zone_unknown"),
    (["limits.hourly": 0], "json_member"), (["limits.hourly": 1], nil), (["limits.hourly": 100_000], nil),
    (["limits.hourly": 100_001], "json_member"), (["limits.hourly": nil], "json_member"),
    (["limits.hourly": "5"], "json_member"),
    // Rails.
    (["rails": nil], "json_member"), (["rails": []], "consent_rails"), (["rails": "ach"], "json_member"),
    (["rails": ["ach", "ach"]], "consent_rails"), (["rails": ["wire"]], "consent_rail_unknown"),
    (["rails": [1]], "consent_rail_unknown"), (["rails": ["ACH"]], "consent_rail_unknown"),
    (["rails": ["ach", "book", "book"]], "json_member"), (["rails": ["book", "ach"]], nil),
    (["rails": ["ach"]], "consent_counterparty_rail"), (["counterparties.1": nil], "consent_rail_unused"),
    (["rails": ["ach"], "counterparties.1": nil], nil),
    // Counterparties.
    (["counterparties": nil], "json_member"), (["counterparties": []], "consent_counterparties"),
    (["counterparties": [1]], "json_member"), (["counterparties": counterparties(256)], nil),
    (["counterparties": counterparties(257)], "json_member"),
    (["counterparties.2": ["id": "bob", "name": "B", "book": "b"]], "consent_counterparty_repeated"),
    (["counterparties.2": ["id": "Bob", "name": "Bob 鈴木", "book": "acc-2"]], nil),
    (["counterparties.1.book": nil], "consent_counterparty_without_rail"),
    (["counterparties.0.id": nil], "json_member"), (["counterparties.0.id": "a:b"], "consent_identifier"),
    (["counterparties.0.id": ""], "json_member"),
    (["counterparties.0.id": .string(String(repeating: "a", count: 64))], nil),
    (["counterparties.0.id": .string(String(repeating: "a", count: 65))], "json_member"),
    (["counterparties.0.ach": nil, "counterparties.0.book": "acc-3"], "consent_rail_unused"),
    (["counterparties.1.book": "acc/2"], "consent_identifier"), (["counterparties.1.book": .null], "json_member"),
    (["counterparties.0.ach": "021000021"], "consent_counterparty_destination"),
    (["counterparties.0.ach": .null], "consent_counterparty_destination"),
    (["counterparties.0.ach": ["routing": "1"]], "rail_refused"), (["counterparties.0.note": "x"], "json_member"),
    (["counterparties.0.ach.memo": .string(String(repeating: "m", count: 1993))], nil),
    (["counterparties.0.ach.memo": .string(String(repeating: "m", count: 1994))], "consent_counterparty_destination"),
    (["counterparties.0.name": nil], "json_member"), (["counterparties.0.name": 5], "json_member"),
    (name(""), "json_member"), (name(" "), "consent_counterparty_name"), (name("A "), "consent_counterparty_name"),
    (name("\u{A0}A"), "consent_counterparty_name"), (name("A\nB"), "consent_counterparty_name"),
    (name("A\u{7F}"), "consent_counterparty_name"), (name("A\u{85}B"), "consent_counterparty_name"),
    (name("A\u{202E}B"), "consent_counterparty_name"), (name("A\u{2066}B"), "consent_counterparty_name"),
    (name("A\u{200F}B"), "consent_counterparty_name"), (name("A\u{61C}B"), "consent_counterparty_name"),
    (name("A\u{200B}B"), "consent_counterparty_name"), (name("A\u{FEFF}B"), "consent_counterparty_name"),
    (name("A\u{2028}B"), "consent_counterparty_name"), (name("A\u{E0041}B"), "consent_counterparty_name"),
    (name("A\u{3164}B"), "consent_counterparty_name"), (name("\u{E000}"), "consent_counterparty_name"),
    (name("A\u{FFFF}"), "consent_counterparty_name"), (name("שלום العالم"), nil), (name("é"), nil),
    (name("e\u{301}"), nil),
    (name(String(repeating: "鈴", count: 140)), nil),
    (name(String(repeating: "鈴", count: 141)), "consent_counterparty_name"),
    (name(String(repeating: "😀", count: 141)), "json_member"),
    // Cosign.
    (["cosign": nil], nil), (["cosign": .null], "json_member"), (["cosign.above": 0], nil),
    (["cosign.above": "0"], nil),
    (["cosign.above": -1], "amount_not_positive"), (["cosign.above": "99.99"], nil),
    (["cosign.above": "100.00"], "consent_cosign_never_reached"),
    (["cosign.above": "100.01"], "consent_cosign_never_reached"), (["cosign.above": nil], "json_member"),
    (["cosign.approvals": 0], "json_member"), (["cosign.approvals": 1], nil), (["cosign.approvals": 16], nil),
    (["cosign.approvals": 17], "json_member"), (["cosign.approvals": nil], "json_member"),
    (["cosign.group": nil], "json_member"), (["cosign.group": "a b"], "consent_identifier"),
    (["cosign.currency": "USD"], "json_member"),
    // Times.
    (["issued_at": nil], "json_member"), (["issued_at": -1], "json_member"), (["expires": nil], "json_member"),
    (["issued_at": "2026-11-21T07:00:00.000Z"], "json_member"), (["expires": 1_760_000_000_000], "consent_expiry"),
    (["expires": 1_760_000_000_001], nil), (["expires": 1_759_999_999_999], "consent_expiry"),
    (["expires": 2_075_619_200_000], nil), (["expires": 2_075_619_200_001], "consent_expiry"),
    (["not_before": 1], "json_member"), (["Owner": "owner-1"], "json_member"),
  ]

  @Test func documentsAreHeldToEveryRule() {
    var tally = Tally("consent documents")
    for (change, code) in Self.cases {
      let refusal = Sample.refusal(Sample.full.with(change))
      let status = code == nil ? nil : code == "json_member" ? 400 : 422
      tally.expect(
        refusal?.code == code && refusal?.status == status,
        "\(change): \(refusal?.description ?? "accepted"), not \(code ?? "accepted")")
    }
    tally.report()
    #expect(Self.cases.count { $0.code != nil } >= 60)
    #expect(Sample.refusal([])?.code == "json_member" && Sample.refusal(.null)?.code == "json_member")
  }

  /// Digests that Python computed from its own writing of these documents.
  @Test func digestsAreKnown() throws {
    let full = try Sample.terms()
    #expect(Hex.encode(full.digest) == "a832b5d76fb45d552a7633abdcbfe3eef97353ccea9274bb922cc9c467bf46ee")
    let small = try Sample.terms([
      "version": 1, "previous": nil, "cosign": nil, "currency": "KWD", "rails": ["book"],
      "counterparties": [["id": "bob", "name": "Bob", "book": "acc-2"]],
      "limits": ["single": 1, "daily": "1000", "zone": "UTC", "hourly": 100_000],
    ])
    #expect(Hex.encode(small.digest) == "1842ece07489932145a7b9e706c61bb2d7615a8b7cbb30af28d32b013bddbe9d")
    #expect(small != full)
  }

  @Test func oneMeaningHasOneText() throws {
    let full = try Sample.terms()
    #expect(JSONValue.object(full.json) == Sample.full)
    let variants: [[String: JSONValue?]] = [
      ["limits.single": 10_000], ["limits.daily": "250"], ["limits.daily": "250.0"], ["cosign.above": 5000],
      ["rails": ["book", "ach"]],
      ["counterparties": .array(try #require(Sample.full.object?["counterparties"]?.array).reversed())],
    ]
    func canonical(_ json: JSONValue) -> String? {
      do {
        _ = try ConsentTerms(canonical: json) { _, _ in }
        return nil
      } catch {
        return error.code
      }
    }
    func canonical(_ bytes: [UInt8]) -> String? {
      do {
        _ = try ConsentTerms(canonical: bytes) { _, _ in }
        return nil
      } catch {
        return error.code
      }
    }
    for variant in variants {
      let json = Sample.full.with(variant)
      #expect(try Sample.read(json) == full, "\(variant)")
      #expect(canonical(json) == "consent_not_canonical", "\(variant)")
      #expect(canonical(json.canonical()) == "consent_not_canonical", "\(variant)")
    }
    let text = Sample.full.canonical()
    #expect(canonical(Sample.full) == nil && canonical(text) == nil)
    #expect(canonical(text + [0x20]) == "consent_not_canonical")
    #expect(canonical(Array(text.dropLast())) == "json_syntax")
    #expect(canonical(Sample.full.with(["version": 0])) == "json_member")
    let spelled = String(decoding: text, as: UTF8.self).replacing("Acme", with: "\\u0041cme")
    #expect(canonical(Array(spelled.utf8)) == "consent_not_canonical")
  }

  @Test func everyMemberIsUnderTheDigest() throws {
    let full = try Sample.terms()
    let changes: [[String: JSONValue?]] = [
      ["id": "con_AAECAwQFBgcICQoLDA0OEA"], ["version": 3], ["previous": .string(Sample.thumbprint)],
      ["nonce": .string(Sample.digest7)], ["owner": "o"], ["tenant": "t"], ["agent": "a"],
      ["agent_thumbprint": .string(Sample.digest7)], ["account": "a"], ["currency": "EUR"],
      ["rails": ["ach"], "counterparties.1": nil], ["counterparties.0.id": "a"], ["counterparties.0.name": "a"],
      ["counterparties.0.ach.account": "1"], ["counterparties.1.book": "b"], ["counterparties.0.book": "b"],
      ["limits.single": "99"], ["limits.daily": "251"], ["limits.zone": "UTC"], ["limits.hourly": 6],
      ["cosign": nil], ["cosign.above": "1"], ["cosign.approvals": 1], ["cosign.group": "g"],
      ["issued_at": 1_760_000_000_001], ["expires": 1_791_536_000_001],
      ["counterparties.1.name": "Bob \u{6A4B}"], ["counterparties.0.name": "Acme Cafe\u{301} GmbH"],
    ]
    var digests: Set<[UInt8]> = [full.digest]
    for change in changes { #expect(digests.insert(try Sample.terms(change).digest).inserted, "\(change)") }
  }

  @Test func changedDocumentsNeverCrash() {
    let random = SeededRandom(0xC0)
    let text = Sample.full.canonical()
    let junk: [JSONValue] = [
      .null, true, 0, -1, 1, .integer(.max), .integer(.min), .double(0.5), "", "x", "\u{202E}", [], [:], [[]], "1.00",
    ]
    var (accepted, refused) = (0, 0)
    for round in 0..<4000 {
      var json = Sample.full
      if round % 2 == 0 {
        var bytes = text
        for _ in 0...random.below(3) {
          let at = random.below(bytes.count)
          switch random.below(3) {
          case 0: bytes[at] = UInt8(truncatingIfNeeded: random.next())
          case 1: bytes.remove(at: at)
          default: bytes.insert(random.pick(text), at: at)
          }
        }
        guard let parsed = try? JSONValue(parsing: bytes) else { continue }
        json = parsed
      } else {
        for _ in 0...random.below(2) {
          let path = random.pick([
            "id", "version", "previous", "nonce", "agent", "currency", "rails", "rails.0", "counterparties",
            "counterparties.0", "counterparties.1.name", "counterparties.0.ach", "counterparties.1.book", "limits",
            "limits.single", "limits.daily", "limits.zone", "limits.hourly", "cosign", "cosign.above",
            "cosign.approvals", "issued_at", "expires", "other",
          ])
          json = json.with([path: random.pick(junk)])
        }
      }
      guard let terms = try? Sample.read(json) else {
        refused += 1
        continue
      }
      accepted += 1
      // What is accepted has one text, and that text is accepted as it is.
      let again = try? ConsentTerms(canonical: JSONValue.object(terms.json).canonical()) { _, _ in }
      #expect(again?.digest == terms.digest)
    }
    print("vectors: consent mutations: \(accepted) accepted, \(refused) refused, none crashed")
    #expect(accepted > 0 && refused > 1000)
  }
}
