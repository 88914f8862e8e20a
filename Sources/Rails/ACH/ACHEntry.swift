// What the writer is given: a file, its batches and their entries.

/// What a file says about itself in its first record.
public struct ACHFileHeader: Sendable, Hashable {
  /// The routing number of the bank or operator that takes the file, 9 digits.
  public let immediateDestination: String
  /// The sender's identification, 10 characters.
  public let immediateOrigin: String
  /// The destination's name, at most 23 characters.
  public let destinationName: String
  /// The sender's name, at most 23 characters.
  public let originName: String
  /// The day the file was made.
  public let creationDate: CivilDate
  /// The time the file was made.
  public let creationTime: CivilTime
  /// Tells files of one day apart: A to Z, 0 to 9.
  public let fileIDModifier: Character

  /// Makes a header.
  /// - Throws: ``ACHError/Code/fileIDModifier``, ``ACHError/Code/routingNumber`` or ``ACHError/Code/text``.
  public init(
    immediateDestination: String, immediateOrigin: String, destinationName: String, originName: String,
    creationDate: CivilDate, creationTime: CivilTime, fileIDModifier: Character
  ) throws(ACHError) {
    guard let byte = fileIDModifier.asciiValue, Self.isModifier(byte) else {
      throw ACHError(.fileIDModifier, "Take a capital letter or a digit as file ID modifier.")
    }
    try ACHText.checkRouting(immediateDestination)
    guard immediateOrigin.utf8.count == 10 else {
      throw ACHError(.text, "Write the immediate origin as 10 characters.")
    }
    self.immediateDestination = immediateDestination
    self.immediateOrigin = immediateOrigin
    self.destinationName = destinationName
    self.originName = originName
    self.creationDate = creationDate
    self.creationTime = creationTime
    self.fileIDModifier = fileIDModifier
  }

  static func isModifier(_ byte: UInt8) -> Bool {
    ACHText.isDigit(byte) || (byte >= UInt8(ascii: "A") && byte <= UInt8(ascii: "Z"))
  }
}

/// What a domestic batch says about all its entries.
public struct ACHBatchHeader: Sendable, Hashable {
  /// 200 for mixed entries, 220 for credits, 225 for debits.
  public var serviceClass: Int
  /// The company's name.
  public var companyName: String
  /// For the company's own use.
  public var companyData = ""
  /// The company's identification.
  public var companyIdentification: String
  /// The standard entry class code, three capitals.
  public var entryClass: String
  /// What the entries are for.
  public var entryDescription: String
  /// A date, or another text, for the receiver to read.
  public var descriptiveDate = ""
  /// The day on which the originator wants settlement; nil is written as `000000`, as in returns.
  public var effectiveEntryDate: CivilDate?
  /// The day of the year on which the operator settled; nil, blank, in what we originate.
  public var settlementDay: Int?
  /// 1 but for federal agencies.
  public var originatorStatus = 1
  /// The originating bank, 8 digits.
  public var odfi: String
  /// The batch's number, ascending in the file.
  public var number: Int

  /// Makes a header; the writer checks it.
  public init(
    serviceClass: Int, companyName: String, companyIdentification: String, entryClass: String,
    entryDescription: String, effectiveEntryDate: CivilDate?, odfi: String, number: Int
  ) {
    self.serviceClass = serviceClass
    self.companyName = companyName
    self.companyIdentification = companyIdentification
    self.entryClass = entryClass
    self.entryDescription = entryDescription
    self.effectiveEntryDate = effectiveEntryDate
    self.odfi = odfi
    self.number = number
  }
}

/// An entry of a domestic batch, with at most one addenda record.
public struct ACHEntry: Sendable, Hashable {
  /// What follows an entry.
  public enum Addenda: Sendable, Hashable {
    /// Addenda 05: payment related information, at most 80 characters.
    case payment(String)
    /// Addenda 99: why the entry with that trace number, sent to the bank of these 8 digits, comes back.
    case returned(ACHReturnCode, original: ACHTraceNumber, rdfi: String, information: String)
  }

  /// The transaction code.
  public let transactionCode: Int
  /// The receiving bank's routing number, 9 digits.
  public let routingNumber: String
  /// The account's number there, at most 17 characters.
  public let accountNumber: String
  /// Cents.
  public let amount: Int64
  /// The individual identification number, at most 15 characters.
  public let identification: String
  /// The receiver's name, at most 22 characters.
  public let name: String
  /// For the originating bank's own use, at most 2 characters.
  public let discretionaryData: String
  /// The trace number.
  public let traceNumber: ACHTraceNumber
  /// What follows the entry.
  public let addenda: Addenda?

  /// Makes an entry; the writer checks it.
  public init(
    transactionCode: Int, routingNumber: String, accountNumber: String, amount: Int64, identification: String,
    name: String, discretionaryData: String = "", traceNumber: ACHTraceNumber, addenda: Addenda? = nil
  ) {
    self.transactionCode = transactionCode
    self.routingNumber = routingNumber
    self.accountNumber = accountNumber
    self.amount = amount
    self.identification = identification
    self.name = name
    self.discretionaryData = discretionaryData
    self.traceNumber = traceNumber
    self.addenda = addenda
  }

  /// The entry of a credit that we originate.
  public init(_ credit: ACHCredit, odfi: String) {
    self.init(
      transactionCode: credit.transactionCode, routingNumber: credit.account.routingNumber,
      accountNumber: credit.account.accountNumber, amount: credit.amount, identification: credit.identification,
      name: credit.account.receiverName, traceNumber: credit.traceNumber(odfi: odfi),
      addenda: credit.reference.map { .payment($0) })
  }
}
