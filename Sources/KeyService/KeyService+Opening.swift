import Crypto
public import KeyHierarchy
import KeyManifests
import Wire

extension KeyService {
  /// Compares the history in the database with its end in the file outside, and replays destructions. Where the HSM
  /// does not answer, it stays as it is and may be called again.
  public func open() async throws {
    guard case .waiting = mode else { return }
    let task =
      opening
      ?? Task {
        defer { opening = nil }
        try await compare()
      }
    opening = task
    try await task.value
  }

  private func compare() async throws {
    do {
      let kept = try KeyHeadFile.read(parts.headFile)
      guard try await isOurs(kept) else {
        return mode = .refused("\(parts.headFile) was edited, or written by another deployment")
      }
      destroyed = Set(kept.head.destroyed)
      // Whatever else is wrong, what was destroyed stays destroyed.
      try await eraseRisen()
      if let why = try await contradiction(of: kept.head) { return mode = .refused(why) }
      try journal.open()
      // The last run may have ended between a leaf and the file.
      let lags =
        try await parts.recorder.read { unit in try unit.lastKeyEvent()?.sequence ?? 0 } != kept.head.chain.count
      if lags { try await anchor() }
      mode = .open
    } catch let error as KeyHeadFileError {
      mode = .refused(error.description)
    } catch let error as KeyRecordError {
      mode = .refused("\(parts.headFile): \(error.message)")
    } catch {
      let problem =
        error as? Problem
        ?? Problem(503, "keys_waiting", "The key records cannot be read (\(error)); look at 'trustcore status'.")
      mode = .waiting("\(problem)")
      throw problem
    }
  }

  private func isOurs(_ kept: KeyHeadFile) async throws -> Bool {
    try await withToken { (custodian, root) throws(CustodyError) -> Bool? in
      guard let code = kept.codes.mac(of: root) else { return nil }
      return constantTimeEqual(try await custodian.authenticate(record: kept.head.macInput), code)
    }
  }

  /// Erases what the file calls destroyed and a restored database still holds.
  private func eraseRisen() async throws {
    let destroyed = destroyed
    let risen = try await parts.recorder.read { unit in
      try destroyed.filter { id in
        try unit.keyVersions(of: id).contains { row in
          !row.record.isEmpty && (try? KEKRecord(decoding: row.record))?.state != .destroyed
        }
      }
    }
    guard !risen.isEmpty else { return }
    try await parts.recorder.erase(risen.sorted())
    try await parts.recorder.scrub()
  }

  /// Why the history in the database is not the one that a head ends; nil where it is. Steps after that end, which the
  /// file had not followed yet, must be on record.
  func contradiction(of head: KeyHead) async throws -> String? {
    let (length, found, later, newest) = try await parts.recorder.read { unit in
      try Self.history(in: &unit, upTo: head.chain.count)
    }
    guard let found else {
      return "the database ends at key event \(length), and \(parts.headFile) at \(head.chain.count): "
        + "an older copy was restored"
    }
    guard found == head.chain.value else {
      return "the history of key records is not the one that \(parts.headFile) ends"
    }
    for event in later where try await !isOnRecord(event) {
      return "no leaf under a signed tree head says what key event \(event.sequence) does"
    }
    self.newest = newest
    return nil
  }

  private typealias History = (length: UInt64, chain: [UInt8]?, later: [KeyEventRow], newest: [String: UInt64])

  /// Computes the whole chain again.
  /// - Returns: how many steps there are; the chain after `count` of them, nil where there are fewer, and empty where
  ///   a step is not what the chain says; the steps after that; and the newest step of each version of a key.
  private static func history(in unit: inout Recorder.Unit, upTo count: UInt64) throws -> History {
    var last: KeyEventRow?
    var history: History = (0, count == 0 ? KeyEventChain().value : nil, [], [:])
    while case let page = try unit.keyEvents(after: last?.sequence ?? 0, limit: 4096), !page.isEmpty {
      for row in page {
        let entry = KeyTransition.Entry(record: row.record, number: row.number, state: row.state, digest: row.digest)
        guard row.leafIndex >= last?.leafIndex ?? 0,
          row == (try? KeyTransition.event(entry, after: last, leafIndex: row.leafIndex))
        else { return (row.sequence, [], [], [:]) }
        if row.sequence == count { history.chain = row.chain }
        if row.sequence > count { history.later.append(row) }
        if row.record.contains("/") { history.newest[row.record] = row.sequence }
        (history.length, last) = (row.sequence, row)
      }
    }
    return history
  }

  /// Whether the leaf that a step names says so, under a signed tree head.
  func isOnRecord(_ event: KeyEventRow) async throws -> Bool {
    let seal = try await parts.recorder.seal(ofLeaf: event.leafIndex)
    guard let bytes = try? Base64.URL.decode(seal["content"]?.string ?? ""),
      let transition = try? KeyTransition("", try JSONValue(parsing: bytes))
    else { return false }
    return transition.entries.contains {
      $0.record == event.record && $0.number == event.number && $0.state == event.state && $0.digest == event.digest
    }
  }

  /// Makes the file of a new deployment, with an empty history.
  public static func createHeadFile(_ path: String, custodian: any KEKCustodian) async throws {
    let head = try KeyHead(chain: KeyEventChain(), destroyed: [])
    let root = try await custodian.rootCheckValue()
    let codes = try RecordMACs([.init(root: root, mac: try await custodian.authenticate(record: head.macInput))])
    try KeyHeadFile.write(head, codes: codes, to: path)
  }

  /// Writes the end of the history to the file outside the database; calls that come meanwhile share the next write.
  func anchor() async throws {
    if let under = anchoring {
      // The write under way may have read the history before the caller's event.
      anchorAgain = true
      return try await under.value
    }
    let task = Task {
      // At once when the last write is done: who comes after that must not wait for this task.
      defer { anchoring = nil }
      repeat {
        anchorAgain = false
        try await writeHead()
      } while anchorAgain
    }
    anchoring = task
    try await task.value
  }

  private func writeHead() async throws {
    let (last, now) = try await parts.recorder.read { unit in
      (try unit.lastKeyEvent(), try unit.keys().filter { $0.state == .destroyed }.map(\.id))
    }
    let head = try KeyHead(
      chain: KeyEventChain(count: last?.sequence ?? 0, value: last?.chain ?? KeyEventChain().value),
      destroyed: destroyed.union(now))
    let codes = try await codes { _ in head.macInput }
    do { try KeyHeadFile.write(head, codes: codes, to: parts.headFile) } catch {
      throw Problem(503, "key_head_failed", "\(error); an operator must look at the disk.")
    }
  }

  /// Has the file outside follow the history, and what was erased leave the storage's files.
  func settle() async throws {
    try await anchor()
    let count = erasures
    guard scrubbed < count else { return }
    do { try await parts.recorder.scrub() } catch {
      throw Problem(503, "key_scrub_failed", "What was erased may still be read in the storage's files: \(error).")
    }
    scrubbed = max(scrubbed, count)
  }

  /// The codes of authenticity of every token that answers, at least one.
  func codes(of input: (KeyCheckValue) -> [UInt8]) async throws -> RecordMACs {
    var codes: [RecordMACs.Entry] = []
    var last: CustodyError?
    for (index, custodian) in parts.custodians.enumerated() {
      do throws(CustodyError) {
        let root = try await root(index, custodian)
        codes.append(.init(root: root, mac: try await custodian.authenticate(record: input(root))))
      } catch {
        last = error
      }
    }
    if codes.isEmpty, let last { throw Self.problem(last) }
    return try RecordMACs(codes)
  }
}
