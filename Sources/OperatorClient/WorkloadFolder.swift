import Glibc
public import SecretMemory

/// A folder whose files change together.
///
/// Each version of the files has a folder of its own, `..v-…`, which never changes once it is complete; `..data` is a
/// symbolic link to the present one, and each file's name a link to `..data/NAME`, as Kubernetes has it. One rename of
/// `..data` therefore changes every file at once. Files that are renamed one by one would leave a moment, and after a
/// crash any length of time, in which certificate and key are not of one pair.
///
/// A reader that opens both by name may still fall between: whoever must not reads `..data` once and opens both below
/// what it names. That version stays, complete, until the next but one is written.
public final class WorkloadFolder: Sendable {
  /// What is about to be done; tests stop there.
  enum Step: Equatable, Sendable {
    case removal, folder, file(String), sync, link(String), change
  }

  /// The folder.
  public let path: String
  private let folder: Int32
  private let before: @Sendable (Step) throws(OperatorError) -> Void

  private static let data = "..data"
  private static let prefix = "..v-"
  /// Where the roots of other trust domains are.
  public static let federated = "federated"
  /// The private key's name.
  public static let keyName = "svid.key"

  /// Opens the folder, or makes it, for this process alone.
  /// - Throws: ``OperatorError/Code-swift.struct/cannotCreate``, where another process writes it too.
  public convenience init(_ path: String) throws(OperatorError) {
    try self.init(path) { (_) throws(OperatorError) in }
  }

  init(_ path: String, before: @escaping @Sendable (Step) throws(OperatorError) -> Void) throws(OperatorError) {
    _ = unsafe mkdir(path, 0o755)
    let folder = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard folder >= 0 else {
      throw OperatorError(.cannotCreate, "The folder \(path) cannot be opened: \(Descriptor.reason).")
    }
    guard flock(folder, LOCK_EX | LOCK_NB) == 0 else {
      close(folder)
      throw OperatorError(.cannotCreate, "Another process writes \(path): stop it, or name another folder.")
    }
    (self.path, self.folder, self.before) = (path, folder, before)
  }

  deinit { close(folder) }

  /// Puts a version in place of the one before: all of it, or nothing.
  /// - Parameters:
  ///   - files: contents by name; those of other trust domains are below ``federated``.
  ///   - key: the content of ``keyName``, the one file that nobody else may read.
  /// - Throws: ``OperatorError/Code-swift.struct/folderNotWritten`` where writing fails and may not fail later;
  ///   ``OperatorError/Code-swift.struct/cannotCreate`` where a name is taken by something else, or the folder is gone.
  public func publish(_ files: [String: [UInt8]], key: borrowing SecretBytes) throws(OperatorError) {
    let inFederated = Self.federated + "/"
    let links = files.keys.sorted().filter { !$0.hasPrefix(inFederated) } + [Self.federated, Self.keyName]
    var missing: [String] = []
    for name in links where try !isLinked(name) { missing.append(name) }
    // What a version was for that is neither present, nor the one before it, or was never completed.
    let present = target(Self.data)
    for name in entries(of: ".") where name.hasPrefix(Self.prefix) && name != present {
      try before(.removal)
      remove(name)
    }

    let version = Self.prefix + String(UInt64.random(in: (1 << 60)...UInt64.max), radix: 16)
    do throws(OperatorError) {
      try write(version, files, key: key)
      try link(version, missing: missing)
    } catch {
      // It takes room that others may need; where this fails too, the next run removes it.
      if target(Self.data) != version, (try? before(.removal)) != nil { remove(version) }
      throw error
    }
  }

  // MARK: - Parts

  /// Writes a version to the disk, which nothing leads to yet.
  private func write(
    _ version: String, _ files: [String: [UInt8]], key: borrowing SecretBytes
  ) throws(OperatorError) {
    try before(.folder)
    try check(unsafe mkdirat(folder, version, 0o755), version)
    try check(unsafe mkdirat(folder, version + "/" + Self.federated, 0o755), version)
    for (name, content) in files.sorted(by: { $0.key < $1.key }) {
      try unsafe write(version + "/" + name, content.span.bytes, mode: 0o644)
    }
    try write(version + "/" + Self.keyName, key.bytes, mode: 0o600)
    try before(.sync)
    try sync(version + "/" + Self.federated)
    try sync(version)
  }

  /// Puts a version in the place of the present one.
  /// - Parameter missing: names that do not lead to ``data`` yet.
  private func link(_ version: String, missing: [String]) throws(OperatorError) {
    // Before there is a version they lead nowhere, so that the first one comes at once as well.
    for name in missing {
      try before(.link(name))
      try check(unsafe symlinkat(Self.data + "/" + name, folder, name), name)
    }
    let temporary = Self.prefix + "link"
    try before(.change)
    _ = unsafe unlinkat(folder, temporary, 0)
    try check(unsafe symlinkat(version, folder, temporary), temporary)
    try check(unsafe renameat(folder, temporary, folder, Self.data), Self.data)
    try sync(".")
  }

  private func check(_ result: Int32, _ name: String) throws(OperatorError) {
    guard result == 0 else {
      // Room is made and file systems are mended; a folder that is gone comes back as another one.
      let code = errno == ENOENT ? OperatorError.Code.cannotCreate : .folderNotWritten
      throw OperatorError(code, "\(path)/\(name) cannot be written: \(Descriptor.reason).")
    }
  }

  private func write(_ name: String, _ content: RawSpan, mode: mode_t) throws(OperatorError) {
    try before(.file(name))
    let file = unsafe openat(folder, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode)
    guard file >= 0 else { return try check(-1, name) }
    defer { close(file) }
    try unsafe content.withUnsafeBytes { (bytes) throws(OperatorError) in
      do throws(OperatorError) { try Descriptor(file).write(unsafe Span<UInt8>(_unsafeBytes: bytes)) } catch {
        throw OperatorError(.folderNotWritten, "\(path)/\(name): \(error.message)")
      }
    }
    try check(fsync(file), name)
  }

  private func sync(_ name: String) throws(OperatorError) {
    let descriptor = unsafe openat(folder, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return try check(-1, name) }
    defer { close(descriptor) }
    try check(fsync(descriptor), name)
  }

  /// Where a symbolic link leads; nil where there is none.
  private func target(_ name: String) -> String? {
    var text = [UInt8](repeating: 0, count: 512)
    let count = unsafe text.withUnsafeMutableBytes { bytes in
      unsafe bytes.withMemoryRebound(to: CChar.self) { text in
        unsafe text.baseAddress.map { unsafe readlinkat(folder, name, $0, text.count) } ?? 0
      }
    }
    return count > 0 ? String(decoding: text.prefix(count), as: UTF8.self) : nil
  }

  /// Whether the link is there; whatever else has the name is left alone.
  private func isLinked(_ name: String) throws(OperatorError) -> Bool {
    if target(name) == Self.data + "/" + name { return true }
    guard unsafe faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) != 0 else {
      throw OperatorError(
        .cannotCreate, "\(path)/\(name) is there and was not made by this program: move it, or name another folder.")
    }
    return false
  }

  private func entries(of name: String) -> [String] {
    let descriptor = unsafe openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
    guard descriptor >= 0 else { return [] }
    guard let stream = unsafe fdopendir(descriptor) else {
      close(descriptor)
      return []
    }
    defer { unsafe closedir(stream) }
    var names: [String] = []
    while let entry = unsafe readdir(stream) {
      let text = unsafe withUnsafeBytes(of: entry.pointee.d_name) { unsafe [UInt8]($0.prefix { $0 != 0 }) }
      let name = String(decoding: text, as: UTF8.self)
      if name != ".", name != ".." { names.append(name) }
    }
    return names
  }

  /// Removes what is one of ours: at most two levels of files. What cannot be removed is tried again next time.
  private func remove(_ name: String) {
    guard unsafe unlinkat(folder, name, 0) != 0 else { return }
    for inner in entries(of: name) {
      let inner = name + "/" + inner
      if unsafe unlinkat(folder, inner, 0) != 0 {
        for file in entries(of: inner) { _ = unsafe unlinkat(folder, inner + "/" + file, 0) }
        _ = unsafe unlinkat(folder, inner, AT_REMOVEDIR)
      }
    }
    _ = unsafe unlinkat(folder, name, AT_REMOVEDIR)
  }
}
