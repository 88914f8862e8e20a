import Foundation
import Glibc
import JOSE
import SwiftASN1
import Synchronization
import Testing
import Wire
import WorkloadAPI
import WorkloadIdentity
import X509

@testable import OperatorClient
@testable import trustcore

@Suite("SVIDs at the command line", .serialized)
struct SVIDTests {
  static func scratch() throws -> String {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("out-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    return folder
  }

  static func text(_ path: String) -> String {
    FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } ?? ""
  }

  @Test("fetch prints what there is without a key, and writes files that belong together")
  func fetch() async throws {
    let fake = try FakeWorkloadAPI()
    let out = try Self.scratch()
    defer { try? FileManager.default.removeItem(atPath: out) }
    try await fake.run { path in
      let nobody = try await ProgramTests.run(["svid", "fetch", "--socket", path])
      #expect(nobody.status == 77)
      #expect(nobody.complaint == "trustcore: No entry matches this workload: ask for one. [no_identity]\n")
      try fake.publish(["/web", "/api"], isFederated: true)
      let shown = try await ProgramTests.run(["svid", "fetch", "--socket", "unix://" + path])
      #expect(shown.status == 0, "\(shown.complaint)")
      #expect(shown.text.contains("spiffe://example.org/web") && shown.text.contains("Federated with: other.org"))
      let json = try await ProgramTests.run([
        "svid", "fetch", "--json", "--socket", path, "--id", "spiffe://example.org/api",
      ])
      let svids = try JSONValue(parsing: json.output).object?["svids"]?.array
      #expect(svids?.count == 1 && svids?[0].object?["serial"] == "0b" && svids?[0].object?["hint"] == "hint1")
      #expect(!json.text.contains("PRIVATE") && !shown.text.contains("PRIVATE"))

      let written = try await ProgramTests.run(["svid", "fetch", "--socket", path, "--out", out])
      #expect(written.text.hasPrefix("spiffe://example.org/web is in \(out), until 2049"), "\(written.complaint)")
      let pair = try (
        Certificate(pemEncoded: Self.text(out + "/svid.pem")),
        Certificate.PrivateKey(pemEncoded: Self.text(out + "/svid.key"))
      )
      #expect(pair.0.publicKey == pair.1.publicKey)
      #expect(try Certificate(pemEncoded: Self.text(out + "/bundle.pem")) == fake.own.root)
      #expect(try Certificate(pemEncoded: Self.text(out + "/federated/other.org.pem")) == fake.other.root)
      let stranger = ["svid", "fetch", "--socket", path, "--id", "spiffe://example.org/none"]
      #expect(try await ProgramTests.run(stranger).status == 77)
      #expect(try await ProgramTests.run(stranger + ["--out", out]).status == 77)
      #expect(try await ProgramTests.run(["svid", "fetch", "--socket", path, "--id", "x"]).status == 64)
      #expect(try await ProgramTests.run(["svid", "fetch", "--socket", path, "--out", out + "/svid.pem"]).status == 73)
      // A certificate of another root than the bundle's is no help to anybody.
      try fake.publish(["/web"], leafOf: fake.other)
      let before = Self.text(out + "/svid.pem")
      let foreign = try await ProgramTests.run(["svid", "fetch", "--socket", path, "--out", out])
      #expect(foreign.status != 0 && Self.text(out + "/svid.pem") == before)
      fake.change { $0.refusal = WorkloadRefusal(.unavailable, "shed", "too much at once: try again") }
      #expect(try await ProgramTests.run(["svid", "fetch", "--socket", path]).status == 75)
    }
    #expect(try await ProgramTests.run(["svid", "fetch", "--socket", out + "/nowhere"]).status == 69)
    #expect(try await ProgramTests.run(["svid", "fetch", "--socket", "tcp://127.0.0.1:1"]).status == 64)
    #expect(try await ProgramTests.run(["svid", "fetch", "--state", "/nowhere"]).status == 66)
  }

  @Test("where the socket is")
  func sockets() throws {
    func path(_ text: String) -> String? { try? SocketOptions.path(of: text, "x") }
    for text in ["/a/b", "unix:/a/b", "unix:///a/b"] { #expect(path(text) == "/a/b", "\(text)") }
    #expect(path("a/b") == "a/b")
    for text in ["", "unix:", "unix:a", "unix://a/b", "unix:///a?b", "tcp://a:1", "https://a"] {
      #expect(path(text) == nil, "\(text)")
    }
  }

  @Test("jwt prints a token that verify takes, with a file and with the daemon's bundles")
  func tokens() async throws {
    let fake = try FakeWorkloadAPI()
    let folder = try Self.scratch()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try fake.publish(["/web", "/api"])
    try await fake.run { path in
      let fetched = try await ProgramTests.run(["svid", "jwt", "--audience", "a", "--socket", path])
      let token = fetched.text.trimmingCharacters(in: .newlines)
      #expect(fetched.status == 0 && token.split(separator: ".").count == 3, "\(fetched.complaint)")
      let all = try await ProgramTests.run(["svid", "jwt", "--audience", "a", "--socket", path, "--json"])
      #expect(try JSONValue(parsing: all.output).object?["svids"]?.array?.count == 2)
      #expect(try await ProgramTests.run(["svid", "jwt", "--socket", path]).status == 64)
      try Data(fake.jwks).write(to: URL(fileURLWithPath: folder + "/b.json"))
      let verify = ["svid", "verify", "--socket", path, "--jwt"]
      let good = try await ProgramTests.run(verify + ["-", "--audience", "a"], input: fetched.output)
      #expect(good.status == 0 && good.text.contains("spiffe://example.org/web"), "\(good.complaint)")
      #expect(good.text.hasSuffix("\nRevocation  none that the Workload API knows\n"), "\(good.text)")
      // Revoked, the daemon knows; a file does not, and the answer does not sound as if it did.
      fake.change { $0.isTokenRevoked = true }
      let revoked = try await ProgramTests.run(verify + [token, "--audience", "a"])
      #expect(
        revoked.status == 65
          && revoked.complaint == "trustcore: The token is revoked. [jwt_svid_invalid]\n")
      let alone = try await ProgramTests.run(verify + [token, "--audience", "a", "--bundle", folder + "/b.json"])
      #expect(
        alone.status == 0
          && alone.text.hasSuffix("\nRevocation  not checked: the Workload API does, without --bundle\n"),
        "\(alone.text)")
      let json = try await ProgramTests.run(
        verify + [token, "--audience", "a", "--bundle", folder + "/b.json", "--json"])
      #expect(try JSONValue(parsing: json.output).object?["revocation_checked"] == false)
      fake.change { $0.isTokenRevoked = false }
      let foreign = ["--bundle", folder + "/b.json", "--trust-domain", "other.org"]
      for (arguments, code) in [
        ([token, "--audience", "b"], "jwt_svid_invalid"), (["x.y.z", "--audience", "a"], "jwt_svid_invalid"),
        ([token, "--audience", "a"] + foreign, "trust_domain_unknown"),
      ] {
        let bad = try await ProgramTests.run(verify + arguments)
        #expect(bad.status == 65 && bad.complaint.contains("[\(code)]"), "\(bad.complaint)")
      }
      #expect(try await ProgramTests.run(verify + [token]).status == 64)
    }
  }

  @Test("verify says which rule a certificate breaks")
  func verify() async throws {
    let folder = try Self.scratch()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let (domain, other) = (try FakeTrustDomain("example.org"), try FakeTrustDomain("other.org"))
    func write(_ name: String, _ certificates: [[UInt8]]) throws -> String {
      try Data(WorkloadPEM.encode(certificates)).write(to: URL(fileURLWithPath: folder + "/" + name))
      return folder + "/" + name
    }
    let good = try write("good.pem", [domain.leaf("/web", serial: 17).der])
    let bad = try write("bad.pem", [domain.leaf("/web", serial: 17, usage: KeyUsage(keyCertSign: true)).der])
    let (roots, others) = (try write("roots.pem", [domain.rootDER]), try write("others.pem", [other.rootDER]))
    let verified = try await ProgramTests.run(["svid", "verify", good, "--bundle", roots])
    #expect(
      verified.text == """
        Verified    spiffe://example.org/web
        Until       2049-01-01T00:00:00.000Z
        Serial      11
        DNS names   web.example
        Revocation  not checked: name the lists with --crl

        """, "\(verified.complaint)")
    let json = try SPIFFEBundle(
      trustDomain: domain.domain, x509Authorities: [domain.rootDER], jwtAuthorities: [], sequence: 1, refreshHint: nil)
    try Data(json.json()).write(to: URL(fileURLWithPath: folder + "/b.json"))
    let named = ["svid", "verify", good, "--bundle", folder + "/b.json", "--trust-domain"]
    #expect(try await ProgramTests.run(named + ["example.org"]).status == 0)
    for (arguments, status, words) in [
      (["svid", "verify", bad, "--bundle", roots], 65, "leaf-signs"),
      (["svid", "verify", good, "--bundle", others], 65, "path"),
      (named + ["other.org"], 65, "trust_domain_unknown"),
      (["svid", "verify", folder + "/b.json", "--bundle", roots], 65, "malformed"),
      (["svid", "verify", folder + "/none", "--bundle", roots], 66, "no_input"),
      (["svid", "verify", good, "--socket", folder + "/none"], 69, "daemon_unreachable"),
      (["svid", "verify"], 64, "--jwt"), (["svid", "verify", good, "--trust-domain", "a"], 64, "--bundle"),
    ] as [([String], Int32, String)] {
      let outcome = try await ProgramTests.run(arguments)
      #expect(outcome.status == status && outcome.complaint.contains(words), "\(arguments): \(outcome.complaint)")
    }
  }

  @Test("verify asks the Workload API for the revocation lists too")
  func revoked() async throws {
    let fake = try FakeWorkloadAPI()
    let folder = try Self.scratch()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let leaf = try fake.own.leaf("/web", serial: 17)
    try Data(WorkloadPEM.encode([leaf.der])).write(to: URL(fileURLWithPath: folder + "/svid.pem"))
    try await fake.run { path in
      let verify = ["svid", "verify", folder + "/svid.pem", "--socket", path]
      for (crls, status, words) in [
        ([], 0, "Revocation  not checked: "),
        ([try await fake.own.crl(revoking: 16)], 0, "Revocation  on none of the lists\n"),
        ([try await fake.own.crl(revoking: 17)], 65, "revoked: "),
      ] as [([[UInt8]], Int32, String)] {
        try fake.publish(["/api"], crls: crls)
        let outcome = try await ProgramTests.run(verify)
        #expect(
          outcome.status == status && (outcome.text + outcome.complaint).contains(words),
          "\(outcome.text) \(outcome.complaint)")
      }
    }
  }

  /// What a watcher told, in order.
  final class Told: Sendable {
    private let stream: AsyncStream<String>
    private let continuation: AsyncStream<String>.Continuation
    init() { (stream, continuation) = AsyncStream.makeStream() }
    func tell(_ text: String) { continuation.yield(text) }
    func next() async -> String? {
      for await text in stream { return text }
      return nil
    }
  }

  @Test("watch writes each change once, runs the command, outlives the daemon's refusals and connects again")
  func watch() async throws {
    let fake = try FakeWorkloadAPI()
    let out = try Self.scratch()
    defer { try? FileManager.default.removeItem(atPath: out) }
    let told = Told()
    let reload = SVIDReload(command: ["sh", "-c", "cat \(out)/tls/svid.pem >> \(out)/log; echo >> \(out)/runs"])
    try await fake.run { path in
      let watcher = SVIDWatcher(
        path: path, folder: try WorkloadFolder(out + "/tls"), id: nil, reload: reload,
        tell: { told.tell("new \($0.id)") }, complain: { told.tell("\($0.code)") },
        // Time is not what is tested.
        pause: { _ in await Task.yield() })
      try fake.publish(["/web"])
      let task = Task { try await watcher.run() }
      #expect(await told.next() == "new spiffe://example.org/web")
      try fake.publish(["/web"])
      #expect(await told.next() == "new spiffe://example.org/web")
      // A certificate that does not verify changes nothing.
      let before = Self.text(out + "/tls/svid.pem")
      try fake.publish(["/web"], leafOf: fake.other)
      #expect(await told.next() != "new spiffe://example.org/web")
      #expect(Self.text(out + "/tls/svid.pem") == before)
      fake.change { $0.refusal = WorkloadRefusal(.unavailable, "shed", "too much at once: try again", retryAfter: 1) }
      #expect(await told.next() == "shed")
      try fake.publish(["/api"])
      fake.change { $0.refusal = nil }
      while let text = await told.next(), text != "new spiffe://example.org/api" { #expect(text == "shed") }
      task.cancel()
      try await task.value
      #expect(fake.state.withLock { $0.connections } >= 2)
      let pair = try (
        Certificate(pemEncoded: Self.text(out + "/tls/svid.pem")),
        Certificate.PrivateKey(pemEncoded: Self.text(out + "/tls/svid.key"))
      )
      #expect(pair.0.publicKey == pair.1.publicKey)
    }
  }

  @Test(
    "watch outlives a folder that cannot be written for a while: complains once, and goes on",
    .timeLimit(.minutes(1)))
  func fullFolder() async throws {
    let fake = try FakeWorkloadAPI()
    let out = try Self.scratch()
    defer { try? FileManager.default.removeItem(atPath: out) }
    let told = Told()
    let isFull = Mutex(true)
    let pauses = AsyncStream.makeStream(of: Void.self)
    try await fake.run { path in
      let folder = try WorkloadFolder(out + "/tls") { (step) throws(OperatorError) in
        if step == .sync, isFull.withLock({ $0 }) {
          throw OperatorError(.folderNotWritten, "No space left on device.")
        }
      }
      let watcher = SVIDWatcher(
        path: path, folder: folder, id: nil, reload: SVIDReload(),
        tell: { told.tell("new \($0.id)") }, complain: { told.tell("\($0.code)") },
        pause: { _ in
          pauses.continuation.yield()
          await Task.yield()
        })
      try fake.publish(["/web"])
      let task = Task { try await watcher.run() }
      #expect(await told.next() == "folder_not_written")
      var count = 0
      for await _ in pauses.stream {
        count += 1
        if count == 3 { break }
      }
      isFull.withLock { $0 = false }
      #expect(await told.next() == "new spiffe://example.org/web")
      // Another moment is told of again.
      isFull.withLock { $0 = true }
      try fake.publish(["/web"])
      #expect(await told.next() == "folder_not_written")
      isFull.withLock { $0 = false }
      #expect(await told.next() == "new spiffe://example.org/web")
      task.cancel()
      try await task.value
    }
    // What no patience mends ends it.
    try FileManager.default.createDirectory(atPath: out + "/mine", withIntermediateDirectories: true)
    try "mine".write(toFile: out + "/mine/svid.pem", atomically: true, encoding: .utf8)
    try fake.publish(["/web"])
    try await fake.run { path in
      let outcome = try await ProgramTests.run(["svid", "watch", "--socket", path, "--out", out + "/mine"])
      #expect(outcome.status == 73 && outcome.complaint.contains("move it"), "\(outcome.complaint)")
    }
  }

  @Test("a sentence has one end")
  func sentences() {
    for (text, sentence) in [
      ("is it running?", "Is it running?"), ("stop.", "Stop."), ("try again", "Try again."), ("no!", "No!"),
    ] { #expect(SocketOptions.sentence(text) == sentence) }
  }

  @Test("reloading: a signal to the process of a file, a command, and what fails is told")
  func reload() async throws {
    let folder = try Self.scratch()
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sleep")
    process.arguments = ["1000"]
    let (ended, end) = AsyncStream.makeStream(of: Void.self)
    process.terminationHandler = { _ in end.finish() }
    try SVIDReload.start(process)
    let file = folder + "/pid"
    try "\(process.processIdentifier)\n".write(toFile: file, atomically: true, encoding: .utf8)
    #expect(await SVIDReload(pidFile: file, signal: SIGUSR1).run().isEmpty)
    for await _ in ended {}
    #expect(process.terminationReason == .uncaughtSignal && process.terminationStatus == SIGUSR1)

    for text in ["", "x", "0", "1", "-1", "4194305", "99999999999"] {
      try text.write(toFile: file, atomically: true, encoding: .utf8)
      #expect(await SVIDReload(pidFile: file, signal: 0).run().count == 1, "\(text)")
    }
    #expect(await SVIDReload(pidFile: folder + "/none").run().count == 1)
    #expect(await SVIDReload(command: ["sh", "-c", "test \"$1\" = 'a b'", "sh", "a b"]).run().isEmpty)
    #expect(await SVIDReload(command: ["false"]).run() == ["false failed: its status says exit 1."])
    #expect(await SVIDReload(command: ["no-such-program-here"]).run().count == 1)
    #expect(SVIDReload.signal(named: "hup") == SIGHUP && SVIDReload.signal(named: "SIGUSR2") == SIGUSR2)
    #expect(SVIDReload.signal(named: "KILL") == nil)
  }

  @Test("the program watches until it is told to stop", arguments: [SIGTERM, SIGINT])
  func program(signal: Int32) async throws {
    let fake = try FakeWorkloadAPI()
    let out = try Self.scratch()
    defer { try? FileManager.default.removeItem(atPath: out) }
    try fake.publish(["/web"])
    try await fake.run { path in
      let folder = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath().deletingLastPathComponent()
      let process = Process()
      process.executableURL = folder.appendingPathComponent("trustcore")
      // The command's output is ours: it says when there is something to see, and which signals do not reach it.
      let command = ["sh", "-c", "grep -E '^Sig(Blk|Ign)' /proc/self/status; echo reloaded"]
      process.arguments = ["svid", "watch", "--socket", path, "--out", out + "/tls", "--exec"] + command
      let pipe = Foundation.Pipe()
      process.standardOutput = pipe
      let (ended, end) = AsyncStream.makeStream(of: Void.self)
      process.terminationHandler = { _ in end.finish() }
      try process.run()
      var lines = ""
      let descriptor = pipe.fileHandleForReading.fileDescriptor
      while !lines.contains("reloaded\n") {
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = unsafe read(descriptor, &bytes, bytes.count)
        guard count > 0 else { break }
        lines += String(decoding: bytes.prefix(count), as: UTF8.self)
      }
      #expect(lines.hasPrefix("spiffe://example.org/web is in \(out)/tls, until 2049"))
      let masks = lines.split(separator: "\n").filter { $0.hasPrefix("Sig") }
        .compactMap { UInt64($0.split(separator: "\t").last ?? "", radix: 16) }
      #expect(masks.count == 2 && masks.allSatisfy { $0 & (1 << 14 | 1 << 1 | 1 << 12) == 0 }, "\(lines)")
      #expect(kill(process.processIdentifier, signal) == 0)
      for await _ in ended {}
      #expect(process.terminationReason == .exit && process.terminationStatus == 0)
      #expect(Self.text(out + "/tls/svid.key").hasPrefix("-----BEGIN PRIVATE KEY-----"))
    }
  }
}
