/// An entry that came back: what its entry record and its last addenda 99 say.
public struct ACHReturn: Sendable, Hashable {
  /// Why it came back.
  public let code: ACHReturnCode
  /// The trace number of the entry that comes back.
  public let originalTraceNumber: ACHTraceNumber
  /// The bank that the entry had gone to, 8 digits.
  public let originalRDFI: String
  /// What the returning bank adds.
  public let information: String
  /// The day the receiver died, with R14 and R15.
  public let dateOfDeath: CivilDate?
  /// The returned amount in cents.
  public let amount: Int64
  /// The account that the entry had named.
  public let accountNumber: String
  /// The individual identification number of the entry.
  public let identification: String
  /// The trace number of the return itself.
  public let traceNumber: ACHTraceNumber
  /// The line of the return's entry record.
  public let line: Int

  /// Reads an entry; nil where it is no return.
  public init?(_ records: ACHEntryRecords) {
    guard let addenda = records.addenda.last, addenda.layout.rawValue >= ACHLayout.addenda99.rawValue,
      let code = ACHReturnCode(addenda.text(.reasonCode)), let trace = ACHTraceNumber(addenda.number(.originalTrace))
    else { return nil }
    self.code = code
    originalTraceNumber = trace
    originalRDFI = addenda.text(.originalRDFI)
    information = addenda.text("information") ?? ""
    dateOfDeath = [14, 15].contains(code.number) ? CivilDate(yymmdd: addenda.text(.returnDate)) : nil
    amount = records.amount
    accountNumber = records.accountNumber
    identification = records.identification
    // ADV entries have no trace number; their returns repeat the addenda's.
    guard let own = records.traceNumber ?? ACHTraceNumber(addenda.number(.traceNumber)) else { return nil }
    traceNumber = own
    line = records.entry.line
  }
}

/// Makes the file in which the receiving side sends entries back.
public enum ACHReturnFile {
  /// An entry to send back.
  public struct Item: Sendable, Hashable {
    /// The entry as it had come, of a domestic batch.
    public let original: ACHEntryRecords
    /// Why it goes back.
    public let code: ACHReturnCode
    /// What to add, at most 44 characters.
    public let information: String

    /// Makes an item.
    public init(_ original: ACHEntryRecords, _ code: ACHReturnCode, information: String = "") {
      self.original = original
      self.code = code
      self.information = information
    }
  }

  /// The file's bytes: a batch for each original batch and receiving bank; the return's trace number is that bank and
  /// the sequence of the original one.
  /// - Parameters:
  ///   - items: the entries, in any order.
  ///   - header: who sends the returns to whom.
  ///   - settlement: the day on which they settle, which the operator writes into the batches.
  /// - Throws: ``ACHError/Code/empty`` without items, ``ACHError/Code/entryClass`` for IAT, ADV and what is a return
  ///   itself, ``ACHError/Code/text`` where a field does not fit.
  public static func build(
    _ items: some Sequence<Item>, header: ACHFileHeader, settlement: CivilDate
  ) throws(ACHError) -> [UInt8] {
    let sorted = items.sorted { key($0).lexicographicallyPrecedes(key($1)) }
    guard !sorted.isEmpty else { throw ACHError(.empty, "A return file has at least one entry.") }
    var bytes: [UInt8] = []
    try ACHError.only {
      var writer = try ACHFileWriter(header) { bytes += $0 }
      var group: [UInt64] = []
      var number = 0
      for item in sorted {
        let original = item.original
        guard original.entry.layout == .entry, original.batch.layout == .batchHeader,
          ACHReturn(original) == nil, item.code.kind == .returned, let trace = original.traceNumber
        else {
          throw ACHError(.entryClass, "Return forward entries of domestic batches with a code that is no dishonor.")
        }
        let rdfi = String(original.routingNumber.prefix(8))
        if group != Array(key(item).prefix(2)) {
          group = Array(key(item).prefix(2))
          number += 1
          try writer.begin(batch(original.batch, rdfi: rdfi, number: number, settlement: settlement))
        }
        try writer.write(
          ACHEntry(
            transactionCode: returnCode(of: original.transactionCode),
            routingNumber: try ABA.routingNumber(of: original.batch.text(.odfi)),
            accountNumber: original.entry.text(.accountNumber), amount: original.amount,
            identification: original.entry.text(.identification), name: original.entry.text(.name),
            discretionaryData: original.entry.text(.discretionaryData),
            traceNumber: ACHTraceNumber(odfi: rdfi, sequence: trace.sequence),
            addenda: .returned(item.code, original: trace, rdfi: rdfi, information: item.information)))
      }
      try writer.finish()
    }
    return bytes
  }

  /// Original batch, receiving bank, trace number.
  private static func key(_ item: Item) -> [UInt64] {
    let original = item.original
    return [
      original.batch.number(.batchNumber), original.entry.number(.rdfi), original.entry.number(.traceNumber),
    ]
  }

  private static func batch(_ header: ACHRecord, rdfi: String, number: Int, settlement: CivilDate) -> ACHBatchHeader {
    var batch = ACHBatchHeader(
      serviceClass: Int(header.number(.serviceClass)), companyName: header.text(.companyName),
      companyIdentification: header.text(.companyIdentification), entryClass: header.text(.entryClass),
      entryDescription: header.text(.entryDescription),
      effectiveEntryDate: CivilDate(yymmdd: header.text(.effectiveEntryDate)), odfi: rdfi, number: number)
    batch.companyData = header.text(.companyData)
    batch.descriptiveDate = header.text(.descriptiveDate)
    batch.settlementDay = settlement.dayOfYear
    return batch
  }

  /// 21 for 22 to 24, 26 for 27 to 29, likewise for the other kinds of accounts; 56 for the reversal of a loan.
  private static func returnCode(of code: Int) -> Int { code == 55 ? 56 : code - (code % 5) + 1 }
}
