/// Which rules a file is held to.
public enum ACHRules: Sendable {
  /// Those for every file, whoever made it.
  case received
  /// Also those for what an originator hands to its bank: settlement dates blank, originator status 1, effective entry
  /// dates on banking days, and the limits of Same Day ACH.
  case originated
}

/// Reads a file in chunks of any size, checks it, and hands each record to a visitor; it holds one record and some
/// counters, however long the file is. What was visited is good only once ``finish(_:)`` has returned.
///
/// The rules are those of the Nacha Operating Rules, Appendix Three.
public struct ACHReader {
  /// Takes a record that stands where it may and whose own fields are good.
  public typealias Visitor = (ACHRecord) throws(ACHError) -> Void

  /// What stands between two records.
  public enum LineEnding: Sendable, Hashable {
    /// A line feed.
    case lf
    /// A carriage return and a line feed.
    case crlf
    /// Nothing.
    case absent

    /// Its bytes.
    public var bytes: [UInt8] {
      switch self {
      case .lf: [0x0A]
      case .crlf: [0x0D, 0x0A]
      case .absent: []
      }
    }
  }

  /// At most so many bytes of line ends may follow the last record.
  public static let greatestTail = 64

  /// How lines end; nil until the first record has ended.
  public private(set) var lineEnding: LineEnding?
  /// What follows the last record so far: line ends.
  public private(set) var tail: [UInt8] = []
  let rules: ACHRules
  private var partial: [UInt8] = []
  private var ended = false
  var line = 0
  var file = FileState()
  var batch: BatchState?
  var entry: EntryState?

  /// A reader at the start of a file.
  public init(_ rules: ACHRules = .received) {
    self.rules = rules
    partial.reserveCapacity(96)
  }

  /// Reads the next bytes.
  /// - Throws: the first rule that the file breaks, with its line; what the visitor throws. The reader is spent then.
  public mutating func read(_ chunk: some Sequence<UInt8>, _ visit: Visitor) throws(ACHError) {
    for byte in chunk {
      if byte == 0x0A {
        try endLine(visit)
      } else if ended {
        guard byte == 0x0D else { throw error(.recordLength, "Remove the empty line before this one.", next: true) }
        try extendTail(byte)
      } else {
        if partial.count == 94, byte != 0x0D || lineEnding == .absent {
          // 94 characters without an end of line: so the file has none, or the record is too long.
          guard lineEnding ?? .absent == .absent else { throw recordLength() }
          lineEnding = .absent
          try take(visit)
        }
        guard partial.count < 95 else { throw recordLength() }
        partial.append(byte)
      }
    }
  }

  /// Ends the file.
  /// - Throws: the first rule that the file breaks, with its line; what the visitor throws.
  public mutating func finish(_ visit: Visitor) throws(ACHError) {
    if !partial.isEmpty {
      try take(visit)
      tail = []
    }
    try endFile()
  }

  private mutating func endLine(_ visit: Visitor) throws(ACHError) {
    let isCRLF = partial.last == 0x0D
    if isCRLF { partial.removeLast() }
    guard !partial.isEmpty else {
      guard line > 0 else { throw recordLength() }
      // An empty line: only others may follow.
      ended = true
      if isCRLF { try extendTail(0x0D) }
      return try extendTail(0x0A)
    }
    guard partial.count == 94 else { throw recordLength() }
    let ending: LineEnding = isCRLF ? .crlf : .lf
    if lineEnding == .absent {
      ended = true
    } else {
      guard lineEnding ?? ending == ending else {
        throw error(.lineEnding, "End all lines alike, with LF or with CR and LF.", next: true)
      }
      lineEnding = ending
    }
    try take(visit)
    tail = ending.bytes
  }

  private mutating func extendTail(_ byte: UInt8) throws(ACHError) {
    guard tail.count < Self.greatestTail else {
      throw error(.lineEnding, "Remove the empty lines behind the last record.", next: true)
    }
    tail.append(byte)
  }

  private func recordLength() -> ACHError {
    error(.recordLength, "Make the record 94 characters long; fill it with spaces.", next: true)
  }

  /// Takes the record in `partial`.
  private mutating func take(_ visit: Visitor) throws(ACHError) {
    guard partial.count == 94 else { throw recordLength() }
    line += 1
    guard partial.allSatisfy({ $0 >= 0x20 && $0 < 0x7F }) else {
      throw error(.character, "Use printable ASCII only.")
    }
    let record = ACHRecord(bytes: partial, line: line, layout: try layout(of: partial))
    for field in record.layout.fields {
      switch field.form {
      case .text: continue
      case .digitsOrBlank where record.isBlank(field): continue
      case .digits, .digitsOrBlank:
        guard record[field].allSatisfy(ACHText.isDigit) else {
          throw error(.numeric, "Write digits into the field \(field.name), filled with zeros from the left.")
        }
      }
    }
    try check(record)
    try visit(record)
    partial.removeAll(keepingCapacity: true)
  }

  /// The layout that a record has where it stands; the order of records is decided here.
  private func layout(of bytes: [UInt8]) throws(ACHError) -> ACHLayout {
    let nines = bytes.allSatisfy { $0 == UInt8(ascii: "9") }
    switch bytes[0] {
    case UInt8(ascii: "1") where line == 1: return .fileHeader
    case _ where line == 1: throw error(.recordOrder, "Begin the file with a file header, record 1.")
    case _ where file.control != nil:
      guard nines else { throw error(.recordOrder, "Write nothing but lines of nines behind the file control.") }
      return .padding
    case UInt8(ascii: "5") where batch == nil:
      // An IAT header has its class at the same place; changes to IAT entries come as COR with an indicator.
      let isIAT = bytes[50..<53].elementsEqual("IAT".utf8)
      let isChange = bytes[50..<53].elementsEqual("COR".utf8) && bytes[4..<10].elementsEqual("IATCOR".utf8)
      return isIAT || isChange ? .batchHeaderIAT : .batchHeader
    case UInt8(ascii: "6"):
      guard let batch else { break }
      return batch.isIAT ? .entryIAT : batch.isADV ? .entryADV : .entry
    case UInt8(ascii: "7") where entry != nil: return try addendaLayout(of: bytes)
    case UInt8(ascii: "8"):
      guard let batch else { break }
      return batch.isADV ? .batchControlADV : .batchControl
    case UInt8(ascii: "9") where batch == nil && !nines: return file.isADV == true ? .fileControlADV : .fileControl
    default: break
    }
    throw error(
      .recordOrder,
      "Order the records: 1, then batches of 5, entries 6 with their addenda 7, and 8, then 9 and the padding.")
  }

  private func addendaLayout(of bytes: [UInt8]) throws(ACHError) -> ACHLayout {
    switch String(decoding: bytes[1..<3], as: UTF8.self) {
    case "02": return .addenda02
    case "05": return .addenda05
    case "10": return .addenda10
    case "11": return .addenda11
    case "12": return .addenda12
    case "13": return .addenda13
    case "14": return .addenda14
    case "15": return .addenda15
    case "16": return .addenda16
    case "17": return .addenda17
    case "18": return .addenda18
    case "98":
      // Change codes are C01 to C14, refusals C61 to C69.
      let code = String(decoding: bytes[3..<6], as: UTF8.self)
      if Self.changeCodes.contains(code) { return .addenda98 }
      if Self.refusalCodes.contains(code) { return .addenda98Refused }
    case "99":
      switch ACHReturnCode(String(decoding: bytes[3..<6], as: UTF8.self))?.kind {
      case .returned: return .addenda99
      case .dishonored: return .addenda99Dishonored
      case .contested: return .addenda99Contested
      case nil: break
      }
    default: throw error(.addendaType, "Take an addenda type of 02, 05, 10 to 18, 98 or 99.")
    }
    throw error(.reasonCode, "Take a return code of R01 to R85, or a change code of C01 to C14 or C61 to C69.")
  }

  private static let changeCodes: Set = [
    "C01", "C02", "C03", "C04", "C05", "C06", "C07", "C08", "C09", "C13", "C14",
  ]
  private static let refusalCodes: Set = ["C61", "C62", "C63", "C64", "C65", "C66", "C67", "C68", "C69"]

  /// A refusal at the current line, or at the one that is being read.
  func error(_ code: ACHError.Code, _ message: String, next: Bool = false) -> ACHError {
    ACHError(code, message, line: next ? line + 1 : line)
  }
}
