import Crypto
import Envelope
import Glibc
import Synchronization
import Wire

/// The local stream of what was done with data keys: one JSON line for each use, in numbered segments. A segment is
/// closed about every minute, and its SHA-256 becomes a leaf; from then on no line of it can change unseen.
final class KeyUseJournal: Sendable {
  /// One use.
  struct Use: Sendable {
    let operation: String
    let dataKey: String
    let key: String
    let principal: String
    let request: [UInt8]

    init(_ operation: String, _ dataKey: String, key: String, _ principal: String, _ request: [UInt8]) {
      self.operation = operation
      self.dataKey = dataKey
      self.key = key
      self.principal = principal
      self.request = request
    }
  }

  /// A closed segment.
  struct Segment: Sendable {
    let number: UInt64
    let lines: UInt64
    /// SHA-256 of the file.
    let digest: [UInt8]
  }

  private struct State {
    var number: UInt64 = 0
    var lines: UInt64 = 0
    var hash = SHA256()
    var descriptor: Int32 = -1
    var opened: Int64 = 0
    /// Closed segments that are under no leaf yet.
    var closed: [Segment] = []
  }

  private let folder: String
  private let state = Mutex(State())

  init(folder: String) { self.folder = folder }

  deinit { state.withLock { if $0.descriptor >= 0 { _ = Glibc.close($0.descriptor) } } }

  /// Takes up the newest segment and those that a crash left without a leaf. A last line that is not whole is cut off,
  /// since nobody was answered before it was.
  func open() throws { try state.withLock { state in try open(&state) } }

  private func open(_ state: inout State) throws {
    guard state.descriptor < 0 else { return }
    guard unsafe mkdir(folder, 0o700) == 0 || errno == EEXIST else { throw Self.failed("cannot be made") }
    let (open, newest) = try segments()
    var closed: [Segment] = []
    for number in open where number < newest {
      let (descriptor, lines, hash) = try read(number)
      _ = Glibc.close(descriptor)
      closed.append(Segment(number: number, lines: lines, digest: Array(hash.finalize())))
    }
    // The one after the newest sealed segment, where that is the newest of all.
    let number = open.contains(newest) ? newest : newest + 1
    let (descriptor, lines, hash) = try read(number)
    state = State(number: number, lines: lines, hash: hash, descriptor: descriptor, closed: closed)
  }

  private func read(_ number: UInt64) throws -> (descriptor: Int32, lines: UInt64, hash: SHA256) {
    let descriptor = try Self.openFile(path(number))
    var (lines, whole, hash) = (UInt64(0), 0, SHA256())
    var pending: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while case let count = unsafe Glibc.read(descriptor, &buffer, buffer.count), count > 0 {
      pending += buffer[..<count]
      guard let end = pending.lastIndex(of: UInt8(ascii: "\n")) else { continue }
      hash.update(data: pending[...end])
      lines += UInt64(pending[...end].count { $0 == UInt8(ascii: "\n") })
      whole += end + 1
      pending.removeFirst(end + 1)
    }
    guard ftruncate(descriptor, off_t(whole)) == 0, lseek(descriptor, 0, SEEK_END) >= 0 else {
      _ = Glibc.close(descriptor)
      throw Self.failed("cannot be cut to its last whole line")
    }
    return (descriptor, lines, hash)
  }

  /// Writes a use before its answer goes out; where it cannot be written, there is no answer.
  func write(_ use: Use, at now: Timestamp) throws {
    let line =
      JSONValue.object([
        "at": .string(now.description), "data_key": .string(use.dataKey), "key": .string(use.key),
        "operation": .string(use.operation), "principal": .string(use.principal),
        "request_sha256": .string(Base64.URL.encode(use.request)),
      ]).canonical() + [UInt8(ascii: "\n")]
    try state.withLock { state in
      try open(&state)
      do { try KeyHeadFile.append(line, to: state.descriptor) } catch {
        defer { Self.abandon(&state) }
        throw Self.failed("cannot be written")
      }
      state.hash.update(data: line)
      if state.lines == 0 { state.opened = now.milliseconds }
      state.lines += 1
    }
  }

  /// Closes a file that a part of a line may have gone to; opening it again cuts that off.
  private static func abandon(_ state: inout State) {
    _ = Glibc.close(state.descriptor)
    state.descriptor = -1
  }

  /// Closes the open segment, if it has lines and was begun `seconds` ago or earlier, and begins the next.
  /// - Returns: the closed segments that are under no leaf yet.
  func close(at now: Timestamp, after seconds: Int64) throws -> [Segment] {
    try state.withLock { state in
      if state.descriptor >= 0, state.lines > 0, now.milliseconds - state.opened >= seconds * 1000 {
        guard fdatasync(state.descriptor) == 0 else { throw Self.failed("cannot be synced") }
        let next = try Self.openFile(path(state.number + 1))
        _ = Glibc.close(state.descriptor)
        let segment = Segment(number: state.number, lines: state.lines, digest: Array(state.hash.finalize()))
        state = State(number: state.number + 1, descriptor: next, closed: state.closed + [segment])
      }
      return state.closed
    }
  }

  /// Notes that a closed segment is under a leaf.
  func seal(_ segment: Segment) throws {
    try state.withLock { state in
      guard unsafe rename(path(segment.number), path(segment.number, sealed: true)) == 0 else {
        throw Self.failed("cannot be renamed")
      }
      state.closed.removeAll { $0.number == segment.number }
    }
  }

  private func path(_ number: UInt64, sealed: Bool = false) -> String {
    let digits = String(number)
    return "\(folder)/" + String(repeating: "0", count: max(0, 12 - digits.count)) + digits
      + (sealed ? ".sealed.jsonl" : ".jsonl")
  }

  /// The segments without a leaf, in order, and the newest number of all; 1 before the first.
  private func segments() throws -> (open: [UInt64], newest: UInt64) {
    guard let listing = unsafe opendir(folder) else { throw Self.failed("cannot be listed") }
    defer { unsafe closedir(listing) }
    var (open, sealed): ([UInt64], [UInt64]) = ([], [])
    while let entry = unsafe readdir(listing) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { tuple in
        unsafe tuple.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      let parts = name.split(separator: ".", omittingEmptySubsequences: false)
      guard let number = UInt64(parts[0]), parts.last == "jsonl" else { continue }
      if parts.count == 2 { open.append(number) } else { sealed.append(number) }
    }
    return (open.sorted(), (open + sealed).max() ?? 0)
  }

  private static func openFile(_ path: String) throws -> Int32 {
    let descriptor = unsafe Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw failed("cannot be opened") }
    return descriptor
  }

  private static func failed(_ what: String) -> Problem {
    Problem(
      503, "key_journal_failed", "The journal of key uses \(what) (errno \(errno)); an operator must look at the disk.")
  }
}

extension KeyService {
  /// A segment with uses becomes a leaf within a minute.
  static var journalSeconds: Int64 { 50 }

  /// Puts the segments of the journal that are closed, or old enough to be, on the record.
  public func closeJournal() async throws { try await closeJournal(after: Self.journalSeconds) }

  private func closeJournal(after seconds: Int64) async throws {
    // One at a time: two callers would both record the segments that are under no leaf yet.
    while let under = closingJournal { try? await under.value }
    let task = Task {
      defer { closingJournal = nil }
      try await recordSegments(after: seconds)
    }
    closingJournal = task
    try await task.value
  }

  private func recordSegments(after seconds: Int64) async throws {
    guard mode == .open else { return }
    for segment in try journal.close(at: parts.time.now(), after: seconds) {
      _ = try await parts.recorder.record("key-uses") { _, _, _ in
        [
          "segment": .integer(Int64(segment.number)), "uses": .integer(Int64(segment.lines)),
          "sha256": .string(Hex.encode(segment.digest)),
        ]
      }
      try journal.seal(segment)
    }
  }

  /// Ends the tasks under way where they can be taken up again.
  public func stop() {
    for task in running.values { task.cancel() }
  }

  /// Puts what the journal holds on the record, before the process ends.
  public func close() async {
    try? await closeJournal(after: 0)
    await following?.value
    try? await anchoring?.value
    cache.removeAll()
  }
}
