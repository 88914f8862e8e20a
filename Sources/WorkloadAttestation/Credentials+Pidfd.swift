import Glibc

extension Credentials {
  /// What the kernel says of a pinned process by its pidfd: one call, and no other process can be meant.
  /// - Returns: nil before Linux 6.13, which has no PIDFD_GET_INFO.
  /// - Throws: ``AttestationError/Code-swift.struct/gone`` when the process has exited,
  ///   ``AttestationError/Code-swift.struct/changed`` when pidfd and pid are of two processes.
  init?(of peer: PeerProcess) throws(AttestationError) {
    // struct pidfd_info, first version (linux/pidfd.h): 64-bit mask and cgroup id, then 32-bit pid, tgid, ppid, ruid,
    // rgid, euid, egid, suid, sgid, fsuid, fsgid and one more, 64 bytes.
    let answer = unsafe withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 16) {
      buffer -> Result<Credentials?, AttestationError> in
      unsafe buffer.initialize(repeating: 0)
      // PIDFD_INFO_PID | PIDFD_INFO_CREDS in the mask's low half (both targets are little-endian).
      unsafe buffer[0] = 0b11
      // _IOWR(0xFF, 11, 64 bytes)
      guard unsafe ioctl(peer.pidfd, 0xC040_FF0B, UnsafeMutableRawPointer(buffer.baseAddress!)) == 0 else {
        return errno == ESRCH ? .failure(.hasExited) : .success(nil)
      }
      guard unsafe buffer[0] & 0b11 == 0b11 else { return .success(nil) }
      guard unsafe UInt32(bitPattern: peer.pid) == buffer[5] else {
        return .failure(
          peer.isAlive
            ? AttestationError(.changed, "the pidfd is not of the process with this pid: connect again") : .hasExited)
      }
      return unsafe .success(
        Credentials(
          uid: buffer[7], effectiveUID: buffer[9], savedUID: buffer[11], fileUID: buffer[13], gid: buffer[8],
          effectiveGID: buffer[10], savedGID: buffer[12], fileGID: buffer[14]))
    }
    guard let credentials = try answer.get() else { return nil }
    self = credentials
  }
}

extension AttestationError {
  static var hasExited: AttestationError { AttestationError(.gone, "the caller has exited: connect again") }
}
