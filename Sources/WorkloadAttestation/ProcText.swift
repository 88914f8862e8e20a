/// Readers of the texts of the proc file system (proc(5)). A text that is not of its form gives nil.
enum ProcText {
  /// `PID/status`: a megabyte holds the most groups that a process may have.
  static let statusLimit = 1 << 20
  static let statLimit = 4096
  /// NGROUPS_MAX.
  static let maximumGroups = 65_536

  /// The fields of the line `name:` in a file of such lines, separated by blanks. A name that occurs twice is nobody's.
  static func fields(of name: String, in text: [UInt8]) -> [Substring]? {
    let prefix = Array((name + ":").utf8)
    var found: ArraySlice<UInt8>?
    var rest = text[...]
    while !rest.isEmpty {
      let line = rest.prefix { $0 != UInt8(ascii: "\n") }
      rest = rest[line.endIndex...].dropFirst()
      guard line.starts(with: prefix) else { continue }
      guard found == nil else { return nil }
      found = line.dropFirst(prefix.count)
    }
    return found.flatMap { String(validating: $0, as: UTF8.self) }?.split { $0 == "\t" || $0 == " " }
  }

  /// The ids and groups of a `PID/status`.
  static func status(_ text: [UInt8], pid: Int32) -> (credentials: Credentials, groups: [UInt32])? {
    guard let tgid = fields(of: "Tgid", in: text), tgid.count == 1, number(tgid[0]) == UInt64(exactly: pid),
      let uids = fields(of: "Uid", in: text).flatMap(identifiers), uids.count == 4,
      let gids = fields(of: "Gid", in: text).flatMap(identifiers), gids.count == 4,
      let groups = fields(of: "Groups", in: text), groups.count <= maximumGroups, let groups = identifiers(groups)
    else { return nil }
    return (
      Credentials(
        uid: uids[0], effectiveUID: uids[1], savedUID: uids[2], fileUID: uids[3], gid: gids[0], effectiveGID: gids[1],
        savedGID: gids[2], fileGID: gids[3]), Set(groups).sorted()
    )
  }

  /// When the process started, in clock ticks since boot: field 22 of a `PID/stat`. Field 2 is the program's name in
  /// parentheses, which may hold parentheses, blanks and line breaks, so counting starts at the last one.
  static func startTime(_ text: [UInt8]) -> UInt64? {
    guard let end = text.lastIndex(of: UInt8(ascii: ")")) else { return nil }
    let fields = text[(end + 1)...].split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }
    guard fields.count >= 20, let field = String(validating: fields[19], as: UTF8.self) else { return nil }
    return number(field[...])
  }

  /// The inode of a namespace from the target of a `PID/ns/KIND`: `mnt:[4026531840]`.
  static func namespace(_ target: [UInt8], kind: String) -> UInt64? {
    guard let text = String(validating: target, as: UTF8.self), text.hasPrefix(kind + ":["), text.hasSuffix("]") else {
      return nil
    }
    return number(text.dropFirst(kind.utf8.count + 2).dropLast())
  }

  /// The name of each id in a text such as /etc/passwd and /etc/group (passwd(5), group(5)): of several, the first, as
  /// the system's own look-up has it. Lines that are not of the form are passed over, as there.
  static func names(_ text: [UInt8], of ids: Set<UInt32>) -> [UInt32: String] {
    var names: [UInt32: String] = [:]
    for line in text.split(separator: UInt8(ascii: "\n")) {
      let fields = line.split(separator: UInt8(ascii: ":"), maxSplits: 3, omittingEmptySubsequences: false)
      guard fields.count == 4, let id = UInt32(exactly: number(bytes: fields[2]) ?? .max), ids.contains(id),
        names[id] == nil, let name = String(validating: fields[0], as: UTF8.self), isPlain(name)
      else { continue }
      names[id] = name
    }
    return names
  }

  /// Whether the uid_map or gid_map of this process gives every id a place, as that of the first user namespace does.
  static func mapsEveryID(_ text: [UInt8]) -> Bool {
    text.split { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\n") }.map { String(decoding: $0, as: UTF8.self) }
      == ["0", "0", "4294967295"]
  }

  /// Whether a text is there and has no control character: what a selector can hold.
  static func isPlain(_ text: String) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
  }

  private static func identifiers(_ fields: [Substring]) -> [UInt32]? {
    var numbers: [UInt32] = []
    numbers.reserveCapacity(fields.count)
    for field in fields {
      guard let value = number(field).flatMap(UInt32.init(exactly:)) else { return nil }
      numbers.append(value)
    }
    return numbers
  }

  private static func number(_ text: Substring) -> UInt64? { number(bytes: text.utf8) }

  /// A decimal number: digits alone, unlike `UInt64.init`, which takes a sign.
  private static func number(bytes: some Collection<UInt8>) -> UInt64? {
    guard (1...20).contains(bytes.count) else { return nil }
    var value: UInt64 = 0
    for byte in bytes {
      guard byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") else { return nil }
      let (product, tooLarge) = value.multipliedReportingOverflow(by: 10)
      let (sum, overflow) = product.addingReportingOverflow(UInt64(byte - UInt8(ascii: "0")))
      guard !tooLarge, !overflow else { return nil }
      value = sum
    }
    return value
  }
}

/// The user and group ids of a process: real, effective, saved and of file access (credentials(7)).
struct Credentials: Sendable, Equatable {
  var uid, effectiveUID, savedUID, fileUID, gid, effectiveGID, savedGID, fileGID: UInt32
}
