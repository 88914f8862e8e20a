import AgentIdentity
import Crypto
public import Seal
public import Wire
public import WorkloadIdentity

/// Takes what officers and registrars decide about workloads: entries, authorities, revocations and federations. Where
/// a decision needs the HSM it orders work, which ``WorkloadService`` carries out and records.
public struct WorkloadModule<Unit: WorkloadStore>: CommandModule {
  /// The audience that leaves name.
  public static var audience: String { "workloads" }

  /// The module's own check of seals.
  public let verifier: SealVerifier
  /// The trust domain that is served.
  public let trustDomain: TrustDomain

  /// Makes the module.
  public init(verifier: SealVerifier, trustDomain: TrustDomain) {
    self.verifier = verifier
    self.trustDomain = trustDomain
  }

  /// Reads `POST /v1/entries`, `/v1/authorities/{kind}/prepare|rotate|request|activate`,
  /// `/v1/authorities/{id}/taint|revoke|certificate`, `/v1/svids/revoke`, `/v1/federations` and
  /// `/v1/federations/{trust domain}/delete`.
  public func parse(_ signed: SignedCommand) throws(Problem) -> WorkloadCommand {
    let parts = signed.path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    guard signed.method == "POST", signed.asserted == nil, parts.count >= 3, parts[1] == "v1" else {
      throw Self.noRoute
    }
    return try Problem.reading {
      do { return try read(Array(parts.dropFirst(2)), try JSONValue(parsing: signed.body)) } catch let error
        as SPIFFEError
      {
        throw Problem(spiffe: error)
      }
    }
  }

  /// Below this path are the deployment's own identities.
  public static var reservedPath: String { "/trustcore/" }

  private static var noRoute: Problem { Problem(404, "route_not_found", "There is no command at this path.") }

  private func read(_ parts: [String], _ json: JSONValue) throws -> WorkloadCommand {
    if parts == ["entries"] {
      let changes = try EntryChanges(json)
      // What breaks a rule is refused before anything is recorded.
      for entry in changes.creations + changes.updates.map(\.entry) {
        _ = try RegistrationEntry(id: try EntryID(Self.nameless), reading: entry, trustDomain: trustDomain)
      }
      return .changeEntries(changes)
    }
    var reader = try ObjectReader(json, "the command")
    let command: WorkloadCommand
    switch (parts.count, parts.first, parts.last) {
    case (3, "authorities", let verb?):
      if let kind = AuthorityKind(rawValue: parts[1]) {
        guard verb != "activate" else {
          command = .activate(kind)
          break
        }
        guard let action = AuthorityOrder.Action(rawValue: verb) else { throw Self.noRoute }
        guard action != .request || kind == .x509 else {
          throw Problem(422, "authority_kind", "Only an X.509 authority has a certificate to ask for.")
        }
        command = .order(action, kind)
      } else {
        command = try Self.decision(verb, about: parts[1], &reader)
      }
    case (2, "svids", "revoke"): command = try Self.revocation(&reader)
    case (1, "federations", _):
      let terms = try FederationTerms(reading: &reader)
      guard terms.trustDomain != trustDomain else {
        throw Problem(422, "federation_own", "A trust domain does not federate with itself.")
      }
      let bundle = reader.optional("bundle")?.canonical() ?? []
      if !bundle.isEmpty { _ = try SPIFFEBundle(trustDomain: terms.trustDomain, parsing: bundle) }
      guard terms.url != nil || !bundle.isEmpty else {
        throw Problem(422, "federation_terms", "Give a bundle_endpoint_url, a bundle, or both.")
      }
      // The endpoint proves itself with the bundle that is at hand.
      if case .spiffe(let id) = terms.profile, bundle.isEmpty, id.trustDomain == terms.trustDomain {
        throw Problem(422, "federation_terms", "With the profile 'https_spiffe' the first bundle is given here.")
      }
      command = .federate(terms, bundle: bundle)
    case (3, "federations", "delete"): command = .unfederate(try TrustDomain(parts[1]))
    default: throw Self.noRoute
    }
    try reader.finish()
    return command
  }

  /// For entries that have no identifier yet, or whose own does not matter.
  static var nameless: String { "ent_AAAAAAAAAAAAAAAAAAAAAA" }

  private static func decision(
    _ verb: String, about id: String, _ reader: inout ObjectReader
  ) throws -> WorkloadCommand {
    switch verb {
    case "taint": return .taint(id)
    case "revoke":
      guard try reader.string("confirm", maximumBytes: 64) == id else {
        throw Problem(422, "confirmation_mismatch", "Write the authority's identifier in 'confirm' to revoke it.")
      }
      return .revoke(id)
    case "certificate":
      return .certify(id, chain: try PEMText.certificates(try reader.string("chain", maximumBytes: 65_536)))
    default: throw noRoute
    }
  }

  private static func revocation(_ reader: inout ObjectReader) throws -> WorkloadCommand {
    let serial = try reader.optionalString("serial", maximumBytes: 40)
    let token = try reader.optionalString("jti", maximumBytes: 64)
    let longest = serial == nil ? RegistrationEntry.maximumJWTTTL : RegistrationEntry.maximumX509TTL
    let seconds = try reader.optionalInteger("expires_in", in: 1...longest) ?? longest
    switch (serial, token) {
    case (let serial?, nil):
      // One that no list can hold would keep every later list from being signed.
      guard let bytes = Hex.decode(serial), (try? X509SerialNumber(bytes)) != nil else {
        throw Problem(
          422, "serial_malformed",
          "Write the serial number in lower-case hexadecimal, two digits a byte, positive and without zeros before it.")
      }
      return .revokeSVID(.x509, id: serial, seconds: seconds)
    case (nil, let token?): return .revokeSVID(.jwt, id: token, seconds: seconds)
    default: throw Problem(422, "svid_unnamed", "Name the certificate's 'serial' or the token's 'jti'.")
    }
  }

  // MARK: - Deciding

  /// Checks that the signer may decide this, and that the present state allows it.
  public func reserve(_ command: WorkloadCommand, context: CommandContext, in unit: inout Unit) throws -> Ruling {
    switch (command, context.principal.kind) {
    case (_, .officer), (.changeEntries, .registrar), (.revokeSVID, .registrar): break
    case (.changeEntries, _), (.revokeSVID, _):
      throw Problem(
        403, "entries_right_required", "Only a security officer, or a registrar that one enrolled, decides this.")
    default: throw Problem(403, "officer_required", "Only a security officer decides this.")
    }
    try check(command, context, in: &unit)
    return .allow
  }

  private func check(_ command: WorkloadCommand, _ context: CommandContext, in unit: inout Unit) throws {
    switch command {
    case .changeEntries(let changes): _ = try rows(changes, context, in: &unit)
    case .order(let action, let kind):
      guard try !unit.pendingAuthorityOrders().contains(where: { $0.kind == kind }) else {
        throw Problem(
          409, "authority_busy", "An authority of this kind is being made; look at its state.",
          headers: ["Retry-After": "1"])
      }
      let waiting = try unit.authorities(kind).last { [.prepared, .requested].contains($0.state) }
      if let waiting, action != .rotate || waiting.state == .requested { throw Self.refused(waiting) }
      // A rotation would quietly go back to the deployment's own root.
      if action == .rotate, waiting == nil,
        let active = try unit.authorities(kind).last(where: { $0.state == .active }), !active.request.isEmpty
      {
        throw Problem(
          409, "authority_upstream",
          "Somebody else's root certified the active authority: request the next one, or prepare one of your own.")
      }
    case .activate(let kind): _ = try Self.prepared(kind, in: &unit)
    case .taint(let id):
      let row = try Self.authority(id, in: &unit)
      guard row.state == .old else { throw Self.refused(row) }
    case .revoke(let id):
      let row = try Self.authority(id, in: &unit)
      guard row.state != .active, row.state != .revoked else { throw Self.refused(row) }
    case .certify(let id, let chain):
      let row = try Self.authority(id, in: &unit)
      guard row.state == .requested, !chain.isEmpty, row.chain.isEmpty else { throw Self.refused(row) }
    case .revokeSVID(let kind, let id, _):
      guard try unit.revocation(kind, id) == nil else {
        throw Problem(409, "svid_revoked", "'\(id)' is revoked already.")
      }
    case .federate: break
    case .unfederate(let domain):
      guard try unit.federation(domain.name) != nil else {
        throw Problem(404, "federation_not_found", "There is no federation with '\(domain)'.")
      }
    }
  }

  /// Says what can be done with an authority as it is.
  private static func refused(_ row: AuthorityRow) -> Problem {
    let next =
      switch row.state {
      case .requested where row.chain.isEmpty: "import its certificate, or revoke it"
      case .requested: "its certificate is being checked; look again in a moment"
      case .prepared: "activate or revoke it"
      case .active: "rotate before it is tainted or revoked"
      case .old: "taint or revoke it"
      case .tainted: "revoke it once what it signed is replaced"
      case .revoked: "nobody trusts it any more, and nothing is left to do"
      }
    return Problem(
      409, "authority_\(row.state.rawValue)", "The authority '\(row.id)' is \(row.state.rawValue): \(next).")
  }

  private static func authority(_ id: String, in unit: inout Unit) throws -> AuthorityRow {
    guard let row = try unit.authority(id) else {
      throw Problem(404, "authority_not_found", "There is no authority '\(id)'; check the identifier.")
    }
    return row
  }

  private static func prepared(_ kind: AuthorityKind, in unit: inout Unit) throws -> AuthorityRow {
    guard let row = try unit.authorities(kind).last(where: { $0.state == .prepared }) else {
      throw Problem(409, "authority_not_prepared", "No authority of this kind is prepared; prepare one first.")
    }
    return row
  }

  /// The rows that changes of entries write.
  private func rows(_ changes: EntryChanges, _ context: CommandContext, in unit: inout Unit) throws -> [EntryRow] {
    var sequence = try unit.lastEntrySequence()
    var rows: [EntryRow] = []
    func present(_ id: String, in unit: inout Unit) throws -> EntryRow {
      guard let row = try unit.entry(id), row.fingerprint != nil else {
        throw Problem(404, "entry_not_found", "There is no entry '\(id)'; list the entries.")
      }
      try demandRight(try entry(id, try JSONValue(parsing: row.document)), context)
      return row
    }
    func add(_ id: String, _ json: JSONValue, created: UInt64? = nil) throws {
      let entry = try entry(id, json)
      guard !entry.spiffeID.path.hasPrefix(Self.reservedPath) else {
        throw Problem(422, "entry_reserved", "SPIFFE IDs below '\(Self.reservedPath)' are the deployment's own.")
      }
      try demandRight(entry, context)
      sequence += 1
      rows.append(EntryRow(entry, sequence: sequence, leafIndex: context.leafIndex, created: created))
    }
    for id in changes.deletions {
      let row = try present(id, in: &unit)
      sequence += 1
      rows.append(
        EntryRow(
          id: id, sequence: sequence, fingerprint: nil, selectors: [], document: [], leafIndex: context.leafIndex,
          created: row.created))
    }
    for (id, json) in changes.updates {
      try add(id, json, created: try present(id, in: &unit).created)
    }
    for (position, json) in changes.creations.enumerated() { try add(EntryChanges.id(context.id, position), json) }

    let changed = Set(rows.map(\.id))
    var seen: Set<[UInt8]> = []
    for row in rows {
      guard let fingerprint = row.fingerprint else { continue }
      let other = try unit.entry(fingerprint: fingerprint)
      guard seen.insert(fingerprint).inserted, other.map({ changed.contains($0.id) }) ?? true else {
        throw Problem(
          409, "entry_exists",
          "The entry '\(other?.id ?? row.id)' has this SPIFFE ID, parent and selectors; update it instead.")
      }
    }
    return rows
  }

  private func entry(_ id: String, _ json: JSONValue) throws(Problem) -> RegistrationEntry {
    try Problem.spiffe { () throws(SPIFFEError) in
      try RegistrationEntry(id: try EntryID(id), reading: json, trustDomain: trustDomain)
    }
  }

  private func demandRight(_ entry: RegistrationEntry, _ context: CommandContext) throws(Problem) {
    guard context.principal.kind == .officer || !(entry.admin || entry.downstream) else {
      throw Problem(403, "officer_required", "Only a security officer decides about admin and downstream entries.")
    }
  }

  // MARK: - Carrying out

  /// Writes what was decided; of two commands of one batch the second may no longer be allowed.
  public func apply(_ sealed: Sealed<WorkloadCommand>, at now: Timestamp, in unit: inout Unit) throws -> JSONObject {
    let context = sealed.context
    try check(sealed.command, context, in: &unit)
    switch sealed.command {
    case .changeEntries(let changes):
      let rows = try rows(changes, context, in: &unit)
      // Fingerprints may move from one entry to another: all of them are let go first.
      for row in rows {
        guard var before = try unit.entry(row.id) else { continue }
        before.fingerprint = nil
        try unit.put(before)
      }
      for row in rows { try unit.put(row) }
      let created = rows.suffix(changes.creations.count).map { JSONValue.string($0.id) }
      return [
        "created": .array(Array(created)), "updated": .integer(Int64(changes.updates.count)),
        "deleted": .integer(Int64(changes.deletions.count)), "sequence": .integer(Int64(rows.last?.sequence ?? 0)),
      ]
    case .order(let action, let kind):
      if action == .rotate, let row = try? Self.prepared(kind, in: &unit) {
        return try Self.activate(row, leafIndex: context.leafIndex, in: &unit)
      }
      try unit.insert(
        AuthorityOrder(leafIndex: context.leafIndex, kind: kind, action: action, isPending: true))
      return ["kind": .string(kind.rawValue), "ordered": .string(action.rawValue)]
    case .activate(let kind):
      return try Self.activate(try Self.prepared(kind, in: &unit), leafIndex: context.leafIndex, in: &unit)
    case .taint(let id): return try Self.set(.tainted, id, leafIndex: context.leafIndex, in: &unit)
    case .revoke(let id): return try Self.set(.revoked, id, leafIndex: context.leafIndex, in: &unit)
    case .certify(let id, let chain):
      var row = try Self.authority(id, in: &unit)
      // Whether it leads anywhere is found out, and recorded, by the service.
      row.chain = chain
      try unit.update(row)
      return ["authority": .string(id), "state": .string(row.state.rawValue)]
    case .revokeSVID(let kind, let id, let seconds):
      try unit.insert(
        RevocationRow(
          kind: kind, id: id, expires: context.decidedAt.adding(seconds: seconds), leafIndex: context.leafIndex))
      return ["revoked": .string(id)]
    case .federate(let terms, let bundle):
      let before = try unit.federation(terms.trustDomain.name)
      try unit.put(
        FederationRow(
          trustDomain: terms.trustDomain.name, terms: JSONValue.object(terms.json).canonical(),
          bundle: bundle.isEmpty ? before?.bundle ?? [] : bundle, leafIndex: context.leafIndex))
      return terms.json
    case .unfederate(let domain):
      try unit.deleteFederation(domain.name)
      return ["trust_domain": .string(domain.name)]
    }
  }

  /// Lets an authority take over from the active one.
  static func activate(_ row: AuthorityRow, leafIndex: UInt64, in unit: inout Unit) throws -> JSONObject {
    for var active in try unit.authorities(row.kind) where active.state == .active {
      (active.state, active.changeIndex) = (.old, leafIndex)
      try unit.update(active)
    }
    return try set(.active, row.id, leafIndex: leafIndex, in: &unit)
  }

  private static func set(
    _ state: AuthorityRow.State, _ id: String, leafIndex: UInt64, in unit: inout Unit
  ) throws -> JSONObject {
    var row = try authority(id, in: &unit)
    (row.state, row.changeIndex) = (state, leafIndex)
    try unit.update(row)
    return ["authority": .string(id), "kind": .string(row.kind.rawValue), "state": .string(state.rawValue)]
  }

  /// Nothing is reserved for a decision.
  public func release(_ command: WorkloadCommand, context: CommandContext, in unit: inout Unit) throws {}
}
