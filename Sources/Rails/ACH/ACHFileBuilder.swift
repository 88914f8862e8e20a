/// Makes the file of a list of credits: the same bytes for the same input, so that a file can be made again to compare
/// it with the one that was sent.
public struct ACHFileBuilder: Sendable {
  /// Who sends the file.
  public let originator: ACHOriginator
  /// The file's header.
  public let header: ACHFileHeader
  /// The day on which the payments shall settle.
  public let effectiveEntryDate: CivilDate
  /// The number of the file's first batch.
  public let firstBatchNumber: Int

  /// Checks what the file shall be.
  /// - Parameters:
  ///   - originator: who sends it.
  ///   - fileIDModifier: tells files of one day apart: A to Z, 0 to 9.
  ///   - creationDate: the day it is made.
  ///   - creationTime: the time it is made.
  ///   - effectiveEntryDate: the day on which the payments shall settle; a banking day, and `creationDate` itself for
  ///     Same Day ACH.
  ///   - firstBatchNumber: the number of its first batch; the second has the next one.
  /// - Throws: ``ACHError/Code/fileIDModifier``, ``ACHError/Code/effectiveDate`` or ``ACHError/Code/batchNumber``.
  public init(
    originator: ACHOriginator, fileIDModifier: Character, creationDate: CivilDate, creationTime: CivilTime,
    effectiveEntryDate: CivilDate, firstBatchNumber: Int = 1
  ) throws(ACHError) {
    header = try ACHFileHeader(
      immediateDestination: originator.immediateDestination, immediateOrigin: originator.immediateOrigin,
      destinationName: originator.destinationName, originName: originator.originName, creationDate: creationDate,
      creationTime: creationTime, fileIDModifier: fileIDModifier)
    guard effectiveEntryDate >= creationDate, BankingCalendar.isBankingDay(effectiveEntryDate) else {
      throw ACHError(.effectiveDate, "Take a banking day on or after the file's date as effective entry date.")
    }
    guard (1...9_999_998).contains(firstBatchNumber) else {
      throw ACHError(.batchNumber, "Number the batches from 1 to 9,999,998.")
    }
    self.originator = originator
    self.effectiveEntryDate = effectiveEntryDate
    self.firstBatchNumber = firstBatchNumber
  }

  /// True where the file asks for Same Day ACH.
  public var isSameDay: Bool { effectiveEntryDate == header.creationDate }

  /// How many of the leaves, counted from the first, can share a file: up to the one at which the seven digits of the
  /// trace number's sequence start again.
  public static func fitting(leafIndices: some Sequence<UInt64>) -> Int {
    var count = 0
    var cycle: UInt64?
    for index in leafIndices {
      guard cycle == nil || cycle == index / 10_000_000 else { break }
      cycle = index / 10_000_000
      count += 1
    }
    return count
  }

  /// How many of the credits, counted from the first, can share a file: as ``fitting(leafIndices:)``, and what the
  /// fields for counts and totals hold.
  public static func fitting(_ credits: some Collection<ACHCredit>) -> Int {
    var count = 0
    var records: [ACHEntryClass: UInt64] = [:]
    var total: UInt64 = 0
    for credit in credits.prefix(fitting(leafIndices: credits.lazy.map(\.leafIndex))) {
      records[credit.account.entryClass, default: 0] += credit.reference == nil ? 1 : 2
      total += UInt64(credit.amount)
      guard records[credit.account.entryClass, default: 0] <= ACHTotals.greatestCount.batch,
        total <= ACHTotals.greatest
      else { break }
      count += 1
    }
    return count
  }

  /// Writes the file: one batch for the class CCD and one for PPD, where there are such credits.
  /// - Parameters:
  ///   - credits: in the order of their leaves; read once per class.
  ///   - sink: takes the bytes in chunks of about 64 KiB.
  /// - Throws: ``ACHError/Code/leafOrder``, ``ACHError/Code/traceWrap``, ``ACHError/Code/sameDayAmount``,
  ///   ``ACHError/Code/tooLarge`` or ``ACHError/Code/empty``; what the sink throws.
  public func write(_ credits: some Collection<ACHCredit>, to sink: @escaping ACHFileWriter.Sink) throws {
    try check(credits)
    var writer = try ACHFileWriter(header, to: sink)
    var number = firstBatchNumber
    for entryClass in ACHEntryClass.allCases {
      var begun = false
      for credit in credits where credit.account.entryClass == entryClass {
        if !begun {
          begun = true
          try writer.begin(
            ACHBatchHeader(
              serviceClass: 220, companyName: originator.companyName,
              companyIdentification: originator.companyIdentification, entryClass: entryClass.code,
              entryDescription: originator.entryDescription, effectiveEntryDate: effectiveEntryDate,
              odfi: originator.odfi, number: number))
          number += 1
        }
        try writer.write(ACHEntry(credit, odfi: originator.odfi))
      }
    }
    try writer.finish()
  }

  /// The file's bytes.
  /// - Throws: as ``write(_:to:)``.
  public func build(_ credits: some Collection<ACHCredit>) throws(ACHError) -> [UInt8] {
    var bytes: [UInt8] = []
    try ACHError.only { try write(credits) { bytes += $0 } }
    return bytes
  }

  private func check(_ credits: some Collection<ACHCredit>) throws(ACHError) {
    guard var last = credits.first?.leafIndex else {
      throw ACHError(.empty, "A file has at least one credit; make none where there is nothing to pay.")
    }
    let cycle = last / 10_000_000
    let limit = isSameDay ? DatedLimit.sameDayACH.amount(on: effectiveEntryDate) ?? 0 : ACHCredit.greatestAmount
    for (position, credit) in credits.enumerated() {
      guard position == 0 || credit.leafIndex > last else {
        throw ACHError(.leafOrder, "Order the credits by leaf index, each once; credit \(position) is out of order.")
      }
      guard credit.leafIndex / 10_000_000 == cycle else {
        throw ACHError(
          .traceWrap, "The trace numbers start again at credit \(position); cut the file before it.")
      }
      guard credit.amount <= limit else {
        throw ACHError(
          .sameDayAmount,
          "Same Day ACH takes at most \(limit) cents an entry; credit \(position) needs a later effective entry date.")
      }
      last = credit.leafIndex
    }
  }
}

extension ACHError {
  /// Runs what throws nothing but errors of this type, with a type that says so.
  static func only<T>(_ body: () throws -> T) throws(ACHError) -> T {
    do { return try body() } catch let error as ACHError { throw error } catch {
      throw ACHError(Code("ach_failed"), "The file cannot be made: \(error)")
    }
  }
}
