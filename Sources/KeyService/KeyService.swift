public import Envelope
public import KeyHierarchy
import KeyManifests
public import Wire

/// Carries out what officers and the schedule have ordered about keys, and gives principals their data keys. Whatever
/// changes a record goes through the HSM first, then under a leaf; the end of the records' history is kept in a file
/// outside the database.
public actor KeyService<Recorder: KeyRecorder> {
  /// What the service stands on.
  public struct Parts: Sendable {
    /// The `data` tokens: new keys are wrapped to each, and the first that answers is used.
    public var custodians: [any KEKCustodian]
    /// The public half of the offline recovery key; new keys are wrapped to it too.
    public var recovery: RecoveryKey.PublicKey?
    /// The deployment's environment, to which keys are bound.
    public var environment: String
    /// This node's name, as receipts of destruction list it.
    public var node: String
    /// The file that keeps the end of the history.
    public var headFile: String
    /// The folder that uses of keys are journalled in.
    public var journalFolder: String
    /// Gate and storage.
    public var recorder: Recorder
    /// The clock.
    public var time: any TimeSource
    /// Random bytes.
    public var random: any RandomSource
    /// At most so many data keys in locked memory.
    public var cachedDataKeys = 1024

    /// Collects the parts.
    public init(
      custodians: [any KEKCustodian], recovery: RecoveryKey.PublicKey?, environment: String, node: String,
      headFile: String, journalFolder: String, recorder: Recorder, time: any TimeSource, random: any RandomSource
    ) {
      self.custodians = custodians
      self.recovery = recovery
      self.environment = environment
      self.node = node
      self.headFile = headFile
      self.journalFolder = journalFolder
      self.recorder = recorder
      self.time = time
      self.random = random
    }
  }

  /// Whether keys can be used.
  public enum Mode: Sendable, Equatable {
    /// They can.
    case open
    /// Not yet: the HSM has not answered.
    case waiting(String)
    /// They cannot: the database is not what the history outside it says.
    case refused(String)
  }

  /// How far a rewrap is.
  public struct Progress: Sendable, Equatable {
    /// Data keys that were to be rewrapped when it began.
    public let total: Int
    /// Those that are.
    public var done = 0
    /// Those whose record was refused.
    public var refused = 0
    /// When it began.
    public let started: Timestamp
  }

  let parts: Parts
  var mode: Mode = .waiting("the service starts")
  var opening: Task<Void, any Error>?
  /// Check values of the custodians' root keys, once they have answered.
  var roots: [KeyCheckValue?]
  /// Keys that were destroyed before this service opened, as the file outside the database says.
  var destroyed: Set<String> = []
  /// Versions of keys whose code of authenticity was verified, by ``form(_:_:)``.
  var verified: [[UInt8]: KEKRecord] = [:]
  /// Forms of data keys, likewise.
  var verifiedDataKeys: Set<[UInt8]> = []
  /// The newest step of each version's history that this service has seen: an older one is a replay.
  var newest: [String: UInt64] = [:]
  /// Uses under way, by key, and who waits for the end of those that had begun.
  private var uses: [String: Set<UInt64>] = [:]
  private var begun: UInt64 = 0
  private var waiting: [(left: Set<UInt64>, continuation: CheckedContinuation<Void, Never>)] = []
  /// Tasks under way.
  var running: [String: Task<Void, any Error>] = [:]
  var progress: [String: Progress] = [:]
  /// Why a pending task could not be done at its last attempt.
  var obstacles: [String: String] = [:]
  /// Tasks that have their leaf and wait for the file outside, or for erased bytes to leave the storage's files.
  var unsettled: [String: KeyTask] = [:]
  /// Counts erasures, the start as one since the last run may have ended after one; and those that are scrubbed.
  var erasures: UInt64 = 1
  var scrubbed: UInt64 = 0
  /// Versions to which a data key could not be brought: the schedule does not order that again.
  var unfinished: [String: UInt32] = [:]
  var anchoring: Task<Void, any Error>?
  /// The last write that nobody was kept waiting for.
  var following: Task<Void, Never>?
  /// The segments of the journal that are being recorded.
  var closingJournal: Task<Void, any Error>?
  var anchorAgain = false
  /// Refusals that are on the record already.
  var refusals: Set<[UInt8]> = []
  let cache: DataKeyCache
  let journal: KeyUseJournal

  /// Makes a service; it opens itself at its first use.
  public init(_ parts: Parts) throws {
    self.parts = parts
    roots = parts.custodians.map { _ in nil }
    cache = try DataKeyCache(slots: parts.cachedDataKeys)
    journal = KeyUseJournal(folder: parts.journalFolder)
  }

  /// Demands that keys can be used: that the records are those of the history outside, and that the log, on which every
  /// further step must go, is the one that was signed.
  func demandOpen() async throws {
    try await open()
    if case .refused = mode {
      throw Problem(
        503, "key_records_refused",
        "The key records are not those that the log ends with; look at 'trustcore status' and restore the database.")
    }
    try await parts.recorder.demandLog()
  }

  // MARK: - Tokens

  /// Runs `body` with the first custodian that answers.
  func withToken<Result>(
    _ body: (any KEKCustodian, KeyCheckValue) async throws(CustodyError) -> Result?
  ) async throws -> Result {
    var last: CustodyError?
    for (index, custodian) in parts.custodians.enumerated() {
      do throws(CustodyError) {
        let root = try await root(index, custodian)
        if let result = try await body(custodian, root) { return result }
      } catch {
        guard error.mayPass else { throw Self.problem(error) }
        last = error
      }
    }
    if let last { throw Self.problem(last) }
    throw Problem(
      503, "root_key_absent",
      "None of the tokens holds the root key that this was made under; connect that token, or recover the keys.")
  }

  func root(_ index: Int, _ custodian: any KEKCustodian) async throws(CustodyError) -> KeyCheckValue {
    if let known = roots[index] { return known }
    let value = try await custodian.rootCheckValue()
    roots[index] = value
    return value
  }

  /// A custodian's error as callers see it; what the token said stands in the status of the tokens.
  static func problem(_ error: CustodyError) -> Problem {
    func unavailable(_ code: String, _ sentence: String, after seconds: Int) -> Problem {
      Problem(503, code, sentence, headers: ["Retry-After": "\(seconds)"])
    }
    return switch error.code {
    case .notAuthentic:
      Problem(422, "not_authentic", "The key, its context or its record is not what was encrypted.")
    case .busy: unavailable("hsm_busy", "Too many operations wait for the HSM; send it again later.", after: 1)
    case .timedOut: unavailable("hsm_timeout", "The HSM did not answer in time; send it again later.", after: 5)
    case .unavailable: unavailable("hsm_unavailable", "The HSM's data token is away; send it again later.", after: 5)
    case .full: unavailable("hsm_full", "The HSM has no room left; an operator must make some.", after: 60)
    case .wrongPIN: unavailable("wrong_pin", "The data token refused its PIN; an operator must set it.", after: 60)
    case .keyChanged:
      unavailable("key_changed", "A key on the data token is another one; an operator must look at it.", after: 60)
    case .keyNotFound:
      unavailable("root_key_absent", "The data token lacks a key; an operator must connect the right one.", after: 60)
    default: unavailable("hsm_failed", "The HSM failed; an operator must look at 'trustcore status'.", after: 60)
    }
  }

  // MARK: - Uses under way

  /// Notes that a key is used until ``end(_:_:)``.
  func begin(_ key: String) -> UInt64 {
    begun += 1
    uses[key, default: []].insert(begun)
    return begun
  }

  func end(_ key: String, _ use: UInt64) {
    uses[key]?.remove(use)
    if uses[key]?.isEmpty == true { uses[key] = nil }
    for index in waiting.indices { waiting[index].left.remove(use) }
    for waiter in waiting where waiter.left.isEmpty { waiter.continuation.resume() }
    waiting.removeAll { $0.left.isEmpty }
  }

  /// Returns once the uses of a key that are under way have ended; further ones may have begun.
  func drain(_ key: String) async {
    guard let left = uses[key] else { return }
    await withCheckedContinuation { waiting.append((left, $0)) }
  }
}

extension CustodyError {
  /// True where another token, or the same one later, may succeed.
  var mayPass: Bool {
    [.unavailable, .timedOut, .busy, .full, .wrongPIN, .keyChanged, .keyNotFound, .failed].contains(code)
  }
}
