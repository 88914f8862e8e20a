// What we originate: who we are to the bank, whom we pay, and how much.

public import Wire

/// What ACH files carry: checks on single values.
enum ACHText {
  /// Printable ASCII of so many characters, without spaces around it: padding would make them indistinguishable.
  static func check(_ text: String, upTo maximum: Int, _ name: String) throws(ACHError) {
    let bytes = text.utf8
    guard (1...maximum).contains(bytes.count), bytes.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }),
      bytes.first != 0x20, bytes.last != 0x20
    else {
      throw ACHError(
        .text, "Write the \(name) as 1 to \(maximum) characters of printable ASCII without spaces around it.")
    }
  }

  static func checkRouting(_ number: String) throws(ACHError) {
    let digits = Array(number.utf8)
    guard digits.count == 9, digits.allSatisfy(isDigit), checkDigit(digits[..<8]) == digits[8] else {
      throw ACHError(.routingNumber, "Write the routing number as 9 digits; the last is a check digit and must match.")
    }
  }

  /// The ninth digit of a routing number: weights 3, 7, 1 over the first eight, then what is missing to a ten.
  static func checkDigit(_ digits: some Sequence<UInt8>) -> UInt8 {
    var sum = 0
    for (index, digit) in digits.enumerated() { sum += Int(digit & 15) * (index % 3 == 0 ? 3 : index % 3 == 1 ? 7 : 1) }
    return UInt8(ascii: "0") + UInt8((10 - sum % 10) % 10)
  }

  static func isDigit(_ byte: UInt8) -> Bool { byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9") }

  static func isAlphanumeric(_ byte: UInt8) -> Bool {
    isDigit(byte) || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
  }
}

extension ACHError {
  /// The same refusal in this module's error type.
  init(_ error: JSONError) { self.init(Code(error.code.description), error.description) }
}

/// Routing numbers of the American Bankers Association.
public enum ABA {
  /// The routing number of a bank that is known by its first 8 digits.
  /// - Throws: ``ACHError/Code/routingNumber`` for anything but 8 digits.
  public static func routingNumber(of bank: some StringProtocol) throws(ACHError) -> String {
    guard bank.utf8.count == 8, bank.utf8.allSatisfy(ACHText.isDigit) else {
      throw ACHError(.routingNumber, "Write a bank as the first 8 digits of its routing number.")
    }
    return String(bank) + String(decoding: [ACHText.checkDigit(bank.utf8)], as: UTF8.self)
  }
}

/// Who sends files, and to which bank.
public struct ACHOriginator: Sendable, Hashable {
  /// The routing number of the bank or operator that takes the file, 9 digits.
  public let immediateDestination: String
  /// The sender's identification, 10 characters: as a rule a digit or a space and a routing or tax number.
  public let immediateOrigin: String
  /// The destination's name, 1…23 characters.
  public let destinationName: String
  /// The sender's name, 1…23 characters.
  public let originName: String
  /// The company's name as receivers see it, 1…16 characters.
  public let companyName: String
  /// The company's identification at the originating bank, 1…10 characters.
  public let companyIdentification: String
  /// The first 8 digits of the originating bank's routing number.
  public let odfi: String
  /// What the entries are for, as receivers see it, 1…10 characters.
  public let entryDescription: String

  /// Checks every field.
  /// - Throws: ``ACHError/Code/routingNumber`` or ``ACHError/Code/text``.
  public init(
    immediateDestination: String, immediateOrigin: String, destinationName: String, originName: String,
    companyName: String, companyIdentification: String, odfi: String, entryDescription: String
  ) throws(ACHError) {
    try ACHText.checkRouting(immediateDestination)
    let origin = Array(immediateOrigin.utf8)
    guard origin.count == 10, origin.dropFirst().allSatisfy(ACHText.isAlphanumeric),
      origin[0] == 0x20 || ACHText.isAlphanumeric(origin[0])
    else {
      throw ACHError(
        .text, "Write the immediate origin as 10 letters and digits; the first may be a space before 9 others.")
    }
    try ACHText.check(destinationName, upTo: 23, "destination's name")
    try ACHText.check(originName, upTo: 23, "origin's name")
    try ACHText.check(companyName, upTo: 16, "company's name")
    try ACHText.check(companyIdentification, upTo: 10, "company's identification")
    _ = try ABA.routingNumber(of: odfi)
    try ACHText.check(entryDescription, upTo: 10, "entry description")
    self.immediateDestination = immediateDestination
    self.immediateOrigin = immediateOrigin
    self.destinationName = destinationName
    self.originName = originName
    self.companyName = companyName
    self.companyIdentification = companyIdentification
    self.odfi = odfi
    self.entryDescription = entryDescription
  }

  /// Reads a closed JSON object whose members are the fields in snake case.
  /// - Throws: what the memberwise initialiser throws, or a code of ``JSONError``.
  public init(json: JSONValue) throws(ACHError) {
    let fields: [String]
    do throws(JSONError) {
      var reader = try ObjectReader(json, "the originator")
      var read: [String] = []
      for name in Self.members { read.append(try reader.string(name, maximumBytes: 64)) }
      try reader.finish()
      fields = read
    } catch { throw ACHError(error) }
    try self.init(
      immediateDestination: fields[0], immediateOrigin: fields[1], destinationName: fields[2], originName: fields[3],
      companyName: fields[4], companyIdentification: fields[5], odfi: fields[6], entryDescription: fields[7])
  }

  /// The JSON object that ``init(json:)`` reads.
  public var json: JSONValue {
    let fields = [
      immediateDestination, immediateOrigin, destinationName, originName, companyName, companyIdentification, odfi,
      entryDescription,
    ]
    var object = JSONObject()
    for (name, field) in zip(Self.members, fields) { object[name] = .string(field) }
    return .object(object)
  }

  private static let members = [
    "immediate_destination", "immediate_origin", "destination_name", "origin_name", "company_name",
    "company_identification", "odfi", "entry_description",
  ]
}

/// The classes of entries that we originate; files of any class are read.
public enum ACHEntryClass: String, Sendable, Hashable, CaseIterable {
  /// To a company's account.
  case ccd
  /// To a person's account.
  case ppd

  /// The standard entry class code, three capitals.
  public var code: String { rawValue.uppercased() }
}

/// An account at another bank.
public struct ACHAccount: Sendable, Hashable {
  /// What kind of account it is.
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    /// A demand account.
    case checking
    /// A savings account.
    case savings
  }

  /// The bank's routing number, 9 digits.
  public let routingNumber: String
  /// The account's number there, 1…17 letters, digits and hyphens.
  public let accountNumber: String
  /// What kind of account it is.
  public let kind: Kind
  /// The class of entries to it.
  public let entryClass: ACHEntryClass
  /// The holder's name, 1…22 characters.
  public let receiverName: String

  /// Checks every field.
  /// - Throws: ``ACHError/Code/routingNumber``, ``ACHError/Code/accountNumber`` or ``ACHError/Code/text``.
  public init(
    routingNumber: String, accountNumber: String, kind: Kind, entryClass: ACHEntryClass, receiverName: String
  ) throws(ACHError) {
    try ACHText.checkRouting(routingNumber)
    guard (1...17).contains(accountNumber.utf8.count),
      accountNumber.utf8.allSatisfy({ ACHText.isAlphanumeric($0) || $0 == UInt8(ascii: "-") })
    else {
      throw ACHError(.accountNumber, "Write the account number as 1 to 17 letters, digits and hyphens.")
    }
    try ACHText.check(receiverName, upTo: 22, "receiver's name")
    self.routingNumber = routingNumber
    self.accountNumber = accountNumber
    self.kind = kind
    self.entryClass = entryClass
    self.receiverName = receiverName
  }

  /// Reads a closed JSON object: `routing_number`, `account_number`, `account_type` (`checking`, `savings`), `class`
  /// (`ccd`, `ppd`) and `receiver_name`.
  /// - Throws: what the memberwise initialiser throws, ``ACHError/Code/accountType``, ``ACHError/Code/entryClass``, or
  ///   a code of ``JSONError``.
  public init(json: JSONValue) throws(ACHError) {
    let fields: [String]
    do throws(JSONError) {
      var reader = try ObjectReader(json, "the account")
      var read: [String] = []
      for name in ["routing_number", "account_number", "account_type", "class", "receiver_name"] {
        read.append(try reader.string(name, maximumBytes: 64))
      }
      try reader.finish()
      fields = read
    } catch { throw ACHError(error) }
    guard let kind = Kind(rawValue: fields[2]) else {
      throw ACHError(.accountType, "An account's type is 'checking' or 'savings'.")
    }
    guard let entryClass = ACHEntryClass(rawValue: fields[3]) else {
      throw ACHError(.entryClass, "An account's class is 'ccd' for a company or 'ppd' for a person.")
    }
    try self.init(
      routingNumber: fields[0], accountNumber: fields[1], kind: kind, entryClass: entryClass, receiverName: fields[4])
  }

  /// The JSON object that ``init(json:)`` reads.
  public var json: JSONValue {
    [
      "routing_number": .string(routingNumber), "account_number": .string(accountNumber),
      "account_type": .string(kind.rawValue), "class": .string(entryClass.rawValue),
      "receiver_name": .string(receiverName),
    ]
  }
}

/// A trace number: the 8 digits of the originating bank and a sequence of 7.
public struct ACHTraceNumber: Sendable, Hashable, Comparable, CustomStringConvertible {
  /// The 15 digits as a number.
  public let value: UInt64

  /// A trace number; nil above 15 digits.
  public init?(_ value: UInt64) {
    guard value < 1_000_000_000_000_000 else { return nil }
    self.value = value
  }

  /// The trace number of 8 digits and the last seven digits of `sequence`; other characters count as zero.
  init(odfi: String, sequence: UInt64) {
    value = odfi.utf8.prefix(8).reduce(0) { $0 * 10 + UInt64($1 & 15) % 10 } * 10_000_000 + sequence % 10_000_000
  }

  /// The 8 digits of the originating bank.
  public var odfi: String { String(description.prefix(8)) }
  /// The 7 digits of the sequence.
  public var sequence: UInt64 { value % 10_000_000 }
  /// The 15 digits.
  public var description: String {
    let digits = String(value)
    return String(repeating: "0", count: 15 - digits.utf8.count) + digits
  }
  /// In order of the digits.
  public static func < (a: ACHTraceNumber, b: ACHTraceNumber) -> Bool { a.value < b.value }
}

/// A payment to an account at another bank. Its identifiers in the file come from the index of the leaf that
/// authorises it, so that writing it again cannot make it another payment.
public struct ACHCredit: Sendable, Hashable {
  /// The account to pay.
  public let account: ACHAccount
  /// The amount in cents, 1…9,999,999,999.
  public let amount: Int64
  /// The index of the leaf that authorises the payment.
  public let leafIndex: UInt64
  /// Payment related information for the receiver, 1…80 characters, which goes into an addenda record 05.
  public let reference: String?

  /// The greatest amount that an entry's ten digits hold, in cents.
  public static let greatestAmount: Int64 = 9_999_999_999
  /// The greatest leaf index that an individual identification number's thirteen digits hold.
  public static let greatestLeafIndex: UInt64 = 9_999_999_999_999

  /// Checks every field.
  /// - Throws: ``ACHError/Code/amount``, ``ACHError/Code/leafIndex`` or ``ACHError/Code/text``.
  public init(account: ACHAccount, amount: Int64, leafIndex: UInt64, reference: String? = nil) throws(ACHError) {
    guard (1...Self.greatestAmount).contains(amount) else {
      throw ACHError(.amount, "A credit is 1 to \(Self.greatestAmount) cents; divide a larger payment.")
    }
    guard leafIndex <= Self.greatestLeafIndex else {
      throw ACHError(.leafIndex, "The leaf index has more than 13 digits; open a new log before it is used up.")
    }
    if let reference { try ACHText.check(reference, upTo: 80, "payment related information") }
    self.account = account
    self.amount = amount
    self.leafIndex = leafIndex
    self.reference = reference
  }

  /// The entry's trace number: the originating bank and the leaf index modulo 10^7.
  public func traceNumber(odfi: String) -> ACHTraceNumber { ACHTraceNumber(odfi: odfi, sequence: leafIndex) }

  /// The entry's individual identification number: `TC` and the leaf index in 13 digits.
  public var identification: String {
    let digits = String(leafIndex)
    return "TC" + String(repeating: "0", count: 13 - digits.utf8.count) + digits
  }

  /// The entry's transaction code: 22 for a checking account, 32 for a savings account.
  public var transactionCode: Int { account.kind == .checking ? 22 : 32 }
}
