import Glibc
import SecretMemory
import TestSupport
import Testing

@Suite("Secret memory")
struct SecretMemoryTests {
  /// The flags that the kernel keeps for the mapping that holds an address (proc(5), smaps).
  private func flags(of address: UInt) throws -> Set<Substring>? {
    let file = try unsafe #require(unsafe fopen("/proc/self/smaps", "r"))
    defer { unsafe fclose(file) }
    var line = [CChar](repeating: 0, count: 4096)
    var inside = false
    while let read = unsafe fgets(&line, Int32(line.count), file) {
      let text = unsafe String(cString: read)
      if text.hasPrefix("VmFlags:") {
        if inside { return Set(text.dropFirst(8).split(whereSeparator: { $0 == " " || $0 == "\n" })) }
      } else if let dash = text.firstIndex(of: "-"), let start = UInt(text[..<dash], radix: 16),
        let space = text.firstIndex(of: " "), let end = UInt(text[text.index(after: dash)..<space], radix: 16)
      {
        inside = (start..<end).contains(address)
      }
    }
    return nil
  }

  private func address(of secret: borrowing SecretBytes) -> UInt {
    unsafe secret.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
  }

  private func array(_ secret: borrowing SecretBytes) -> [UInt8] {
    unsafe secret.withUnsafeBytes { unsafe Array($0) }
  }

  @Test("Pages are locked, left out of dumps and wiped on fork")
  func pages() throws {
    let secret = try SecretBytes.random(count: 32)
    let flags = try #require(try self.flags(of: address(of: secret)))
    #expect(flags.isSuperset(of: ["lo", "dd", "wf"]), "\(flags.sorted())")
  }

  @Test("The last owner gives the pages back") func release() async {
    // In a process of its own, where nobody else gets the same address.
    await #expect(processExitsWith: .success) {
      let suite = SecretMemoryTests()
      func use() throws -> UInt {
        let secret = try SecretBytes(zeros: 1)
        guard try suite.flags(of: suite.address(of: secret))?.contains("lo") == true else { exit(1) }
        return suite.address(of: secret)
      }
      let address = try use()
      exit(try suite.flags(of: address)?.contains("wf") == true ? 2 : 0)
    }
  }

  @Test("Lengths", arguments: [1, 4096, 4097, SecretBytes.maximumCount])
  func lengths(_ count: Int) throws {
    let secret = try SecretBytes(zeros: count)
    #expect(secret.count == count)
    #expect(secret.bytes.byteCount == count)
    #expect(array(secret) == [UInt8](repeating: 0, count: count))
  }

  @Test("Lengths that are refused", arguments: [-1, 0, SecretBytes.maximumCount + 1])
  func refusedLengths(_ count: Int) {
    #expect(throws: SecretMemoryError(.badLength, "")) { _ = try SecretBytes(zeros: count) }
  }

  @Test func randomness() throws {
    let a = try SecretBytes.random(count: 256)
    let b = try SecretBytes.random(count: 256)
    let equal = constantTimeEqual(a.bytes, b.bytes)
    #expect(!equal)
    #expect(throws: SecretMemoryError(.badLength, "")) { _ = try SecretBytes.random(count: 257) }
  }

  @Test func hexadecimal() throws {
    let bytes: [UInt8] = [0x00, 0x0f, 0xa5, 0xff]
    let text = try unsafe SecretBytes(copying: bytes.span.bytes).hexadecimal()
    #expect(array(text) == Array("000fa5ff".utf8))
  }

  @Test func comparison() throws {
    let a: [UInt8] = [1, 2, 3]
    for (b, equal) in [([1, 2, 3], true), ([1, 2, 4], false), ([0, 2, 3], false), ([1, 2], false), ([], false)]
      as [([UInt8], Bool)]
    {
      unsafe #expect(constantTimeEqual(a.span.bytes, b.span.bytes) == equal)
    }
    let none: [UInt8] = []
    let equal = unsafe constantTimeEqual(none.span.bytes, none.span.bytes)
    #expect(equal)
  }

  // MARK: Files

  private func file(_ bytes: [UInt8], mode: mode_t) throws -> String {
    let path = try TemporaryFolder.make() + "/secret"
    let descriptor = unsafe open(path, O_WRONLY | O_CREAT | O_EXCL, 0o600)
    try #require(descriptor >= 0)
    defer { close(descriptor) }
    try #require(unsafe write(descriptor, bytes, bytes.count) == bytes.count)
    try #require(fchmod(descriptor, mode) == 0)
    return path
  }

  @Test("A file of ours", arguments: [0o600, 0o400] as [mode_t])
  func readsFile(_ mode: mode_t) throws {
    let path = try file(Array("1234\n".utf8), mode: mode)
    #expect(try array(SecretBytes(contentsOfFile: path)) == Array("1234\n".utf8))
    #expect(try array(SecretBytes(contentsOfFile: path, droppingNewline: true)) == Array("1234".utf8))
  }

  @Test("Only one newline is dropped, and only a newline")
  func newlines() throws {
    let two = try file(Array("1\n\n".utf8), mode: 0o600)
    #expect(try array(SecretBytes(contentsOfFile: two, droppingNewline: true)) == Array("1\n".utf8))
    let none = try file(Array("12".utf8), mode: 0o600)
    #expect(try array(SecretBytes(contentsOfFile: none, droppingNewline: true)) == Array("12".utf8))
    let only = try file(Array("\n".utf8), mode: 0o600)
    #expect(throws: SecretMemoryError(.badLength, "")) {
      _ = try SecretBytes(contentsOfFile: only, droppingNewline: true)
    }
  }

  @Test("A file that others may use", arguments: [0o640, 0o604, 0o660, 0o644, 0o700, 0o620, 0o4600] as [mode_t])
  func refusesMode(_ mode: mode_t) throws {
    let path = try file([1], mode: mode)
    #expect(throws: SecretMemoryError(.exposed, "")) { _ = try SecretBytes(contentsOfFile: path) }
  }

  @Test("A file of someone else's", .enabled(if: geteuid() == 0, "chown needs root"))
  func refusesOwner() throws {
    let path = try file([1], mode: 0o600)
    try #require(unsafe chown(path, 65534, 65534) == 0)
    #expect(throws: SecretMemoryError(.exposed, "")) { _ = try SecretBytes(contentsOfFile: path) }
  }

  @Test("What is no file") func refusesOthers() throws {
    let path = try file([1], mode: 0o600)
    let link = path + "-link"
    try #require(unsafe symlink(path, link) == 0)
    let pipe = path + "-pipe"
    try #require(unsafe mkfifo(pipe, 0o600) == 0)
    for other in [link, pipe, path + "-absent", "/proc/self"] {
      #expect(throws: SecretMemoryError(.unreadable, ""), "\(other)") { _ = try SecretBytes(contentsOfFile: other) }
    }
  }

  @Test("File sizes") func fileSizes() throws {
    let empty = try file([], mode: 0o600)
    #expect(throws: SecretMemoryError(.badLength, "")) { _ = try SecretBytes(contentsOfFile: empty) }
    let largest = [UInt8](repeating: 7, count: SecretBytes.maximumCount)
    #expect(try array(SecretBytes(contentsOfFile: try file(largest, mode: 0o600))) == largest)
    let larger = try file(largest + [7], mode: 0o600)
    #expect(throws: SecretMemoryError(.badLength, "")) { _ = try SecretBytes(contentsOfFile: larger) }
  }

  @Test("No locked memory, no secret") func limit() async {
    await #expect(processExitsWith: .success) {
      var none = rlimit(rlim_cur: 0, rlim_max: 0)
      // Root's CAP_IPC_LOCK is above the limit, so another user asks.
      guard unsafe setrlimit(8 /* RLIMIT_MEMLOCK */, &none) == 0, geteuid() != 0 || seteuid(65534) == 0 else {
        exit(1)
      }
      do throws(SecretMemoryError) {
        _ = try SecretBytes(zeros: 1)
        exit(2)
      } catch {
        exit(error.code == .noLockedMemory ? 0 : 3)
      }
    }
  }

  @Test("A hardened process") func hardening() async {
    await #expect(processExitsWith: .success) {
      try hardenProcess()
      var limit = rlimit(rlim_cur: 1, rlim_max: 1)
      guard unsafe getrlimit(4 /* RLIMIT_CORE */, &limit) == 0, limit.rlim_cur == 0, limit.rlim_max == 0 else {
        exit(1)
      }
      exit(prctlDumpable() == 0 ? 0 : 2)
    }
  }
}

/// PR_GET_DUMPABLE, which needs prctl: variadic, so Swift does not import it.
private func prctlDumpable() -> Int32 {
  typealias Control = @convention(c) (Int32, UInt, UInt, UInt, UInt) -> Int32
  guard let symbol = unsafe dlsym(nil, "prctl") else { return -1 }
  return unsafe unsafeBitCast(symbol, to: Control.self)(3, 0, 0, 0, 0)
}
