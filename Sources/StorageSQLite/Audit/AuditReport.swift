/// What an offline audit found.
public struct AuditReport: Sendable {
  /// Something that is not as the record says.
  public struct Finding: Sendable, Equatable, CustomStringConvertible {
    /// Where: `leaf 17`, `account acc_…`, `tile 0/3`, `checkpoint of 12 leaves`.
    public let place: String
    /// What is wrong there.
    public let sentence: String
    /// `place: sentence`.
    public var description: String { "\(place): \(sentence)" }
  }

  /// At most so many findings are kept; ``findingCount`` counts them all.
  public static let maximumFindings = 100

  /// The first findings, in the order of the log and then of the tables.
  public private(set) var findings: [Finding] = []
  /// How many findings there were.
  public private(set) var findingCount = 0
  /// Leaves read.
  public internal(set) var leaves: UInt64 = 0
  /// Leaves above the newest checkpoint, which the next signature will seal.
  public internal(set) var unsealed: UInt64 = 0
  /// Checkpoints whose signature and root were verified.
  public internal(set) var checkpoints = 0
  /// Hash tiles that were computed again and compared.
  public internal(set) var tiles = 0
  /// Evidence chains, one for each authorised, held and denied leaf, that were verified.
  public internal(set) var evidenceChains = 0
  /// Commands that were allowed.
  public internal(set) var authorized = 0
  /// Commands that were held for approvals.
  public internal(set) var held = 0
  /// Commands that were refused.
  public internal(set) var denied = 0
  /// Authorised commands that were carried out and whose receipt was proven.
  public internal(set) var receipts = 0
  /// Authorised commands that failed or expired.
  public internal(set) var failed = 0
  /// Authorised commands without an outcome yet.
  public internal(set) var inFlight = 0
  /// Events.
  public internal(set) var events = 0
  /// Principals compared with the record.
  public internal(set) var principals = 0
  /// Accounts compared with the record.
  public internal(set) var accounts = 0
  /// Holds compared with the record.
  public internal(set) var holds = 0
  /// Credentials compared with the record.
  public internal(set) var credentials = 0
  /// Consents compared with the record.
  public internal(set) var consents = 0
  /// Payments compared with the record.
  public internal(set) var payments = 0
  /// Decisions about payments compared with the record.
  public internal(set) var approvals = 0
  /// Files for the bank compared with the record.
  public internal(set) var files = 0
  /// Key-encryption keys compared with the record.
  public internal(set) var keys = 0
  /// Data keys compared with the record.
  public internal(set) var dataKeys = 0
  /// Registration entries, without deleted ones, compared with the record.
  public internal(set) var entries = 0
  /// Authorities of workloads' identities compared with the record.
  public internal(set) var authorities = 0
  /// Federations compared with the record.
  public internal(set) var federations = 0
  /// Postings compared with the record.
  public internal(set) var postings = 0

  /// What the receipt that was asked for rests on, link by link; empty where none was.
  public internal(set) var chain: [Link] = []

  /// True where nothing was found.
  public var isSound: Bool { findingCount == 0 }

  mutating func add(_ place: String, _ sentence: String) {
    findingCount += 1
    if findings.count < Self.maximumFindings { findings.append(Finding(place: place, sentence: sentence)) }
  }
}

/// Why one step of an audit ended early; it becomes a finding.
struct Mismatch: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

/// Demands something of the record.
func demand(_ holds: Bool, _ sentence: @autoclosure () -> String) throws(Mismatch) {
  if !holds { throw Mismatch(sentence()) }
}
