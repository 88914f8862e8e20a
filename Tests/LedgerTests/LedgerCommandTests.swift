import Ledger
import Testing
import TestSupport
import Wire

@Suite struct LedgerCommandTests {
  private static let pair =
    #"{"account":"a","side":"debit","amount":"1.00","currency":"USD"},{"account":"b","side":"credit","amount":100,"currency":"USD"}"#

  private static func entry(_ account: String, _ side: String, _ amount: String, _ currency: String = "USD") -> String {
    #"{"account":"\#(account)","side":"\#(side)","amount":\#(amount),"currency":"\#(currency)"}"#
  }

  private static func many(_ count: Int) -> String {
    let entries = (0..<count).map { entry("a\($0)", $0 % 2 == 0 ? "debit" : "credit", "1") }
    return #"{"entries":["# + entries.joined(separator: ",") + "]}"
  }

  @Test func commandsAreRead() throws {
    let usd = try #require(Currency("USD"))
    let money = Money(minorUnits: 100, currency: usd)
    let entries = [Entry(account: "a", side: .debit, money: money), Entry(account: "b", side: .credit, money: money)]
    let cases: [(String, String, LedgerCommand)] = [
      ("accounts", #"{"currency":"USD"}"#, .openAccount(currency: usd, kind: .customer, overdraftLimit: 0)),
      (
        "accounts", #"{"currency":"USD","kind":"external","overdraft_limit":"1.00"}"#,
        .openAccount(currency: usd, kind: .external, overdraftLimit: 100)
      ),
      (
        "accounts", #"{"currency":"USD","overdraft_limit":0}"#,
        .openAccount(currency: usd, kind: .customer, overdraftLimit: 0)
      ),
      ("transfers", #"{"entries":[\#(Self.pair)]}"#, .transfer(entries)),
      ("transfers", #"{"entries":[\#(Self.pair)],"memo":"lunch"}"#, .transfer(entries)),
      ("holds", #"{"entries":[\#(Self.pair)],"expires_in":1}"#, .hold(entries, seconds: 1)),
      ("holds", #"{"entries":[\#(Self.pair)],"expires_in":2678400}"#, .hold(entries, seconds: 2_678_400)),
      ("holds/h1/capture", "{}", .capture(hold: "h1", amount: nil)),
      ("holds/h1/capture", #"{"amount":"0.50"}"#, .capture(hold: "h1", amount: "0.50")),
      ("holds/h1/void", "{}", .void(hold: "h1")),
    ]
    var tally = Tally("ledger commands")
    for (path, body, command) in cases {
      let read = try? LedgerCommand(path: path, body: Array(body.utf8))
      tally.expect(read == command, "\(path) \(body)")
    }
    tally.expect((try? LedgerCommand(path: "transfers", body: Array(Self.many(256).utf8))) != nil, "256 entries")
    tally.report()
  }

  @Test func commandsAreRefused() {
    func transfer(_ entries: String...) -> String { #"{"entries":["# + entries.joined(separator: ",") + "]}" }
    let e = Self.entry
    let cases: [(path: String, body: String, code: String)] = [
      ("", "{}", "route_not_found"), ("transfer", "{}", "route_not_found"), ("transfers/", "{}", "route_not_found"),
      ("holds/h1", "{}", "route_not_found"), ("holds/h1/release", "{}", "route_not_found"),
      ("holds/h1/void/x", "{}", "route_not_found"), ("accounts/a", "{}", "route_not_found"),
      ("transfers", "", "json_syntax"), ("transfers", "{", "json_syntax"), ("transfers", "[]", "json_member"),
      ("transfers", #"{"entries":[],"entries":[]}"#, "json_duplicate_member"),
      ("transfers", #"{"entries":[\#(Self.pair)],}"#, "json_syntax"),
      ("transfers", "{}", "json_member"), ("transfers", #"{"entries":{}}"#, "json_member"),
      ("transfers", transfer(), "transfer_too_few_entries"),
      ("transfers", transfer(e("a", "debit", "1", "USD")), "transfer_too_few_entries"),
      ("transfers", transfer(Self.pair, "1"), "json_member"),
      ("transfers", #"{"entries":[\#(Self.pair)],"more":1}"#, "json_member"),
      ("transfers", #"{"entries":[\#(Self.pair)],"memo":""}"#, "json_member"),
      ("transfers", #"{"entries":[\#(Self.pair)],"memo":7}"#, "json_member"),
      ("transfers", #"{"entries":[\#(Self.pair)],"memo":"\#(String(repeating: "m", count: 141))"}"#, "json_member"),
      ("transfers", transfer(#"{"account":"a","side":"debit","amount":1,"currency":"USD","more":1}"#), "json_member"),
      ("transfers", transfer(#"{"side":"debit","amount":1,"currency":"USD"}"#), "json_member"),
      ("transfers", transfer(#"{"account":"a","side":"debit","currency":"USD"}"#), "json_member"),
      ("transfers", transfer(e("", "debit", "1", "USD")), "json_member"),
      ("transfers", transfer(e(String(repeating: "a", count: 65), "debit", "1", "USD")), "json_member"),
      ("transfers", transfer(e("a", "Debit", "1", "USD")), "entry_side_unknown"),
      ("transfers", transfer(e("a", "both", "1", "USD")), "entry_side_unknown"),
      ("transfers", transfer(e("a", "debit", "1", "ZZZ")), "currency_unknown"),
      ("transfers", transfer(e("a", "debit", "1", "USDX")), "json_member"),
      ("transfers", transfer(e("a", "debit", "1.5", "USD")), "amount_malformed"),
      ("transfers", transfer(e("a", "debit", "1e2", "USD")), "amount_malformed"),
      ("transfers", transfer(e("a", "debit", "-1", "USD")), "amount_not_positive"),
      ("transfers", transfer(e("a", "debit", "0", "USD")), "amount_not_positive"),
      ("transfers", transfer(e("a", "debit", #""1.005""#, "USD")), "amount_excess_precision"),
      ("transfers", transfer(e("a", "debit", "9007199254740993", "USD")), "amount_malformed"),
      ("transfers", transfer(e("a", "debit", "1000000000000001", "USD")), "amount_too_large"),
      ("transfers", transfer(e("a", "debit", "1", "USD"), e("a", "credit", "1", "USD")), "transfer_account_repeated"),
      ("transfers", transfer(e("a", "debit", "1", "USD"), e("b", "credit", "2", "USD")), "transfer_unbalanced"),
      ("transfers", transfer(e("a", "debit", "1", "USD"), e("b", "debit", "1", "USD")), "transfer_unbalanced"),
      ("transfers", transfer(e("a", "debit", "1", "USD"), e("b", "credit", "1", "EUR")), "transfer_unbalanced"),
      ("transfers", Self.many(257), "json_member"), ("transfers", Self.many(255), "transfer_unbalanced"),
      ("holds", #"{"entries":[\#(Self.pair)]}"#, "json_member"),
      ("holds", #"{"entries":[\#(Self.pair)],"expires_in":0}"#, "json_member"),
      ("holds", #"{"entries":[\#(Self.pair)],"expires_in":2678401}"#, "json_member"),
      ("holds", #"{"entries":[\#(Self.pair)],"expires_in":1.0}"#, "json_member"),
      ("holds", #"{"entries":[\#(Self.pair)],"expires_in":"60"}"#, "json_member"),
      ("accounts", "{}", "json_member"), ("accounts", #"{"currency":"usd"}"#, "currency_unknown"),
      ("accounts", #"{"currency":"USD","kind":"bank"}"#, "account_kind_unknown"),
      ("accounts", #"{"currency":"USD","overdraft_limit":-1}"#, "amount_not_positive"),
      ("accounts", #"{"currency":"JPY","overdraft_limit":"1.0"}"#, "amount_excess_precision"),
      ("accounts", #"{"currency":"USD","owner":"me"}"#, "json_member"),
      ("holds/h1/capture", "[]", "json_member"), ("holds/h1/capture", #"{"amounts":1}"#, "json_member"),
      ("holds/h1/void", #"{"amount":1}"#, "json_member"), ("holds/h1/void", "null", "json_member"),
    ]
    var tally = Tally("ledger command refusals")
    for (path, body, code) in cases {
      do {
        _ = try LedgerCommand(path: path, body: Array(body.utf8))
        tally.expect(false, "\(path) \(body.prefix(80)) was taken")
      } catch {
        tally.expect(error.code == code && (400..<500).contains(error.status), "\(path) \(body.prefix(80)): \(error)")
      }
    }
    tally.report()
  }
}
