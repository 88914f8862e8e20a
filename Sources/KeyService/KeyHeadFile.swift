import Glibc
import KeyHierarchy
import KeyManifests
import Wire

/// The end of the history of key records, in a file outside the database and its backups, authenticated by every token
/// that answered when it was written. A text:
///
///     trustcore-key-head/v1
///     <the head, base64>
///     <the codes of authenticity, base64>
struct KeyHeadFile {
  private static let header = "trustcore-key-head/v1"
  /// A hundred thousand destroyed keys.
  private static let maximumBytes = 16 << 20

  let head: KeyHead
  let codes: RecordMACs

  static func read(_ path: String) throws -> KeyHeadFile {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { throw failure("cannot be read: restore it") }
    defer { close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG, status.st_size <= maximumBytes
    else { throw failure("is no regular file of at most \(maximumBytes) bytes") }
    var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
    var filled = 0
    while filled < bytes.count {
      let offset = filled
      let got = unsafe bytes.withUnsafeMutableBytes { buffer in
        unsafe Glibc.read(descriptor, buffer.baseAddress.map { unsafe $0 + offset }, buffer.count - offset)
      }
      guard got > 0 else { throw failure("cannot be read whole") }
      filled += got
    }
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
    guard lines.count == 4, lines[0] == header, lines[3].isEmpty,
      let head = try? Base64.decode(lines[1]), let codes = try? Base64.decode(lines[2])
    else { throw failure("is malformed: restore it") }
    return KeyHeadFile(head: try KeyHead(decoding: head), codes: try RecordMACs(decoding: codes))
  }

  /// Replaces the file so that a reader, and a crash, sees the old or the new one.
  static func write(_ head: KeyHead, codes: RecordMACs, to path: String) throws {
    let text =
      "\(header)\n\(Base64.encode(head.encoded))\n\(Base64.encode(codes.encoded))\n"
    let temporary = path + ".new"
    let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard descriptor >= 0 else { throw failure("cannot be written (errno \(errno))") }
    do {
      defer { close(descriptor) }
      try append(Array(text.utf8), to: descriptor)
      guard fdatasync(descriptor) == 0 else { throw failure("cannot be synced (errno \(errno))") }
    }
    guard unsafe rename(temporary, path) == 0 else { throw failure("cannot be replaced (errno \(errno))") }
    try sync(folderOf: path)
  }

  /// Writes all of it.
  static func append(_ bytes: [UInt8], to descriptor: Int32) throws {
    var written = 0
    while written < bytes.count {
      let offset = written
      let count = unsafe bytes.withUnsafeBytes { buffer in
        unsafe Glibc.write(descriptor, buffer.baseAddress.map { unsafe $0 + offset }, buffer.count - offset)
      }
      guard count > 0 else { throw failure("cannot be written (errno \(errno))") }
      written += count
    }
  }

  static func sync(folderOf path: String) throws {
    let folder = path.lastIndex(of: "/").map { String(path[..<$0]) } ?? "."
    let descriptor = unsafe open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("lies in a folder that cannot be opened (errno \(errno))") }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw failure("lies in a folder that cannot be synced (errno \(errno))") }
  }

  private static func failure(_ what: String) -> KeyHeadFileError {
    KeyHeadFileError(description: "the file that keeps the end of the key records \(what)")
  }
}

/// Why the file cannot be used.
struct KeyHeadFileError: Error, CustomStringConvertible {
  let description: String
}
