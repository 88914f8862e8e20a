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
  static var defaultX509TTL: Int64 { 3600 }
  static var defaultJWTTTL: Int64 { 300 }
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
      return group.channel.end(Self.noIdentity)
    }
    do {
      let issued = try await issued(registrations, for: group, waiting: waiting)
      // What has changed meanwhile is not put out any more; ``serve(_:waiting:)`` begins anew.
      if served[group.id]?.isDirty == false, !isClosed { put(issued, registrations, to: group) }
    } catch {
      withdraw(registrations, from: group, because: error)
      throw error
    }
  }

  private func issued(
    _ registrations: [Registration], for group: WorkloadGroup, waiting: Bool
  ) async throws -> [EntryID: Issued] {
    var issued: [EntryID: Issued] = [:]
    for registration in registrations where registration.entry.issues.contains(.x509) {
      guard served[group.id]?.isDirty == false else { break }
      let now = parts.time.now()
      // What another authority signed is replaced, also what was under way when this one took over.
      if let present = served[group.id]?.issued[registration.entry.id],
        present.entryIndex == registration.leafIndex, now < present.renewal, present.authority == authorities?.x509?.id
      {
        issued[registration.entry.id] = present
        continue
      }
      if waiting {
        while let wait = budget.takeForRenewal(at: parts.time.now()) {
          try await parts.sleep(wait)
          guard served[group.id]?.isDirty == false, !isClosed else { return issued }
        }
      } else {
        try budget.take(
          caller: group.id, user: group.attested.uid, entry: registration.entry.id,
          entryLimit: registration.entry.signaturesPerMinute, at: now)
      }
      let pair: WorkloadKeyPair
      do { pair = try WorkloadKeyPair(in: keys) } catch is SecretMemoryError {
        throw WorkloadRefusal(
          .unavailable, "key_memory_full", "There is no locked memory for another key.", retryAfter: 10_000)
      }
      issued[registration.entry.id] = try await certificate(
        registration, for: group, publicKey: pair.spki, key: pair.key)
      // What was issued is kept even where the next entry's is refused.
      served[group.id]?.issued[registration.entry.id] = issued[registration.entry.id]
    }
    return issued
  }

  /// Where something cannot be issued now: what is still true stays as it is until the next attempt, and what is not is
  /// taken back without waiting for it.
  private func withdraw(_ registrations: [Registration], from group: WorkloadGroup, because error: any Error) {
    guard let item = served[group.id], let last = item.last else { return }
    let now = parts.time.now()
    let kept = item.issued.filter { id, issued in
      now < issued.svid.expires
        && registrations.contains { $0.entry.id == id && $0.leafIndex == issued.entryIndex }
        && authorityRows.contains { $0.id == issued.authority && $0.isTrusted(at: now) }
    }
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
      ).issue(spki: publicKey, now: now, lifetime: entry.x509TTL ?? Self.defaultX509TTL, random: parts.random)
    } catch let error as CustodyError {
      throw Self.refusal(error)
    } catch let error as SPIFFEError {
      throw WorkloadRefusal(.unavailable, error.code.description, error.message, retryAfter: 5000)
    }
    _ = try await log.record(
      WorkloadEvent(
        "svid.issued",
        [
          "kind": "x509", "spiffe_id": .string(entry.spiffeID.description),
          "serial": .string(Hex.encode(leaf.serial.bytes)),
          "not_after": .integer(leaf.notAfter.seconds), "entry": .string(entry.id.description),
          "authority": .string(authority.id), "attestation": .string(Hex.encode(group.id)),
          "process": .object(group.attested.json),
        ]))
    let life = max(0, leaf.notAfter.milliseconds - now.milliseconds)
    // Half of its life, and up to a tenth earlier, so that what was issued together is not renewed together.
    let jitter = life / 20 * Int64(parts.random.bytes(1)[0]) / 256
    return Issued(
      svid: WorkloadX509SVID(
        id: entry.spiffeID, chain: [leaf.certificate] + authority.chain, key: key, hint: entry.hint,
        expires: leaf.notAfter, entry: entry.id.description),
      authority: authority.id, entryIndex: registration.leafIndex,
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
    if served[group.id]?.last?.svids.contains(where: { $0.expires <= now }) == true {
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
    guard !all.isEmpty else { throw Self.noIdentity }
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

  func jwtSVIDs(_ group: WorkloadGroup, audiences: [String], id: SPIFFEID?) async throws -> [WorkloadJWTSVID] {
    for audience in audiences where parts.reserves(audience) {
      throw WorkloadRefusal(
        .invalidArgument, "audience_reserved",
        "The audience '\(audience.prefix(128))' is our own issuer of access tokens; name the service that you call.")
    }
    var svids: [WorkloadJWTSVID] = []
    for registration in try await registrations(group, .jwt, id: id) {
      let allowed = registration.entry.audiences
      // Of several entries with one SPIFFE ID the next may permit them.
      guard
        allowed.isEmpty
          || audiences.allSatisfy({ audience in allowed.contains { $0.utf8.elementsEqual(audience.utf8) } })
      else {
        continue
      }
      svids.append(try await token(registration, audiences, for: group))
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
    let end = min(now.adding(seconds: entry.jwtTTL ?? Self.defaultJWTTTL), authority.notAfter)
    guard now.seconds < end.seconds else { throw Self.noAuthority }
    let id = Base64.URL.encode(parts.random.bytes(16))
    let claims = JWTSVID.claims(
      id: entry.spiffeID, audience: audiences, issued: now, expires: end, issuer: parts.issuer, jti: id)
    let token: String
    do { token = try await authority.token(claims) } catch let error as CustodyError { throw Self.refusal(error) }
    _ = try await log.record(
      WorkloadEvent(
        "svid.issued",
        [
          "kind": "jwt", "spiffe_id": .string(entry.spiffeID.description), "jti": .string(id),
          "audiences": .array(audiences.map { .string($0) }), "not_after": .integer(end.seconds),
          "entry": .string(entry.id.description), "authority": .string(authority.id),
          "attestation": .string(Hex.encode(group.id)), "process": .object(group.attested.json),
        ]))
    let svid = WorkloadJWTSVID(id: entry.spiffeID, token: token, hint: entry.hint)
    // Not what has changed while the HSM signed: nobody asks for it again.
    if registrations[entry.id]?.leafIndex == registration.leafIndex, tokens.count < Self.tokenLimit {
      let renewal = Timestamp(milliseconds: (now.milliseconds + end.milliseconds) / 2)
      tokens[key] = CachedToken(svid: svid, id: id, authority: authority.id, renewal: renewal)
    }
    return svid
  }

  func x509SVID(_ group: WorkloadGroup, request: [UInt8], id: SPIFFEID?) async throws -> WorkloadX509SVID {
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
    guard !registrations.isEmpty else { throw Self.noIdentity }
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

extension WorkloadService.Parts {
  /// Whether an audience is, or is below, the issuer of access tokens, however it is spelt.
  func reserves(_ audience: String) -> Bool {
    let (asked, own) = (Self.plain(audience), Self.plain(reservedAudience))
    guard asked.starts(with: own) else { return false }
    return asked.count == own.count || "/?#".utf8.contains(asked[own.count])
  }

  /// A URL without what some readers pass over: capitals, percent-encoding, white space, slashes at the end, and about
  /// the host a user, the usual port and a dot behind it.
  private static func plain(_ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"),
        let decoded = Hex.decode(String(decoding: rest.prefix(2), as: UTF8.self).lowercased()),
        let first = decoded.first
      {
        bytes.append(first)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    let plain = String(decoding: bytes.filter { $0 > 0x20 && $0 != 0x7F }, as: UTF8.self).lowercased()
      .split(separator: "\\", omittingEmptySubsequences: false).joined(separator: "/")
    let parts = plain.utf8.split(separator: UInt8(ascii: ":"), maxSplits: 1)
    guard parts.count == 2 else { return Array(plain.utf8) }
    let place = parts[1].drop { $0 == UInt8(ascii: "/") }
    let end = place.firstIndex { "/?#".utf8.contains($0) } ?? place.endIndex
    var host = Array(place[..<end].split(separator: UInt8(ascii: "@"), omittingEmptySubsequences: false).last ?? [])
    let port = parts[0].elementsEqual("http".utf8) ? ":80" : ":443"
    if host.reversed().starts(with: port.utf8.reversed()) { host.removeLast(port.utf8.count) }
    while host.last == UInt8(ascii: ".") { host.removeLast() }
    var below = Array(place[end...])
    while below.last == UInt8(ascii: "/") { below.removeLast() }
    return Array(parts[0]) + Array(":".utf8) + host + below
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
