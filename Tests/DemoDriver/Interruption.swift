import DemoClient
import Dispatch
import Foundation
import Glibc
import Synchronization

/// Ctrl-C: the daemon is in a process group of its own and would live on.
enum Interruption {
  private static let hasCome = Atomic(false)

  /// Leaves the end of an interrupted process to the one who interrupted it.
  static func yield() async throws {
    if hasCome.load(ordering: .relaxed) { try await Task.sleep(for: .seconds(60)) }
  }

  /// Kills the daemon, removes the folder and ends this process when it is interrupted.
  /// - Returns: what watches, for as long as it is kept.
  static func watch(_ daemon: DaemonProcess, removing folder: String) -> [any DispatchSourceSignal] {
    [SIGINT, SIGTERM].map { number in
      signal(number, SIG_IGN)
      let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
      source.setEventHandler {
        hasCome.store(true, ordering: .relaxed)
        daemon.abandon()
        // The daemon may be writing until it is gone.
        for _ in 0..<100 where FileManager.default.fileExists(atPath: folder) {
          try? FileManager.default.removeItem(atPath: folder)
          usleep(10_000)
        }
        exit(128 + number)
      }
      source.resume()
      return source
    }
  }
}
