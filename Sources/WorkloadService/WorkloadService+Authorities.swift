import Foundation
import KeyHierarchy
import SwiftASN1
import Wire
public import WorkloadIdentity
import X509

extension WorkloadService {
  /// What bundles tell those that fetch them, in seconds.
  static var refreshHint: Int64 { 300 }
  /// For how long a revocation list is good, in seconds, and how long before its end the next one is made.
  static var listLifetime: Int64 { 7 * 86_400 }
  static var listOverlap: Int64 { 2 * 86_400 }

  /// Reads authorities, federations and revocations; where any has changed, everybody is served anew.
  func loadAuthorities() async throws {
    let now = parts.time.now()
    let (rows, federations, lists, tokens, certificates) = try await parts.recorder.read { unit in
      (
        try AuthorityKind.allCases.flatMap { try unit.authorities($0) }, try unit.federations(),
        try unit.revocationLists(), try unit.revocations(.jwt, at: now), try unit.revocations(.x509, at: now)
      )
    }
    replace(revoked: Set(certificates.map(\.id)))
    revokedTokens = Dictionary(tokens.map { ($0.id, $0.expires) }) { first, _ in first }
    self.tokens = self.tokens.filter { revokedTokens[$0.value.id] == nil }
    // First that of the authority that signs: certificates name one address.
    let signing = rows.last { $0.kind == .x509 && $0.state == .active }?.id
    let crls = (lists.filter { $0.issuer == signing } + lists.filter { $0.issuer != signing })
      .filter { now < $0.nextUpdate }.map(\.list)
    let trusted = rows.filter { $0.isTrusted(at: now) }.map(\.id)
    let before = authorityRows.filter { $0.isTrusted(at: loadedAt) }.map(\.id)
    guard
      authorities == nil || rows != authorityRows || trusted != before || federations != self.federations
        || crls != self.crls
    else { return }
    // It grows with each change of the content: each change of a row, and each row that time takes out.
    let sequence = (rows.map(\.changeIndex).max() ?? 0) + UInt64(rows.count { $0.notAfter <= now })
    let next = try Authorities(
      rows, trustDomain: parts.trustDomain, custodian: parts.custodian, sequence: sequence,
      refreshHint: Self.refreshHint, at: now)
    (authorities, authorityRows, self.federations, self.crls, loadedAt) = (next, rows, federations, crls, now)
    federatedBundles = [:]
    for row in federations where !row.bundle.isEmpty {
      guard let domain = try? TrustDomain(row.trustDomain),
        let bundle = try? SPIFFEBundle(trustDomain: domain, parsing: row.bundle)
      else { throw Problem(503, "federation_damaged", "A federation's row cannot be read; restore the database.") }
      federatedBundles[domain] = bundle
    }
    // What another authority signed than the one that signs now is found there: a rotation reaches every stream.
    refresh(Array(served.keys), urgently: false)
  }

  /// Who is served a certificate that is revoked gets another one.
  private func replace(revoked serials: Set<String>) {
    defer { revokedSerials = serials }
    let new = serials.subtracting(revokedSerials)
    guard !new.isEmpty else { return }
    let concerned = served.filter { $0.value.issued.values.contains { new.contains($0.serial) } }
    for (id, item) in concerned { served[id]?.issued = item.issued.filter { !new.contains($0.value.serial) } }
    refresh(concerned.keys, urgently: true)
  }

  // MARK: - What time and orders bring

  /// Does what is due: follows the storage, prepares and activates authorities, renews lists and certificates, forgets
  /// who is gone. Called every second.
  public func tend() async throws {
    guard !isClosed else { return }
    try await follow()
    let now = parts.time.now()
    sweep(at: now)
    refresh(
      served.values.filter { item in item.renewal.map { $0 <= now } ?? false }.map(\.group.id), urgently: false)
    for kind in AuthorityKind.allCases { await work(on: kind, at: now) }
  }

  /// Takes the steps of a kind, each of which may fail by itself, once at a time, and keeps the first reason for the
  /// status.
  private func work(on kind: AuthorityKind, at now: Timestamp) async {
    guard preparing.insert(kind).inserted else { return }
    defer { preparing.remove(kind) }
    var obstacle: (any Error)?
    do { try await obey(kind) } catch { obstacle = error }
    if kind == .x509 { do { try await certify() } catch { obstacle = obstacle ?? error } }
    do { try await schedule(kind, at: now) } catch { obstacle = obstacle ?? error }
    if kind == .x509 { do { try await renewLists(at: now) } catch { obstacle = obstacle ?? error } }
    obstacles[kind] = obstacle.map { "\($0)" }
  }

  /// Does what was ordered of a kind. The order is read here, where nobody else works on the kind: one that was read
  /// before may be done already, and doing it again would replace its key.
  private func obey(_ kind: AuthorityKind) async throws {
    let orders = try await parts.recorder.read { unit in try unit.pendingAuthorityOrders() }
    guard let order = orders.first(where: { $0.kind == kind }) else { return }
    try await prepare(
      kind, asRequest: order.action == .request, order: order.leafIndex, takesOver: order.action == .rotate)
  }

  /// Prepares the next authority in time, and lets it take over.
  private func schedule(_ kind: AuthorityKind, at now: Timestamp) async throws {
    guard let active = authorityRows.last(where: { $0.kind == kind && $0.state == .active }) else { return }
    let next = authorityRows.last { $0.kind == kind && [.prepared, .requested].contains($0.state) }
    if active.yields(at: now), let next, next.state == .prepared {
      try await record(.activated(next.id))
    } else if active.awaitsSuccessor(at: now), next == nil {
      try await prepare(kind, asRequest: !active.request.isEmpty, order: nil, takesOver: false)
    }
  }

  /// Makes an authority's key in the slot that the active one is not in, and has it certified. What fails is tried
  /// again after a minute, then after two and so on up to an hour: each attempt makes a key in the HSM.
  private func prepare(_ kind: AuthorityKind, asRequest: Bool, order: UInt64?, takesOver: Bool) async throws {
    let now = parts.time.now()
    if let pause = pauses[kind], now < pause.until { throw pause.reason }
    do {
      try await make(kind, asRequest: asRequest, order: order, takesOver: takesOver)
      pauses[kind] = nil
    } catch {
      let seconds = min(3600, pauses[kind].map { $0.seconds * 2 } ?? 60)
      pauses[kind] = (now.adding(seconds: seconds), seconds, error)
      throw error
    }
  }

  private func make(_ kind: AuthorityKind, asRequest: Bool, order: UInt64?, takesOver: Bool) async throws {
    // As they are stored: what is in memory may lag, and the wrong slot's key would be lost.
    let rows = try await parts.recorder.read { unit in try unit.authorities(kind) }
    guard !rows.contains(where: { [.prepared, .requested].contains($0.state) }) else {
      throw Problem(409, "authority_waiting", "An authority of this kind waits already; see to it first.")
    }
    let slot = rows.last { $0.state == .active }?.slot.other ?? .a
    let name = slot.key(of: kind)
    let now = parts.time.now()
    let id = "aut_" + Base64.URL.encode(parts.random.bytes(16))
    let publicKey = try await parts.custodian.replace(name)
    var (chain, root, request): ([[UInt8]], [UInt8], [UInt8]) = ([], [], [])
    if kind == .x509 {
      if asRequest {
        let custodian = parts.custodian
        let key = try X509SigningKey(publicKey) { try await custodian.sign($0, with: name, expecting: publicKey) }
        request = try await parts.profile.request(key: key)
      } else {
        (chain, root) = try await parts.root.certify(
          publicKey, now: now, lifetime: kind.lifetime)
      }
    }
    var notAfter = now.adding(seconds: kind.lifetime)
    for der in chain { notAfter = min(notAfter, try Self.end(of: der)) }
    let row = AuthorityRow(
      id: id, kind: kind, slot: slot, state: asRequest ? .requested : .prepared, publicKey: publicKey.bytes,
      chain: chain, root: root, request: request, notBefore: now, notAfter: notAfter, leafIndex: 0, changeIndex: 0)
    try await record(.prepared(row, order: order, takesOver: takesOver))
  }

  /// After which second a certificate is not valid.
  private static func end(of der: [UInt8]) throws -> Timestamp {
    Timestamp(seconds: Int64(try Certificate(derEncoded: der).notValidAfter.timeIntervalSince1970))
  }

  /// Checks a chain in PEM for an authority's request.
  /// - Throws: a ``Problem`` that says what is wrong with it.
  public func check(pem: String, for id: String) async throws {
    _ = try await check(try PEMText.certificates(pem), for: id)
  }

  /// Checks a chain that somebody else's root has signed for an authority's request; the last certificate is the root.
  public func check(_ chain: [[UInt8]], for id: String) async throws -> CertificateAuthorityProfile.Upstream {
    guard let row = authorityRows.first(where: { $0.id == id }), row.state == .requested else {
      throw Problem(409, "authority_not_requested", "The authority '\(id)' asks for no certificate; list them.")
    }
    let key = CustodyPublicKey(algorithm: row.slot.key(of: row.kind).algorithm, bytes: row.publicKey)
    let now = parts.time.now()
    let others = authorityRows.filter { $0.kind == .x509 && $0.isTrusted(at: now) }.flatMap { $0.chain + [$0.root] }
    do {
      return try await parts.profile.checkUpstream(chain: chain, key: key, others: others, now: now)
    } catch { throw Problem(spiffe: error) }
  }

  /// Finds out of certificates that came whether they lead to a root.
  private func certify() async throws {
    for row in authorityRows where row.state == .requested && !row.chain.isEmpty {
      let finding: WorkloadTransition
      do {
        let upstream = try await check(row.chain, for: row.id)
        let own = upstream.chain.isEmpty ? [upstream.root] : upstream.chain
        let end = try (own + [upstream.root]).map(Self.end).min() ?? row.notAfter
        finding = .certified(row.id, chain: own, root: upstream.root, notAfter: end)
      } catch is Problem {
        finding = .certified(row.id, chain: [], root: [], notAfter: row.notAfter)
      }
      try await record(finding)
    }
  }

  /// Records a transition with its change, and takes it up.
  private func record(_ transition: WorkloadTransition) async throws {
    let domain = parts.trustDomain
    _ = try await parts.recorder.record { unit, _, index in
      let event = transition.event
      // What is written is what was recorded, and not what the event was made from.
      try WorkloadTransition(event.kind, .object(event.content), leafIndex: index)
        .apply(leafIndex: index, trustDomain: domain, in: &unit)
      return [event]
    }
    try await follow()
  }

  // MARK: - Revocation lists

  /// Signs the lists that are due: of each authority whose certificates are about and whose key still is, and of the
  /// root once an authority is revoked. One that cannot be signed is in no other's way.
  private func renewLists(at now: Timestamp) async throws {
    let (revocations, lists) = try await parts.recorder.read { unit in
      (try unit.revocations(.x509, at: now), try unit.revocationLists())
    }
    var obstacle: (any Error)?
    let newest = revocations.map(\.leafIndex).max() ?? 0
    for row in authorityRows where row.kind == .x509 && row.isTrusted(at: now) && row.state != .prepared {
      guard isDue(lists.first { $0.issuer == row.id }, newest: newest, at: now) else { continue }
      do {
        let revoked = try revocations.map { row in
          CertificateRevocation(
            serial: try X509SerialNumber(Hex.decode(row.id) ?? []), since: now, reason: .privilegeWithdrawn)
        }
        let next = now.adding(seconds: Self.listLifetime)
        let list = try await CRL.make(
          issuer: try Authorities.signer(row, parts.custodian), number: UInt64(now.milliseconds), thisUpdate: now,
          nextUpdate: next, revoked: revoked)
        try await record(.listed(issuer: row.id, list: list, nextUpdate: next))
        listed[row.id] = newest
      } catch let error as CustodyError where error.code == .keyReplaced && row.state != .active {
        // Its slot has another key; what it signed ends soon.
      } catch {
        obstacle = obstacle ?? Problem(503, "crl_failed", "The revocation list of '\(row.id)' cannot be made: \(error)")
      }
    }
    // Those under somebody else's root are for that root to revoke.
    let revoked = authorityRows.filter {
      $0.kind == .x509 && $0.state == .revoked && $0.request.isEmpty && now < $0.notAfter
    }
    let change = revoked.map(\.changeIndex).max() ?? 0
    if !revoked.isEmpty, isDue(lists.first { $0.issuer == "root" }, newest: change, at: now) {
      do {
        let list = try await parts.root.revocationList(
          revoked.compactMap { row in row.chain.first.map { ($0, now) } }, number: UInt64(now.milliseconds), now: now)
        try await record(.listed(issuer: "root", list: list, nextUpdate: now.adding(seconds: Self.listLifetime)))
        listed["root"] = change
      } catch {
        obstacle = obstacle ?? Problem(503, "crl_failed", "The root's revocation list cannot be made: \(error)")
      }
    }
    if let obstacle { throw obstacle }
  }

  /// The list's own leaf does not say what is in it: a revocation before that leaf may have taken effect after the list
  /// was made.
  private func isDue(_ list: RevocationListRow?, newest: UInt64, at now: Timestamp) -> Bool {
    guard let list else { return true }
    return newest > listed[list.issuer] ?? 0 || list.nextUpdate <= now.adding(seconds: Self.listOverlap)
  }

  // MARK: - Federation

  /// The federations whose bundle is fetched from an endpoint, with the bundle that is at hand.
  public func endpoints() -> [(terms: FederationTerms, bundle: SPIFFEBundle?)] {
    federations.compactMap { row in
      guard var reader = try? ObjectReader(try JSONValue(parsing: row.terms), "the terms"),
        let terms = try? FederationTerms(reading: &reader), terms.url != nil
      else { return nil }
      return (terms, federatedBundles[terms.trustDomain])
    }
  }

  /// The bundle at hand of a trust domain, the own one among them.
  public func bundle(of domain: TrustDomain) -> SPIFFEBundle? {
    domain == parts.trustDomain ? authorities?.bundle : federatedBundles[domain]
  }

  /// Takes a bundle that was fetched: an older one than that at hand is refused, the same one is no news.
  /// - Returns: whether it was recorded.
  public func take(_ document: [UInt8], of domain: TrustDomain) async throws -> Bool {
    let bundle: SPIFFEBundle
    do { bundle = try SPIFFEBundle(trustDomain: domain, parsing: document) } catch { throw Problem(spiffe: error) }
    if let present = federatedBundles[domain] {
      guard bundle != present else { return false }
      if let old = present.sequence, let new = bundle.sequence, new < old {
        throw Problem(409, "bundle_older", "The endpoint of '\(domain)' gives an older bundle than the one at hand.")
      }
    }
    try await record(.refreshed(trustDomain: domain.name, bundle: document))
    return true
  }
}

extension WorkloadService: FederationBundles {}
