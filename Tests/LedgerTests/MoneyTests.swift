import Ledger
import Testing
import TestSupport
import Wire

@Suite struct MoneyTests {
  private static func read(_ amount: JSONValue, _ code: String, allowZero: Bool = false) -> Result<Int64, Problem> {
    Result { () throws(Problem) in
      guard let currency = Currency(code) else { throw Problem(422, "currency_unknown", "") }
      return try Money(amount: amount, currency: currency, allowZero: allowZero).minorUnits
    }
  }

  @Test func amountsAreRead() {
    let cases: [(JSONValue, String, Int64, String)] = [
      ("12.50", "USD", 1250, "12.50"), ("12.5", "USD", 1250, "12.50"), ("12", "USD", 1200, "12.00"),
      ("0.01", "USD", 1, "0.01"), ("0.1", "EUR", 10, "0.10"), (1250, "USD", 1250, "12.50"), (1, "USD", 1, "0.01"),
      ("500", "JPY", 500, "500"), (500, "JPY", 500, "500"), ("1.234", "KWD", 1234, "1.234"),
      ("1", "KWD", 1000, "1.000"), ("0.005", "BHD", 5, "0.005"), ("1.0001", "CLF", 10001, "1.0001"),
      ("10000000000000.00", "USD", Money.greatest, "10000000000000.00"),
      (.integer(Money.greatest), "JPY", Money.greatest, "1000000000000000"),
      ("1000000000000.000", "KWD", Money.greatest, "1000000000000.000"),
    ]
    var tally = Tally("money amounts")
    for (amount, code, units, decimal) in cases {
      let read = Self.read(amount, code)
      let text = Currency(code).map { Money(minorUnits: units, currency: $0).decimal }
      tally.expect(read == .success(units) && text == decimal, "\(amount) \(code): \(read), \(text ?? "")")
    }
    tally.report()
  }

  @Test func amountsAreRefused() {
    let malformed: [JSONValue] = [
      "", " 1", "1 ", "+1", "-1", "01", "00.10", "1.", ".5", ".", "1.2.3", "1,000.00", "1e3", "0x10", "1_000", "NaN",
      "Infinity", "١٢", "１", "1.5\u{0}", "--1", "12.-5", "1/2", "$5", .double(1.5), .double(1e3), .double(-0.0),
      .bool(true),
      .null, [], [:], "0000000000000000000000001",
    ]
    var cases: [(JSONValue, String, String)] = malformed.map { ($0, "USD", "amount_malformed") }
    cases += [
      ("1.234", "USD", "amount_excess_precision"), ("1.000", "USD", "amount_excess_precision"),
      ("1.0", "JPY", "amount_excess_precision"), ("0.1", "JPY", "amount_excess_precision"),
      ("1.2345", "KWD", "amount_excess_precision"), ("1.00000", "CLF", "amount_excess_precision"),
      ("0", "USD", "amount_not_positive"), ("0.00", "USD", "amount_not_positive"), (0, "USD", "amount_not_positive"),
      (-1, "USD", "amount_not_positive"), (.integer(.min), "USD", "amount_not_positive"),
      ("10000000000000.01", "USD", "amount_too_large"), (.integer(Money.greatest + 1), "USD", "amount_too_large"),
      (.integer(.max), "JPY", "amount_too_large"), ("99999999999999999999999", "USD", "amount_too_large"),
      ("92233720368547758.08", "USD", "amount_too_large"), ("1", "XXX", "currency_unknown"),
      ("1", "usd", "currency_unknown"),
      ("1", "", "currency_unknown"), ("1", "US", "currency_unknown"), ("1", "XAU", "currency_unknown"),
    ]
    var tally = Tally("money refusals")
    for (amount, code, problem) in cases {
      guard case .failure(let refusal) = Self.read(amount, code) else {
        tally.expect(false, "\(amount) \(code) was taken")
        continue
      }
      tally.expect(refusal.code == problem && (400..<500).contains(refusal.status), "\(amount) \(code): \(refusal)")
    }
    tally.report()
    #expect(Self.read(0, "USD", allowZero: true) == .success(0))
    #expect(Self.read(-1, "USD", allowZero: true) != .success(-1))
  }

  @Test func negativeAndSmallAmountsAreWritten() throws {
    let (usd, jpy, kwd) = try (#require(Currency("USD")), #require(Currency("JPY")), #require(Currency("KWD")))
    let cases: [(Int64, Currency, String)] = [
      (-5, usd, "-0.05"), (-1250, usd, "-12.50"), (0, usd, "0.00"), (-3, jpy, "-3"), (-1, kwd, "-0.001"),
      (99, kwd, "0.099"),
      (.max, usd, "92233720368547758.07"), (.min, usd, "-92233720368547758.08"),
    ]
    for (units, currency, text) in cases { #expect(Money(minorUnits: units, currency: currency).decimal == text) }
  }

  @Test func currenciesHaveTheirMinorUnits() {
    let exponents = [
      "USD": 2, "EUR": 2, "JPY": 0, "KRW": 0, "ISK": 0, "KWD": 3, "TND": 3, "CLF": 4, "UYW": 4, "MRU": 2,
    ]
    for (code, exponent) in exponents { #expect(Currency(code)?.exponent == exponent, "\(code)") }
  }
}
