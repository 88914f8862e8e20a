import Glibc

/// The process at the other end of a unix socket, pinned: its pidfd (pidfd_open(2)) means this very process for as long
/// as the object lives, whoever gets its pid later. It is the process that called `connect`; a child that inherits the
/// socket is not meant.
public final class PeerProcess: Sendable {
  /// The process, as the kernel names it; closed with the object.
  let pidfd: Int32
  /// The pid in this pid namespace; 0 where the process is not visible in it.
  public let pid: Int32
  /// The effective user id when it connected, in this user namespace.
  public let uid: UInt32
  /// The effective group id when it connected, in this user namespace.
  public let gid: UInt32

  /// `SO_PEERPIDFD` (Linux 6.5); Glibc's module has no name for it.
  static let peerPIDFDOption: Int32 = 77

  /// Takes over a descriptor that `SO_PEERPIDFD` gave (which is close-on-exec from the start), with what `SO_PEERCRED`
  /// says of the same socket: both name the process that the kernel remembers from `connect`.
  public init(pidfd: Int32, pid: Int32, uid: UInt32, gid: UInt32) {
    self.pidfd = pidfd
    self.pid = pid
    self.uid = uid
    self.gid = gid
  }

  deinit { close(pidfd) }

  /// Pins the peer of a connected unix socket.
  /// - Parameter socket: the descriptor; stays the caller's.
  /// - Throws: ``AttestationError/Code-swift.struct/unsupported`` before Linux 6.5,
  ///   ``AttestationError/Code-swift.struct/gone`` when the peer has exited.
  public static func pin(socket: Int32) throws(AttestationError) -> PeerProcess {
    var pidfd: Int32 = -1
    try option(peerPIDFDOption, of: socket, into: &pidfd)
    // struct ucred of unix(7).
    var credentials = (pid: Int32(0), uid: UInt32(0), gid: UInt32(0))
    do {
      try option(SO_PEERCRED, of: socket, into: &credentials)
    } catch {
      close(pidfd)
      throw error
    }
    return PeerProcess(pidfd: pidfd, pid: credentials.pid, uid: credentials.uid, gid: credentials.gid)
  }

  /// Whether the process has not exited. A process that has is answered for by nobody, also while it waits to be reaped.
  public var isAlive: Bool {
    var poll = pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0)
    var count: Int32
    repeat { count = unsafe Glibc.poll(&poll, 1, 0) } while count < 0 && errno == EINTR
    return count == 0
  }

  /// Throws where the kernel has no `SO_PEERPIDFD`.
  public static func checkKernel() throws(AttestationError) {
    var pair: (Int32, Int32) = (-1, -1)
    let made = unsafe withUnsafeMutableBytes(of: &pair) {
      unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, $0.assumingMemoryBound(to: Int32.self).baseAddress)
    }
    guard made == 0 else {
      throw AttestationError(
        .unsupported, "no socket pair to try SO_PEERPIDFD on (errno \(errno)): raise RLIMIT_NOFILE")
    }
    defer {
      close(pair.0)
      close(pair.1)
    }
    _ = try pin(socket: pair.0)
  }

  private static func option<Value: BitwiseCopyable>(
    _ name: Int32, of socket: Int32, into value: inout Value
  ) throws(AttestationError) {
    var length = socklen_t(MemoryLayout<Value>.size)
    guard unsafe getsockopt(socket, SOL_SOCKET, name, &value, &length) != 0 else { return }
    switch errno {
    case ENOPROTOOPT:
      throw AttestationError(
        .unsupported, "the kernel cannot pin the caller of a unix socket (SO_PEERPIDFD): run on Linux 6.5 or newer")
    case ESRCH: throw AttestationError(.gone, "the caller has exited: connect again")
    case let code:
      throw AttestationError(.unreadable, "the socket has no peer to pin (errno \(code)): connect a unix socket first")
    }
  }
}
