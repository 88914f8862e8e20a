/// An entry with what belongs to it.
public struct ACHEntryRecords: Sendable, Hashable {
  /// The header of its batch.
  public let batch: ACHRecord
  /// The entry.
  public let entry: ACHRecord
  /// Its addenda, in order.
  public fileprivate(set) var addenda: [ACHRecord]

  /// The entry's trace number; nil in ADV, which has none.
  public var traceNumber: ACHTraceNumber? {
    entry.layout == .entryADV ? nil : ACHTraceNumber(entry.number(.traceNumber))
  }
  /// The entry's amount in cents.
  public var amount: Int64 { Int64(clamping: entry.number(entry.layout == .entryADV ? .amountADV : .amount)) }
  /// The entry's transaction code.
  public var transactionCode: Int { Int(entry.number(.transactionCode)) }
  /// The receiving bank's routing number, 9 digits.
  public var routingNumber: String { String(decoding: entry.bytes[3..<12], as: UTF8.self) }
  /// The account's number at the receiving bank, without the spaces behind it.
  public var accountNumber: String { entry.text("account_number") ?? "" }
  /// The individual identification number; empty where the class has none.
  public var identification: String { entry.text("identification") ?? "" }
}

/// Puts the records of a reader together to entries.
public struct ACHEntryGrouper: Sendable {
  private var batch: ACHRecord?
  private var open: ACHEntryRecords?

  /// A grouper at the start of a file.
  public init() {}

  /// Takes the next record; gives the entry that it ends.
  public mutating func take(_ record: ACHRecord) -> ACHEntryRecords? {
    switch record.bytes[0] {
    case UInt8(ascii: "7"):
      open?.addenda.append(record)
      return nil
    case UInt8(ascii: "5"): batch = record
    case UInt8(ascii: "6"):
      defer { open = batch.map { ACHEntryRecords(batch: $0, entry: record, addenda: []) } }
      return open
    default: break
    }
    defer { open = nil }
    return open
  }
}

/// A whole file in memory; ``ACHReader`` reads larger ones.
public struct ACHFile: Sendable, Hashable {
  /// Tells files apart: who sends, who takes, when it was made, and the modifier, as they stand in the file header.
  public struct ID: Sendable, Hashable, CustomStringConvertible {
    /// Positions 4 to 34 of the file header.
    public let description: String
  }

  /// The records, padding included.
  public let records: [ACHRecord]
  /// How lines end.
  public let lineEnding: ACHReader.LineEnding
  /// What follows the last record: line ends, or nothing.
  public let tail: [UInt8]

  /// Reads a file.
  /// - Throws: the first rule that it breaks, with its line.
  public init(parsing bytes: [UInt8], _ rules: ACHRules = .received) throws(ACHError) {
    var reader = ACHReader(rules)
    var records: [ACHRecord] = []
    records.reserveCapacity(bytes.count / 95 + 1)
    let visit = { (record: ACHRecord) throws(ACHError) in records.append(record) }
    try reader.read(bytes, visit)
    try reader.finish(visit)
    self.records = records
    lineEnding = reader.lineEnding ?? .lf
    tail = reader.tail
  }

  /// The file as it was read, byte by byte.
  public var bytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(records.count * 96)
    for (index, record) in records.enumerated() {
      if index > 0 { bytes += lineEnding.bytes }
      bytes += record.bytes
    }
    return bytes + tail
  }

  /// The file's identification.
  public var id: ID { ID(description: String(decoding: records[0].bytes[3..<34], as: UTF8.self)) }

  /// The day the file was made.
  public var creationDate: CivilDate? {
    CivilDate(yymmdd: String(decoding: records[0].bytes[23..<29], as: UTF8.self))
  }

  /// The entries of all batches, in order.
  public var entries: [ACHEntryRecords] {
    var grouper = ACHEntryGrouper()
    return records.compactMap { grouper.take($0) }
  }

  /// The returns in the file, in order.
  public var returns: [ACHReturn] { entries.compactMap { ACHReturn($0) } }
}
