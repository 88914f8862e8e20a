import Foundation
@testable import HSMCustody
import SecretMemory
import TestSupport
import Testing

@Suite("Where PINs come from")
struct PINTests {
  private func code(_ body: () throws -> Void) -> SecretMemoryError.Code? {
    do { try body() } catch { return (error as? SecretMemoryError)?.code }
    return nil
  }

  private func file(_ text: String, _ mode: Int, in directory: String, _ name: String = "pin") throws -> String {
    let path = directory + "/" + name
    try? FileManager.default.removeItem(atPath: path)
    try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: path)
    return path
  }

  private func length(_ source: PINSource) throws -> Int {
    let pin = try source.read()
    return pin.count
  }

  @Test("Files: both sides of length and rights") func files() throws {
    let directory = try TemporaryFolder.make()
    #expect(try length(.file(file("1234\n", 0o600, in: directory))) == 4)
    #expect(try length(.file(file(String(repeating: "1", count: 256), 0o400, in: directory))) == 256)
    #expect(
      code { _ = try length(.file(file(String(repeating: "1", count: 257), 0o600, in: directory))) } == .badLength)
    for mode in [0o640, 0o440, 0o604, 0o700] {
      #expect(code { _ = try length(.file(file("1234", mode, in: directory))) } == .exposed)
    }
  }

  @Test("Credentials: as systemd makes them, and no other way") func credentials() throws {
    let directory = try TemporaryFolder.make()
    func read(_ text: String, _ mode: Int, _ name: String = "pin") throws -> Int {
      _ = try file(text, mode, in: directory, name)
      let pin = try PINSource.credential(name, in: directory)
      return pin.count
    }
    for mode in [0o400, 0o600] { #expect(try read("1234\n", mode) == 4) }
    if getuid() == 0 { #expect(try read("1234", 0o440) == 4) }
    for mode in [0o640, 0o444, 0o404, 0o460, 0o700, 0o4400] { #expect(code { _ = try read("1", mode) } == .exposed) }
    #expect(try read(String(repeating: "1", count: 256) + "\n", 0o400) == 257 - 1)
    #expect(code { _ = try PINSource.credential("absent", in: directory) } == .unreadable)
    #expect(code { _ = try read(String(repeating: "1", count: 258), 0o400) } == .badLength)
    for text in ["", "\n"] { #expect(code { _ = try read(text, 0o400) } == .badLength) }
    for name in ["", ".", "..", "../pin", "a/b", "a:b", "a b", String(repeating: "a", count: 256)] {
      #expect(code { _ = try PINSource.credential(name, in: directory) } == .unreadable)
    }
    #expect(code { _ = try PINSource.credential("pin", in: "relative") } == .unreadable)
    try FileManager.default.createSymbolicLink(atPath: directory + "/link", withDestinationPath: directory + "/pin")
    #expect(code { _ = try PINSource.credential("link", in: directory) } == .unreadable)
    #expect(code { _ = try PINSource.credential("tokens", in: directory) } == .unreadable)
  }

  @Test("A credential by the environment's folder") func environment() async {
    await #expect(processExitsWith: .success) {
      unsafe unsetenv("CREDENTIALS_DIRECTORY")
      #expect(throws: SecretMemoryError(.unreadable, "")) { try { _ = try PINSource.credential("hsm").read() }() }
      let directory = try TemporaryFolder.make()
      try Data("123456".utf8).write(to: URL(fileURLWithPath: directory + "/hsm"))
      try FileManager.default.setAttributes([.posixPermissions: 0o400], ofItemAtPath: directory + "/hsm")
      unsafe setenv("CREDENTIALS_DIRECTORY", directory, 1)
      let pin = try PINSource.credential("hsm").read()
      #expect(pin.count == 6)
    }
  }

  /// A terminal of our own, both ends.
  private struct Terminal: Sendable {
    let keyboard: Int32
    let path: String

    init() throws {
      keyboard = unsafe open("/dev/ptmx", O_RDWR | O_NOCTTY)
      var unlocked: Int32 = 0
      var number: UInt32 = 0
      // TIOCSPTLCK and TIOCGPTN (ioctl_tty(2)), which Glibc's module leaves out.
      try #require(unsafe ioctl(keyboard, 0x4004_5431, &unlocked) == 0)
      try #require(unsafe ioctl(keyboard, 0x8004_5430, &number) == 0)
      path = "/dev/pts/\(number)"
    }

    var echoes: Bool {
      var settings = termios()
      unsafe tcgetattr(keyboard, &settings)
      return settings.c_lflag & tcflag_t(ECHO) != 0
    }

    func type(_ text: String) {
      let bytes = Array(text.utf8)
      _ = unsafe write(keyboard, bytes, bytes.count)
    }

    /// The first line that the screen shows.
    func shown() -> String {
      var line: [UInt8] = []
      var byte: UInt8 = 0
      while unsafe read(keyboard, &byte, 1) == 1, byte != UInt8(ascii: "\n") { line.append(byte) }
      return String(decoding: line, as: UTF8.self)
    }
  }

  private static func ask(_ terminal: Terminal) -> Task<String, Never> {
    let path = terminal.path
    // Whoever types needs a thread too, and the pool has as many as there are cores.
    return Task {
      await withCheckedContinuation { answer in
        Thread.detachNewThread { answer.resume(returning: Self.outcome(path)) }
      }
    }
  }

  private static func outcome(_ path: String) -> String {
    do {
      let pin = try PINPrompt.read("PIN: ", terminal: path)
      return unsafe pin.withUnsafeBytes { (bytes: UnsafeRawBufferPointer) -> String in
        unsafe String(decoding: bytes, as: UTF8.self)
      }
    } catch {
      return error.code.description
    }
  }

  @Test("At the terminal: no echo, echo afterwards, both sides of the limit", .serialized, arguments: [4, 256, 257, 0])
  func prompt(_ count: Int) async throws {
    let terminal = try Terminal()
    // One end held open, so that the terminal keeps its settings.
    let held = unsafe open(terminal.path, O_RDWR | O_NOCTTY)
    defer { close(held) }
    #expect(terminal.echoes)
    let answer = Self.ask(terminal)
    await until { !terminal.echoes }
    let pin = String(repeating: "7", count: count)
    terminal.type(pin + "\n")
    #expect(await answer.value == ((1...256).contains(count) ? pin : "bad_secret_length"))
    #expect(terminal.echoes)
    #expect(terminal.shown() == "PIN: \r")
  }

  @Test("A signal: the echo is back, then it counts") func interrupted() async {
    await #expect(processExitsWith: .success) {
      let terminal = try Terminal()
      let held = unsafe open(terminal.path, O_RDWR | O_NOCTTY)
      defer { close(held) }
      // Somebody else's handler, which must get it, once.
      signal(SIGTERM) { _ in _ = unsafe setenv("GOT_IT", unsafe getenv("GOT_IT") == nil ? "1" : "2", 1) }
      let answer = PINTests.ask(terminal)
      await until { !terminal.echoes }
      kill(getpid(), SIGTERM)
      #expect(await answer.value == "secret_file_unreadable")
      #expect(terminal.echoes)
      // A signal for the process may reach another thread, and there a moment later.
      await until { unsafe getenv("GOT_IT") != nil }
      #expect(ProcessInfo.processInfo.environment["GOT_IT"] == "1")
    }
  }

  @Test("No terminal") func noTerminal() {
    #expect(code { _ = try PINPrompt.read("PIN: ", terminal: "/dev/null") } == .unreadable)
    #expect(code { _ = try PINPrompt.read("PIN: ", terminal: "/absent") } == .unreadable)
  }
}
