import Glibc

/// A file descriptor that somebody else closes, read and written whole.
public struct Descriptor: Sendable {
  /// Standard input.
  public static let input = Descriptor(STDIN_FILENO)
  /// Standard output.
  public static let output = Descriptor(STDOUT_FILENO)
  /// Standard error.
  public static let error = Descriptor(STDERR_FILENO)

  /// The number.
  public let number: Int32
  /// Wraps a number.
  public init(_ number: Int32) { self.number = number }

  /// Opens a file, for as long as the program runs.
  /// - Throws: ``OperatorError/Code-swift.struct/noInput``.
  public init(reading path: String) throws(OperatorError) {
    number = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard number >= 0 else {
      throw OperatorError(.noInput, "\(Wording.visible(path)) cannot be read: \(Self.reason).")
    }
  }

  /// Whether a person sits at the other end.
  public var isTerminal: Bool { isatty(number) == 1 }

  /// How many bytes are left of a regular file; nil for anything else.
  public var remaining: UInt64? {
    var status = stat()
    guard unsafe fstat(number, &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
    let at = lseek(number, 0, SEEK_CUR)
    return at < 0 || at > status.st_size ? nil : UInt64(status.st_size - at)
  }

  /// Fills a buffer from `start` on, as far as the input reaches.
  /// - Returns: how many bytes of the buffer are filled, `start` included; fewer than it has only at the end of the input.
  public func read(into buffer: inout [UInt8], from start: Int = 0) throws(OperatorError) -> Int {
    var filled = start
    while filled < buffer.count {
      let got = unsafe buffer.withUnsafeMutableBytes { bytes in
        unsafe Glibc.read(number, bytes.baseAddress.map { unsafe $0 + filled }, bytes.count - filled)
      }
      if got == 0 { break }
      if got < 0 {
        if errno == EINTR { continue }
        throw OperatorError(.inputOutput, "The input cannot be read: \(Self.reason).")
      }
      filled += got
    }
    return filled
  }

  /// Writes all bytes.
  public func write(_ bytes: Span<UInt8>) throws(OperatorError) {
    var done = 0
    while done < bytes.count {
      let wrote = unsafe bytes.withUnsafeBytes { raw in
        unsafe Glibc.write(number, raw.baseAddress.map { unsafe $0 + done }, raw.count - done)
      }
      if wrote < 0 {
        if errno == EINTR { continue }
        throw OperatorError(
          .inputOutput,
          errno == EPIPE
            ? "Whoever reads the output went away before its end." : "The output cannot be written: \(Self.reason).")
      }
      done += wrote
    }
  }

  /// Writes a text.
  public func write(_ text: String) throws(OperatorError) { try write(Array(text.utf8).span) }

  /// `errno` in words.
  static var reason: String { unsafe strerror(errno).map { unsafe String(cString: $0) } ?? "errno \(errno)" }
}
