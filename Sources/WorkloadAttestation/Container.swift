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

  /// Reads a path from its root. systemd's driver gives `SLICE/…/RUNTIME-ID.scope`, with the pod in the last slice; the
  /// other one, cgroupfs, folders named after the runtime or `kubepods`.
  init?(path: ArraySlice<Substring>) {
    let rest = path.drop(while: ControlGroups.isSlice)
    guard let first = rest.first else { return nil }
    let next = rest.dropFirst()
    if let (runtime, id) = Self.scope(first) {
      self.init(id: id, runtime: runtime)
      if rest.startIndex > path.startIndex { placeInPod(path[rest.startIndex - 1]) }
    } else if let user = Self.manager(first),
      let (runtime, id) = next.drop(while: ControlGroups.isSlice).first
        .flatMap(Self.scope)
    {
      self.init(id: id, runtime: runtime, user: user)
    } else if rest.startIndex > path.startIndex {
      // containerd whose driver is cgroupfs below a kubelet whose is systemd: SLICE:cri-containerd:ID in one name.
      guard first == "containerd.service", let fields = next.first?.split(separator: ":"), fields.count == 3,
        fields[1] == "cri-containerd", let id = Self.id(fields[2])
      else { return nil }
      self.init(id: id, runtime: .containerd)
      placeInPod(fields[0])
      if podUID == nil { return nil }
    } else {
      self.init(folder: first, next)
    }
  }

  /// Below the root itself: the driver cgroupfs.
  private init?(folder first: Substring, _ rest: ArraySlice<Substring>) {
    var rest = rest
    switch first {
    case "docker":
      guard let id = rest.first.flatMap(Self.id) else { return nil }
      self.init(id: id, runtime: .docker)
    case "libpod_parent":
      guard let part = rest.first, part.hasPrefix("libpod-"), let id = Self.id(part.dropFirst(7)) else { return nil }
      self.init(id: id, runtime: .podman)
    case "kubelet":
      // The cgroup root of kind's kubelet.
      guard rest.popFirst() == "kubepods" else { return nil }
      self.init(pods: rest)
    case "kubepods": self.init(pods: rest)
    default: return nil
    }
  }

  /// `[burstable/|besteffort/]podUID/[crio-]ID`
  private init?(pods path: ArraySlice<Substring>) {
    var rest = path
    let quality = rest.first.flatMap { ["burstable", "besteffort"].contains($0) ? String($0) : nil }
    if quality != nil { rest.removeFirst() }
    guard let pod = rest.popFirst(), pod.hasPrefix("pod"), let podUID = Self.podUID(pod.dropFirst(3)),
      let last = rest.popFirst()
    else { return nil }
    let isCRIO = last.hasPrefix("crio-")
    guard let id = Self.id(isCRIO ? last.dropFirst(5) : last) else { return nil }
    self.init(id: id, runtime: isCRIO ? .crio : nil, podUID: podUID, quality: quality ?? "guaranteed")
  }

  /// The pod of a slice: `kubepods[-burstable|-besteffort]-podUID.slice`, below other slices with their names before it.
  private mutating func placeInPod(_ slice: Substring) {
    guard slice.hasSuffix(".slice") else { return }
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
    for (prefix, runtime) in prefixes where part.hasPrefix(prefix) {
      return id(part.dropFirst(prefix.utf8.count).dropLast(6)).map { (runtime, $0) }
    }
    return nil
  }

  private static func manager(_ part: Substring) -> UInt32? {
    guard part.hasPrefix("user@"), part.hasSuffix(".service") else { return nil }
    let uid = part.dropFirst(5).dropLast(8)
    return uid.utf8.allSatisfy { (0x30...0x39).contains($0) } ? UInt32(uid) : nil
  }

  private static func id(_ text: Substring) -> String? {
    text.utf8.count == 64 && text.utf8.allSatisfy(isHexadecimal) ? String(text) : nil
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
