import Glibc

/// A file that appears whole or not at all: it has no name until ``commit()`` gives it one, so that whatever ends the
/// program before leaves nothing behind. What is no regular file (a device, a pipe) is written as it is.
public struct OutputFile: ~Copyable {
  private let path: String
  private let number: Int32
  /// The temporary name, where the file system does not know files without one.
  private var temporary: String?
  private let isDirect: Bool

  /// Prepares a file of mode 0600.
  /// - Parameter path: the name that it gets; a file of that name is replaced.
  /// - Throws: ``OperatorError/Code-swift.struct/cannotCreate``.
  public init(_ path: String) throws(OperatorError) {
    self.path = path
    var status = stat()
    if unsafe stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
      (number, temporary, isDirect) = (unsafe open(path, O_WRONLY | O_CLOEXEC), nil, true)
    } else {
      isDirect = false
      // Linux' O_TMPFILE, a composed macro that the importer leaves out.
      let nameless = unsafe open(Self.folder(of: path), 0o20_000_000 | O_DIRECTORY | O_WRONLY | O_CLOEXEC, 0o600)
      if nameless >= 0 {
        (number, temporary) = (nameless, nil)
      } else {
        let name = Self.temporaryName(path)
        (number, temporary) = (unsafe open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600), name)
      }
    }
    guard number >= 0 else {
      let reason = Descriptor.reason
      temporary = nil
      throw OperatorError(.cannotCreate, "\(path) cannot be made: \(reason).")
    }
  }

  deinit {
    if number >= 0 { close(number) }
    if let temporary { unsafe unlink(temporary) }
  }

  /// Where the bytes go.
  public var descriptor: Descriptor { Descriptor(number) }

  /// Puts the bytes on the disk and gives the file its name.
  public mutating func commit() throws(OperatorError) {
    if isDirect { return }
    guard fdatasync(number) == 0 else {
      throw OperatorError(.inputOutput, "\(path) cannot be brought to the disk: \(Descriptor.reason).")
    }
    if temporary == nil {
      let name = Self.temporaryName(path)
      guard unsafe linkat(AT_FDCWD, "/proc/self/fd/\(number)", AT_FDCWD, name, AT_SYMLINK_FOLLOW) == 0 else {
        throw OperatorError(.cannotCreate, "\(path) cannot be named: \(Descriptor.reason).")
      }
      temporary = name
    }
    guard let temporary, unsafe rename(temporary, path) == 0 else {
      throw OperatorError(.cannotCreate, "\(path) cannot be replaced: \(Descriptor.reason).")
    }
    self.temporary = nil
  }

  private static func folder(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
  }

  private static func temporaryName(_ path: String) -> String {
    "\(path).\(UInt32.random(in: 0...UInt32.max)).part"
  }
}
