internal import Glibc
public import SecretMemory

/// Where a PIN comes from: never the command line, the environment or a URI, which others can read.
public enum PINSource: Sendable {
  /// A file of ours alone, mode 0600 or 0400; a newline at its end is left out.
  case file(String)
  /// A credential that the service manager hands over: the file of this name in `$CREDENTIALS_DIRECTORY`
  /// (systemd.exec(5), "Credentials").
  case credential(String)
  /// Asked for at the terminal, with this text and no echo.
  case prompt(String)

  /// The longest PIN, in bytes.
  public static let maximumBytes = 256

  /// Reads the PIN into locked memory.
  ///
  /// - Throws: ``SecretMemory/SecretMemoryError`` when it is not there, others may use it, or it is empty or longer than
  ///   ``maximumBytes``.
  public func read() throws(SecretMemoryError) -> SecretBytes {
    let pin: SecretBytes
    switch self {
    case .file(let path): pin = try SecretBytes(contentsOfFile: path, droppingNewline: true)
    case .credential(let name):
      guard let directory = unsafe getenv("CREDENTIALS_DIRECTORY").map({ unsafe String(cString: $0) }) else {
        throw SecretMemoryError(
          .unreadable, "no CREDENTIALS_DIRECTORY for the PIN '\(name)': start as a service with LoadCredential=")
      }
      pin = try Self.credential(name, in: directory)
    case .prompt(let text): pin = try PINPrompt.read(text)
    }
    guard pin.count <= Self.maximumBytes else {
      throw SecretMemoryError(.badLength, "a PIN has at most \(Self.maximumBytes) bytes")
    }
    return pin
  }

  /// systemd makes the file with mode 0400, for root with an access list for the service's user (whose mask shows as the
  /// group's bits, so 0440) or, where the file system has none, for that user.
  static func credential(_ name: String, in directory: String) throws(SecretMemoryError) -> SecretBytes {
    let characters = name.utf8
    guard directory.hasPrefix("/"), !name.isEmpty, characters.count <= 255, name != ".", name != "..",
      characters.allSatisfy({ (0x21...0x7e).contains($0) && $0 != UInt8(ascii: "/") && $0 != UInt8(ascii: ":") })
    else {
      throw SecretMemoryError(.unreadable, "a credential has a file's name, in an absolute CREDENTIALS_DIRECTORY")
    }
    let path = directory + "/" + name
    let descriptor = unsafe open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else {
      throw SecretMemoryError(.unreadable, "cannot open \(path) (errno \(errno)): add LoadCredential=\(name):FILE")
    }
    defer { close(descriptor) }
    var status = stat()
    guard unsafe fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
      throw SecretMemoryError(.unreadable, "\(path) is no regular file")
    }
    let mode = status.st_mode & 0o7777
    guard (status.st_uid == geteuid() && mode & ~0o600 == 0) || (status.st_uid == 0 && (mode == 0o400 || mode == 0o440))
    else {
      throw SecretMemoryError(
        .exposed, "\(path) must be of root with mode 0400 or 0440, as systemd makes it, or ours with mode 0600")
    }
    guard (1...maximumBytes + 1).contains(Int(status.st_size)) else {
      throw SecretMemoryError(.badLength, "\(path) must hold 1 to \(maximumBytes) bytes")
    }
    var secret = try SecretBytes(zeros: Int(status.st_size))
    let count = secret.count
    let got = unsafe secret.withUnsafeMutableBytes { unsafe Glibc.read(descriptor, $0.baseAddress, count) }
    guard got == count else {
      throw SecretMemoryError(.unreadable, "\(path) could not be read whole (errno \(errno)): it changed underneath")
    }
    guard unsafe secret.bytes.unsafeLoad(fromByteOffset: count - 1, as: UInt8.self) == UInt8(ascii: "\n") else {
      return secret
    }
    return try SecretBytes(copying: secret.bytes.extracting(first: count - 1))
  }
}
