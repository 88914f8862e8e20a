import Glibc

extension SecretBytes {
  /// A secret from a file that is ours alone: regular, owned by the effective user, mode 0600 (or 0400), no symbolic
  /// link. The bytes go straight into locked memory.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - droppingNewline: Leaves out one line feed at the end, which editors add to a PIN file.
  /// - Throws: ``SecretMemoryError/Code-swift.struct/unreadable``, ``SecretMemoryError/Code-swift.struct/exposed``, and
  ///   as ``init(zeros:)``.
  public init(contentsOfFile path: String, droppingNewline: Bool = false) throws(SecretMemoryError) {
    self = try Self.read(path, droppingNewline: droppingNewline)
  }

  private static func read(_ path: String, droppingNewline: Bool) throws(SecretMemoryError) -> SecretBytes {
    // O_NONBLOCK, so that a FIFO put in the file's place cannot hold us up before it is refused.
    let descriptor = unsafe open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw SecretMemoryError(.unreadable, "cannot open \(path) (errno \(errno)): it must be a file of ours")
    }
    defer { close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw SecretMemoryError(.unreadable, "\(path) is no regular file")
    }
    guard status.st_uid == geteuid(), status.st_mode & 0o7177 == 0 else {
      throw SecretMemoryError(.exposed, "\(path) must be owned by uid \(geteuid()) with mode 0600: chown and chmod it")
    }
    guard status.st_size <= maximumCount else {
      throw SecretMemoryError(.badLength, "\(path) holds more than \(maximumCount) bytes")
    }
    var secret = try SecretBytes(zeros: Int(status.st_size))
    let count = secret.count
    let got = unsafe secret.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, count) }
    guard got == count else {
      throw SecretMemoryError(.unreadable, "\(path) could not be read whole (errno \(errno)): it changed underneath")
    }
    if droppingNewline, unsafe secret.bytes.unsafeLoad(fromByteOffset: count - 1, as: UInt8.self) == UInt8(ascii: "\n")
    {
      secret.dropLast()
    }
    guard secret.count > 0 else { throw SecretMemoryError(.badLength, "\(path) holds nothing but a newline") }
    return secret
  }
}
