/// A container as the paths of its control groups tell of it.
public struct Container: Sendable, Equatable {
  /// What made it.
  public enum Runtime: String, Sendable {
    /// Docker's engine, also below Kubernetes.
    case docker
    /// Podman.
    case podman
    /// containerd through its Kubernetes interface or nerdctl.
    case containerd
    /// CRI-O.
    case crio
  }

  /// 64 hexadecimal digits, lower case.
  public let id: String
  /// What made it; nil where the path does not tell.
  public let runtime: Runtime?
  /// The user whose own systemd manager it runs below: then the id is what that user says it is. Nil where root made it.
  public var user: UInt32?
  /// The Kubernetes pod's uid; of a static pod the hash of its configuration, 32 hexadecimal digits.
  public var podUID: String?
  /// The pod's quality-of-service class: `guaranteed`, `burstable` or `besteffort`.
  public var quality: String?

  init(id: String, runtime: Runtime?, user: UInt32? = nil, podUID: String? = nil, quality: String? = nil) {
    self.id = id
    self.runtime = runtime
    self.user = user
    self.podUID = podUID
    self.quality = quality
  }

  /// Reads a path from its root: the first container in it, with what is inside that one's group. systemd's driver gives
  /// `SLICE/…/RUNTIME-ID.scope`, with the pod in the last slice; the other one, cgroupfs, folders named after the runtime
  /// or `kubepods`.
  static func outermost(of path: ArraySlice<Substring>) -> (container: Container, inside: ArraySlice<Substring>)? {
    var rest = ControlGroups.belowSlices(of: path)
    let slice = path[..<rest.startIndex].last
    guard let first = rest.popFirst() else { return nil }
    let container: Container?
    if let (runtime, id) = scope(first) {
      container = Container(id: id, runtime: runtime, slice: slice)
    } else if let user = manager(first) {
      rest = ControlGroups.belowSlices(of: rest)
      container = rest.popFirst().flatMap(scope).map { Container(id: $1, runtime: $0, user: user) }
    } else if slice != nil, first == "containerd.service" {
      // Where runc puts it in version 1, in systemd's hierarchy.
      container = rest.popFirst().flatMap(Container.init(sliceAndID:))
    } else {
      container = Container(sliceAndID: first) ?? (slice == nil ? Container(folder: first, &rest) : nil)
    }
    return container.map { ($0, rest) }
  }

  /// Whether a part of a path is what an engine whose driver is cgroupfs calls a container's group.
  static func isNamed(by part: Substring) -> Bool {
    ["", "libpod-", "crio-"].contains { id(part, after: $0) != nil }
  }

  /// `SLICE:cri-containerd:ID` in one name: containerd whose driver is cgroupfs, below a kubelet whose is systemd.
  private init?(sliceAndID part: Substring) {
    let fields = part.split(separator: ":", omittingEmptySubsequences: false)
    guard fields.count == 3, fields[1] == "cri-containerd", let id = Self.id(fields[2]) else { return nil }
    self.init(id: id, runtime: .containerd, slice: fields[0])
    if podUID == nil { return nil }
  }

  /// Below the root itself: the driver cgroupfs.
  private init?(folder first: Substring, _ rest: inout ArraySlice<Substring>) {
    // The cgroup root of kind's kubelet.
    if first == "kubelet", rest.popFirst() != "kubepods" { return nil }
    if ["kubelet", "kubepods"].contains(first) {
      self.init(pods: &rest)
      return
    }
    let engines: [Substring: (Runtime, String)] = [
      "docker": (.docker, ""), "libpod_parent": (.podman, "libpod-"), "crio": (.crio, "crio-"),
    ]
    guard let (runtime, prefix) = engines[first], let id = rest.popFirst().flatMap({ Self.id($0, after: prefix) })
    else { return nil }
    self.init(id: id, runtime: runtime)
  }

  /// `[burstable/|besteffort/]podUID/[crio-]ID`
  private init?(pods rest: inout ArraySlice<Substring>) {
    let quality = rest.first.flatMap { ["burstable", "besteffort"].contains($0) ? String($0) : nil }
    if quality != nil { rest.removeFirst() }
    guard let pod = rest.popFirst(), pod.hasPrefix("pod"), let podUID = Self.podUID(pod.dropFirst(3)),
      let last = rest.popFirst()
    else { return nil }
    let crio = Self.id(last, after: "crio-")
    guard let id = crio ?? Self.id(last) else { return nil }
    self.init(id: id, runtime: crio == nil ? nil : .crio, podUID: podUID, quality: quality ?? "guaranteed")
  }

  /// With the pod of the slice that it is in: `kubepods[-burstable|-besteffort]-podUID.slice`, below other slices with
  /// their names before it.
  private init(id: String, runtime: Runtime, slice: Substring?) {
    self.init(id: id, runtime: runtime)
    guard let slice, slice.hasSuffix(".slice") else { return }
    let name = slice.dropLast(6)
    guard let mark = name.ranges(of: "-pod").last, let uid = Self.podUID(name[mark.upperBound...]) else { return }
    var parents = name[..<mark.lowerBound].split(separator: "-", omittingEmptySubsequences: false)
    let quality = parents.last.flatMap { ["burstable", "besteffort"].contains($0) ? String($0) : nil }
    if quality != nil { parents.removeLast() }
    guard parents.last == "kubepods" else { return }
    (podUID, self.quality) = (uid, quality ?? "guaranteed")
  }

  private static func scope(_ part: Substring) -> (Runtime, String)? {
    guard part.hasSuffix(".scope") else { return nil }
    let prefixes: [(String, Runtime)] = [
      ("docker-", .docker), ("libpod-", .podman), ("cri-containerd-", .containerd), ("nerdctl-", .containerd),
      ("crio-", .crio),
    ]
    for (prefix, runtime) in prefixes {
      if let id = id(part.dropLast(6), after: prefix) { return (runtime, id) }
    }
    return nil
  }

  private static func manager(_ part: Substring) -> UInt32? {
    guard part.hasPrefix("user@"), part.hasSuffix(".service") else { return nil }
    let uid = part.dropFirst(5).dropLast(8)
    return uid.utf8.allSatisfy { (0x30...0x39).contains($0) } ? UInt32(uid) : nil
  }

  private static func id(_ text: Substring, after prefix: String = "") -> String? {
    let id = text.dropFirst(prefix.utf8.count)
    return text.hasPrefix(prefix) && id.utf8.count == 64 && id.utf8.allSatisfy(isHexadecimal) ? String(id) : nil
  }

  /// A UUID, whose dashes systemd's driver writes as `_`, or the hash of a static pod's configuration.
  private static func podUID(_ text: Substring) -> String? {
    let groups = text.split(omittingEmptySubsequences: false) { $0 == "-" || $0 == "_" }
    guard [[8, 4, 4, 4, 12], [32]].contains(groups.map(\.utf8.count)),
      groups.allSatisfy({ $0.utf8.allSatisfy(isHexadecimal) })
    else { return nil }
    return groups.joined(separator: "-")
  }

  private static func isHexadecimal(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
  }
}
