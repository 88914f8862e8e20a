import JOSE
import KeyHierarchy
import SecretMemory
import Wire
import WorkloadAttestation
import WorkloadIdentity

/// What a token that may be given again says: a struct and not a joined text, which two lists of audiences could share.
struct TokenKey: Hashable, Sendable {
  let entry: EntryID
  /// The leaf of the entry: who asks after a change gets nothing that was begun before it.
  let entryIndex: UInt64
  /// As bytes: Swift's equality of texts would fold canonical equivalents.
  let audiences: [[UInt8]]
}

/// A token that is given again until half of its life is over.
struct CachedToken: Sendable {
  let svid: WorkloadJWTSVID
  let id: String
  let authority: String
  let renewal: Timestamp
}

extension WorkloadService {
  static var tokenLimit: Int { 131_072 }

  /// Issues what a group is entitled to and has not, or has no longer, and puts its snapshot out.
  func issue(for group: WorkloadGroup, waiting: Bool) async throws {
    let registrations = try await registrations(of: group)
    guard var item = served[group.id] else { return }
    unlink(item)
    item.registrations = registrations
    served[group.id] = item
    for registration in registrations { groupsByEntry[registration.entry.id, default: []].insert(group.id) }
    guard !registrations.isEmpty else {
      served[group.id]?.issued = [:]
      served[group.id]?.last = nil
      return group.channel.end(Self.noIdentity(group))
    }
    do {
      let (issued, shed) = try await current(registrations, for: group, waiting: waiting)
      // What has changed meanwhile is not put out any more; ``serve(_:waiting:)`` begins anew.
      guard served[group.id]?.isDirty == false, !isClosed else { return }
      put(issued, registrations, to: group)
      // The rest follows as soon as the limit allows it.
      if let wait = shed?.retryAfter {
        let soon = parts.time.now().milliseconds + max(wait, 1000)
        let renewal = served[group.id]?.renewal?.milliseconds ?? .max
        served[group.id]?.renewal = Timestamp(milliseconds: min(renewal, soon))
      }
    } catch {
      if !(error is Overtaken) { withdraw(registrations, from: group, because: error) }
      throw error
    }
  }

  private func current(
    _ registrations: [Registration], for group: WorkloadGroup, waiting: Bool
  ) async throws -> (issued: [EntryID: Issued], shed: WorkloadRefusal?) {
    var issued: [EntryID: Issued] = [:]
    var shed: WorkloadRefusal?
    for registration in registrations where registration.entry.issues.contains(.x509) {
      guard served[group.id]?.isDirty == false else { break }
      let (entry, now) = (registration.entry, parts.time.now())
      let present = served[group.id]?.issued[entry.id]
      // What another authority signed is replaced, also what was under way when this one took over.
      if let present, present.entryIndex == registration.leafIndex, now < present.renewal,
        present.authority == authorities?.x509?.id
      {
        issued[entry.id] = present
        continue
      }
      do {
        if waiting {
          // What is replaced waits for the HSM alone: a limit must not take from a process what it has.
          if present == nil { try budget.take(entry: entry.id, limit: entry.signaturesPerMinute, at: now) }
          while let wait = budget.takeForRenewal(at: parts.time.now()) {
            try await parts.sleep(wait)
            guard served[group.id]?.isDirty == false, !isClosed else { return (issued, nil) }
          }
        } else {
          try budget.take(
            caller: group.id, user: group.attested.uid, entry: entry.id, entryLimit: entry.signaturesPerMinute, at: now)
        }
      } catch let refusal as WorkloadRefusal {
        // The other identities do not go without because of this one, but none takes the place of the default.
        if let present, isGood(present, registrations, at: now) { issued[entry.id] = present }
        guard !issued.isEmpty else { throw refusal }
        shed = shed ?? refusal
        continue
      }
      let pair: WorkloadKeyPair
      do { pair = try WorkloadKeyPair(in: keys, owner: group.attested.uid) } catch is SecretMemoryError {
        throw WorkloadRefusal(
          .unavailable, "key_memory_full", "There is no locked memory for another key.", retryAfter: 10_000)
      }
      issued[entry.id] = try await certificate(registration, for: group, publicKey: pair.spki, key: pair.key)
      // What was issued is kept even where the next entry's is refused.
      served[group.id]?.issued[entry.id] = issued[entry.id]
    }
    return (issued, shed)
  }

  /// Whether what was issued may still be given.
  private func isGood(_ issued: Issued, _ registrations: [Registration], at now: Timestamp) -> Bool {
    now < issued.svid.expires
      && registrations.contains { $0.entry.id.description == issued.svid.entry && $0.leafIndex == issued.entryIndex }
      && authorityRows.contains { $0.id == issued.authority && $0.isTrusted(at: now) }
  }

  /// Where something cannot be issued now: what is still true stays as it is until the next attempt, and what is not is
  /// taken back without waiting for it.
  private func withdraw(_ registrations: [Registration], from group: WorkloadGroup, because error: any Error) {
    guard let item = served[group.id], let last = item.last else { return }
    let now = parts.time.now()
    let kept = item.issued.filter { isGood($0.value, registrations, at: now) }
    let isTrue = last.svids.allSatisfy { svid in
      kept.values.contains { $0.svid.entry == svid.entry && $0.svid.chain == svid.chain }
    }
    guard !isTrue else { return }
    guard kept.isEmpty else { return put(kept, registrations, to: group) }
    served[group.id]?.issued = [:]
    served[group.id]?.last = nil
    group.channel.end(
      error as? WorkloadRefusal
        ?? WorkloadRefusal(.unavailable, "issuance_failed", "Nothing can be issued at present.", retryAfter: 5000))
  }

  private func put(_ issued: [EntryID: Issued], _ registrations: [Registration], to group: WorkloadGroup) {
    served[group.id]?.issued = issued
    served[group.id]?.renewal = issued.values.map(\.renewal).min()
    let svids = registrations.compactMap { issued[$0.entry.id]?.svid }
    let snapshot = snapshot(WorkloadX509SVID.tellingApart(svids), registrations)
    if let last = served[group.id]?.last, last.says(what: snapshot) { return }
    served[group.id]?.last = snapshot
    group.channel.set(snapshot)
  }

  private func snapshot(_ svids: [WorkloadX509SVID], _ registrations: [Registration]) -> WorkloadSnapshot {
    version += 1
    var bundles: [TrustDomain: WorkloadBundle] = [:]
    if let own = authorities?.bundle { bundles[parts.trustDomain] = own.forWorkloads }
    for domain in Set(registrations.flatMap(\.entry.federatesWith)) {
      bundles[domain] = federatedBundles[domain]?.forWorkloads
    }
    return WorkloadSnapshot(
      version: version, trustDomain: parts.trustDomain, svids: svids, bundles: bundles, crls: crls)
  }

  /// Issues a certificate: signed in the HSM, and on the record before anyone has it.
  func certificate(
    _ registration: Registration, for group: WorkloadGroup, publicKey: [UInt8], key: SVIDKey?
  ) async throws -> Issued {
    guard let authority = authorities?.x509 else { throw Self.noAuthority }
    try await log.demandSealing()
    let entry = registration.entry
    let now = parts.time.now()
    let leaf: X509LeafTemplate.Leaf
    do {
      leaf = try await X509LeafTemplate(
        issuer: authority.signer, id: entry.spiffeID, dnsNames: entry.dnsNames, crl: parts.crlURL
      ).issue(spki: publicKey, now: now, lifetime: entry.x509Lifetime, random: parts.random)
    } catch let error as CustodyError {
      throw Self.refusal(error)
    } catch let error as SPIFFEError {
      throw WorkloadRefusal(.unavailable, error.code.description, error.message, retryAfter: 5000)
    }
    _ = try await log.record(
      SVIDIssuance(
        .x509, id: Hex.encode(leaf.serial.bytes), spiffeID: entry.spiffeID, notAfter: leaf.notAfter, entry: entry.id,
        authority: authority.id, process: group.attested.json, attestation: group.id),
      entryIndex: registration.leafIndex)
    let life = max(0, leaf.notAfter.milliseconds - now.milliseconds)
    // Half of its life, and up to a tenth earlier, so that what was issued together is not renewed together.
    let jitter = life / 20 * Int64(parts.random.bytes(1)[0]) / 256
    return Issued(
      svid: WorkloadX509SVID(
        id: entry.spiffeID, chain: [leaf.certificate] + authority.chain, key: key, hint: entry.hint,
        expires: leaf.notAfter, entry: entry.id.description),
      serial: Hex.encode(leaf.serial.bytes), authority: authority.id, entryIndex: registration.leafIndex,
      renewal: Timestamp(milliseconds: now.milliseconds + life / 2 - jitter))
  }

  static var noAuthority: WorkloadRefusal {
    WorkloadRefusal(
      .unavailable, "no_authority", "No authority is active; an operator must rotate one in.", retryAfter: 5000)
  }

  static func refusal(_ error: CustodyError) -> WorkloadRefusal {
    switch error.code {
    case .keyReplaced:
      WorkloadRefusal(.unavailable, "authority_changing", "The authority changes; try again.", retryAfter: 100)
    default:
      WorkloadRefusal(
        .unavailable, error.code.description, "The HSM does not sign at present; try again later.", retryAfter: 5000)
    }
  }

  // MARK: - What connections ask for

  func snapshot(_ group: WorkloadGroup) async throws -> WorkloadSnapshot {
    let now = parts.time.now()
    if let last = served[group.id]?.last, last.expires <= now {
      served[group.id]?.isDirty = true
    }
    try await serve(group)
    guard let snapshot = try group.channel.newest() else { throw Self.stopping }
    return snapshot
  }

  func registrations(_ group: WorkloadGroup, _ right: RegistrationEntry.Issue, id: SPIFFEID?) async throws
    -> [Registration]
  {
    let all = try await registrations(of: group)
    guard !all.isEmpty else { throw Self.noIdentity(group) }
    let named = all.filter { id == nil || $0.entry.spiffeID == id }
    guard !named.isEmpty else {
      throw WorkloadRefusal(
        .permissionDenied, "identity_not_yours", "This process has no entry for that SPIFFE ID; ask for one it has.")
    }
    let permitted = named.filter { $0.entry.issues.contains(right) }
    guard !permitted.isEmpty else {
      throw WorkloadRefusal(
        .permissionDenied, "issuance_not_permitted",
        "The entry does not permit '\(right.rawValue)'; have it added to 'issues'.")
    }
    return permitted
  }

  /// Does what an entry or an authority may change under: then the change is taken up first, and it is done again.
  private func following<Result>(_ body: () async throws -> Result) async throws -> Result {
    for _ in 0..<8 {
      do { return try await body() } catch is Overtaken { try await follow() }
    }
    throw WorkloadRefusal(
      .unavailable, "entries_changing", "Entries or authorities change too fast; try again.", retryAfter: 100)
  }

  func jwtSVIDs(_ group: WorkloadGroup, audiences: [String], id: SPIFFEID?) async throws -> [WorkloadJWTSVID] {
    try await following { try await issuedTokens(group, audiences, id: id) }
  }

  private func issuedTokens(
    _ group: WorkloadGroup, _ audiences: [String], id: SPIFFEID?
  ) async throws -> [WorkloadJWTSVID] {
    for audience in audiences where parts.reserves(audience) {
      throw WorkloadRefusal(
        .invalidArgument, "audience_reserved",
        "The audience '\(audience.prefix(128))' is, or may be read as, our own issuer of access tokens; name the service that you call, its host in ASCII."
      )
    }
    var svids: [WorkloadJWTSVID] = []
    for registration in try await registrations(group, .jwt, id: id) {
      // Of several entries with one SPIFFE ID the next may permit them.
      guard registration.entry.permits(audiences: audiences) else { continue }
      do { svids.append(try await token(registration, audiences, for: group)) } catch let refusal as WorkloadRefusal {
        // What concerns one entry alone does not keep the others' tokens back, unless it is the default's.
        guard !svids.isEmpty, ["entry_rate", Self.noAuthority.code].contains(refusal.code) else { throw refusal }
      }
    }
    guard !svids.isEmpty else {
      throw WorkloadRefusal(
        .permissionDenied, "audience_not_permitted",
        "No entry of this process permits these audiences; have them added.")
    }
    return svids
  }

  private func token(
    _ registration: Registration, _ audiences: [String], for group: WorkloadGroup
  ) async throws -> WorkloadJWTSVID {
    let entry = registration.entry
    let key = TokenKey(
      entry: entry.id, entryIndex: registration.leafIndex, audiences: audiences.map { Array($0.utf8) })
    let now = parts.time.now()
    guard let authority = entry.jwtRS256 ? authorities?.jwtRS256 : authorities?.jwt else { throw Self.noAuthority }
    if let cached = tokens[key], now < cached.renewal, cached.authority == authority.id { return cached.svid }
    // Many ask for the same at once when it has just ended; who is refused for himself is not in their way.
    if let under = minting[key] { return try await under.value }
    try budget.take(
      caller: group.id, user: group.attested.uid, entry: entry.id, entryLimit: entry.signaturesPerMinute, at: now)
    let task = Task {
      defer { minting[key] = nil }
      return try await mint(registration, audiences, key, by: authority, for: group)
    }
    minting[key] = task
    return try await task.value
  }

  private func mint(
    _ registration: Registration, _ audiences: [String], _ key: TokenKey, by authority: Authorities.JWT,
    for group: WorkloadGroup
  ) async throws -> WorkloadJWTSVID {
    let (entry, now) = (registration.entry, parts.time.now())
    try await log.demandSealing()
    let end = min(now.adding(seconds: entry.jwtLifetime), authority.notAfter)
    guard now.seconds < end.seconds else { throw Self.noAuthority }
    let id = Base64.URL.encode(parts.random.identifier())
    let claims = JWTSVID.claims(
      id: entry.spiffeID, audience: audiences, issued: now, expires: end, issuer: parts.issuer, jti: id)
    let token: String
    do {
      token = try await authority.token(claims)
    } catch let error as CustodyError { throw Self.refusal(error) }
    guard token.utf8.count <= JOSELimits.token else {
      throw WorkloadRefusal(
        .invalidArgument, "audience_invalid",
        "The token would be longer than the \(JOSELimits.token) bytes that verifiers read; name fewer audiences.")
    }
    _ = try await log.record(
      SVIDIssuance(
        .jwt, id: id, spiffeID: entry.spiffeID, audiences: audiences, notAfter: end, entry: entry.id,
        authority: authority.id, process: group.attested.json, attestation: group.id),
      entryIndex: registration.leafIndex)
    let svid = WorkloadJWTSVID(id: entry.spiffeID, token: token, hint: entry.hint)
    // Not what has changed while the HSM signed: nobody asks for it again.
    if registrations[entry.id]?.leafIndex == registration.leafIndex, tokens.count < Self.tokenLimit {
      let renewal = Timestamp(milliseconds: (now.milliseconds + end.milliseconds) / 2)
      tokens[key] = CachedToken(svid: svid, id: id, authority: authority.id, renewal: renewal)
    }
    return svid
  }

  func x509SVID(_ group: WorkloadGroup, request: [UInt8], id: SPIFFEID?) async throws -> WorkloadX509SVID {
    try await following { try await certified(group, request, id: id) }
  }

  private func certified(_ group: WorkloadGroup, _ request: [UInt8], id: SPIFFEID?) async throws -> WorkloadX509SVID {
    let registration = try await registrations(group, .ownKey, id: id)[0]
    let entry = registration.entry
    let publicKey: [UInt8]
    do throws(SPIFFEError) {
      publicKey = try UnverifiedCSR(request).verified(for: entry.spiffeID, dnsNames: entry.dnsNames).spki
    } catch {
      throw WorkloadRefusal(.invalidArgument, error.code.description, error.message)
    }
    try budget.take(
      caller: group.id, user: group.attested.uid, entry: entry.id, entryLimit: entry.signaturesPerMinute,
      at: parts.time.now())
    return try await certificate(registration, for: group, publicKey: publicKey, key: nil).svid
  }

  func validate(
    _ group: WorkloadGroup, token: String, audience: String
  ) async throws -> (id: SPIFFEID, claims: JSONObject) {
    let registrations = try await registrations(of: group)
    guard !registrations.isEmpty else { throw Self.noIdentity(group) }
    var bundles = federatedBundles.filter { domain, _ in
      registrations.contains { $0.entry.federatesWith.contains(domain) }
    }
    bundles[parts.trustDomain] = authorities?.bundle
    do throws(SPIFFEError) {
      let svid = try UnverifiedJWTSVID(token).verified(
        keys: { bundles[$0]?.jwt }, audience: audience, now: parts.time.now())
      if svid.id.trustDomain == parts.trustDomain, let id = svid.jti, revokedTokens[id] != nil {
        throw SPIFFEError(.jwtSVID, "the token is revoked")
      }
      return (svid.id, svid.claims)
    } catch {
      throw WorkloadRefusal(.invalidArgument, error.code.description, error.message)
    }
  }
}

extension WorkloadSnapshot {
  /// Whether it says the same as another, apart from its version.
  func says(what other: WorkloadSnapshot) -> Bool {
    bundles == other.bundles && crls == other.crls
      && svids.elementsEqual(other.svids) { $0.chain == $1.chain && $0.hint == $1.hint && $0.key === $1.key }
  }
}

extension SPIFFEBundle {
  /// The bundle as workloads get it.
  var forWorkloads: WorkloadBundle { WorkloadBundle(roots: x509Authorities, jwks: jwt.jwks(.svid).canonical()) }
}

extension WorkloadX509SVID {
  /// Of several with one hint the first keeps it: readers take hints to be unique.
  static func tellingApart(_ svids: [WorkloadX509SVID]) -> [WorkloadX509SVID] {
    var hints: Set<String> = []
    return svids.map { svid in
      svid.hint.isEmpty || hints.insert(svid.hint).inserted
        ? svid
        : WorkloadX509SVID(
          id: svid.id, chain: svid.chain, key: svid.key, hint: "", expires: svid.expires, entry: svid.entry)
    }
  }
}
