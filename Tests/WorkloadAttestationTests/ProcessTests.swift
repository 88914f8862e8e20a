import Crypto
import Foundation
import Glibc
import Testing
import Wire
import WorkloadIdentity

@testable import WorkloadAttestation

@Suite(.serialized) struct ProcessTests {
  private func texts(_ attested: AttestedProcess) -> [String] { attested.selectors.map(\.description) }

  private func sha256(_ path: String) throws -> [UInt8] {
    Array(SHA256.hash(data: try Data(contentsOf: URL(filePath: path))))
  }

  /// - Returns: the code of what is thrown.
  private func refusal(_ body: () async throws -> Void) async -> AttestationError.Code? {
    do {
      try await body()
      return nil
    } catch {
      return (error as? AttestationError)?.code
    }
  }

  @Test func whatIsLeftOut() {
    if Host.isRoot {
      print("process attestation: all cases run")
    } else {
      print("process attestation: cases with other users and namespaces are left out: not root")
    }
  }

  @Test func kernelCanPin() throws {
    try PeerProcess.checkKernel()
    _ = try ProcessAttestor(time: Clock())
  }

  @Test func wrongMountIsRefused() async {
    #expect(await refusal { _ = try ProcessAttestor(time: Clock(), procfs: "/tmp") } == .unsupported)
  }

  @Test func pinRefusesWhatIsNoConnection() async {
    let alone = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(alone) }
    #expect(await refusal { _ = try PeerProcess.pin(socket: alone) } != nil)
    #expect(await refusal { _ = try PeerProcess.pin(socket: -1) } == .unreadable)
  }

  @Test(arguments: [true, false]) func ownProcess(asksPidfd: Bool) async throws {
    let client = try Client()
    let attestor = ProcessAttestor(time: Clock(), reading: "/proc", asksPidfd: asksPidfd)
    let attested = try await attestor.attest(client.peer)
    #expect(fcntl(client.peer.pidfd, F_GETFD) & FD_CLOEXEC != 0)
    #expect(attested.pid == client.peer.pid && attested.uid == geteuid() && attested.gid == getegid())
    #expect(attested.executable?.path == Host.python && attested.executable?.isAtPath == true)
    #expect(attested.executable?.sha256 == (try sha256(Host.python)))
    #expect(attested.namespaces.count == 7 && attested.absent["namespaces"] == nil)
    #expect(attested.selectors == attested.selectors.sorted())
    for selector in [
      "unix:uid:\(geteuid())", "unix:gid:\(getegid())", "unix:path:\(Host.python)",
      "unix:sha256:\(Hex.encode(try sha256(Host.python)))",
    ] { #expect(texts(attested).contains(selector)) }
    try attestor.confirm(client.peer, attested)
    #expect(try await attestor.attest(client.peer) == attested, "the same again, now from memory")
    #expect(attestor.digests.count == 1)

    let json = JSONValue.object(attested.json).canonical()
    #expect(try JSONValue(parsing: json) == .object(attested.json))
    #expect(
      attested.digest == Array(SHA256.hash(data: Array("trustcore/attestation/v1".utf8) + [0] + json)))
  }

  @Test(.enabled(if: Host.isRoot, "\(Host.needsRoot)")) func anotherUserWithGroups() async throws {
    let client = try Client(as: "12345:12346:2000,4,2000")
    let folder = try Host.folder()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let accounts = ProcessAttestor.Accounts(users: folder + "/passwd", groups: folder + "/group")
    try "svc:x:12345:12346::/:\n".write(toFile: accounts.users, atomically: false, encoding: .utf8)
    try "svcs:x:12346:\nextra:x:2000:svc\n".write(toFile: accounts.groups, atomically: false, encoding: .utf8)
    let attested = try await ProcessAttestor(time: Clock(), reading: "/proc", accounts: accounts).attest(client.peer)
    let told = texts(attested).filter {
      !$0.hasPrefix("unix:sha") && !$0.hasPrefix("unix:path") && $0.hasPrefix("unix")
    }
    #expect(
      told == [
        "unix:gid:12346", "unix:group:svcs", "unix:supplementary_gid:2000", "unix:supplementary_gid:4",
        "unix:supplementary_group:extra", "unix:uid:12345", "unix:user:svc",
      ])
    #expect(attested.executable?.sha256 != nil)
  }

  @Test(.enabled(if: Host.isRoot, "\(Host.needsRoot)"), arguments: [true, false])
  func userChangesAfterwards(asksPidfd: Bool) async throws {
    let client = try Client()
    let attestor = ProcessAttestor(time: Clock(), reading: "/proc", asksPidfd: asksPidfd)
    let attested = try await attestor.attest(client.peer)
    try client.tell("setuid 12345")
    #expect(await refusal { try attestor.confirm(client.peer, attested) } == .changed)
    #expect(await refusal { _ = try await attestor.attest(client.peer) } == .changed, "it connected as root")
  }

  @Test(arguments: [true, false]) func executesAnotherProgram(asksPidfd: Bool) async throws {
    let client = try Client()
    let attestor = ProcessAttestor(time: Clock(), reading: "/proc", asksPidfd: asksPidfd)
    let attested = try await attestor.attest(client.peer)
    try attestor.confirm(client.peer, attested)
    try client.becomeCat()
    #expect(await refusal { try attestor.confirm(client.peer, attested) } == .changed)
    let again = try await attestor.attest(client.peer)
    #expect(again.executable?.sha256 == (try sha256("/bin/cat")))
    #expect(again.startTime == attested.startTime)
  }

  @Test func executesBetweenTheTwoReads() async throws {
    let client = try Client()
    let attestor = ProcessAttestor(time: Clock(), reading: "/proc")
    let reading = try attestor.read(client.peer)
    try client.becomeCat()
    #expect(await refusal { _ = try attestor.finish(client.peer, reading) } == .changed)
  }

  @Test(arguments: [true, false]) func exits(asksPidfd: Bool) async throws {
    let client = try Client()
    let attestor = ProcessAttestor(time: Clock(), reading: "/proc", asksPidfd: asksPidfd)
    let attested = try await attestor.attest(client.peer)
    try client.exit()
    #expect(!client.peer.isAlive)
    #expect(await refusal { try attestor.confirm(client.peer, attested) } == .gone)
    #expect(await refusal { _ = try await attestor.attest(client.peer) } == .gone)
  }

  @Test func pidOfAnotherProcess() async throws {
    let dead = try Client()
    let alive = try Client()
    let other = PeerProcess(
      pidfd: dup(alive.peer.pidfd), pid: dead.peer.pid, uid: alive.peer.uid, gid: alive.peer.gid)
    let attestor = ProcessAttestor(time: Clock(), reading: "/proc")
    #expect(await refusal { _ = try await attestor.attest(other) } == .changed)
    let attested = try await attestor.attest(alive.peer)
    // As if the pid had gone to another process after the first one's end.
    let reused = PeerProcess(
      pidfd: dup(dead.peer.pidfd), pid: alive.peer.pid, uid: alive.peer.uid, gid: alive.peer.gid)
    try dead.exit()
    for asksPidfd in [true, false] {
      let attestor = ProcessAttestor(time: Clock(), reading: "/proc", asksPidfd: asksPidfd)
      #expect(await refusal { _ = try await attestor.attest(reused) } == .gone)
      #expect(await refusal { try attestor.confirm(reused, attested) } == .gone)
    }
    let hidden = PeerProcess(pidfd: dup(alive.peer.pidfd), pid: 0, uid: 0, gid: 0)
    #expect(await refusal { _ = try await attestor.attest(hidden) } == .pidNotVisible)
  }

  @Test func deletedExecutable() async throws {
    let folder = try Host.folder()
    try Host.copy(Host.python, to: folder + "/python")
    let client = try Client([folder + "/python"], in: folder)
    let changed = try File.identity(of: folder + "/python").changed.seconds
    let attestor = ProcessAttestor(time: Clock(seconds: changed + 1), reading: "/proc")
    let before = try await attestor.attest(client.peer)
    #expect(texts(before).contains("unix:path:\(folder)/python"))
    #expect(attestor.digests.count == 0, "it changed within the last second: not remembered")
    let later = ProcessAttestor(time: Clock(seconds: changed + 2), reading: "/proc")
    #expect(try await later.attest(client.peer) == before && later.digests.count == 1)
    try client.tell("unlink \(folder)/python")
    #expect(await refusal { try attestor.confirm(client.peer, before) } == .changed, "the path is true no more")
    let after = try await attestor.attest(client.peer)
    #expect(after.absent["path"] == "deleted" && !texts(after).contains { $0.hasPrefix("unix:path") })
    #expect(after.executable?.sha256 == before.executable?.sha256)
    try attestor.confirm(client.peer, after)
  }

  @Test func replacedExecutable() async throws {
    let folder = try Host.folder()
    try Host.copy(Host.python, to: folder + "/python")
    try Host.copy("/bin/cat", to: folder + "/other")
    let client = try Client([folder + "/python"], in: folder)
    try client.tell("replace \(folder)/other \(folder)/python")
    let attested = try await ProcessAttestor(time: Clock(), reading: "/proc").attest(client.peer)
    #expect(attested.executable?.sha256 == (try sha256(Host.python)), "of what runs, not of what lies there")
    #expect(!texts(attested).contains { $0.hasPrefix("unix:path") })
  }

  @Test func sizeLimitAndLongExecutable() async throws {
    let folder = try Host.folder()
    let path = folder + "/python"
    try Host.copy(Host.python, to: path)
    let size = ProcessAttestor.slowBytes + 1
    unsafe truncate(path, Int(size))
    let client = try Client([path], in: folder)
    let attested = try await ProcessAttestor(time: Clock(), reading: "/proc", maximumExecutableBytes: size).attest(
      client.peer)
    #expect(attested.executable?.sha256 == (try sha256(path)))
    let limited = try await ProcessAttestor(time: Clock(), reading: "/proc", maximumExecutableBytes: size - 1).attest(
      client.peer)
    #expect(limited.executable?.sha256 == nil && limited.absent["sha256"] == "too_long")
    #expect(!texts(limited).contains { $0.hasPrefix("unix:sha256") })
  }

  @Test(.enabled(if: Host.isRoot, "\(Host.needsRoot)")) func namespacesOfItsOwn() async throws {
    let here = try Client()
    let there = try Client(["/usr/bin/unshare", "--mount", "--uts", "--ipc", "--net", Host.python])
    let attestor = ProcessAttestor(time: Clock(), reading: "/proc")
    let (a, b) = (try await attestor.attest(here.peer), try await attestor.attest(there.peer))
    for kind in ["mnt", "uts", "ipc", "net"] { #expect(a.namespaces[kind] != b.namespaces[kind]) }
    for kind in ["user", "pid", "cgroup"] { #expect(a.namespaces[kind] == b.namespaces[kind]) }
    #expect(b.executable?.isAtPath == true, "the same file also from here")
  }

  @Test(.enabled(if: Host.isRoot, "\(Host.needsRoot)")) func pathOfAnotherMountNamespace() async throws {
    let folder = try Host.folder()
    try Host.copy(Host.python, to: folder + "/python")
    let mount = "mount --bind \(folder)/python /bin/cat && exec /bin/cat \"$@\""
    let client = try Client(["/usr/bin/unshare", "--mount", "/bin/sh", "-c", mount, "sh"], in: folder)
    let attested = try await ProcessAttestor(time: Clock(), reading: "/proc").attest(client.peer)
    #expect(attested.executable?.path?.hasSuffix("/bin/cat") == true)
    #expect(attested.absent["path"] == "elsewhere" && !texts(attested).contains { $0.hasPrefix("unix:path") })
    #expect(attested.executable?.sha256 == (try sha256(Host.python)))
  }

  @Test(.enabled(if: Host.isRoot, "\(Host.needsRoot)")) func processInItsOwnPidNamespace() async throws {
    let client = try Client(["/usr/bin/unshare", "--pid", "--fork", "--kill-child", Host.python])
    let attested = try await ProcessAttestor(time: Clock(), reading: "/proc").attest(client.peer)
    #expect(attested.pid > 1 && attested.executable?.path == Host.python)
  }

  @Test func controlGroupsOfATree() async throws {
    let client = try Client()
    let text =
      "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod\(Shape.podUnderscored).slice/crio-\(Shape.a).scope\n"
    let tree = try FakeTree(for: client.peer.pid, cgroup: text)
    defer { tree.remove() }
    let attestor = ProcessAttestor(time: Clock(), reading: tree.root)
    let attested = try await attestor.attest(client.peer)
    let told = texts(attested).filter { !$0.hasPrefix("unix") }
    #expect(
      told == [
        "container:id:\(Shape.a)", "container:runtime:crio", "k8s:pod-uid:\(Shape.pod)", "k8s:qos:burstable",
        "systemd:id:crio-\(Shape.a).scope",
      ])
    #expect(attested.controlGroups == [String(text.dropLast())])
    try tree.write(
      "cgroup", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-\(Shape.a).scope\n")
    let rootless = texts(try await attestor.attest(client.peer)).filter { $0.hasPrefix("container") }
    #expect(rootless == ["container:rootless:1000:\(Shape.a)"], "the user may call it anything, also docker's")
    for (text, reason) in [
      ("nonsense", "malformed"), (String(repeating: "0::/\n", count: 13_108), "too_long"),
      ("0::/../x.service\n", "outside_cgroup_namespace"),
    ] {
      try tree.write("cgroup", text)
      let attested = try await attestor.attest(client.peer)
      #expect(attested.absent["control_groups"] == reason)
      #expect(texts(attested).allSatisfy { $0.hasPrefix("unix:") })
    }
    try FileManager.default.removeItem(atPath: tree.path + "/cgroup")
    #expect(try await attestor.attest(client.peer).absent["control_groups"] == "not_found")
  }

  @Test func treeThatChangesBetweenTheReads() async throws {
    let client = try Client()
    let tree = try FakeTree(for: client.peer.pid)
    defer { tree.remove() }
    let attestor = ProcessAttestor(time: Clock(), reading: tree.root)
    let reading = try attestor.read(client.peer)
    _ = try attestor.finish(client.peer, reading)
    let stat = try String(contentsOf: URL(filePath: tree.path + "/stat"), encoding: .utf8)
    try tree.write("stat", stat.replacingOccurrences(of: " \(reading.startTime) ", with: " \(reading.startTime + 1) "))
    #expect(await refusal { _ = try attestor.finish(client.peer, reading) } == .changed, "another start time")
    try tree.write("stat", stat)
    try tree.write("cgroup", "0::/system.slice/a.service\n")
    #expect(await refusal { _ = try attestor.finish(client.peer, reading) } == .changed, "another control group")
    try tree.write("cgroup", "0::/\n")
    try tree.link("exe", "/bin/cat")
    #expect(await refusal { _ = try attestor.finish(client.peer, reading) } == .changed, "another executable")
  }

  @Test func unreadableTree() async throws {
    let client = try Client()
    let tree = try FakeTree(for: client.peer.pid)
    defer { tree.remove() }
    let attestor = ProcessAttestor(time: Clock(), reading: tree.root)
    try tree.link("exe", "/nowhere/program")
    let attested = try await attestor.attest(client.peer)
    #expect(attested.executable == nil && attested.absent["executable"] == "not_found")
    #expect(!texts(attested).contains { $0.hasPrefix("unix:path") || $0.hasPrefix("unix:sha256") })
    try attestor.confirm(client.peer, attested)
    try tree.link("exe", "/nowhere/other")
    #expect(await refusal { try attestor.confirm(client.peer, attested) } == .changed)

    let status = try String(contentsOf: URL(filePath: tree.path + "/status"), encoding: .utf8)
    let padding = String(repeating: "x", count: ProcText.statusLimit - status.utf8.count)
    try tree.write("status", status + padding)
    _ = try await attestor.attest(client.peer)
    try tree.write("status", status + padding + "x")
    #expect(await refusal { _ = try await attestor.attest(client.peer) } == .malformed)
    let uid = "Uid:\t\(geteuid())\t"
    try tree.write("status", status.replacingOccurrences(of: uid, with: "Uid:\t77\t"))
    #expect(await refusal { _ = try await attestor.attest(client.peer) } == .changed, "the pidfd says otherwise")
    try tree.write("status", "")
    #expect(await refusal { _ = try await attestor.attest(client.peer) } == .malformed)
    try FileManager.default.removeItem(atPath: tree.path + "/status")
    #expect(await refusal { _ = try await attestor.attest(client.peer) } == .unreadable)
  }

  @Test func idsWithoutAPlace() async throws {
    let client = try Client()
    let unmapped = ProcessAttestor(time: Clock(), reading: "/proc", overflow: (client.peer.uid, 65_534))
    #expect(await refusal { _ = try await unmapped.attest(client.peer) } == .unmappedUser)
    let tree = try FakeTree(for: client.peer.pid)
    defer { tree.remove() }
    let status = try String(contentsOf: URL(filePath: tree.path + "/status"), encoding: .utf8)
    let lines = status.split(separator: "\n").map { $0.hasPrefix("Groups:") ? "Groups:\t4 65534 " : $0 }
    try tree.write("status", lines.joined(separator: "\n"))
    let attested = try await ProcessAttestor(time: Clock(), reading: tree.root, overflow: (65_534, 65_534)).attest(
      client.peer)
    #expect(attested.supplementaryGroups == [4] && attested.absent["supplementary_gids"] == "gid_unmapped")
  }

  @Test func digestsAreBounded() throws {
    let client = try Client()
    let digests = ExecutableDigests(capacity: 4)
    for name in ["cat", "ls", "cp", "mv", "rm", "ln", "chmod"] {
      let path = "/bin/" + name
      let result = try digests.digest(of: path, identity: File.identity(of: path), of: client.peer, now: Clock().now())
      #expect(try result.get() == sha256(path))
      #expect(digests.count <= 4)
    }
    #expect(digests.remembered(try File.identity(of: "/bin/chmod")) != nil)
    #expect(digests.remembered(try File.identity(of: "/bin/cat")) == nil)
  }

  @Test func threadsAreBounded() async throws {
    let threads = BlockingThreads(threads: 1, limit: 1)
    let (started, gate) = (DispatchSemaphore(value: 0), DispatchSemaphore(value: 0))
    let first = Task {
      try await threads.run { () throws(AttestationError) in
        started.signal(); return gate.wait()
      }
    }
    await withCheckedContinuation { continuation in
      DispatchQueue.global().async {
        started.wait()
        continuation.resume()
      }
    }
    // The thread is taken; of these two one waits and the other is refused, in whichever order they come.
    let results = await withTaskGroup(of: Bool.self) { group in
      for _ in 0..<2 {
        group.addTask {
          do {
            _ = try await threads.run { () throws(AttestationError) in true }
            return true
          } catch {
            gate.signal()
            return false
          }
        }
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(results.sorted { !$0 && $1 } == [false, true])
    try await first.value
  }
}
