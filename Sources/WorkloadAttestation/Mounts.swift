/// Tells on which kind of file system an open file lies, without asking that file system anything.
enum Mounts {
  static let limit = 1 << 20

  /// Whether a file system of a process' making (FUSE) serves the file. Its contents are what that process says at each
  /// read, so that a hash says nothing, and a read may hang for ever. An unprivileged user can mount one.
  /// - Parameter tables: paths of mountinfo files, of the namespaces in which the mount may be.
  /// - Returns: nil where the mount is in none of them.
  static func isServedByProcess(_ file: borrowing File, tables: [String]) -> Bool? {
    guard let info = try? File.contents("/proc/self/fdinfo/\(file.descriptor)", limit: 4096),
      let mount = ProcText.fields(of: "mnt_id", in: info)?.first
    else { return nil }
    for table in tables {
      guard let text = try? File.contents(table, limit: limit), let kind = fileSystem(of: mount, in: text) else {
        continue
      }
      return kind == "fuse" || kind == "fuseblk" || kind.hasPrefix("fuse.")
    }
    return nil
  }

  /// The file system's type in the text of a mountinfo file (proc_pid_mountinfo(5)): the field after the lone dash.
  static func fileSystem(of mount: Substring, in text: [UInt8]) -> String? {
    for line in text.split(separator: UInt8(ascii: "\n")) {
      let fields = line.split(separator: UInt8(ascii: " "))
      guard fields.count > 9, fields[0].elementsEqual(mount.utf8),
        let dash = fields[6...].firstIndex(where: { $0.elementsEqual([UInt8(ascii: "-")]) }), dash + 1 < fields.count
      else { continue }
      return String(validating: fields[dash + 1], as: UTF8.self)
    }
    return nil
  }
}
