/// Why an entry comes back: `R01` to `R85`.
public struct ACHReturnCode: Sendable, Hashable, CustomStringConvertible {
  /// What the code belongs to.
  public enum Kind: Sendable, Hashable {
    /// A bank or operator returns an entry.
    case returned
    /// The originating bank does not accept a return.
    case dishonored
    /// The receiving bank insists on its return.
    case contested
  }

  /// The number behind the R, 1…85.
  public let number: Int

  /// A code of that number; nil where none is assigned.
  public init?(_ number: Int) {
    guard Self.names[number] != nil else { return nil }
    self.number = number
  }

  /// Reads `R01`; nil where no such code is assigned.
  public init?(_ text: some StringProtocol) {
    let bytes = Array(text.utf8)
    guard bytes.count == 3, bytes[0] == UInt8(ascii: "R"), bytes[1...].allSatisfy(ACHText.isDigit) else { return nil }
    self.init(Int(bytes[1] & 15) * 10 + Int(bytes[2] & 15))
  }

  /// Insufficient funds.
  public static let insufficientFunds = ACHReturnCode(known: 1)
  /// The account is closed.
  public static let accountClosed = ACHReturnCode(known: 2)
  /// There is no such account, or not under that name.
  public static let noAccount = ACHReturnCode(known: 3)

  private init(known number: Int) { self.number = number }

  /// `R` and two digits.
  public var text: String { "R" + (number < 10 ? "0" : "") + String(number) }
  /// What the code means.
  public var name: String { Self.names[number] ?? "" }
  /// What the code belongs to.
  public var kind: Kind {
    switch number {
    case 61...70: .dishonored
    case 71...77: .contested
    default: .returned
    }
  }
  /// The code and its meaning.
  public var description: String { "\(text) (\(name))" }

  private static let names: [Int: String] = [
    1: "insufficient funds", 2: "account closed", 3: "no such account or holder",
    4: "account number has an impossible form", 5: "corporate debit to a consumer account, not authorised",
    6: "returned at the originating bank's request", 7: "authorisation revoked", 8: "payment stopped",
    9: "funds not yet collected", 10: "originator unknown or not authorised",
    11: "not within the authorisation's terms",
    12: "account sold to another bank", 13: "routing number not valid", 14: "representative payee deceased",
    15: "beneficiary or holder deceased", 16: "account frozen, or returned on OFAC's instruction",
    17: "edit criteria not met, or entry under questionable circumstances", 18: "effective entry date not valid",
    19: "amount field in error", 20: "not a transaction account", 21: "company identification not valid",
    22: "individual identification number not valid", 23: "credit refused by the receiver", 24: "duplicate entry",
    25: "addenda in error", 26: "mandatory field in error", 27: "trace number in error",
    28: "check digit of the routing number in error", 29: "corporate receiver advises: not authorised",
    30: "bank takes no part in check truncation", 31: "late return that the originating bank permits",
    32: "receiving bank cannot settle", 33: "return of a destroyed check entry", 34: "bank's participation limited",
    35: "debit not permitted", 36: "credit not permitted", 37: "source document presented too",
    38: "payment of the source document stopped", 39: "source document not eligible",
    40: "enrolment returned by the agency", 41: "enrolment: transaction code not valid",
    42: "enrolment: routing number or check digit in error", 43: "enrolment: account number not valid",
    44: "enrolment: identification number not valid", 45: "enrolment: name not valid",
    46: "enrolment: payee indicator not valid", 47: "enrolment: duplicate", 50: "state law excludes the entry",
    51: "item not eligible", 52: "payment of the item stopped", 53: "item and entry both presented",
    61: "return misrouted", 62: "return of an erroneous or reversing debit", 63: "return with another amount",
    64: "return with another identification", 65: "return with another transaction code",
    66: "return with another company identification", 67: "return is a duplicate", 68: "return too late",
    69: "return has fields in error", 70: "permissible return not accepted", 71: "dishonor misrouted",
    72: "dishonor too late", 73: "return was in time", 74: "return, corrected", 75: "return was no duplicate",
    76: "return has no errors", 77: "dishonor of a reversal not accepted", 80: "IAT coding in error",
    81: "bank takes no part in IAT", 82: "foreign bank's identification not valid", 83: "foreign bank cannot settle",
    84: "not processed by the gateway", 85: "outbound international payment coded as domestic",
  ]
}
