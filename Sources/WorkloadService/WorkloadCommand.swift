import Crypto
import Seal
public import Wire
public import WorkloadIdentity

/// What officers and registrars decide about workloads.
public enum WorkloadCommand: Sendable, Equatable {
  /// Change registration entries, all of them or none.
  case changeEntries(EntryChanges)
  /// Have a key made, with its certificate or the request for one.
  case order(AuthorityOrder.Action, AuthorityKind)
  /// Let the prepared authority take over.
  case activate(AuthorityKind)
  /// Replace what an authority signed that signs no more.
  case taint(String)
  /// Trust nothing that an authority signed.
  case revoke(String)
  /// Give an authority the certificate that it asked for.
  case certify(String, chain: [[UInt8]])
  /// Revoke one SVID; at the end of its life it is forgotten, after `seconds` at the latest.
  case revokeSVID(SVIDKind, id: String, seconds: Int64)
  /// Trust another trust domain's bundle.
  case federate(FederationTerms, bundle: [UInt8])
  /// End that.
  case unfederate(TrustDomain)
}

/// Changes of registration entries that stand or fall together.
public struct EntryChanges: Sendable, Equatable {
  /// At most so many changes in one command.
  public static let maximum = 1000

  /// New entries, as they were sent.
  public let creations: [JSONValue]
  /// What entries become, with their identifiers.
  public let updates: [(id: String, entry: JSONValue)]
  /// Identifiers of entries that end.
  public let deletions: [String]

  init(_ json: JSONValue) throws {
    var reader = try ObjectReader(json, "the changes")
    func list(_ name: String) throws(JSONError) -> [JSONValue] {
      reader.optional(name) == nil ? [] : try reader.array(name, limit: Self.maximum)
    }
    creations = try list("create")
    updates = try list("update").map { value in
      var update = try ObjectReader(value, "the update")
      let pair = (id: try update.string("id", maximumBytes: 64), entry: try update.value("entry"))
      try update.finish()
      return pair
    }
    deletions = try list("delete").map { value in
      guard let id = value.string else { throw Problem(400, "member", "'delete' lists identifiers of entries.") }
      return id
    }
    try reader.finish()
    let count = creations.count + updates.count + deletions.count
    guard (1...Self.maximum).contains(count) else {
      throw Problem(422, "entry_changes", "Send 1 to \(Self.maximum) changes at once, not \(count).")
    }
    let named = updates.map(\.id) + deletions
    guard Set(named).count == named.count else {
      throw Problem(422, "entry_changes", "An entry is named twice; send one change for each.")
    }
  }

  /// Changes are equal when they say the same.
  public static func == (a: EntryChanges, b: EntryChanges) -> Bool {
    a.creations == b.creations && a.deletions == b.deletions && a.updates.elementsEqual(b.updates, by: ==)
  }

  /// The identifier of a command's new entry: from the command's own, which is random.
  static func id(_ command: CommandID, _ position: Int) -> String {
    var hash = SHA256()
    hash.update(data: Array("trustcore/entry-id/v1".utf8))
    hash.update(data: command.bytes)
    hash.update(data: withBigEndian(UInt32(position)))
    return "ent_" + Base64.URL.encode(Array(hash.finalize().prefix(16)))
  }

  private static func withBigEndian(_ value: UInt32) -> [UInt8] {
    [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) }
  }
}

extension Problem {
  /// Runs what may find that something is not as SPIFFE wants it; that is 422.
  static func spiffe<Value>(_ body: () throws(SPIFFEError) -> Value) throws(Problem) -> Value {
    do { return try body() } catch { throw Problem(spiffe: error) }
  }

  /// A breach of SPIFFE's rules, as the API tells it.
  public init(spiffe error: SPIFFEError) {
    self.init(422, error.code.description, error.message.prefix(1).uppercased() + error.message.dropFirst() + ".")
  }
}
