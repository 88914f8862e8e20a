import ArgumentParser
import OperatorClient
import Synchronization
import UnixSignals
import Wire
import WorkloadAPI
import WorkloadIdentity

struct SVIDWatch: OperatorCommand {
  static let configuration = CommandConfiguration(
    commandName: "watch", abstract: "Keeps an X.509-SVID's files new, and tells a program of each change.",
    discussion: """
      Runs until SIGTERM or SIGINT; what goes wrong meanwhile it tells on standard error, and tries again: a folder
      that is full or read-only too, but not one that is gone, or with files of others in the way.
      \(SVIDCommands.layout)
      The command after --exec is one that reloads, such as 'nginx -s reload', and ends within a minute.
      Example: trustcore svid watch --out /run/web/tls --pid-file /run/nginx.pid --signal HUP
      """)

  @Option(name: .customLong("out"), help: "The folder for the files.")
  var output: String

  @OptionGroup var socket: SocketOptions
  @OptionGroup var identity: IdentityOptions

  @Option(name: .customLong("pid-file"), help: "A file with the number of the process to signal.")
  var pidFile: String?

  @Option(help: "The signal that it reloads on: HUP unless stated, USR1, USR2, INT, TERM, QUIT, CONT, WINCH.")
  var signal: String?

  @Flag(help: "Print JSON, a line for each change.")
  var json = false

  @Option(name: .customLong("exec"), parsing: .remaining, help: "A command to run with its arguments; last of all.")
  var command: [String] = []

  func validate() throws {
    if let signal {
      guard SVIDReload.signal(named: signal) != nil else { throw ValidationError("--signal names none that is known.") }
      guard pidFile != nil else { throw ValidationError("--signal needs the --pid-file of the process.") }
    }
  }

  func perform() async throws(OperatorError) {
    var reload = SVIDReload(pidFile: pidFile, command: command)
    if let signal, let number = SVIDReload.signal(named: signal) { reload.signal = number }
    let watcher = SVIDWatcher(
      path: try socket.path(), folder: try WorkloadFolder(output), id: identity.spiffeID, reload: reload,
      tell: { [json] in
        json ? say(String(decoding: JSONValue.object($0.json).canonical(), as: UTF8.self)) : say($0.words)
      },
      complain: { [json] in json ? complainJSON($0.json) : complain($0.description) })
    do {
      try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await watcher.run() }
        group.addTask {
          for await _ in await UnixSignalsSequence(trapping: .sigterm, .sigint) { return }
        }
        defer { group.cancelAll() }
        try await group.next()
      }
    } catch { throw SocketOptions.operatorError(error) }
  }
}

/// Follows the stream of X.509-SVIDs and keeps a folder as it says.
final class SVIDWatcher: Sendable {
  /// A version that was written.
  struct Change: Sendable {
    let id: SPIFFEID
    let expires: Timestamp
    let folder: String
    var json: JSONObject {
      [
        "spiffe_id": .string(id.description), "expires": .string(expires.description), "out": .string(folder),
      ]
    }
    var words: String { Wording.visible("\(id) is in \(folder), until \(expires).") }
  }

  private let path: String
  private let folder: WorkloadFolder
  private let id: SPIFFEID?
  private let reload: SVIDReload
  private let time: any TimeSource
  private let tell: @Sendable (Change) -> Void
  private let complain: @Sendable (OperatorError) -> Void
  private let pause: @Sendable (Duration) async throws -> Void

  private struct State {
    var backoff = WorkloadBackoff()
    /// What was written last.
    var contents: [String: [UInt8]] = [:]
    /// Whether it could not be written; said once.
    var isFolderFailing = false
  }
  private let state = Mutex(State())

  init(
    path: String, folder: WorkloadFolder, id: SPIFFEID?, reload: SVIDReload, time: any TimeSource = SystemClock(),
    tell: @escaping @Sendable (Change) -> Void, complain: @escaping @Sendable (OperatorError) -> Void,
    pause: @escaping @Sendable (Duration) async throws -> Void = { try await Task.sleep(for: $0) }
  ) {
    (self.path, self.folder, self.id, self.reload, self.time) = (path, folder, id, reload, time)
    (self.tell, self.complain, self.pause) = (tell, complain, pause)
  }

  /// Runs until the task is cancelled.
  /// - Throws: where the folder can never be written.
  func run() async throws {
    while !Task.isCancelled {
      var asked: Int64?
      do {
        try await WorkloadClient.connected(to: path) { client in
          try await client.x509SVIDs { update in
            try await self.take(update)
            return .more
          }
        }
        guard !Task.isCancelled else { return }
        complain(OperatorError(.notReady, "The daemon ended the stream: connecting again."))
      } catch let failure as FolderFailure {
        // The newest message is fetched for the next attempt, which may be the last one's successor by then.
        guard failure.reason.code == .folderNotWritten else { throw failure.reason }
        let isNews = state.withLock { state in
          defer { state.isFolderFailing = true }
          return !state.isFolderFailing
        }
        if isNews { complain(failure.reason) }
      } catch {
        guard !Task.isCancelled else { return }
        asked = (error as? WorkloadRefusal)?.retryAfter
        complain(SocketOptions.operatorError(error))
      }
      let wait = state.withLock { $0.backoff.next(atLeast: asked, random: .random(in: 0...UInt64.max)) }
      do { try await pause(wait) } catch { return }
    }
  }

  /// What the daemon has no part in.
  private struct FolderFailure: Error {
    let reason: OperatorError
  }

  private func take(_ update: ClientX509Update) async throws {
    // Otherwise a folder that stays full would be tried without a pause.
    state.withLock { if !$0.isFolderFailing { $0.backoff.succeed() } }
    let files: SVIDFiles
    // The files of before are good for a while yet, and the next message may be better.
    do { files = try await SVIDFiles(update, id: id, now: time.now()) } catch { return complain(error) }
    let contents = files.contents
    // A new connection brings what was there already.
    guard state.withLock({ $0.contents != contents }) else { return }
    do throws(OperatorError) { try files.write(to: folder) } catch { throw FolderFailure(reason: error) }
    state.withLock { state in
      (state.contents, state.isFolderFailing) = (contents, false)
      state.backoff.succeed()
    }
    tell(Change(id: files.svid.id, expires: files.verified.notAfter, folder: folder.path))
    for complaint in await reload.run() { complain(OperatorError(.failed, complaint)) }
  }
}
