import Rails
import TestSupport
import Testing
import Wire

/// The values that enter files, at both sides of each limit, through initialisers and JSON alike.
@Suite("ACH values")
struct ACHValueTests {
  static func code(_ body: () throws(ACHError) -> Void) -> String {
    do { try body() } catch { return error.code.description }
    return "-"
  }

  static func text(_ count: Int) -> JSONValue { .string(String(repeating: "x", count: count)) }

  static let account: JSONObject = [
    "routing_number": "231380104", "account_number": "744-5678-99", "account_type": "checking", "class": "ppd",
    "receiver_name": "Ada Lovelace",
  ]

  static let originator: JSONObject = [
    "immediate_destination": "231380104", "immediate_origin": "1121042882", "destination_name": "Federal Reserve Bank",
    "origin_name": "My Bank", "company_name": "TrustCore", "company_identification": "1121042882", "odfi": "12104288",
    "entry_description": "PAYMENT",
  ]

  static let accounts: [(String, JSONValue?, String)] = [
    ("routing_number", "031300012", "-"), ("routing_number", "231380105", "ach_routing_number"),
    ("routing_number", "23138010", "ach_routing_number"), ("routing_number", "2313801040", "ach_routing_number"),
    ("routing_number", "23138010x", "ach_routing_number"), ("routing_number", "", "json_member"),
    ("routing_number", 231_380_104, "json_member"), ("routing_number", nil, "json_member"),
    ("account_number", "1", "-"), ("account_number", "12345678901234567", "-"), ("account_number", "AZaz09-", "-"),
    ("account_number", "123456789012345678", "ach_account_number"), ("account_number", "12 34", "ach_account_number"),
    ("account_number", "12_34", "ach_account_number"), ("account_number", "12/34", "ach_account_number"),
    ("account_number", "é", "ach_account_number"), ("account_number", "", "json_member"),
    ("account_type", "savings", "-"), ("account_type", "loan", "ach_account_type"),
    ("account_type", "Checking", "ach_account_type"), ("class", "ccd", "-"), ("class", "CCD", "ach_entry_class"),
    ("class", "web", "ach_entry_class"), ("receiver_name", text(1), "-"), ("receiver_name", text(22), "-"),
    ("receiver_name", text(23), "ach_text"), ("receiver_name", " x", "ach_text"), ("receiver_name", "x ", "ach_text"),
    ("receiver_name", "é", "ach_text"), ("receiver_name", "a\nb", "ach_text"), ("receiver_name", "~ ~", "-"),
    ("receiver_name", "\u{7F}", "ach_text"), ("more", "x", "json_member"),
  ]

  static let originators: [(String, JSONValue?, String)] = [
    ("immediate_destination", "031300012", "-"), ("immediate_destination", "031300013", "ach_routing_number"),
    ("immediate_destination", "03130001", "ach_routing_number"), ("immediate_origin", " 121042882", "-"),
    ("immediate_origin", "ABCDE12345", "-"), ("immediate_origin", "121042882", "ach_text"),
    ("immediate_origin", "11121042882", "ach_text"), ("immediate_origin", "12104288 2", "ach_text"),
    ("destination_name", text(23), "-"), ("destination_name", text(24), "ach_text"), ("origin_name", text(23), "-"),
    ("origin_name", text(24), "ach_text"), ("company_name", text(16), "-"), ("company_name", text(17), "ach_text"),
    ("company_identification", text(10), "-"), ("company_identification", text(11), "ach_text"),
    ("company_identification", "1", "-"), ("odfi", "1210428", "ach_routing_number"),
    ("odfi", "121042882", "ach_routing_number"), ("odfi", "1210428x", "ach_routing_number"),
    ("entry_description", text(10), "-"), ("entry_description", text(11), "ach_text"),
    ("entry_description", nil, "json_member"),
    ("origin_name", "", "json_member"), ("more", "x", "json_member"),
  ]

  static func edited(_ object: JSONObject, _ name: String, _ value: JSONValue?) -> JSONValue {
    var members = object
    members[name] = value
    return .object(members)
  }

  @Test("accounts and originators from JSON")
  func json() throws {
    var tally = Tally("ACH values")
    for (name, value, code) in Self.accounts {
      let json = Self.edited(Self.account, name, value)
      let found = Self.code { () throws(ACHError) in _ = try ACHAccount(json: json) }
      tally.expect(found == code, "account \(name) \(String(describing: value)): \(found)")
      if code == "-" { tally.expect(try ACHAccount(json: json).json == json, "\(name)") }
    }
    for (name, value, code) in Self.originators {
      let json = Self.edited(Self.originator, name, value)
      let found = Self.code { () throws(ACHError) in _ = try ACHOriginator(json: json) }
      tally.expect(found == code, "originator \(name) \(String(describing: value)): \(found)")
      if code == "-" { tally.expect(try ACHOriginator(json: json).json == json, "\(name)") }
    }
    for json in [JSONValue.null, [], "x", 1] {
      tally.expect(Self.code { () throws(ACHError) in _ = try ACHAccount(json: json) } == "json_member", "\(json)")
    }
    tally.report()
  }

  @Test("credits at their limits, and their identifiers")
  func credits() throws {
    let account = try ACHAccount(json: .object(Self.account))
    func code(_ amount: Int64, _ leaf: UInt64 = 1, _ reference: String? = nil) -> String {
      Self.code { () throws(ACHError) in
        _ = try ACHCredit(account: account, amount: amount, leafIndex: leaf, reference: reference)
      }
    }
    #expect(code(0) == "ach_amount" && code(-1) == "ach_amount" && code(.min) == "ach_amount" && code(1) == "-")
    #expect(code(9_999_999_999) == "-" && code(10_000_000_000) == "ach_amount" && code(.max) == "ach_amount")
    #expect(code(1, 9_999_999_999_999) == "-" && code(1, 10_000_000_000_000) == "ach_leaf_index")
    #expect(code(1, 1, String(repeating: "x", count: 80)) == "-" && code(1, 1, "x") == "-")
    #expect(code(1, 1, String(repeating: "x", count: 81)) == "ach_text" && code(1, 1, "") == "ach_text")
    let credit = try ACHCredit(account: account, amount: 1, leafIndex: 1_234_567_890_123)
    #expect(
      credit.identification == "TC1234567890123"
        && credit.traceNumber(odfi: "01234567").description == "012345677890123")
    let zero = try ACHCredit(account: account, amount: 1, leafIndex: 0)
    #expect(
      zero.identification == "TC0000000000000" && zero.traceNumber(odfi: "12104288").description == "121042880000000")
    #expect(ACHTraceNumber(999_999_999_999_999) != nil && ACHTraceNumber(1_000_000_000_000_000) == nil)
  }

  @Test("check digits of known banks")
  func checkDigits() throws {
    for number in [
      "231380104", "121042882", "031300012", "091400606", "091000019", "021000021", "011000015", "122105155",
    ] {
      #expect(try ABA.routingNumber(of: number.prefix(8)) == number)
    }
    #expect(throws: ACHError(.routingNumber, "")) { try ABA.routingNumber(of: "1234567") }
    #expect(throws: ACHError(.routingNumber, "")) { try ABA.routingNumber(of: "123456789") }
  }

  @Test("errors are equal by code, and problems are 422 with the line")
  func errors() {
    #expect(ACHError(.amount, "a", line: 1) == ACHError(.amount, "b") && ACHError(.amount, "a") != ACHError(.text, "a"))
    let problem = ACHError(.amount, "Write less.", line: 3).problem
    #expect(problem.status == 422 && problem.code == "ach_amount" && problem.detail == "Line 3: Write less.")
  }

  @Test("every layout covers the 94 characters without a gap, and shared fields stand at one place")
  func layouts() {
    for layout in ACHLayout.allCases {
      var end = 0
      for field in layout.fields {
        #expect(field.offset == end && field.width > 0, "\(layout) \(field.name)")
        end = field.offset + field.width
      }
      #expect(end == 94, "\(layout)")
      #expect(Set(layout.fields.map { "\($0.name)" }).count == layout.fields.count, "\(layout)")
    }
    let shared: [(String, Int, [ACHLayout])] = [
      (
        "trace_number", 79,
        [
          .entry, .entryIAT, .addenda02, .addenda98, .addenda98Refused, .addenda99, .addenda99Dishonored,
          .addenda99Contested,
        ]
      ),
      (
        "entry_detail_sequence", 87,
        [
          .addenda05, .addenda10, .addenda11, .addenda12, .addenda13, .addenda14, .addenda15, .addenda16, .addenda17,
          .addenda18,
        ]
      ),
      ("addenda_sequence", 83, [.addenda05, .addenda17, .addenda18]),
      ("addenda_indicator", 78, [.entry, .entryIAT, .entryADV]), ("amount", 29, [.entry, .entryIAT]),
      ("odfi", 79, [.batchHeader, .batchHeaderIAT, .batchControl, .batchControlADV]),
      ("batch_number", 87, [.batchHeader, .batchHeaderIAT, .batchControl, .batchControlADV]),
      ("company_identification", 40, [.batchHeader, .batchHeaderIAT]),
      ("entry_class", 50, [.batchHeader, .batchHeaderIAT]),
    ]
    for (name, offset, layouts) in shared {
      for layout in layouts {
        #expect(layout.fields.first { "\($0.name)" == name }?.offset == offset, "\(layout) \(name)")
      }
    }
  }
}
