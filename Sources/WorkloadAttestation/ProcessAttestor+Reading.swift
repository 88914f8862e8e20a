import Wire
import WorkloadIdentity

/// Everything that one pass over `/proc/PID` gives.
struct ProcessReading: Equatable, Sendable {
  /// The executable as far as it can be read.
  struct Executable: Equatable {
    /// The inode; nil where a reason stands instead.
    var identity: FileIdentity?
    var link: [UInt8]?
    var reason: String?
  }

  var credentials: Credentials
  var groups: [UInt32]
  var startTime: UInt64
  var executable: Executable?
  /// The text, or why there is none.
  var controlGroups: [UInt8]?
  var controlGroupsReason: String?
  var namespaces: [String: UInt64]
  var namespacesReason: String?
}

extension ProcessAttestor {
  private static let namespaceKinds = ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"]

  /// Reads once. Who the process runs as and when it started must be readable, the rest need not.
  func read(_ peer: PeerProcess) throws(AttestationError) -> ProcessReading {
    let (credentials, groups) = try status(peer)
    if asksPidfd, let told = try Credentials(of: peer), told != credentials { throw .hasChanged }
    guard credentials.effectiveUID == peer.uid, credentials.effectiveGID == peer.gid else { throw .hasChanged }
    guard let startTime = ProcText.startTime(try contents("stat", ProcText.statLimit, of: peer)) else {
      throw malformed("stat", peer)
    }
    var reading = ProcessReading(
      credentials: credentials, groups: groups, startTime: startTime, executable: executable(of: peer), namespaces: [:])
    do throws(FileFailure) {
      reading.controlGroups = try File.contents("\(procfs)/\(peer.pid)/cgroup", limit: ControlGroups.limit)
    } catch {
      reading.controlGroupsReason = error.code
    }
    for kind in Self.namespaceKinds {
      do throws(FileFailure) {
        let target = try File.target(of: "\(procfs)/\(peer.pid)/ns/\(kind)")
        reading.namespaces[kind] = ProcText.namespace(target, kind: kind)
      } catch {
        reading.namespacesReason = error.code
      }
    }
    return reading
  }

  func status(_ peer: PeerProcess) throws(AttestationError) -> (credentials: Credentials, groups: [UInt32]) {
    guard let status = ProcText.status(try contents("status", ProcText.statusLimit, of: peer), pid: peer.pid) else {
      throw malformed("status", peer)
    }
    return status
  }

  private func contents(_ name: String, _ limit: Int, of peer: PeerProcess) throws(AttestationError) -> [UInt8] {
    do throws(FileFailure) {
      return try File.contents("\(procfs)/\(peer.pid)/\(name)", limit: limit)
    } catch {
      guard peer.isAlive else { throw .hasExited }
      guard error != .tooLong else { throw malformed(name, peer) }
      throw AttestationError(
        .unreadable,
        "\(procfs)/PID/\(name) cannot be read (\(error.code)): mount proc without hidepid, or for the daemon")
    }
  }

  private func malformed(_ name: String, _ peer: PeerProcess) -> AttestationError {
    guard peer.isAlive else { return .hasExited }
    return AttestationError(.malformed, "\(procfs)/PID/\(name) is not as proc(5) has it, or too long: check the mount")
  }

  private func executable(of peer: PeerProcess) -> ProcessReading.Executable {
    let path = "\(procfs)/\(peer.pid)/exe"
    var executable = ProcessReading.Executable()
    do throws(FileFailure) {
      executable.link = try File.target(of: path)
      let file = try File(path, pathOnly: true)
      let tables = ["\(procfs)/\(peer.pid)/mountinfo", "/proc/self/mountinfo"]
      switch Mounts.isServedByProcess(file, tables: tables) {
      case false?: executable.identity = try file.identity
      case true?: executable.reason = "served_by_process"
      case nil: executable.reason = "file_system_unknown"
      }
    } catch {
      executable.reason = error.code
    }
    return executable
  }

  /// Hashes, reads again and puts together. Blocks.
  func finish(_ peer: PeerProcess, _ reading: ProcessReading) throws(AttestationError) -> AttestedProcess {
    var absent: [String: String] = [:]
    let executable = try program(peer, reading.executable, &absent)
    var control = ControlGroups.Reading()
    var lines: [String] = []
    if let text = reading.controlGroups {
      if let memberships = ControlGroups.parse(text) {
        control = ControlGroups.read(memberships)
        lines = memberships.map(\.line)
      } else {
        control.failure = "malformed"
      }
    }
    absent["control_groups"] = reading.controlGroupsReason ?? control.failure
    absent["namespaces"] = reading.namespacesReason

    var groups = reading.groups
    if let overflow, groups.contains(overflow.gid) {
      groups.removeAll { $0 == overflow.gid }
      absent["supplementary_gids"] = "gid_unmapped"
    }
    func names(_ path: String, _ ids: Set<UInt32>) -> [UInt32: String] {
      (try? File.contents(path, limit: Accounts.limit)).map { ProcText.names($0, of: ids) } ?? [:]
    }
    let attested = AttestedProcess(
      pid: peer.pid, supplementaryGroups: groups, userName: names(accounts.users, [peer.uid])[peer.uid],
      groupNames: names(accounts.groups, Set(groups).union([peer.gid])), executable: executable, controlGroups: lines,
      unit: control.unit, container: control.container, namespaces: reading.namespaces, startTime: reading.startTime,
      absent: absent, credentials: reading.credentials, link: reading.executable?.link)

    let again = try read(peer)
    guard peer.isAlive else { throw .hasExited }
    guard again == reading else { throw .hasChanged }
    return attested
  }

  private func program(
    _ peer: PeerProcess, _ reading: ProcessReading.Executable?, _ absent: inout [String: String]
  ) throws(AttestationError) -> AttestedProcess.Executable? {
    guard let identity = reading?.identity else {
      absent["executable"] = reading?.reason
      return nil
    }
    var sha256: [UInt8]?
    if identity.size > maximumExecutableBytes {
      absent["sha256"] = "too_long"
    } else {
      switch try digests.digest(of: "\(procfs)/\(peer.pid)/exe", identity: identity, of: peer, now: time.now()) {
      case .success(let digest): sha256 = digest
      case .failure(let failure): absent["sha256"] = failure.code
      }
    }
    var path = reading?.link.flatMap { String(validating: $0, as: UTF8.self) }
    var isAtPath = false
    if let text = path, text.hasPrefix("/"), ProcText.isPlain(text) {
      // The kernel marks a file that was unlinked so; a file may also have such a name, but then it has no selector.
      if text.hasSuffix(" (deleted)") {
        absent["path"] = "deleted"
      } else if let found = try? File.identity(of: text), found.isSameFile(as: identity) {
        isAtPath = true
      } else {
        absent["path"] = "elsewhere"
      }
      if "unix:path:\(text)".utf8.count > Selector.maximumBytes { (isAtPath, absent["path"]) = (false, "too_long") }
    } else {
      path = nil
      absent["path"] = "not_plain"
    }
    return AttestedProcess.Executable(identity: identity, path: path, isAtPath: isAtPath, sha256: sha256)
  }
}
