import Foundation
import HSMCustody
import KeyHierarchy
import Synchronization
import TestSupport

/// A running `p11-kit server`. It forks for each connection, so the whole process group is killed.
struct RemoteModule: ~Copyable {
  let socket: String
  private let pid: pid_t

  /// p11-kit's client module; nil where it is not installed.
  static var client: String? {
    ["x86_64-linux-gnu", "aarch64-linux-gnu"].map { "/usr/lib/\($0)/pkcs11/p11-kit-client.so" }
      .first { FileManager.default.isReadableFile(atPath: $0) }
  }

  /// Starts it and waits until it listens: it tells its address then.
  init(_ socket: String, provider: String) throws {
    try? FileManager.default.removeItem(atPath: socket)
    var ends: [Int32] = [0, 0]
    guard unsafe pipe(&ends) == 0 else { throw FaultyModule.Failure("pipe: errno \(errno)") }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    unsafe posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
    unsafe posix_spawn_file_actions_addclose(&actions, ends[0])
    unsafe posix_spawn_file_actions_addclose(&actions, ends[1])
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
    let words = ["p11-kit", "server", "--provider", provider, "-f", "-n", socket, "pkcs11:"]
    var arguments: [UnsafeMutablePointer<CChar>?] = unsafe words.map { unsafe strdup($0) } + [nil]
    var pid = pid_t()
    let status = unsafe posix_spawnp(&pid, "p11-kit", &actions, &attributes, &arguments, environ)
    while let word = unsafe arguments.popLast() { unsafe free(word) }
    unsafe posix_spawn_file_actions_destroy(&actions)
    unsafe posix_spawnattr_destroy(&attributes)
    close(ends[1])
    defer { close(ends[0]) }
    guard status == 0 else { throw FaultyModule.Failure("p11-kit server: errno \(status)") }
    var byte: UInt8 = 0
    guard unsafe read(ends[0], &byte, 1) == 1 else { throw FaultyModule.Failure("p11-kit server did not start") }
    self.socket = socket
    self.pid = pid
  }

  /// Ends it and its connections, at once.
  borrowing func kill() {
    Foundation.kill(-pid, SIGKILL)
    var status: Int32 = 0
    _ = unsafe waitpid(pid, &status, 0)
  }
}

/// Tasks that sign with the identity token.
final class RemoteLoad: Sendable {
  private struct State {
    var good = [Int](repeating: 0, count: 10)
    var refused = [Int](repeating: 0, count: 10)
    var codes: Set<CustodyError.Code> = []
    var wrong = 0
  }

  private let state = Mutex(State())
  private let isStopped = Atomic(false)
  private let tasks = Mutex<[Task<Void, Never>]>([])

  var codes: Set<CustodyError.Code> { state.withLock { $0.codes } }
  var wrong: Int { state.withLock { $0.wrong } }

  init(_ custodian: PKCS11Custodian, key: CustodyPublicKey) {
    let made = (0..<10).map { index in
      Task {
        while !isStopped.load(ordering: .relaxed) {
          do {
            let right = try verifies(try await custodian.sign([UInt8(index)], with: .oauthA), [UInt8(index)], key)
            state.withLock { state in
              if right { state.good[index] += 1 } else { state.wrong += 1 }
            }
          } catch {
            state.withLock { state in
              state.refused[index] += 1
              if let error = error as? CustodyError { state.codes.insert(error.code) } else { state.wrong += 1 }
            }
          }
          await Task.yield()
        }
      }
    }
    tasks.withLock { $0 = made }
  }

  func works(_ clock: ManualCustodyClock) async {
    let before = state.withLock { $0.good }
    await until {
      clock.advance(by: .milliseconds(200))
      return state.withLock { zip($0.good, before).allSatisfy { $0 - $1 >= 2 } }
    }
  }

  func fails() async {
    let before = state.withLock { $0.refused }
    await until { state.withLock { zip($0.refused, before).allSatisfy { $0 - $1 >= 3 } } }
  }

  func stop() async {
    isStopped.store(true, ordering: .relaxed)
    for task in tasks.withLock({ $0 }) { await task.value }
  }
}
