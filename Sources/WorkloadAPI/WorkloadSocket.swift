// Whichever of the two the compiler loads first is taken to define `stat`.
import CoreFoundation
import Glibc

/// The Workload API cannot be served.
public struct WorkloadAPIError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// The socket cannot be made.
    public static let socket = Code("workload_socket")
    /// Another daemon answers at the socket.
    public static let inUse = Code("workload_socket_in_use")
    /// An answer of the daemon is not what the Workload API says.
    public static let answer = Code("workload_answer_invalid")
  }

  /// The reason.
  public let code: Code
  /// What is wrong and what to do about it.
  public let message: String
  /// Where the error was made.
  public let file: String
  /// The line in ``file``.
  public let line: UInt

  /// Makes an error.
  public init(_ code: Code, _ message: String, file: String = #fileID, line: UInt = #line) {
    self.code = code
    self.message = message
    self.file = file
    self.line = line
  }

  /// The code and the message.
  public var description: String { "\(code): \(message)" }

  /// Errors are equal when their codes are.
  public static func == (a: WorkloadAPIError, b: WorkloadAPIError) -> Bool { a.code == b.code }
}

/// A listening unix socket that everybody may connect to, and its place in the file system.
struct WorkloadSocket: ~Copyable {
  private let path: String
  private let device: UInt
  private let inode: UInt
  private var descriptor: Int32?

  /// How many connections wait for the daemon; a client in a hurry fails when there is no room.
  static let backlog: Int32 = 4096

  /// Makes the socket. What a daemon that died left behind is replaced; anything else at the path is left alone.
  /// - Parameter path: at most 107 bytes (unix(7)); its folder exists and is the daemon's own.
  init(path: String) throws(WorkloadAPIError) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let bytes = Array(path.utf8)
    guard (1..<MemoryLayout.size(ofValue: address.sun_path)).contains(bytes.count), !bytes.contains(0) else {
      throw WorkloadAPIError(.socket, "\(path) is too long for a unix socket: 107 bytes are the most")
    }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: bytes) }

    try Self.clear(path, address)
    let descriptor = Self.open()
    do throws(WorkloadAPIError) {
      guard descriptor >= 0, Self.bind(descriptor, address) == 0,
        // The creation mask took part in the mode. A link is not followed, though none can be there.
        unsafe fchmodat(AT_FDCWD, path, 0o777, AT_SYMLINK_NOFOLLOW) == 0, listen(descriptor, Self.backlog) == 0
      else { throw Self.failure("make", path) }
      var status = stat()
      guard unsafe lstat(path, &status) == 0 else { throw Self.failure("look at", path) }
      (device, inode) = (UInt(status.st_dev), UInt(status.st_ino))
    } catch {
      close(descriptor)
      throw error
    }
    self.path = path
    self.descriptor = descriptor
  }

  deinit {
    if let descriptor { close(descriptor) }
    var status = stat()
    // Another daemon may have put its own there.
    if unsafe lstat(path, &status) == 0, UInt(status.st_dev) == device, UInt(status.st_ino) == inode {
      unsafe unlink(path)
    }
  }

  /// Hands the descriptor over, once.
  mutating func take() -> Int32? { descriptor.take() }

  private static func open() -> Int32 {
    socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
  }

  private static func bind(_ descriptor: Int32, _ address: sockaddr_un) -> Int32 {
    unsafe with(address) { unsafe Glibc.bind(descriptor, $0, $1) }
  }

  private static func connect(_ descriptor: Int32, _ address: sockaddr_un) -> Int32 {
    unsafe with(address) { unsafe Glibc.connect(descriptor, $0, $1) }
  }

  private static func with(_ address: sockaddr_un, _ call: (UnsafePointer<sockaddr>, socklen_t) -> Int32) -> Int32 {
    unsafe withUnsafePointer(to: address) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe call($0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
  }

  /// Removes a socket that nobody listens at.
  private static func clear(_ path: String, _ address: sockaddr_un) throws(WorkloadAPIError) {
    var status = stat()
    guard unsafe lstat(path, &status) == 0 else {
      if errno == ENOENT { return }
      throw failure("look at", path)
    }
    guard status.st_mode & S_IFMT == S_IFSOCK, status.st_uid == geteuid() else {
      throw WorkloadAPIError(.socket, "\(path) is there and is no socket of this user: move it away")
    }
    let probe = open()
    defer { close(probe) }
    guard probe >= 0 else { throw failure("look at", path) }
    guard connect(probe, address) != 0 else {
      throw WorkloadAPIError(.inUse, "another daemon listens at \(path): stop it, or name another state folder")
    }
    guard errno == ECONNREFUSED, unsafe unlink(path) == 0 else { throw failure("remove", path) }
  }

  private static func failure(_ what: String, _ path: String) -> WorkloadAPIError {
    WorkloadAPIError(.socket, "cannot \(what) \(path): \(unsafe String(cString: strerror(errno)))")
  }
}
