/// What batch and file controls count.
struct ACHTotals: Sendable, Equatable {
  var records: UInt64 = 0
  var hash: UInt64 = 0
  var debits: UInt64 = 0
  var credits: UInt64 = 0

  /// The entry hash has ten digits: what lies above them is cut off.
  static let hashModulus: UInt64 = 10_000_000_000
  /// The greatest total of twelve digits.
  static let greatest: UInt64 = 999_999_999_999
  /// The greatest count of a batch, six digits, and of a file, eight.
  static let greatestCount: (batch: UInt64, file: UInt64) = (999_999, 99_999_999)

  /// Adds an entry. Codes that end in 0 to 4 are credits, the others debits; ADV takes even ones for debits.
  mutating func add(code: UInt64, rdfi: UInt64, amount: UInt64, isADV: Bool = false) {
    records += 1
    hash = (hash + rdfi) % Self.hashModulus
    if Self.isCredit(code, isADV: isADV) { credits &+= amount } else { debits &+= amount }
  }

  mutating func add(_ other: ACHTotals) {
    records += other.records
    hash = (hash + other.hash) % Self.hashModulus
    debits &+= other.debits
    credits &+= other.credits
  }

  static func isCredit(_ code: UInt64, isADV: Bool = false) -> Bool { isADV ? code % 2 == 1 : code % 10 < 5 }
}

/// Writes a file record by record into a sink, with a buffer of its own and no other memory: controls, counts, hashes
/// and padding are its work. What it wrote is a file only after ``finish()``, and never once a method has thrown.
public struct ACHFileWriter {
  /// Takes the next bytes of the file.
  public typealias Sink = ([UInt8]) throws -> Void

  private static let chunk = 1 << 16
  private let sink: Sink
  private var buffer: [UInt8] = []
  private var lines: UInt64 = 0
  private var batches: UInt64 = 0
  private var batch: ACHBatchHeader?
  private var batchNumber = 0
  private var lastTrace: ACHTraceNumber?
  private var inBatch = ACHTotals()
  private var inFile = ACHTotals()

  /// Writes the file header; lines end in LF.
  /// - Throws: ``ACHError`` where a field does not fit; what the sink throws.
  public init(_ header: ACHFileHeader, to sink: @escaping Sink) throws {
    self.sink = sink
    buffer.reserveCapacity(Self.chunk + 1024)
    put("101 ")
    put(header.immediateDestination)
    try put(header.immediateOrigin, 10)
    put(header.creationDate.yymmdd)
    put(header.creationTime.hhmm)
    put(String(header.fileIDModifier))
    put("094101")
    try put(header.destinationName, 23)
    try put(header.originName, 23)
    blank(8)
    try endLine()
  }

  /// Starts a batch, after ending the one before.
  /// - Throws: ``ACHError`` where a field does not fit or the number does not ascend; what the sink throws.
  public mutating func begin(_ header: ACHBatchHeader) throws {
    try endBatch()
    guard header.number > batchNumber, header.number <= 9_999_999, batches < 999_999 else {
      throw ACHError(.batchNumber, "Number the batches upwards from 1, at most 7 digits.", line: Int(lines) + 1)
    }
    guard [200, 220, 225].contains(header.serviceClass) else {
      throw ACHError(.serviceClass, "Take service class 200, 220 or 225.", line: Int(lines) + 1)
    }
    guard header.settlementDay.map({ (1...366).contains($0) }) ?? true else {
      throw ACHError(.settlementDate, "Write the settlement date as day of the year, 1 to 366.", line: Int(lines) + 1)
    }
    guard (1...2).contains(header.originatorStatus) else {
      throw ACHError(.originatorStatus, "Take originator status 1, or 2 for federal agencies.", line: Int(lines) + 1)
    }
    _ = try ABA.routingNumber(of: header.odfi)
    batch = header
    batchNumber = header.number
    batches += 1
    inBatch = ACHTotals()
    lastTrace = nil
    put("5")
    put(UInt64(header.serviceClass), 3)
    try put(header.companyName, 16)
    try put(header.companyData, 20)
    try put(header.companyIdentification, 10)
    try put(header.entryClass, 3)
    try put(header.entryDescription, 10)
    try put(header.descriptiveDate, 6)
    put(header.effectiveEntryDate?.yymmdd ?? "000000")
    if let day = header.settlementDay { put(UInt64(clamping: day), 3) } else { blank(3) }
    put(UInt64(clamping: header.originatorStatus), 1)
    put(header.odfi)
    put(UInt64(header.number), 7)
    try endLine()
  }

  /// Writes an entry with its addenda record.
  /// - Throws: ``ACHError`` where a field does not fit, the entry is not of the batch's service class, its trace number
  ///   does not ascend, or a total overflows; what the sink throws.
  public mutating func write(_ entry: ACHEntry) throws {
    guard let batch else { throw ACHError(.recordOrder, "Begin a batch before its entries.", line: Int(lines) + 1) }
    let code = UInt64(clamping: entry.transactionCode)
    guard batch.serviceClass == 200 || (batch.serviceClass == 220) == ACHTotals.isCredit(code) else {
      throw ACHError(.serviceClass, "Put credits into class 220 or 200, debits into 225 or 200.", line: Int(lines) + 1)
    }
    guard lastTrace.map({ $0 < entry.traceNumber }) ?? true else {
      throw ACHError(.traceNumber, "Order the entries of a batch by trace number.", line: Int(lines) + 1)
    }
    guard (0...ACHCredit.greatestAmount).contains(entry.amount), code < 100 else {
      throw ACHError(.amount, "An entry's amount has at most 10 digits.", line: Int(lines) + 1)
    }
    try ACHText.checkRouting(entry.routingNumber)
    let rdfi = entry.routingNumber.utf8.prefix(8).reduce(UInt64(0)) { $0 * 10 + UInt64($1 & 15) }
    inBatch.add(code: code, rdfi: rdfi, amount: UInt64(entry.amount))
    if entry.addenda != nil { inBatch.records += 1 }
    guard inBatch.records <= ACHTotals.greatestCount.batch,
      inFile.records + inBatch.records <= ACHTotals.greatestCount.file,
      inFile.debits + inBatch.debits <= ACHTotals.greatest, inFile.credits + inBatch.credits <= ACHTotals.greatest
    else {
      throw ACHError(
        .tooLarge,
        "A batch has at most 999,999 records and a file totals of 12 digits; cut the file before this entry.",
        line: Int(lines) + 1)
    }
    lastTrace = entry.traceNumber
    put("6")
    put(code, 2)
    put(entry.routingNumber)
    try put(entry.accountNumber, 17)
    put(UInt64(entry.amount), 10)
    try put(entry.identification, 15)
    try put(entry.name, 22)
    try put(entry.discretionaryData, 2)
    put(entry.addenda == nil ? "0" : "1")
    put(entry.traceNumber.value, 15)
    try endLine()
    switch entry.addenda {
    case nil: break
    case .payment(let information):
      put("705")
      try put(information, 80)
      put(1, 4)
      put(entry.traceNumber.sequence, 7)
      try endLine()
    case .returned(let code, let original, let rdfi, let information):
      put("799")
      put(code.text)
      put(original.value, 15)
      blank(6)
      try put(rdfi, 8)
      try put(information, 44)
      put(entry.traceNumber.value, 15)
      try endLine()
    }
  }

  /// Ends the last batch, writes the file control and the padding, and hands the rest to the sink.
  /// - Throws: ``ACHError`` where a count does not fit; what the sink throws.
  public mutating func finish() throws {
    try endBatch()
    let blocks = (lines + 1 + 9) / 10
    guard blocks <= 999_999 else { throw ACHError(.tooLarge, "A file has at most 999,999 blocks; cut it.") }
    put("9")
    put(batches, 6)
    put(blocks, 6)
    put(inFile.records, 8)
    put(inFile)
    blank(39)
    try endLine()
    while lines % 10 != 0 {
      buffer.append(contentsOf: repeatElement(UInt8(ascii: "9"), count: 94))
      try endLine()
    }
    try flush()
  }

  private mutating func endBatch() throws {
    guard let batch else { return }
    self.batch = nil
    guard inBatch.records > 0 else {
      throw ACHError(.empty, "A batch has at least one entry; begin it when there is one.", line: Int(lines))
    }
    put("8")
    put(UInt64(batch.serviceClass), 3)
    put(inBatch.records, 6)
    put(inBatch)
    try put(batch.companyIdentification, 10)
    blank(25)
    put(batch.odfi)
    put(UInt64(batch.number), 7)
    inFile.add(inBatch)
    try endLine()
  }

  private mutating func endLine() throws {
    buffer.append(UInt8(ascii: "\n"))
    lines += 1
    if buffer.count >= Self.chunk { try flush() }
  }

  private mutating func flush() throws {
    guard !buffer.isEmpty else { return }
    try sink(buffer)
    buffer.removeAll(keepingCapacity: true)
  }

  private mutating func put(_ totals: ACHTotals) {
    put(totals.hash, 10)
    put(totals.debits, 12)
    put(totals.credits, 12)
  }

  private mutating func put(_ text: String) { buffer.append(contentsOf: text.utf8) }

  private mutating func blank(_ count: Int) { buffer.append(contentsOf: repeatElement(0x20, count: count)) }

  /// A text, left-justified with spaces.
  private mutating func put(_ text: String, _ width: Int) throws(ACHError) {
    let start = buffer.count
    buffer.append(contentsOf: text.utf8)
    let count = buffer.count - start
    guard count <= width, buffer[start...].allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
      throw ACHError(
        .text, "A field of \(width) characters holds at most as many of printable ASCII.", line: Int(lines) + 1)
    }
    blank(width - count)
  }

  /// A number, right-justified with zeros.
  private mutating func put(_ number: UInt64, _ width: Int) {
    let start = buffer.count
    buffer.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: width))
    var rest = number
    var index = start + width
    while rest > 0, index > start {
      index -= 1
      buffer[index] = UInt8(ascii: "0") + UInt8(rest % 10)
      rest /= 10
    }
  }
}
