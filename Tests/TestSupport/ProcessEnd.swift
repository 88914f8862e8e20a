import Glibc
import Synchronization

/// What a test process does when it ends.
public enum ProcessEnd {
  private static let work = Mutex<[@Sendable () -> Void]>([])
  private static let registered: Void = { atexit { ProcessEnd.doAll() } }()

  /// Has it do something, what was added last first.
  public static func add(_ body: @escaping @Sendable () -> Void) {
    _ = registered
    work.withLock { $0.append(body) }
  }

  /// Has it end, after what was added, without the destructors of the C libraries loaded so far, as `trustcored` does: a
  /// thread may still be inside a PKCS#11 module, which would be taken apart beneath it.
  public static func skipDestructors() {
    // Before those of the libraries, since it is registered after them.
    unsafe on_exit(
      { status, _ in
        ProcessEnd.doAll()
        fflush(nil)
        _exit(status)
      }, nil)
  }

  private static func doAll() {
    while let body = work.withLock({ $0.popLast() }) { body() }
  }
}
