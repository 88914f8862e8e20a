internal import Crypto
internal import Glibc
internal import Wire

/// The last head that the signer was ready to sign, in a file of its own outside the database and its backups.
///
/// Two slots of 4,096 bytes are written in turn, each with a sequence number and a checksum, in place: one `pwrite` and
/// one `fdatasync` without change of metadata. The slot that is not being written always holds a head that was synced,
/// so a torn write costs only the head that nobody signed yet. A slot is text:
///
///     trustcore-head/v1
///     <sequence number>
///     <origin>
///     <size>
///     <root, base64>
///     <SHA-256 of the lines above, hexadecimal>
///
/// followed by zero bytes. The file is held under an exclusive `flock` while it is open.
struct HeadFile: ~Copyable {
  static let slotSize = 4096
  /// The longest origin whose slot still fits.
  static let maximumOriginSize = 2048

  private static let header = "trustcore-head/v1"

  /// An open file, closed with its owner.
  private struct Descriptor: ~Copyable {
    let number: Int32

    init(opening path: String, _ flags: Int32, to act: String) throws(LogError) {
      let number = unsafe open(path, flags | O_CLOEXEC | O_NOFOLLOW, 0o600)
      guard number >= 0 else { throw HeadFile.failure(act, path) }
      self.number = number
    }

    deinit { _ = close(number) }
  }

  private let descriptor: Descriptor
  let origin: String
  private var sequence: UInt64
  private(set) var head: TreeHead
  // After a failed sync nobody knows what the disk holds: only opening the file again tells.
  private var isBroken = false

  // MARK: - Opening

  /// Creates the file of a new log, with the empty tree as its last head. Never replaces a file.
  static func createNew(_ path: String, origin: String) throws(LogError) {
    guard NoteText.isLine(origin), origin.utf8.count <= maximumOriginSize else {
      throw LogError(.malformed, "an origin is one line of at most \(maximumOriginSize) bytes")
    }
    let temporary = path + ".new"
    _ = unsafe unlink(temporary)
    let file = try Descriptor(opening: temporary, O_RDWR | O_CREAT | O_EXCL, to: "create")
    defer { _ = unsafe unlink(temporary) }
    let slots = slot(0, origin, .empty) + [UInt8](repeating: 0, count: slotSize)
    guard write(slots, to: file, at: 0), fsync(file.number) == 0 else { throw failure("write", temporary) }
    // A hard link, unlike a rename, refuses to replace what is there.
    guard unsafe link(temporary, path) == 0 else { throw failure("create", path) }
    let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? "."
    let directory = try Descriptor(opening: folder, O_RDONLY | O_DIRECTORY, to: "open")
    guard fsync(directory.number) == 0 else { throw failure("sync", folder) }
  }

  /// Opens the file of an existing log.
  ///
  /// - Throws: ``LogError/Code-swift.struct/headFile`` when it is missing, unreadable or corrupt in both slots,
  ///   ``LogError/Code-swift.struct/wrongOrigin`` when it is another log's, ``LogError/Code-swift.struct/busy`` when
  ///   another process holds it.
  init(_ path: String, origin: String) throws(LogError) {
    let descriptor = try Descriptor(opening: path, O_RDWR, to: "open")
    let last = try Self.read(descriptor, path, origin)
    // What a crashed process wrote may have been read from the page cache alone. From here on it is on the disk.
    try Self.write(last.head, number: last.sequence + 1, origin, to: descriptor)
    self.descriptor = descriptor
    self.origin = origin
    (sequence, head) = (last.sequence + 1, last.head)
  }

  private static func read(
    _ descriptor: borrowing Descriptor, _ path: String, _ origin: String
  ) throws(LogError) -> (sequence: UInt64, head: TreeHead) {
    guard flock(descriptor.number, LOCK_EX | LOCK_NB) == 0 else {
      throw LogError(.busy, "another process holds \(path): one signer may run at a time")
    }
    var bytes = [UInt8](repeating: 0, count: 2 * slotSize + 1)
    let count = unsafe bytes.withUnsafeMutableBytes { unsafe pread(descriptor.number, $0.baseAddress, $0.count, 0) }
    guard count >= 0 else { throw failure("read", path) }
    let slots = [bytes[..<slotSize], bytes[slotSize..<(2 * slotSize)]].enumerated()
      .compactMap { place, slot in parse(slot).flatMap { $0.sequence % 2 == place ? $0 : nil } }
    guard count == 2 * slotSize, let last = slots.max(by: { $0.sequence < $1.sequence }) else {
      throw LogError(
        .headFile, "\(path) is corrupt: restore it or open a new origin; never create it anew for this log")
    }
    guard slots.allSatisfy({ $0.origin.utf8.elementsEqual(origin.utf8) }) else {
      throw LogError(.wrongOrigin, "\(path) is the head file of \(last.origin), not of \(origin)")
    }
    return (last.sequence, last.head)
  }

  // MARK: - Writing

  /// Replaces the head; it is on the disk when this returns.
  ///
  /// - Throws: ``LogError/Code-swift.struct/headFile``, and from then on always.
  mutating func write(_ next: TreeHead) throws(LogError) {
    try check()
    isBroken = true
    try Self.write(next, number: sequence + 1, origin, to: descriptor)
    isBroken = false
    (sequence, head) = (sequence + 1, next)
  }

  /// Throws once a write has failed.
  func check() throws(LogError) {
    if isBroken { throw LogError(.headFile, "writing the head file failed: check its disk, then start again") }
  }

  private static func write(
    _ head: TreeHead, number: UInt64, _ origin: String, to descriptor: borrowing Descriptor
  ) throws(LogError) {
    guard write(slot(number, origin, head), to: descriptor, at: Int(number % 2) * slotSize),
      fdatasync(descriptor.number) == 0
    else { throw failure("write", "the head file") }
  }

  private static func write(_ bytes: [UInt8], to descriptor: borrowing Descriptor, at offset: Int) -> Bool {
    let number = descriptor.number
    return unsafe bytes.withUnsafeBytes { unsafe pwrite(number, $0.baseAddress, $0.count, off_t(offset)) }
      == bytes.count
  }

  // MARK: - Slots

  private static func slot(_ sequence: UInt64, _ origin: String, _ head: TreeHead) -> [UInt8] {
    let text = "\(header)\n\(sequence)\n\(origin)\n\(head.size)\n\(head.root.base64)\n"
    let bytes = Array(text.utf8) + Array((digest(text) + "\n").utf8)
    return bytes + [UInt8](repeating: 0, count: slotSize - bytes.count)
  }

  private static func digest(_ text: String) -> String { Hex.encode(SHA256.hash(data: Array(text.utf8))) }

  private static func parse(_ slot: ArraySlice<UInt8>) -> (sequence: UInt64, origin: String, head: TreeHead)? {
    guard let text = String(validating: slot.prefix { $0 != 0 }, as: UTF8.self) else { return nil }
    let lines = text.utf8.split(separator: NoteText.newline, omittingEmptySubsequences: false).map { String($0) ?? "" }
    guard lines.count == 7, let sequence = NoteText.number(lines[1]), let size = NoteText.number(lines[3]),
      let root = MerkleHash(base64: lines[4])
    else { return nil }
    // Rendering again and comparing checks the header, the checksum and the padding at once.
    let head = TreeHead(size: size, root: root)
    guard Self.slot(sequence, lines[2], head) == Array(slot) else { return nil }
    return (sequence, lines[2], head)
  }

  private static func failure(_ act: String, _ path: String) -> LogError {
    let number = errno
    return LogError(.headFile, "cannot \(act) \(path) (errno \(number)): check that it exists and who may use it")
  }
}
