// Whichever of the two the compiler loads first is taken to define `stat`.
import CoreFoundation
import Glibc

/// What names the contents of a file, as stat(2) gives it: equal as long as nobody wrote to the file or its inode.
public struct FileIdentity: Sendable, Hashable {
  /// A moment of the file system's clock. Anybody may set a time of modification, so it may be any number.
  public struct Moment: Sendable, Hashable {
    /// Seconds since 1970.
    public let seconds: Int64
    /// 0 to 999,999,999.
    public let nanoseconds: Int64
  }
  /// The device's number.
  public let device: UInt64
  /// The inode's number.
  public let inode: UInt64
  /// The length in bytes.
  public let size: Int64
  /// When the contents changed last, which the owner can set.
  public let modified: Moment
  /// When the inode changed last, which nobody can set.
  public let changed: Moment

  init(_ status: stat) {
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
    size = Int64(status.st_size)
    modified = Moment(seconds: Int64(status.st_mtim.tv_sec), nanoseconds: Int64(status.st_mtim.tv_nsec))
    changed = Moment(seconds: Int64(status.st_ctim.tv_sec), nanoseconds: Int64(status.st_ctim.tv_nsec))
  }

  /// True for the same inode, whatever happened to it.
  func isSameFile(as other: FileIdentity) -> Bool { device == other.device && inode == other.inode }
}

/// Why a file cannot be read.
enum FileFailure: Error, Equatable {
  case errno(Int32)
  case tooLong

  /// A code for the record.
  var code: String {
    switch self {
    case .errno(EACCES), .errno(EPERM): "not_permitted"
    case .errno(ENOENT), .errno(ESRCH): "not_found"
    case .errno(let number): "errno_\(number)"
    case .tooLong: "too_long"
    }
  }
}

/// An open file; closes itself.
struct File: ~Copyable {
  let descriptor: Int32

  /// O_PATH (open(2)), which Glibc's module leaves out; the same on x86-64 and arm64.
  private static let pathOnlyFlag: Int32 = 0o10000000

  /// Opens for reading. With `pathOnly` it opens the inode alone, which asks nothing of its file system.
  init(_ path: String, pathOnly: Bool = false) throws(FileFailure) {
    let flags = pathOnly ? Self.pathOnlyFlag : O_RDONLY | O_NONBLOCK | O_NOCTTY
    descriptor = unsafe path.withCString { unsafe open($0, flags | O_CLOEXEC) }
    guard descriptor >= 0 else { throw .errno(errno) }
  }

  deinit { close(descriptor) }

  /// What the descriptor is open on.
  var identity: FileIdentity {
    get throws(FileFailure) {
      var status = stat()
      guard unsafe fstat(descriptor, &status) == 0 else { throw .errno(errno) }
      return FileIdentity(status)
    }
  }

  /// Reads the next bytes.
  /// - Returns: how many; 0 at the end.
  func read(into buffer: UnsafeMutableRawBufferPointer) throws(FileFailure) -> Int {
    while true {
      let count = unsafe Glibc.read(descriptor, buffer.baseAddress, buffer.count)
      if count >= 0 { return count }
      guard errno == EINTR else { throw .errno(errno) }
    }
  }

  /// The whole of a small file.
  /// - Parameter limit: the most bytes it may have.
  static func contents(_ path: String, limit: Int) throws(FileFailure) -> [UInt8] {
    let file = try File(path)
    var bytes: [UInt8] = []
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 14, alignment: 16)
    defer { unsafe buffer.deallocate() }
    while true {
      let count = try unsafe file.read(into: buffer)
      if count == 0 { return bytes }
      guard bytes.count + count <= limit else { throw .tooLong }
      unsafe bytes.append(contentsOf: buffer[..<count])
    }
  }

  /// What a path leads to.
  static func identity(of path: String) throws(FileFailure) -> FileIdentity {
    var status = stat()
    guard unsafe path.withCString({ unsafe stat($0, &status) }) == 0 else { throw .errno(errno) }
    return FileIdentity(status)
  }

  /// Where a symbolic link points; its bytes, of which there are at most 4,096.
  static func target(of path: String) throws(FileFailure) -> [UInt8] {
    var length = 0
    let target = unsafe [UInt8](unsafeUninitializedCapacity: 4097) { buffer, count in
      length = unsafe path.withCString { path in
        unsafe buffer.withMemoryRebound(to: CChar.self) { unsafe readlink(path, $0.baseAddress!, $0.count) }
      }
      count = max(0, length)
    }
    guard length >= 0 else { throw .errno(errno) }
    guard length <= 4096 else { throw .tooLong }
    return target
  }
}
