import Glibc
public import Wire

/// Says what a pinned process is.
public protocol WorkloadAttestor: Sendable {
  /// Finds out everything; may take as long as it takes to hash the executable.
  /// - Throws: ``AttestationError`` where the process is gone, not the one that connected, or not to be seen.
  func attest(_ peer: PeerProcess) async throws(AttestationError) -> AttestedProcess
  /// Throws unless the process is there and still what `attested` says; takes microseconds, for every answer.
  func confirm(_ peer: PeerProcess, _ attested: AttestedProcess) throws(AttestationError)
}

/// Attests by the proc file system of Linux (proc(5)).
///
/// `/proc/PID` means whichever process has the pid now, and that process may execute another program at any moment.
/// Against the first: a pid is free only after its process has exited, and the pidfd tells that; so it is asked *after*
/// the last read, and if the process lives then, all reads were of it. Against the second: everything is read twice,
/// before and after the executable is hashed, and must be equal; the hash is of the inode that both reads name, opened
/// through `/proc/PID/exe`. What the process does afterwards ``confirm(_:_:)`` sees, up to the answer: an `exec` by
/// the inode (a pidfd survives it), `setuid` by the credentials.
///
/// Another user's executable and namespaces can be read with CAP_SYS_PTRACE alone. What cannot be read gives no
/// selector, and a reason in ``AttestedProcess/absent``.
public struct ProcessAttestor: WorkloadAttestor {
  let time: any TimeSource
  let procfs: String
  let accounts: Accounts
  let maximumExecutableBytes: Int64
  /// The ids that stand for ids without a place in this user namespace; nil where every id has one.
  let overflow: (uid: UInt32, gid: UInt32)?
  /// Whether PIDFD_GET_INFO may be asked; tests turn it off to have what Linux 6.5 to 6.12 has.
  let asksPidfd: Bool
  let digests = ExecutableDigests()
  /// Long executables have a thread of their own, so that they hold up nobody else.
  private let quick = BlockingThreads(threads: 2, limit: 4096)
  private let slow = BlockingThreads(threads: 1, limit: 256)
  static let slowBytes: Int64 = 32 << 20

  /// The host's files of names.
  struct Accounts {
    var users = "/etc/passwd"
    var groups = "/etc/group"
    static let limit = 4 << 20
  }

  /// - Parameters:
  ///   - time: the system's clock, which file systems have too: what changed a moment ago is hashed each time.
  ///   - procfs: where the proc file system of this process' own pid namespace is mounted.
  ///   - maximumExecutableBytes: up to which size executables are hashed; longer ones have no `unix:sha256`.
  /// - Throws: ``AttestationError/Code-swift.struct/unsupported`` before Linux 6.5, or when `procfs` is not such a mount.
  public init(
    time: any TimeSource, procfs: String = "/proc", maximumExecutableBytes: Int64 = 1 << 30
  ) throws(AttestationError) {
    try PeerProcess.checkKernel()
    guard (try? File.target(of: procfs + "/self")) == Array(String(getpid()).utf8) else {
      throw AttestationError(
        .unsupported, "\(procfs) is not the proc file system of this pid namespace: mount it, or give its path")
    }
    func number(_ name: String) -> UInt32? {
      (try? File.contents("\(procfs)/sys/kernel/\(name)", limit: 64)).flatMap {
        UInt32(String(decoding: $0, as: UTF8.self).filter { $0 != "\n" })
      }
    }
    let mapsAll = ["uid_map", "gid_map"].allSatisfy {
      (try? File.contents("\(procfs)/self/\($0)", limit: 1 << 16)).map(ProcText.mapsEveryID) ?? false
    }
    self.init(
      time: time, reading: procfs, maximumExecutableBytes: maximumExecutableBytes,
      overflow: mapsAll ? nil : (number("overflowuid") ?? 65_534, number("overflowgid") ?? 65_534))
  }

  /// For tests: any tree of files.
  init(
    time: any TimeSource, reading procfs: String, accounts: Accounts = Accounts(),
    maximumExecutableBytes: Int64 = 1 << 30,
    overflow: (uid: UInt32, gid: UInt32)? = nil, asksPidfd: Bool = true
  ) {
    self.time = time
    self.procfs = procfs
    self.accounts = accounts
    self.maximumExecutableBytes = maximumExecutableBytes
    self.overflow = overflow
    self.asksPidfd = asksPidfd
  }

  /// Finds out everything, on threads that may block.
  public func attest(_ peer: PeerProcess) async throws(AttestationError) -> AttestedProcess {
    guard peer.pid > 0 else {
      throw AttestationError(
        .pidNotVisible, "the caller's pid namespace is not visible here: run the daemon in the host's (or a parent's)")
    }
    if let overflow, peer.uid == overflow.uid || peer.gid == overflow.gid {
      throw AttestationError(
        .unmappedUser, "the caller's user or group has no place in the daemon's user namespace: extend its id maps")
    }
    let before = try await quick.run { () throws(AttestationError) -> (ProcessReading, AttestedProcess?) in
      let reading = try read(peer)
      let isSlow = reading.executable?.identity.map {
        $0.size > Self.slowBytes && $0.size <= maximumExecutableBytes && digests.remembered($0) == nil
      }
      return (reading, isSlow ?? false ? nil : try finish(peer, reading))
    }
    if let attested = before.1 { return attested }
    return try await slow.run { () throws(AttestationError) in try finish(peer, before.0) }
  }

  /// Two or three system calls and no file read, from Linux 6.13 on; before, it also reads `/proc/PID/status`.
  public func confirm(_ peer: PeerProcess, _ attested: AttestedProcess) throws(AttestationError) {
    let credentials: Credentials
    if let told = asksPidfd ? try Credentials(of: peer) : nil {
      credentials = told
    } else {
      credentials = try status(peer).credentials
    }
    let path = "\(procfs)/\(peer.pid)/exe"
    let isSame =
      if let executable = attested.executable {
        (try? File.identity(of: path)) == executable.identity
      } else {
        (try? File.target(of: path)) == attested.link
      }
    // Last, so that what was read above was this process'.
    guard peer.isAlive else { throw .hasExited }
    guard isSame, peer.pid == attested.pid, credentials == attested.credentials else { throw .hasChanged }
  }
}

extension AttestationError {
  static var hasChanged: AttestationError {
    AttestationError(.changed, "the caller runs another program, or as another user, than before: connect again")
  }
}
