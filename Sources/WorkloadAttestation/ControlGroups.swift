/// The control groups of a process (cgroups(7)), and what their paths say of systemd's unit and of the container.
///
/// A path is believed from its root downwards, and only as far as root alone makes groups: slices are systemd's where
/// their names tell of their place, and what the first scope, service or runtime's folder in them holds is up to
/// whoever runs there. A container that makes `kubepods/…` below its own group stays the container that it is.
enum ControlGroups {
  static let limit = 1 << 16

  /// One line of `PID/cgroup`.
  struct Membership: Sendable, Equatable {
    /// The line, as it stands there: `hierarchy:controllers:path`.
    let line: String
    /// What it is a hierarchy of; empty in the unified one.
    let controllers: Substring
    /// From the root of the reader's cgroup namespace.
    let path: Substring
  }

  /// Reads a `PID/cgroup`.
  static func parse(_ bytes: [UInt8]) -> [Membership]? {
    guard bytes.count <= limit, let text = String(validating: bytes, as: UTF8.self) else { return nil }
    var memberships: [Membership] = []
    for line in text.split(separator: "\n") {
      let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
      guard fields.count == 3, !fields[0].isEmpty, fields[0].utf8.allSatisfy({ (0x30...0x39).contains($0) }),
        fields[2].hasPrefix("/"), ProcText.isPlain(String(line))
      else { return nil }
      memberships.append(Membership(line: String(line), controllers: fields[1], path: fields[2]))
    }
    return memberships.isEmpty ? nil : memberships
  }

  /// What the groups say.
  struct Reading: Sendable, Equatable {
    var container: Container?
    var unit: String?
    /// Why there may be a container or a unit that is not told; nil where there is nothing more to tell.
    var failure: String?
  }

  /// Reads the paths of all hierarchies; two containers are none.
  static func read(_ memberships: [Membership]) -> Reading {
    var containers: [Container] = []
    for membership in memberships {
      guard let parts = components(membership.path) else {
        // Above the root of this cgroup namespace the names of the parents are not shown, so nothing tells who made
        // the group. A group that is deleted is no more.
        return Reading(failure: membership.path.hasPrefix("/..") ? "outside_cgroup_namespace" : "path_malformed")
      }
      let (container, unit) = (Container.outermost(of: parts[...]), unit(of: parts[...]))
      // An engine that is told to (`--cgroup-parent`) puts its container right into the group of another or of a unit.
      for rest in [container?.inside, unit?.inside] {
        if let part = rest?.first, Container.isNamed(by: part) { return Reading(failure: "nested_container") }
      }
      if let container = container?.container, !containers.contains(container) { containers.append(container) }
    }
    guard containers.count < 2 else { return Reading(failure: "two_containers") }
    let container = containers.first
    // systemd's hierarchy is its own one in version 1, hybrid or not, and else the unified one.
    let own = memberships.first { $0.controllers == "name=systemd" } ?? memberships.first { $0.controllers.isEmpty }
    guard let unit = own.flatMap({ components($0.path) }).flatMap({ unit(of: $0[...]) })?.name else {
      return Reading(container: container)
    }
    // A container below its runtime's service is not that service; a user's own containers are that user's.
    if let container, container.user == nil, !unit.hasSuffix("-\(container.id).scope") {
      return Reading(container: container)
    }
    return Reading(container: container, unit: unit)
  }

  /// The parts of a path; none for the root.
  static func components(_ path: Substring) -> [Substring]? {
    guard path.hasPrefix("/"), !path.hasSuffix(" (deleted)") else { return nil }
    guard path != "/" else { return [] }
    let parts = path.dropFirst().split(separator: "/", omittingEmptySubsequences: false)
    return parts.allSatisfy { !$0.isEmpty && $0 != "." && $0 != ".." } ? parts : nil
  }

  /// The unit of systemd that a path lies in, with what is inside its group: the first part that is no slice. It is the
  /// unit of the system's manager; those of a user's manager lie below `user@UID.service` and are that user's.
  static func unit(of path: ArraySlice<Substring>) -> (name: String, inside: ArraySlice<Substring>)? {
    let rest = belowSlices(of: path)
    guard let first = rest.first else { return nil }
    // systemd puts a `_` before names that the kernel might take for a file of its own.
    let name = first.hasPrefix("_") ? first.dropFirst() : first
    let suffixes = [".service", ".scope", ".socket", ".mount", ".swap"]
    guard name.utf8.count < 256, name.utf8.allSatisfy(isUnitCharacter),
      let suffix = suffixes.first(where: name.hasSuffix), name.utf8.count > suffix.utf8.count, name.first != "@"
    else { return nil }
    return (String(name), rest.dropFirst())
  }

  /// A path without the slices of systemd that it begins with. The name of one tells of its place (systemd.slice(5)):
  /// `a-b.slice` lies in `a.slice`, which lies in the root. Other groups whose names end so are not systemd's: a
  /// container may be called `web.slice`, and its root makes in there what it likes.
  static func belowSlices(of path: ArraySlice<Substring>) -> ArraySlice<Substring> {
    var rest = path
    var parent: Substring?
    while let part = rest.first, part.hasSuffix(".slice"), part.utf8.allSatisfy(isUnitCharacter) {
      let name = part.dropLast(6)
      guard !name.isEmpty, parent.map({ name.hasPrefix($0 + "-") }) ?? name.allSatisfy({ $0 != "-" && $0 != "." })
      else { break }
      parent = name
      rest.removeFirst()
    }
    return rest
  }

  /// systemd.unit(5): letters, digits, `:`, `-`, `_`, `.`, `\`, and `@` of templates.
  private static func isUnitCharacter(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: ":"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."),
      UInt8(ascii: "\\"), UInt8(ascii: "@"):
      true
    default: false
    }
  }
}
