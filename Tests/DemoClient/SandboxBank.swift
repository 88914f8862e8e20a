public import Rails

/// The bank at the other end of a demo: takes files as a bank would, and decides by its seed alone what becomes of each
/// entry. It has no clock and no randomness of its own.
public struct SandboxBank: Sendable {
  /// What becomes of an entry.
  public enum Outcome: Sendable, Hashable {
    /// It is acknowledged and paid.
    case accepted
    /// It comes back with that code.
    case returned(ACHReturnCode)
    /// Nothing is heard of it.
    case silence
  }

  /// What the bank says when it has taken a file.
  public struct Acknowledgement: Sendable, Hashable {
    /// The file.
    public let file: ACHFile.ID
    /// The entries that it accepted, in the file's order.
    public let accepted: [ACHTraceNumber]
  }

  /// The file has been here before; the code ``seen``.
  public static let seen = ACHError.Code("bank_file_seen")

  private let seed: UInt64
  private let script: [String: Outcome]
  private var files: Set<ACHFile.ID> = []

  /// Opens a bank.
  /// - Parameters:
  ///   - seed: decides together with its trace number about each entry: of a hundred, about 85 are accepted, 5 come
  ///     back with R01, 5 with R03, and of 5 nothing is heard.
  ///   - script: decides first, by account number.
  public init(seed: UInt64, script: [String: Outcome] = [:]) {
    self.seed = seed
    self.script = script
  }

  /// Takes a file.
  /// - Parameter bytes: the file.
  /// - Returns: what was accepted, and the file of returns, dated the banking day after the file was made; nil where
  ///   nothing comes back.
  /// - Throws: ``seen`` for a file whose identification was here before, or the first rule that the file breaks. The
  ///   bank then remembers nothing of it.
  public mutating func receive(
    _ bytes: [UInt8]
  ) throws(ACHError) -> (acknowledgement: Acknowledgement, returns: [UInt8]?) {
    let file = try ACHFile(parsing: bytes, .originated)
    guard !files.contains(file.id) else {
      throw ACHError(Self.seen, "This file is here already; ask for its state instead of sending it again.", line: 1)
    }
    var accepted: [ACHTraceNumber] = []
    var returned: [ACHReturnFile.Item] = []
    for entry in file.entries {
      guard let trace = entry.traceNumber else { continue }
      switch script[entry.accountNumber] ?? outcome(of: trace) {
      case .accepted: accepted.append(trace)
      case .returned(let code): returned.append(ACHReturnFile.Item(entry, code))
      case .silence: break
      }
    }
    let returns = returned.isEmpty ? nil : try answer(to: file, returned)
    files.insert(file.id)
    return (Acknowledgement(file: file.id, accepted: accepted), returns)
  }

  /// What becomes of an entry that the script does not name.
  public func outcome(of trace: ACHTraceNumber) -> Outcome {
    // SplitMix64's finaliser: neighbouring trace numbers get unrelated outcomes.
    var mixed = seed &+ trace.value &* 0x9E37_79B9_7F4A_7C15
    mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
    switch (mixed ^ (mixed >> 31)) % 100 {
    case 0..<85: return .accepted
    case 85..<90: return .returned(.insufficientFunds)
    case 90..<95: return .returned(.noAccount)
    default: return .silence
    }
  }

  private func answer(to file: ACHFile, _ items: [ACHReturnFile.Item]) throws(ACHError) -> [UInt8] {
    let header = file.records[0]
    func field(_ name: String) -> String { header.text(name) ?? "" }
    guard let created = file.creationDate, let modifier = field("file_id_modifier").first else {
      throw ACHError(.fileHeader, "The file header lacks its date.", line: 1)
    }
    let day = BankingCalendar.nextBankingDay(after: created)
    let bank = String(field("immediate_destination").suffix(9))
    // The returns go to the originating bank, whose routing number is its 8 digits and their check digit.
    let odfi = items[0].original.batch.text("odfi") ?? ""
    let answer = try ACHFileHeader(
      immediateDestination: ABA.routingNumber(of: odfi), immediateOrigin: " " + bank,
      destinationName: field("origin_name"), originName: field("destination_name"), creationDate: day,
      creationTime: CivilTime.morning, fileIDModifier: modifier)
    return try ACHReturnFile.build(items, header: answer, settlement: day)
  }
}
