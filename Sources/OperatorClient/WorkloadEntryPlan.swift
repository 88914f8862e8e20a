public import Wire
public import WorkloadIdentity

/// What makes the entries that a daemon has those of a file. An entry of the file that has an `id` is that one; another
/// is the one with its SPIFFE ID, parent and selectors.
public struct WorkloadEntryPlan: Sendable {
  /// New entries.
  public private(set) var creations: [JSONObject] = []
  /// What entries become.
  public private(set) var updates: [(id: String, entry: JSONObject)] = []
  /// Entries that end.
  public private(set) var deletions: [String] = []
  /// How many entries are as the file has them.
  public private(set) var unchanged = 0

  /// At most so many changes in one command.
  public static let maximumChanges = 1000
  /// At most so many bytes of changes in one command: below the 1 MiB that the daemon reads.
  static let maximumBytes = 900_000
  /// For entries that have no identifier yet.
  private static let nameless = "ent_AAAAAAAAAAAAAAAAAAAAAA"

  /// How many changes there are.
  public var count: Int { creations.count + updates.count + deletions.count }

  /// Compares.
  /// - Parameters:
  ///   - file: what is wanted.
  ///   - present: the entries as the daemon lists them.
  ///   - trustDomain: the trust domain that is served.
  ///   - parent: the parent of entries that name none.
  ///   - prune: whether entries end that the file does not have.
  /// - Throws: ``OperatorError/Code-swift.struct/malformed`` where an entry of the file breaks a rule, or two are one.
  public init(
    _ file: EntryFile, present: [JSONObject], trustDomain: TrustDomain, parent: String, prune: Bool
  ) throws(OperatorError) {
    var byID: [String: (key: String, entry: JSONObject)] = [:]
    var byKey: [String: String] = [:]
    for object in present {
      guard let id = object["id"]?.string,
        let entry = try? Self.normal(object, id: EntryID(id), trustDomain, parent: parent)
      else {
        throw OperatorError(.unexpectedAnswer, "The daemon has an entry that this program does not understand.")
      }
      byID[id] = (Self.key(entry), entry)
      byKey[Self.key(entry)] = id
    }
    var named: Set<String> = []
    var keys: Set<String> = []
    for (index, (id, wanted)) in file.entries.enumerated() {
      let entry: JSONObject
      do throws(SPIFFEError) {
        let id = if let id { id } else { try EntryID(Self.nameless) }
        entry = try Self.normal(wanted, id: id, trustDomain, parent: parent)
      } catch {
        throw OperatorError(.malformed, "Element \(index) of 'entries': \(error.message).")
      }
      let key = Self.key(entry)
      let match = id?.description ?? byKey[key]
      guard keys.insert(key).inserted, match.map({ named.insert($0).inserted }) ?? true else {
        throw OperatorError(
          .malformed, "Element \(index) of 'entries' is the same entry as one before it: say each once.")
      }
      guard let match else {
        creations.append(entry)
        continue
      }
      guard let now = byID[match] else {
        throw OperatorError(.malformed, "Element \(index) of 'entries': there is no entry \(match); leave 'id' out.")
      }
      if now.entry == entry { unchanged += 1 } else { updates.append((match, entry)) }
    }
    if prune { deletions = byID.keys.filter { !named.contains($0) }.sorted() }
  }

  /// The members in the form that the daemon keeps, whatever order and defaults they were written with.
  private static func normal(
    _ object: JSONObject, id: EntryID, _ trustDomain: TrustDomain, parent: String
  ) throws(SPIFFEError) -> JSONObject {
    var object = object
    // As in a listing, which may be a file too.
    for name in ["id", "leaf_index"] { object[name] = nil }
    if object["parent_id"] == nil { object["parent_id"] = .string(parent) }
    return try RegistrationEntry(id: id, reading: .object(object), trustDomain: trustDomain).json
  }

  /// What no two entries share. No member has a line break in it.
  private static func key(_ entry: JSONObject) -> String {
    let selectors = (entry["selectors"]?.array ?? []).compactMap(\.string)
    return ([entry["spiffe_id"]?.string ?? "", entry["parent_id"]?.string ?? ""] + selectors).joined(separator: "\n")
  }

  /// The commands that bring it about, in an order that leaves no workload without its identity between two of them:
  /// what is new comes first, what ends last. Where one command is enough, all of it is done or nothing.
  public func commands() -> [(body: JSONObject, changes: Int)] {
    let changes: [(String, JSONValue)] =
      creations.map { ("create", .object($0)) }
      + updates.map { ("update", ["id": .string($0.id), "entry": .object($0.entry)]) }
      + deletions.map { ("delete", .string($0)) }
    var commands: [(body: JSONObject, changes: Int)] = []
    var rest = changes[...]
    while !rest.isEmpty {
      var lists: [String: [JSONValue]] = [:]
      var (count, bytes) = (0, 0)
      while let (list, value) = rest.first, count < Self.maximumChanges {
        bytes += value.canonical().count + 1
        guard count == 0 || bytes <= Self.maximumBytes else { break }
        lists[list, default: []].append(value)
        rest.removeFirst()
        count += 1
      }
      var body: JSONObject = [:]
      for (list, values) in lists { body[list] = .array(values) }
      commands.append((body, count))
    }
    return commands
  }

  /// What it comes to, in numbers.
  public var summary: JSONObject {
    [
      "created": .integer(Int64(creations.count)), "updated": .integer(Int64(updates.count)),
      "deleted": .integer(Int64(deletions.count)), "unchanged": .integer(Int64(unchanged)),
    ]
  }
}
