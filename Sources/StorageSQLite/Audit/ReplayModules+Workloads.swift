import JOSE
import KeyHierarchy
import Wire
import WorkloadIdentity
import WorkloadService

// What the log says of workloads. Keys are made in the HSM and certificates signed elsewhere, so none of it can be
// repeated: each event is held to what was ordered before it, and what it brings to the keys that it names.
extension ReplayModules {
  /// Lets an event about authorities, bundles or entries have its effect.
  func replayWorkloads(
    _ kind: String, _ content: JSONObject, at time: Timestamp, leafIndex index: UInt64, in state: inout ReplayUnit
  ) throws {
    let transition = try WorkloadTransition(kind, .object(content), leafIndex: index)
    try demand(transition.event.content == content, "it does not say what it says in its usual form.")
    switch transition {
    case .prepared(let row, let order, let takesOver):
      try demand(
        Self.isAsked(row, order: order, takesOver: takesOver, at: time, in: state), "nobody has asked for it.")
      try demand(Self.active(row.kind, in: state)?.slot != row.slot, "its slot holds the key that signs.")
      try check(row)
    case .activated(let id):
      let row = state.authority(id)
      let active = row.flatMap { Self.active($0.kind, in: state) }
      try demand(
        active?.yields(at: time) ?? false, "the one that signs does not end.")
    case .certified(let id, let chain, let root, _):
      let row = state.authority(id)
      let sent = row?.chain ?? []
      try demand(
        root.isEmpty ? chain.isEmpty : (chain + [root]).allSatisfy(sent.contains), "nobody has sent these certificates."
      )
      if let row, !root.isEmpty { try check(chain, root, of: Self.key(row)) }
    case .refreshed(let domain, let bundle):
      _ = try SPIFFEBundle(trustDomain: try TrustDomain(domain), parsing: bundle)
    case .listed(let issuer, let list, let next): try Self.check(list, of: issuer, until: next, in: state)
    case .issued(let issuance): try check(issuance, at: time, in: state)
    case .registered:
      try demand(environment == "development", "only a development deployment has an entry that nobody signed.")
    }
    try transition.apply(leafIndex: index, trustDomain: workloads.trustDomain, in: &state)
  }

  private static func active(_ kind: AuthorityKind, in state: ReplayUnit) -> AuthorityRow? {
    state.authorities(kind).last { $0.state == .active }
  }

  /// An authority is made because an order waits for it, which its effect looks for; because it is the first of its kind;
  /// or because the one that signs nears its end, and then in the same way as that one.
  private static func isAsked(
    _ row: AuthorityRow, order: UInt64?, takesOver: Bool, at time: Timestamp, in state: ReplayUnit
  ) -> Bool {
    if order != nil || state.authorities(row.kind).isEmpty { return true }
    guard let active = active(row.kind, in: state) else { return false }
    return !takesOver && row.request.isEmpty == active.request.isEmpty && active.awaitsSuccessor(at: time)
  }

  /// How far the clock may have been set back between a signature and its leaf, in seconds.
  private static var clockSlack: Int64 { 300 }

  /// At its leaf an entry entitles to it, and the authority that signed it is the one that signs.
  private func check(_ issuance: SVIDIssuance, at time: Timestamp, in state: ReplayUnit) throws {
    guard let row = state.entry(issuance.entry), row.isPresent else { throw Mismatch("there is no such entry.") }
    let entry = try RegistrationEntry(
      id: try EntryID(row.id), reading: try JSONValue(parsing: row.document), trustDomain: workloads.trustDomain)
    let (kind, lifetime): (AuthorityKind, Int64) =
      switch issuance.kind {
      case .x509: (.x509, entry.x509Lifetime)
      case .jwt: (entry.jwtRS256 ? .jwtRS256 : .jwt, entry.jwtLifetime)
      }
    let permitted =
      issuance.kind == .jwt
      ? entry.issues.contains(.jwt) && entry.permits(audiences: issuance.audiences)
      : entry.issues.contains(.x509) || entry.issues.contains(.ownKey)
    try demand(
      issuance.spiffeID == entry.spiffeID.description && permitted, "its entry does not entitle to it.")
    guard let authority = Self.active(kind, in: state), authority.id == issuance.authority else {
      throw Mismatch("its authority is not the one that signs.")
    }
    let end = min(authority.notAfter, time.adding(seconds: lifetime + Self.clockSlack))
    try demand(issuance.notAfter <= end, "it outlives its authority, or what its entry permits.")
  }

  /// A certificate or a request carries the key; a key for tokens has neither.
  private func check(_ row: AuthorityRow) throws {
    try demand(row.notBefore < row.notAfter, "it ends before it begins.")
    let key = Self.key(row)
    _ = try VerificationKey(custody: key)
    switch (row.kind, row.state) {
    case (.x509, .requested):
      let spki = try X509SigningKey.spki(key)
      try demand(
        row.chain.isEmpty && row.root.isEmpty && row.request.contains(spki), "its request is not of its public key.")
    case (.x509, _): try check(row.chain, row.root, of: key)
    default:
      try demand(row.chain.isEmpty && row.root.isEmpty && row.request.isEmpty, "a key for tokens has no certificate.")
    }
  }

  private static func key(_ row: AuthorityRow) -> CustodyPublicKey {
    CustodyPublicKey(algorithm: row.slot.key(of: row.kind).algorithm, bytes: row.publicKey)
  }

  /// The first certificate is an authority's and carries the key, and the root is one that a bundle can hold.
  private func check(_ chain: [[UInt8]], _ root: [UInt8], of key: CustodyPublicKey) throws {
    let own = try X509SigningKey(key) { _ in throw Mismatch("an audit signs nothing.") }
    guard let first = chain.first else { throw Mismatch("it has no certificate.") }
    _ = try X509Signer(certificate: first, key: own)
    _ = try SPIFFEBundle(
      trustDomain: workloads.trustDomain, x509Authorities: [root], jwtAuthorities: [], sequence: nil, refreshHint: nil)
  }

  /// An authority has signed it, or a root that one was certified by.
  private static func check(
    _ list: [UInt8], of issuer: String, until next: Timestamp, in state: ReplayUnit
  ) throws {
    let authorities = state.authorities(.x509)
    let signers =
      issuer == "root" ? authorities.map(\.root) : authorities.filter { $0.id == issuer }.compactMap(\.chain.first)
    let unverified = try UnverifiedCRL(list)
    let verified = Set(signers).lazy.compactMap { try? unverified.verified(issuer: $0) }.first
    try demand(verified?.nextUpdate.seconds == next.seconds, "its issuer has not signed it, or until another time.")
  }
}
