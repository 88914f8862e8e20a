import Crypto
public import Wire
public import WorkloadIdentity

/// What is known of a process, and for what is not, why. Nothing in it is the process' own word: ids come from the
/// kernel's credentials, names from the host's files, contents from the inode that runs.
public struct AttestedProcess: Sendable, Equatable {
  /// The program that a process runs.
  public struct Executable: Sendable, Equatable {
    /// The inode that runs.
    public let identity: FileIdentity
    /// Where the kernel says that it was; nil where that is no plain UTF-8. A process in a mount namespace of its own
    /// can make this anything.
    public let path: String?
    /// Whether ``path`` leads to this inode, seen from here: only then it is a selector.
    public let isAtPath: Bool
    /// The contents' SHA-256, 32 bytes; nil where it was not computed. Of a script this is the interpreter's.
    public let sha256: [UInt8]?
  }

  /// The pid.
  public let pid: Int32
  /// The effective user id, which it connected with.
  public var uid: UInt32 { credentials.effectiveUID }
  /// The effective group id, which it connected with.
  public var gid: UInt32 { credentials.effectiveGID }
  /// The other groups; sorted, each once.
  public let supplementaryGroups: [UInt32]
  /// The user's name in the host's /etc/passwd.
  public let userName: String?
  /// The names of the groups in the host's /etc/group, by id, as far as they have any.
  public let groupNames: [UInt32: String]
  /// The program; nil where it cannot be read.
  public let executable: Executable?
  /// The control groups, each `hierarchy:controllers:path` (cgroups(7)); empty where they cannot be read.
  public let controlGroups: [String]
  /// The unit of the system's systemd, such as `nginx.service`.
  public let unit: String?
  /// The container.
  public let container: Container?
  /// The inodes of its namespaces by kind: `mnt`, `pid`, …; empty where they cannot be read.
  public let namespaces: [String: UInt64]
  /// When it started, in clock ticks since boot.
  public let startTime: UInt64
  /// Why something is not known, by its name in ``json``: a stable code each.
  public let absent: [String: String]

  let credentials: Credentials
  /// Where `/proc/PID/exe` points; compared where the inode cannot be read.
  let link: [UInt8]?

  /// What entries can name, sorted by text; computed anew each time.
  ///
  /// As in SPIRE: `unix:uid`, `unix:gid`, `unix:user`, `unix:group`, `unix:supplementary_gid`,
  /// `unix:supplementary_group`, `unix:path`, `unix:sha256`, `systemd:id`, `k8s:pod-uid` (of a static pod SPIRE takes
  /// the API object's uid, this the configuration's hash). Otherwise than there: `unix:path` only where that path is
  /// this very file on the host; names from files alone, not from NSS; what a user makes below his own control group
  /// is never a container of the host's; the outermost container counts. Of our own: `container:id` and
  /// `container:runtime` of what root's runtimes made, `container:rootless:UID:ID` of what a user's did, `k8s:qos`. What
  /// takes a call to systemd, a container runtime or a kubelet is not there: `systemd:fragment_path`, `docker:*`, the
  /// other `k8s:*`.
  public var selectors: [Selector] {
    var texts: Set<String> = ["unix:uid:\(uid)", "unix:gid:\(gid)"]
    func add(_ prefix: String, _ value: String?) {
      if let value { texts.insert(prefix + value) }
    }
    add("unix:user:", userName)
    add("unix:group:", groupNames[gid])
    for group in supplementaryGroups {
      texts.insert("unix:supplementary_gid:\(group)")
      add("unix:supplementary_group:", groupNames[group])
    }
    if let executable {
      if executable.isAtPath { add("unix:path:", executable.path) }
      add("unix:sha256:", executable.sha256.map { Hex.encode($0) })
    }
    add("systemd:id:", unit)
    if let container {
      if let user = container.user {
        texts.insert("container:rootless:\(user):\(container.id)")
      } else {
        add("container:id:", container.id)
        add("container:runtime:", container.runtime?.rawValue)
        add("k8s:pod-uid:", container.podUID)
        add("k8s:qos:", container.quality)
      }
    }
    // A text that no selector can hold is in no entry either.
    return texts.sorted().compactMap { try? Selector($0) }
  }

  /// All facts, for the record. Numbers of 64 bits are decimal strings, since JSON's end at 53 bits.
  public var json: JSONObject {
    var json: JSONObject = [
      "pid": .integer(Int64(pid)), "uid": .integer(Int64(uid)), "gid": .integer(Int64(gid)),
      "supplementary_gids": .array(supplementaryGroups.map { .integer(Int64($0)) }),
      "start_time": .string(String(startTime)),
    ]
    json["user"] = userName.map { .string($0) }
    json["group"] = groupNames[gid].map { .string($0) }
    json["executable"] = executable.map { .object($0.json) }
    if !controlGroups.isEmpty { json["control_groups"] = .array(controlGroups.map { .string($0) }) }
    json["systemd_unit"] = unit.map { .string($0) }
    json["container"] = container.map { .object($0.json) }
    if !namespaces.isEmpty { json["namespaces"] = .object(Self.object(namespaces.mapValues(String.init))) }
    if !absent.isEmpty { json["absent"] = .object(Self.object(absent)) }
    return json
  }

  /// The digest of ``json``; see ``digest(of:)``.
  public var digest: [UInt8] { Self.digest(of: json) }

  /// SHA-256("trustcore/attestation/v1" ‖ 0 ‖ JCS(json)), 32 bytes.
  public static func digest(of json: JSONObject) -> [UInt8] {
    Array(SHA256.hash(data: Array("trustcore/attestation/v1".utf8) + [0] + JSONValue.object(json).canonical()))
  }

  private static func object(_ texts: [String: String]) -> JSONObject {
    var object = JSONObject()
    for (name, text) in texts.sorted(by: { $0.key < $1.key }) { object[name] = .string(text) }
    return object
  }
}

extension AttestedProcess.Executable {
  fileprivate var json: JSONObject {
    var json: JSONObject = [
      "device": .string(identity.deviceText), "inode": .string(String(identity.inode)),
      "size": .string(String(identity.size)), "modified": .string(identity.modified.text),
      "changed": .string(identity.changed.text), "at_path": .bool(isAtPath),
    ]
    json["path"] = path.map { .string($0) }
    json["sha256"] = sha256.map { .string(Hex.encode($0)) }
    return json
  }
}

extension Container {
  fileprivate var json: JSONObject {
    var json: JSONObject = ["id": .string(id)]
    json["runtime"] = runtime.map { .string($0.rawValue) }
    json["rootless_uid"] = user.map { .integer(Int64($0)) }
    json["pod_uid"] = podUID.map { .string($0) }
    json["qos"] = quality.map { .string($0) }
    return json
  }
}

extension FileIdentity {
  /// `major:minor`, as makedev(3) packs them.
  fileprivate var deviceText: String {
    let major = device >> 8 & 0xFFF | device >> 32 & ~0xFFF
    let minor = device & 0xFF | device >> 12 & 0xFFFF_FF00
    return "\(major):\(minor)"
  }
}

extension FileIdentity.Moment {
  fileprivate var text: String {
    let fraction = String(nanoseconds)
    return "\(seconds)." + String(repeating: "0", count: max(0, 9 - fraction.utf8.count)) + fraction
  }
}

extension AttestedProcess {
  /// For tests and measurements: a process of a user, of which nothing else is known.
  package init(pid: Int32, uid: UInt32, gid: UInt32, startTime: UInt64) {
    self.init(
      pid: pid, supplementaryGroups: [], userName: nil, groupNames: [:], executable: nil, controlGroups: [], unit: nil,
      container: nil, namespaces: [:], startTime: startTime, absent: ["executable": "not_read"],
      credentials: Credentials(
        uid: uid, effectiveUID: uid, savedUID: uid, fileUID: uid, gid: gid, effectiveGID: gid, savedGID: gid,
        fileGID: gid),
      link: nil)
  }
}
