import Glibc
import KeyHierarchy
import SecretMemory

/// A folder that is ours alone (mode 0700), and files of mode 0600 in it, written whole or not at all.
struct PrivateFolder {
  /// The real path.
  let path: String

  /// Opens or makes the folder; its parent exists.
  ///
  /// - Throws: ``CustodyError/Code-swift.struct/unavailable`` for a relative path, a folder that others may enter or
  ///   that is not ours.
  init(_ path: String) throws(CustodyError) {
    guard path.hasPrefix("/"), path.utf8.allSatisfy({ $0 >= 0x20 && $0 != UInt8(ascii: "#") }) else {
      throw CustodyError(.unavailable, "the folder must be an absolute path without control characters or '#'")
    }
    guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else { throw Self.failure("make", path) }
    var status = stat()
    guard unsafe lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw CustodyError(.unavailable, "\(path) is no folder: remove it or choose another one")
    }
    guard status.st_uid == geteuid(), status.st_mode & 0o077 == 0 else {
      throw CustodyError(.unavailable, "\(path) must be owned by uid \(geteuid()) with mode 0700: chown and chmod it")
    }
    guard let resolved = unsafe realpath(path, nil) else { throw Self.failure("resolve", path) }
    defer { unsafe free(resolved) }
    self.path = unsafe String(cString: resolved)
  }

  /// Opens or makes a folder inside.
  func folder(_ name: String) throws(CustodyError) -> PrivateFolder { try PrivateFolder(path + "/" + name) }

  /// True when there is an entry of this name.
  func has(_ name: String) -> Bool { unsafe access(path + "/" + name, F_OK) == 0 }

  /// True when there is nothing inside.
  func isEmpty() throws(CustodyError) -> Bool { try Self.names(in: path).isEmpty }

  /// Writes a file: beside its place first, synced, then renamed, and the folder synced.
  func write(_ bytes: RawSpan, to name: String) throws(CustodyError) {
    let target = path + "/" + name
    let temporary = target + ".new"
    unsafe unlink(temporary)
    let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw Self.failure("make", temporary) }
    let written = unsafe bytes.withUnsafeBytes { unsafe Glibc.write(descriptor, $0.baseAddress, $0.count) }
    let synced = fsync(descriptor)
    guard Glibc.close(descriptor) == 0, written == bytes.byteCount, synced == 0 else {
      throw Self.failure("write", temporary)
    }
    guard unsafe rename(temporary, target) == 0 else { throw Self.failure("rename", temporary) }
    try sync()
  }

  /// Removes an entry and everything below it, if there is one.
  func remove(_ name: String) throws(CustodyError) {
    guard has(name) else { return }
    try Self.removeTree(path + "/" + name)
    try sync()
  }

  private static func removeTree(_ path: String) throws(CustodyError) {
    // remove() takes files, links and empty folders, and follows nothing.
    if unsafe Glibc.remove(path) == 0 { return }
    guard errno == ENOTEMPTY || errno == EEXIST else { throw failure("remove", path) }
    for name in try names(in: path) { try removeTree(path + "/" + name) }
    guard unsafe Glibc.remove(path) == 0 else { throw failure("remove", path) }
  }

  private static func names(in path: String) throws(CustodyError) -> [String] {
    guard let folder = unsafe opendir(path) else { throw failure("list", path) }
    defer { unsafe closedir(folder) }
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { tuple in
        unsafe tuple.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
      }
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  private func sync() throws(CustodyError) {
    let descriptor = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw Self.failure("open", path) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw Self.failure("sync", path) }
  }

  private static func failure(
    _ verb: String, _ path: String, file: String = #fileID, line: UInt = #line
  ) -> CustodyError {
    CustodyError(
      .unavailable, "cannot \(verb) \(path) (errno \(errno)): check the disk and the rights", file: file, line: line)
  }
}
