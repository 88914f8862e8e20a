import Foundation
import Glibc
public import PKCS11
public import SecretMemory

/// Tokens other than SoftHSM's, from Debian's packages. Each is started by the exit test that uses it, since their
/// libraries keep one configuration per process and leave threads behind, and goes with it: a shell that waits for the
/// end of a pipe ends the servers by their process ids, also after a crash.
public struct OtherToken: ~Copyable {
  /// The library, initialised.
  public let module: Module
  /// The token's RFC 7512 URI.
  public let uri: String
  /// The user's PIN, which protects nothing.
  public let pinText: String
  private let server: Server

  /// The user's PIN in locked memory.
  public func pin() throws -> SecretBytes { try OtherToken.secret(pinText) }

  fileprivate static func secret(_ text: String) throws -> SecretBytes {
    try unsafe SecretBytes(copying: Array(text.utf8).span.bytes)
  }

  /// Why a fixture could not be started.
  public struct Failure: Error, CustomStringConvertible {
    /// What to do.
    public let description: String
  }

  /// A kind of token, for tests that run on each.
  public enum Kind: String, CaseIterable, Codable, Sendable {
    /// opencryptoki's soft token, with its slot daemon.
    case opencryptoki
    /// tpm2-pkcs11 on swtpm, a software TPM 2.0.
    case tpm2

    /// Starts it; once per process.
    public func start() throws -> OtherToken {
      switch self {
      case .opencryptoki: try OpencryptokiFixture.start()
      case .tpm2: try SwtpmFixture.start()
      }
    }

    /// Why it cannot be started on this machine, and what to do; nil when it can.
    public var obstacle: String? {
      switch self {
      case .opencryptoki: OpencryptokiFixture.obstacle
      case .tpm2: SwtpmFixture.obstacle
      }
    }

    /// Whether its tests run: in CI an obstacle fails them instead of leaving them out.
    public var isWanted: Bool { obstacle == nil || ProcessInfo.processInfo.environment["CI"] == "true" }
  }

  fileprivate init(module: Module, uri: String, pin: String, server: Server) {
    self.module = module
    self.uri = uri
    pinText = pin
    self.server = server
  }

  fileprivate static func library(_ name: String) -> String {
    #if arch(arm64)
    "/usr/lib/aarch64-linux-gnu/pkcs11/\(name)"
    #else
    "/usr/lib/x86_64-linux-gnu/pkcs11/\(name)"
    #endif
  }

  fileprivate static func missing(_ files: [String], packages: String) -> String? {
    let absent = files.filter { !FileManager.default.fileExists(atPath: $0) }
    return absent.isEmpty ? nil : "\(absent.joined(separator: ", ")) missing: apt-get install \(packages)"
  }
}

/// opencryptoki's soft token. The daemon's places are fixed at its build, so it runs in mount and IPC namespaces of its
/// own, over folders of the test: that needs root with CAP_SYS_ADMIN.
enum OpencryptokiFixture {
  private static let library = OtherToken.library("libopencryptoki.so")

  static let obstacle: String? = {
    if let missing = OtherToken.missing(
      [library, "/usr/sbin/pkcsslotd", "/usr/sbin/pkcsconf"], packages: "opencryptoki")
    {
      return missing
    }
    guard geteuid() == 0 else { return "pkcsslotd needs root: run the tests as root" }
    let trial = Process()
    trial.executableURL = URL(fileURLWithPath: "/usr/bin/unshare")
    trial.arguments = ["-m", "-i", "mount", "--make-rprivate", "/"]
    trial.standardError = FileHandle.nullDevice
    guard (try? trial.run()) != nil else { return "/usr/bin/unshare does not start" }
    trial.waitUntilExit()
    return trial.terminationStatus == 0
      ? nil : "no mount namespace can be made: give the container CAP_SYS_ADMIN (docker run --privileged)"
  }()

  /// The PINs go from the ones that the token is delivered with to others before it serves.
  private static let script = """
    set -e
    mount --make-rprivate /
    mkdir -p etc lib/swtok/TOK_OBJ run/lock/opencryptoki/swtok log
    printf 'version opencryptoki-3.1\\nslot 0\\n{\\nstdll = libpkcs11_sw.so\\n}\\n' > etc/opencryptoki.conf
    chgrp -R pkcs11 lib run
    chmod -R g+rwX lib run
    mount --bind etc /etc/opencryptoki
    mount --bind lib /var/lib/opencryptoki
    mount --bind log /var/log
    mount --bind run /run
    /usr/sbin/pkcsslotd
    for try in $(seq 100); do [ -S /run/pkcsslotd.socket -a -s /run/pkcsslotd.pid ] && break; sleep 0.05; done
    server=$(cat /run/pkcsslotd.pid)
    trap 'kill -KILL $server' EXIT
    echo trustcore | pkcsconf -I -c 0 -S 87654321 > /dev/null
    pkcsconf -P -c 0 -S 87654321 -n 11223344
    pkcsconf -u -c 0 -S 11223344 -n 22334455
    pkcsconf -p -c 0 -U 22334455 -n 33445566
    echo ready
    read -r end || true
    """

  static func start() throws -> OtherToken {
    // The calling thread's alone, and that of the processes it starts; hence no suspension between here and the end.
    // unshare(2) is no part of what Swift sees of glibc; CLONE_NEWNS and CLONE_NEWIPC of linux/sched.h.
    typealias Unshare = @convention(c) (Int32) -> Int32
    guard let symbol = unsafe dlsym(nil, "unshare"),
      unsafe unsafeBitCast(symbol, to: Unshare.self)(0x0002_0000 | 0x0800_0000) == 0
    else {
      throw OtherToken.Failure(description: "no namespaces of its own (errno \(errno))")
    }
    let server = try Server(script)
    let module = try Module.load(library)
    return OtherToken(
      module: module, uri: Module.uri(label: "trustcore"), pin: "33445566", server: server)
  }
}

/// tpm2-pkcs11 on swtpm; the library itself makes the token, so neither tpm2-tools nor their Python are needed.
enum SwtpmFixture {
  private static let library = OtherToken.library("libtpm2_pkcs11.so")

  static let obstacle = OtherToken.missing([library, "/usr/bin/swtpm"], packages: "swtpm libtpm2-pkcs11-1")

  private static let script = """
    set -e
    mkdir state store
    swtpm socket --tpm2 --tpmstate dir="$PWD/state" --server type=tcp,port=$1 --ctrl type=tcp,port=$(($1 + 1)) \
      --flags not-need-init,startup-clear --pid file="$PWD/pid" --daemon
    server=$(cat pid)
    trap 'kill $server' EXIT
    echo ready
    read -r end || true
    """

  static func start() throws -> OtherToken {
    let port = try freePorts()
    let server = try Server(script, argument: "\(port)")
    unsafe setenv("TPM2_PKCS11_TCTI", "swtpm:host=127.0.0.1,port=\(port)", 1)
    unsafe setenv("TPM2_PKCS11_STORE", server.folder + "/store", 1)
    unsafe setenv("TPM2_PKCS11_LOG_LEVEL", "0", 1)
    unsafe setenv("TSS2_LOG", "all+none", 1)
    let module = try Module.load(library)
    guard let free = try module.tokens().first(where: { !$0.isInitialized }) else {
      throw OtherToken.Failure(description: "tpm2-pkcs11 shows no free slot")
    }
    let officer = try OtherToken.secret("officer-pin")
    let user = try OtherToken.secret("user-pin")
    try module.initToken(free.slot, soPIN: officer, label: "trustcore")
    let uri = Module.uri(label: "trustcore")
    do {
      let session = try Session(module, slot: try module.token(uri).slot, writable: true)
      try session.login(.securityOfficer, pin: officer)
      try session.initPIN(user)
      try session.logout()
    }
    return OtherToken(module: module, uri: uri, pin: "user-pin", server: server)
  }

  /// A port that is free with the one after it, which the TPM's clients take for its control channel.
  private static func freePorts() throws -> UInt16 {
    for _ in 0..<64 {
      guard let first = listen(on: 0) else { break }
      defer { close(first.descriptor) }
      if first.number < .max, let second = listen(on: first.number + 1) {
        close(second.descriptor)
        return first.number
      }
    }
    throw OtherToken.Failure(description: "no two neighbouring ports are free on 127.0.0.1")
  }

  private static func listen(on port: UInt16) -> (number: UInt16, descriptor: Int32)? {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = unsafe withUnsafeMutablePointer(to: &address) { address in
      unsafe address.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        unsafe bind(descriptor, address, length) == 0 && Glibc.listen(descriptor, 8) == 0
          && getsockname(descriptor, address, &length) == 0
      }
    }
    guard bound else {
      close(descriptor)
      return nil
    }
    return (UInt16(bigEndian: address.sin_port), descriptor)
  }
}

/// A shell script that starts servers in an empty folder, says `ready`, and ends them when this is let go or the
/// process dies.
final class Server {
  let folder: String
  private let process: pid_t
  private let lifeline: Int32

  /// The test library waits for the end of pipes of its own, which a server must not hold open.
  private static let prologue = """
    cd "$0"
    for open in /proc/self/fd/*; do
      number=${open##*/}
      [ "$number" -le 2 ] || eval "exec $number>&-"
    done

    """

  /// - Parameter argument: What the script finds as `$1`.
  init(_ script: String, argument: String = "") throws {
    folder = try TemporaryFolder.make()
    var (input, output): ([Int32], [Int32]) = ([0, 0], [0, 0])
    guard unsafe pipe(&input) == 0, unsafe pipe(&output) == 0 else {
      throw OtherToken.Failure(description: "no pipes (errno \(errno))")
    }
    // The script must not hold its own lifeline.
    for descriptor in input + output { _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC) }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    unsafe posix_spawn_file_actions_adddup2(&actions, input[0], 0)
    unsafe posix_spawn_file_actions_adddup2(&actions, output[1], 1)
    // Dispatch's threads block signals, and a blocked mask is inherited: the servers could not be ended.
    var attributes = posix_spawnattr_t()
    unsafe posix_spawnattr_init(&attributes)
    defer { unsafe posix_spawnattr_destroy(&attributes) }
    var none = sigset_t()
    unsafe sigemptyset(&none)
    unsafe posix_spawnattr_setsigmask(&attributes, &none)
    unsafe posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
    let words = ["/bin/bash", "-c", Self.prologue + script, folder, argument]
    let arguments = unsafe words.map { unsafe strdup($0) } + [nil]
    defer { unsafe arguments.forEach { unsafe free($0) } }
    var process: pid_t = 0
    let result = unsafe posix_spawn(&process, "/bin/bash", &actions, &attributes, arguments, environ)
    close(input[0])
    close(output[1])
    guard result == 0 else { throw OtherToken.Failure(description: "no shell (errno \(result))") }
    self.process = process
    lifeline = input[1]
    let answer = FileHandle(fileDescriptor: output[0], closeOnDealloc: true)
    // What is there, not as much as is asked for.
    guard String(decoding: answer.availableData, as: UTF8.self).contains("ready") else {
      throw OtherToken.Failure(description: "the servers did not start; what they said stands above")
    }
  }

  deinit {
    close(lifeline)
    var status: Int32 = 0
    unsafe waitpid(process, &status, 0)
  }
}
