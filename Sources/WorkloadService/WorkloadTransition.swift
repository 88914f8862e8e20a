public import Wire
public import WorkloadIdentity

/// What an event about authorities or bundles changes. The service applies it in the transaction that records it, and
/// the audit applies it again.
public enum WorkloadTransition: Sendable, Equatable {
  /// An authority's key was made, with its certificate or the request for one; with `takesOver` it is active at once.
  case prepared(AuthorityRow, order: UInt64?, takesOver: Bool)
  /// The prepared authority takes over because the active one nears its end.
  case activated(String)
  /// The certificate that an authority asked for was checked and leads to a root; without a root it was refused.
  case certified(String, chain: [[UInt8]], root: [UInt8], notAfter: Timestamp)
  /// A federated bundle was fetched.
  case refreshed(trustDomain: String, bundle: [UInt8])
  /// An authority, or the root, signed a revocation list.
  case listed(issuer: String, list: [UInt8], nextUpdate: Timestamp)
  /// An SVID was issued.
  case issued(SVIDIssuance)
  /// The first entry of a development deployment, which nobody has signed.
  case registered(EntryID, JSONValue)

  /// The kinds of events that are transitions.
  public static let kinds: Set = [
    "authority.prepared", "authority.activated", "authority.certified", "bundle.refreshed", "crl.issued", "svid.issued",
    "entry.first",
  ]

  /// The event that records it.
  public var event: WorkloadEvent {
    switch self {
    case .prepared(let row, let order, let takesOver):
      var content: JSONObject = [
        "authority": .string(row.id), "kind": .string(row.kind.rawValue), "slot": .string(row.slot.rawValue),
        "public_key": .string(Base64.URL.encode(row.publicKey)),
        "chain": .array(row.chain.map { .string(Base64.URL.encode($0)) }),
        "not_before": .integer(row.notBefore.milliseconds), "not_after": .integer(row.notAfter.milliseconds),
        "takes_over": .bool(takesOver),
      ]
      if !row.root.isEmpty { content["root"] = .string(Base64.URL.encode(row.root)) }
      if !row.request.isEmpty { content["request"] = .string(Base64.URL.encode(row.request)) }
      if let order { content["order"] = .integer(Int64(order)) }
      return WorkloadEvent("authority.prepared", content)
    case .activated(let id): return WorkloadEvent("authority.activated", ["authority": .string(id)])
    case .certified(let id, let chain, let root, let notAfter):
      return WorkloadEvent(
        "authority.certified",
        [
          "authority": .string(id), "chain": .array(chain.map { .string(Base64.URL.encode($0)) }),
          "root": .string(Base64.URL.encode(root)), "not_after": .integer(notAfter.milliseconds),
        ])
    case .refreshed(let domain, let bundle):
      return WorkloadEvent(
        "bundle.refreshed",
        ["trust_domain": .string(domain), "bundle": .string(String(decoding: bundle, as: UTF8.self))])
    case .listed(let issuer, let list, let next):
      return WorkloadEvent(
        "crl.issued",
        [
          "issuer": .string(issuer), "crl": .string(Base64.encode(list)), "next_update": .integer(next.milliseconds),
        ])
    case .issued(let issuance): return WorkloadEvent("svid.issued", issuance.content)
    case .registered(let id, let entry):
      return WorkloadEvent("entry.first", ["id": .string(id.description), "entry": entry])
    }
  }

  /// Reads an event's content; members that nobody knows are refused.
  public init(_ kind: String, _ content: JSONValue, leafIndex index: UInt64) throws {
    var reader = try ObjectReader(content, "the event")
    switch kind {
    case "authority.prepared":
      func bytes(_ name: String) throws(JSONError) -> [UInt8] {
        reader.optional(name) == nil ? [] : try reader.base64URL(name)
      }
      guard let kind = AuthorityKind(rawValue: try reader.string("kind", maximumBytes: 16)),
        let slot = AuthoritySlot(rawValue: try reader.string("slot", maximumBytes: 1))
      else { throw Self.malformed("it names no kind or no slot") }
      let chain = try Self.chain(&reader)
      guard let takesOver = try reader.value("takes_over").bool else {
        throw Self.malformed("'takes_over' is no truth")
      }
      let request = try bytes("request")
      let row = AuthorityRow(
        id: try reader.string("authority", maximumBytes: 64), kind: kind, slot: slot,
        state: request.isEmpty ? .prepared : .requested, publicKey: try reader.base64URL("public_key"), chain: chain,
        root: try bytes("root"), request: request,
        notBefore: Timestamp(milliseconds: try reader.integer("not_before", in: 0...Int64.max)),
        notAfter: Timestamp(milliseconds: try reader.integer("not_after", in: 0...Int64.max)), leafIndex: index,
        changeIndex: index)
      let order = try reader.optionalInteger("order", in: 0...Int64.max).map(UInt64.init)
      self = .prepared(row, order: order, takesOver: takesOver)
    case "authority.activated": self = .activated(try reader.string("authority", maximumBytes: 64))
    case "authority.certified":
      let id = try reader.string("authority", maximumBytes: 64)
      let chain = try Self.chain(&reader)
      let root = reader.optional("root")?.string == "" ? [] : try reader.base64URL("root")
      self = .certified(
        id, chain: chain, root: root,
        notAfter: Timestamp(milliseconds: try reader.integer("not_after", in: 0...Int64.max)))
    case "bundle.refreshed":
      self = .refreshed(
        trustDomain: try reader.string("trust_domain", maximumBytes: 255),
        bundle: Array(try reader.string("bundle", maximumBytes: 1 << 20).utf8))
    case "crl.issued":
      let issuer = try reader.string("issuer", maximumBytes: 64)
      guard let list = try? Base64.decode(try reader.string("crl", maximumBytes: 6 << 20)) else {
        throw Self.malformed("its list is not base64")
      }
      self = .listed(
        issuer: issuer, list: list,
        nextUpdate: Timestamp(milliseconds: try reader.integer("next_update", in: 0...Int64.max)))
    case "svid.issued": self = .issued(try SVIDIssuance(reading: &reader))
    case "entry.first":
      self = .registered(try EntryID(try reader.string("id", maximumBytes: 64)), try reader.value("entry"))
    default: throw Self.malformed("'\(kind)' is no event about workloads")
    }
    try reader.finish()
  }

  /// Makes the change.
  /// - Parameter domain: the trust domain that is served.
  public func apply<Unit: WorkloadStore>(
    leafIndex index: UInt64, trustDomain domain: TrustDomain, in unit: inout Unit
  ) throws {
    switch self {
    case .prepared(let row, let order, let takesOver):
      let waits = try unit.authorities(row.kind).contains { other in
        [.prepared, .requested].contains(other.state) || other.state == .active && other.slot == row.slot
      }
      // Its key took the place of one that is still needed, or a command that came first wants another.
      guard !waits, try order != nil || !unit.pendingAuthorityOrders().contains(where: { $0.kind == row.kind }) else {
        throw Problem(409, "authority_waiting", "Another authority waits, or was ordered, or signs in this slot.")
      }
      if let order {
        guard var found = try unit.pendingAuthorityOrders().first(where: { $0.leafIndex == order }),
          found.kind == row.kind, (found.action == .request) == (row.state == .requested),
          (found.action == .rotate) == takesOver
        else { throw Problem(409, "authority_order_missing", "No order at leaf \(order) waits for this.") }
        found.isPending = false
        try unit.update(found)
      }
      try unit.insert(row)
      if takesOver { _ = try WorkloadModule<Unit>.activate(row, leafIndex: index, in: &unit) }
    case .activated(let id):
      guard let row = try unit.authority(id), row.state == .prepared else {
        throw Problem(409, "authority_not_prepared", "The authority '\(id)' is not prepared.")
      }
      _ = try WorkloadModule<Unit>.activate(row, leafIndex: index, in: &unit)
    case .certified(let id, let chain, let root, let notAfter):
      guard var row = try unit.authority(id), row.state == .requested, !row.chain.isEmpty else {
        throw Problem(409, "authority_not_requested", "The authority '\(id)' waits for no certificate.")
      }
      (row.chain, row.root) = (chain, root)
      if !root.isEmpty { (row.state, row.notAfter, row.changeIndex) = (.prepared, notAfter, index) }
      try unit.update(row)
    case .refreshed(let other, let bundle):
      guard var row = try unit.federation(other) else {
        throw Problem(409, "federation_not_found", "There is no federation with '\(other)'.")
      }
      (row.bundle, row.leafIndex) = (bundle, index)
      try unit.put(row)
    case .listed(let issuer, let list, let next):
      try unit.put(RevocationListRow(issuer: issuer, list: list, nextUpdate: next, leafIndex: index))
    case .issued(let issuance):
      try unit.insert(IssuanceRow(kind: issuance.kind, id: issuance.id, leafIndex: index))
    case .registered(let id, let json):
      guard try unit.lastEntrySequence() == 0 else {
        throw Problem(409, "entry_exists", "There are entries already: further ones need a signed command.")
      }
      let entry = try RegistrationEntry(id: id, reading: json, trustDomain: domain)
      try unit.put(EntryRow(entry, sequence: 1, leafIndex: index))
    }
  }

  private static func chain(_ reader: inout ObjectReader) throws -> [[UInt8]] {
    try reader.array("chain", limit: 8).map { value in
      guard let text = value.string, let bytes = try? Base64.URL.decode(text), !bytes.isEmpty else {
        throw malformed("its chain holds no certificate")
      }
      return bytes
    }
  }

  private static func malformed(_ what: String) -> Problem { Problem(422, "workload_event_malformed", what + ".") }
}
