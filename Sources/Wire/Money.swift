/// An ISO 4217 currency.
public struct Currency: Hashable, Sendable, CustomStringConvertible {
  /// The alphabetic code.
  public let code: String
  /// Digits after the decimal point: 2 for USD, 0 for JPY, 3 for KWD.
  public let exponent: Int

  /// Looks a code up; nil where it is unknown.
  public init?(_ code: String) {
    guard let exponent = Self.exponents[code] else { return nil }
    self.code = code
    self.exponent = exponent
  }

  /// The alphabetic code.
  public var description: String { code }

  // ISO 4217 list one, active funds codes with a minor unit. Exponents other than 2 are listed by name.
  private static let exponents: [String: Int] = {
    var table: [String: Int] = [:]
    let two =
      """
      AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CNY COP CRC \
      CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD \
      KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO \
      NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL \
      THB TJS TMT TOP TRY TTD TWD TZS UAH USD UYU UZS VED VES WST XCD YER ZAR ZMW ZWG
      """
    for code in two.split(separator: " ") { table[String(code)] = 2 }
    for code in ["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF"]
      + ["XOF", "XPF", "UYI"]
    { table[code] = 0 }
    for code in ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"] { table[code] = 3 }
    for code in ["CLF", "UYW"] { table[code] = 4 }
    return table
  }()
}

/// Integer minor units of a currency.
public struct Money: Hashable, Sendable {
  /// Minor units: cents for USD, yen for JPY, fils for KWD.
  public let minorUnits: Int64
  /// The currency.
  public let currency: Currency

  /// The greatest amount of one entry: 10^15 minor units, so that sums of many stay far from overflow.
  public static let greatest: Int64 = 1_000_000_000_000_000

  /// Makes an amount.
  public init(minorUnits: Int64, currency: Currency) {
    self.minorUnits = minorUnits
    self.currency = currency
  }

  /// Reads `amount`, a decimal string in major units or an integer in minor units, as a positive amount.
  /// - Throws: `amount_malformed`, `amount_excess_precision`, `amount_not_positive` or `amount_too_large`.
  public init(amount: JSONValue, currency: Currency, allowZero: Bool = false) throws(Problem) {
    let units: Int64
    switch amount {
    case .integer(let value): units = value
    case .string(let text): units = try Self.parse(text, currency)
    default:
      throw Problem(
        422, "amount_malformed",
        "Write the amount as a decimal string such as \"12.50\", or as an integer of minor units.")
    }
    guard units > 0 || (allowZero && units == 0) else {
      throw Problem(422, "amount_not_positive", "An amount must be greater than zero; the side says which way it goes.")
    }
    guard units <= Self.greatest else {
      throw Problem(422, "amount_too_large", "An amount may be at most \(Self.greatest) minor units.")
    }
    self.init(minorUnits: units, currency: currency)
  }

  private static func parse(_ text: String, _ currency: Currency) throws(Problem) -> Int64 {
    let malformed = Problem(
      422, "amount_malformed",
      "Write the amount in digits with at most one decimal point, without sign, spaces, separators or leading zeros.")
    let parts = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count <= 2, let whole = parts.first, !whole.isEmpty, text.utf8.count <= 24,
      whole.count == 1 || whole.first != UInt8(ascii: "0"),
      parts.count == 1 || parts[1].count > 0,
      parts.allSatisfy({ $0.allSatisfy { $0 >= UInt8(ascii: "0") && $0 <= UInt8(ascii: "9") } })
    else { throw malformed }
    let fraction = parts.count == 2 ? Array(parts[1]) : []
    guard fraction.count <= currency.exponent else {
      throw Problem(
        422, "amount_excess_precision",
        "\(currency) has \(currency.exponent) digits after the decimal point; write no more.")
    }
    let digits = whole + fraction + Array(repeating: UInt8(ascii: "0"), count: currency.exponent - fraction.count)
    var units: Int64 = 0
    for digit in digits {
      let (product, first) = units.multipliedReportingOverflow(by: 10)
      let (sum, second) = product.addingReportingOverflow(Int64(digit - UInt8(ascii: "0")))
      guard !first, !second else {
        throw Problem(422, "amount_too_large", "An amount may be at most \(greatest) minor units.")
      }
      units = sum
    }
    return units
  }

  /// The decimal text in major units, with all digits of the currency: `12.50`, `-3`, `1.000`.
  public var decimal: String {
    let sign = minorUnits < 0 ? "-" : ""
    var digits = String(minorUnits.magnitude)
    guard currency.exponent > 0 else { return sign + digits }
    if digits.count <= currency.exponent {
      digits = String(repeating: "0", count: currency.exponent + 1 - digits.count) + digits
    }
    return sign + digits.dropLast(currency.exponent) + "." + digits.suffix(currency.exponent)
  }
}
