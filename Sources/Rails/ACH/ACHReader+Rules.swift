// The rules, and what must be remembered between records to check them.

extension ACHReader {
  struct FileState {
    var created: CivilDate?
    var lastBatch: UInt64 = 0
    var batches: UInt64 = 0
    var totals = ACHTotals()
    /// Whether its batches are ADV; nil before the first.
    var isADV: Bool?
    /// Whether its entries are returns or changes; nil before the first.
    var isReturns: Bool?
    var control: ACHRecord?
  }

  struct BatchState {
    let header: ACHRecord
    let entryClass: String
    let serviceClass: UInt64
    let odfi: UInt64
    let isIAT: Bool
    let isADV: Bool
    /// The limit on one entry where the batch is Same Day ACH.
    var sameDayLimit: UInt64?
    var totals = ACHTotals()
    var lastTrace: UInt64?
  }

  struct EntryState {
    let record: ACHRecord
    let code: UInt64
    let amount: UInt64
    let trace: UInt64
    /// How many addenda records of each layout.
    var addenda: [ACHLayout: Int] = [:]
    var lastAddenda: ACHLayout?
  }

  /// The standard entry classes, with how many addenda 05 an entry of theirs may have.
  private static let classes: [String: Int] = [
    "ACK": 1, "ADV": 0, "ARC": 0, "ATX": 9999, "BOC": 0, "CCD": 1, "CIE": 1, "COR": 0, "CTX": 9999, "DNE": 1,
    "ENR": 9999, "IAT": 0, "MTE": 0, "POP": 0, "POS": 0, "PPD": 1, "RCK": 0, "SHR": 0, "TEL": 0, "TRC": 0, "TRX": 9999,
    "WEB": 1, "XCK": 0,
  ]
  /// The classes whose entries have one addenda 02.
  private static let terminalClasses: Set = ["MTE", "POS", "SHR"]
  /// Mandatory addenda of an IAT entry, in order.
  private static let mandatoryIAT: [ACHLayout] = [
    .addenda10, .addenda11, .addenda12, .addenda13, .addenda14, .addenda15, .addenda16,
  ]

  /// What an IAT entry may be for.
  private static let transactionTypes: Set = [
    "ANN", "ARC", "BOC", "BUS", "DEP", "LOA", "MIS", "MOR", "MTE", "PEN", "POP", "POS", "RCK", "REM", "RLS",
    "SAL",
    "SHR", "TAX", "TEL", "WEB",
  ]

  mutating func check(_ record: ACHRecord) throws(ACHError) {
    switch record.layout {
    case .fileHeader: try checkFileHeader(record)
    case .batchHeader, .batchHeaderIAT: try checkBatchHeader(record)
    case .entry, .entryIAT, .entryADV: try checkEntry(record)
    case .batchControl, .batchControlADV: try checkBatchControl(record)
    case .fileControl, .fileControlADV: try checkFileControl(record)
    case .padding: break
    default: try checkAddenda(record)
    }
  }

  private mutating func checkFileHeader(_ record: ACHRecord) throws(ACHError) {
    guard record.bytes[1..<3].elementsEqual("01".utf8), record.bytes[34..<40].elementsEqual("094101".utf8) else {
      throw error(.fileHeader, "Write priority code 01, record size 094, blocking factor 10 and format code 1.")
    }
    let destination = record.bytes[3..<13]
    guard destination.first == 0x20, destination.dropFirst().allSatisfy(ACHText.isDigit),
      ACHText.checkDigit(destination.dropFirst().prefix(8)) == destination.last
    else {
      throw error(.routingNumber, "Write the immediate destination as a space and a routing number of 9 digits.")
    }
    file.created = CivilDate(yymmdd: String(decoding: record.bytes[23..<29], as: UTF8.self))
    let time = record.bytes[29..<33]
    let clock = time.reduce(0) { $0 * 10 + Int($1 & 15) }
    guard file.created != nil, CivilTime(hour: clock / 100, minute: clock % 100) != nil else {
      throw error(.fileCreation, "Write the creation date as YYMMDD and its time as HHMM, or leave the time blank.")
    }
    guard ACHFileHeader.isModifier(record.bytes[33]) else {
      throw error(.fileIDModifier, "Take a capital letter or a digit as file ID modifier.")
    }
  }

  private mutating func checkBatchHeader(_ record: ACHRecord) throws(ACHError) {
    let entryClass = record.text(.entryClass)
    guard Self.classes[entryClass] != nil else {
      throw error(.entryClass, "Take a standard entry class code such as CCD or PPD.")
    }
    let isADV = entryClass == "ADV"
    guard file.isADV ?? isADV == isADV else {
      throw error(.advMixed, "Put ADV batches into a file of their own.")
    }
    let serviceClass = record.number(.serviceClass)
    guard isADV ? serviceClass == 280 : [200, 220, 225].contains(serviceClass) else {
      throw error(.serviceClass, "Take service class 200, 220 or 225, and 280 for ADV alone.")
    }
    let number = record.number(.batchNumber)
    guard number > file.lastBatch else { throw error(.batchNumber, "Number the batches upwards from 1.") }
    let status = record.text(.originatorStatus)
    guard rules == .originated ? status == "1" : isADV ? status == "0" : ["0", "1", "2"].contains(status) else {
      throw error(.originatorStatus, "Write originator status code 1; 0 is for ADV, and 2 for federal agencies.")
    }
    var batch = BatchState(
      header: record, entryClass: entryClass, serviceClass: serviceClass, odfi: record.number(.odfi),
      isIAT: record.layout == .batchHeaderIAT, isADV: isADV)
    if rules == .originated { try checkOriginated(record, &batch) }
    file.isADV = isADV
    file.lastBatch = number
    file.batches += 1
    self.batch = batch
  }

  private func checkOriginated(_ record: ACHRecord, _ batch: inout BatchState) throws(ACHError) {
    guard record.isBlank(.settlementDate) else {
      throw error(.settlementDate, "Leave the settlement date blank; the operator fills it in.")
    }
    guard let created = file.created, let effective = CivilDate(yymmdd: record.text(.effectiveEntryDate)),
      effective >= created, BankingCalendar.isBankingDay(effective)
    else {
      throw error(.effectiveDate, "Take a banking day on or after the file's date as effective entry date.")
    }
    let mark = batch.isIAT ? "" : record.text(.descriptiveDate)
    guard
      effective == created
        || (mark.utf8.count == 6 && mark.hasPrefix("SD") && mark.utf8.dropFirst(2).allSatisfy(ACHText.isDigit))
    else {
      return
    }
    guard !batch.isIAT else {
      throw error(.sameDayIAT, "Same Day ACH takes no IAT; take a later effective entry date.")
    }
    batch.sameDayLimit = UInt64(DatedLimit.sameDayACH.amount(on: created) ?? 0)
  }

  private mutating func checkEntry(_ record: ACHRecord) throws(ACHError) {
    try endEntry()
    guard var batch else { return }
    let code = record.number(.transactionCode)
    let isKnown = batch.isADV ? (81...88).contains(code) : (20..<57).contains(code) && code % 5 != 0 || code == 55
    guard isKnown else {
      throw error(.transactionCode, "Take a transaction code of the entry class, such as 22 or 32 for a credit.")
    }
    let isCredit = ACHTotals.isCredit(code, isADV: batch.isADV)
    guard ![220, 225].contains(batch.serviceClass) || (batch.serviceClass == 220) == isCredit else {
      throw error(.serviceClass, "Put credits into class 220 or 200, debits into 225 or 200.")
    }
    guard ACHText.checkDigit(record[.rdfi]) == record.bytes[ACHField.checkDigit.offset] else {
      throw error(.checkDigit, "Correct the receiving bank's routing number; its check digit does not match.")
    }
    let trace = record.number(batch.isADV ? .sequenceADV : .traceNumber)
    guard batch.lastTrace.map({ $0 < trace }) ?? true else {
      throw error(.traceNumber, "Order the entries of a batch by trace number, each once.")
    }
    guard batch.isADV || trace / 10_000_000 == batch.odfi else {
      throw error(.traceODFI, "Begin the trace number with the 8 digits of the batch's originating bank.")
    }
    guard [UInt8(ascii: "0"), UInt8(ascii: "1")].contains(record.bytes[ACHField.addendaIndicator.offset]) else {
      throw error(.addendaIndicator, "Write 1 as addenda record indicator where addenda follow, and 0 otherwise.")
    }
    let amount = record.number(batch.isADV ? .amountADV : .amount)
    if let limit = batch.sameDayLimit, amount > limit {
      throw error(
        .sameDayAmount, "Same Day ACH takes at most \(limit) cents an entry; take a later effective entry date.")
    }
    batch.lastTrace = trace
    batch.totals.add(code: code, rdfi: record.number(.rdfi), amount: amount, isADV: batch.isADV)
    self.batch = batch
    entry = EntryState(record: record, code: code, amount: amount, trace: trace)
  }

  private mutating func checkAddenda(_ record: ACHRecord) throws(ACHError) {
    guard let batch, var entry else { return }
    let layout = record.layout
    let payments = Self.classes[batch.entryClass] ?? 0
    let isAllowed =
      switch layout {
      case .addenda02: Self.terminalClasses.contains(batch.entryClass)
      case .addenda05: payments > 0 && !batch.isIAT
      case .addenda98, .addenda98Refused: batch.entryClass == "COR"
      case .addenda99, .addenda99Dishonored, .addenda99Contested: true
      default: batch.isIAT
      }
    guard isAllowed, (entry.lastAddenda?.rawValue ?? 0) <= layout.rawValue else {
      throw error(.addendaType, "An entry of this class has no addenda of this type here.")
    }
    entry.addenda[layout, default: 0] += 1
    entry.lastAddenda = layout
    let count = entry.addenda[layout, default: 0]
    let most =
      switch layout {
      case .addenda05: payments
      case .addenda17: 2
      case .addenda18: 5
      default: 1
      }
    guard count <= most else {
      throw error(.addendaCount, "An entry of this class has at most \(most) addenda of this type.")
    }
    switch layout {
    case .addenda02:
      guard record.number(.traceNumber) == entry.trace else {
        throw error(.entryDetailSequence, "Repeat the entry's trace number in its addenda record.")
      }
    case .addenda05, .addenda17, .addenda18:
      guard record.number(.addendaSequence) == UInt64(count) else {
        throw error(.addendaSequence, "Number the addenda of one type and entry upwards from 1.")
      }
      fallthrough
    case .addenda10, .addenda11, .addenda12, .addenda13, .addenda14, .addenda15, .addenda16:
      guard record.number(.entryDetailSequence) == entry.trace % 10_000_000 else {
        throw error(.entryDetailSequence, "Repeat the last 7 digits of the entry's trace number in its addenda record.")
      }
    default: break
    }
    if layout == .addenda10, !Self.transactionTypes.contains(record.text(.transactionType)) {
      throw error(.transactionType, "Take a transaction type code of IAT entries, such as BUS or MIS.")
    }
    self.entry = entry
    self.batch?.totals.records += 1
  }

  /// What can be told only once all addenda of an entry are there; refusals name the entry's line.
  private mutating func endEntry() throws(ACHError) {
    guard let batch, let entry else { return }
    self.entry = nil
    func refuse(_ code: ACHError.Code, _ message: String) -> ACHError {
      ACHError(code, message, line: entry.record.line)
    }
    guard entry.addenda.isEmpty == (entry.record.bytes[ACHField.addendaIndicator.offset] == UInt8(ascii: "0")) else {
      throw refuse(.addendaIndicator, "Write 1 as addenda record indicator where addenda follow, and 0 otherwise.")
    }
    let isReturn = (entry.lastAddenda?.rawValue ?? 0) >= ACHLayout.addenda98.rawValue
    guard file.isReturns ?? isReturn == isReturn else {
      throw refuse(.returnsMixed, "Put returns and notifications of change into a file of their own.")
    }
    file.isReturns = isReturn
    if batch.isIAT, !Self.mandatoryIAT.allSatisfy({ entry.addenda[$0] == 1 }) {
      throw refuse(.addendaCount, "Give an IAT entry one addenda record of each type from 10 to 16.")
    }
    guard batch.entryClass != "COR" || isReturn else {
      throw refuse(.addendaCount, "Give a COR entry an addenda record 98.")
    }
    guard !isReturn else { return }
    guard !Self.terminalClasses.contains(batch.entryClass) || entry.addenda[.addenda02] == 1 else {
      throw refuse(.addendaCount, "Give a \(batch.entryClass) entry an addenda record 02.")
    }
    if ["CCD", "PPD"].contains(batch.entryClass) { try checkDomestic(batch, entry, refuse) }
  }

  /// Transaction codes and amounts of CCD and PPD: the code's last digit is 1 or 6 for returns, 3 or 8 for prenotes,
  /// 4 or 9 for zero dollars with remittance.
  private func checkDomestic(
    _ batch: BatchState, _ entry: EntryState, _ refuse: (ACHError.Code, String) -> ACHError
  ) throws(ACHError) {
    switch entry.code % 5 {
    case 1: throw refuse(.transactionCode, "Take a transaction code of a forward entry; this one is for returns.")
    case 4:
      guard batch.entryClass == "CCD" else {
        throw refuse(.transactionCode, "Zero dollar entries are for CCD and CTX; take another transaction code.")
      }
      guard !entry.addenda.isEmpty else {
        throw refuse(.addendaCount, "Give a zero dollar entry its remittance in an addenda record 05.")
      }
      fallthrough
    case 3:
      guard entry.amount == 0 else {
        throw refuse(
          .amount, "Write zero as amount of a prenote or zero dollar entry, or take another transaction code.")
      }
    default:
      guard entry.amount > 0 else {
        throw refuse(.amount, "Write an amount above zero, or the transaction code of a prenote.")
      }
    }
  }

  private mutating func checkBatchControl(_ record: ACHRecord) throws(ACHError) {
    try endEntry()
    guard let batch else { return }
    guard batch.totals.records > 0 else { throw error(.empty, "Leave out a batch that has no entries.") }
    // IAT and ADV have other identifications at the place of the company's.
    let isDomestic = !batch.isIAT && !batch.isADV
    guard record.number(.serviceClass) == batch.serviceClass, record.number(.odfi) == batch.odfi,
      record.number(.batchNumber) == file.lastBatch,
      !isDomestic
        || record[.controlCompany].filter({ $0 != 0x20 })
          == batch.header[.companyIdentification].filter({ $0 != 0x20 })
    else {
      throw error(.batchControl, "Repeat the batch header's service class, company, ODFI and number in its control.")
    }
    try compare(record, batch.totals, .entryAddendaCount, .entryHash)
    file.totals.add(batch.totals)
    self.batch = nil
  }

  private mutating func checkFileControl(_ record: ACHRecord) throws(ACHError) {
    guard record.number(.batchCount) == file.batches else {
      throw error(.batchCount, "Write \(file.batches) as number of batches.")
    }
    try compare(record, file.totals, .fileEntryAddendaCount, .fileEntryHash)
    file.control = record
  }

  private func compare(
    _ record: ACHRecord, _ totals: ACHTotals, _ count: ACHField, _ hash: ACHField
  ) throws(ACHError) {
    guard record.number(count) == totals.records else {
      throw error(.entryAddendaCount, "Write \(totals.records) as number of entries and addenda, records 6 and 7.")
    }
    guard record.number(hash) == totals.hash else {
      throw error(
        .entryHash,
        "Write \(totals.hash) as entry hash: the receiving banks' 8 digits, summed, of which 10 digits stay.")
    }
    guard record.number(record.layout["debit_total"]) == totals.debits else {
      throw error(.debitTotal, "Write \(totals.debits) as total of debits.")
    }
    guard record.number(record.layout["credit_total"]) == totals.credits else {
      throw error(.creditTotal, "Write \(totals.credits) as total of credits.")
    }
  }

  func endFile() throws(ACHError) {
    guard line > 0 else { throw ACHError(.empty, "The file is empty; begin it with a file header.", line: 1) }
    guard let control = file.control else {
      throw error(.recordOrder, "The file ends too early; end it with a file control, record 9.", next: true)
    }
    guard line % 10 == 0, line - control.line < 10 else {
      throw error(.padding, "Fill the last block of ten lines with lines of nines, and write no further block.")
    }
    guard control.number(.blockCount) == UInt64(line / 10) else {
      throw ACHError(
        .blockCount, "Write \(line / 10) as number of blocks: lines by ten, padding included.", line: control.line)
    }
  }
}
