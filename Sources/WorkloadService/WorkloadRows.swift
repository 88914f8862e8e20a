import Crypto
public import KeyHierarchy
public import Wire
import WorkloadIdentity

/// A registration entry as it is kept. One that was deleted keeps its place, so that whoever follows the changes sees
/// it go.
public struct EntryRow: Sendable, Equatable {
  /// `ent_` and 22 characters.
  public let id: String
  /// Grows with each change of any entry.
  public var sequence: UInt64
  /// SHA-256 of what two entries may not share; nil once it is deleted.
  public var fingerprint: [UInt8]?
  /// The digests of its selectors, side by side; empty once it is deleted.
  public var selectors: [UInt8]
  /// The entry, a JCS text; empty once it is deleted.
  public var document: [UInt8]
  /// The leaf of the command that wrote it last.
  public var leafIndex: UInt64
  /// Its first sequence number: of two entries the older one comes first, whatever changes in them.
  public let created: UInt64

  /// Collects the columns.
  public init(
    id: String, sequence: UInt64, fingerprint: [UInt8]?, selectors: [UInt8], document: [UInt8], leafIndex: UInt64,
    created: UInt64
  ) {
    self.id = id
    self.sequence = sequence
    self.fingerprint = fingerprint
    self.selectors = selectors
    self.document = document
    self.leafIndex = leafIndex
    self.created = created
  }

  /// The row of an entry.
  /// - Parameter created: nil for a new one.
  init(_ entry: RegistrationEntry, sequence: UInt64, leafIndex: UInt64, created: UInt64? = nil) {
    self.init(
      id: entry.id.description, sequence: sequence, fingerprint: Self.fingerprint(entry),
      selectors: SelectorDigest.encode(entry.selectors.map(SelectorDigest.init)),
      document: JSONValue.object(entry.json).canonical(), leafIndex: leafIndex, created: created ?? sequence)
  }

  /// What two entries may not share: identity, parent and selectors.
  private static func fingerprint(_ entry: RegistrationEntry) -> [UInt8] {
    let shared: JSONObject = [
      "spiffe_id": .string(entry.spiffeID.description), "parent_id": .string(entry.parentID.description),
      "selectors": .array(entry.selectors.map { .string($0.description) }),
    ]
    var hash = SHA256()
    hash.update(data: Array("trustcore/entry/v1".utf8) + [0])
    hash.update(data: JSONValue.object(shared).canonical())
    return Array(hash.finalize())
  }
}

/// What authorities sign.
public enum AuthorityKind: String, Sendable, CaseIterable {
  /// X.509-SVIDs.
  case x509
  /// JWT-SVIDs, with ES256.
  case jwt
  /// JWT-SVIDs with RS256, for clouds that take nothing else.
  case jwtRS256 = "jwt-rs256"

  /// How long an authority lives, in seconds.
  public var lifetime: Int64 { (self == .x509 ? 365 : 30) * 86_400 }
}

/// One of the two places in the HSM between which a kind's key alternates.
public enum AuthoritySlot: String, Sendable, CaseIterable {
  case a
  case b

  /// The other place.
  public var other: AuthoritySlot { self == .a ? .b : .a }

  /// The name of a kind's key in this place.
  public func key(of kind: AuthorityKind) -> KeyName {
    switch (kind, self) {
    case (.x509, .a): .x509IssuingA
    case (.x509, .b): .x509IssuingB
    case (.jwt, .a): .svidJWTA
    case (.jwt, .b): .svidJWTB
    case (.jwtRS256, .a): .svidJWTRSA
    case (.jwtRS256, .b): .svidJWTRSB
    }
  }
}

/// A key that signs SVIDs, with its certificate where it has one.
public struct AuthorityRow: Sendable, Equatable {
  /// Where an authority stands, as SPIRE names it.
  public enum State: String, Sendable, CaseIterable {
    /// Its certificate is asked for elsewhere.
    case requested
    /// Published, and signs nothing yet.
    case prepared
    /// Signs.
    case active
    /// Signs no more; what it signed is valid.
    case old
    /// What it signed is replaced at once, and valid until it is.
    case tainted
    /// What it signed is worthless.
    case revoked
  }

  /// `aut_` and 22 characters; the `kid` of a key for JWT-SVIDs.
  public let id: String
  /// What it signs.
  public let kind: AuthorityKind
  /// Where its key is.
  public let slot: AuthoritySlot
  /// Where it stands.
  public var state: State
  /// The public half as custody gives it.
  public let publicKey: [UInt8]
  /// The certificates from the authority's own to the one below the root, each DER; empty without certificate.
  public var chain: [[UInt8]]
  /// The root that the chain leads to, DER; empty without certificate.
  public var root: [UInt8]
  /// The certificate signing request where the certificate is asked for elsewhere, DER; else empty.
  public let request: [UInt8]
  /// When it was prepared.
  public let notBefore: Timestamp
  /// After this moment nothing that it signed is valid.
  public var notAfter: Timestamp
  /// The leaf that prepared it.
  public let leafIndex: UInt64
  /// The leaf that changed its state last.
  public var changeIndex: UInt64

  /// Collects the columns.
  public init(
    id: String, kind: AuthorityKind, slot: AuthoritySlot, state: State, publicKey: [UInt8], chain: [[UInt8]],
    root: [UInt8], request: [UInt8], notBefore: Timestamp, notAfter: Timestamp, leafIndex: UInt64, changeIndex: UInt64
  ) {
    self.id = id
    self.kind = kind
    self.slot = slot
    self.state = state
    self.publicKey = publicKey
    self.chain = chain
    self.root = root
    self.request = request
    self.notBefore = notBefore
    self.notAfter = notAfter
    self.leafIndex = leafIndex
    self.changeIndex = changeIndex
  }

  /// Whether the next one is due to be prepared: half of the life is left, and 30 days at most (SPIRE's schedule).
  public func awaitsSuccessor(at now: Timestamp) -> Bool { isLeft(part: 2, days: 30, at: now) }

  /// Whether the next one is due to take over: a sixth of the life is left, and 7 days at most (SPIRE's schedule).
  public func yields(at now: Timestamp) -> Bool { isLeft(part: 6, days: 7, at: now) }

  private func isLeft(part: Int64, days: Int64, at now: Timestamp) -> Bool {
    let life = notAfter.seconds - notBefore.seconds
    return notAfter.seconds - now.seconds <= min(life / part, days * 86_400)
  }

  /// Whether its key, or its root, belongs in the bundle.
  public func isTrusted(at now: Timestamp) -> Bool {
    switch state {
    case .prepared, .active, .old, .tainted: now < notAfter
    case .requested, .revoked: false
    }
  }
}

/// What was ordered of an authority and needs the HSM.
public struct AuthorityOrder: Sendable, Equatable {
  /// What is to be done.
  public enum Action: String, Sendable {
    /// Make a key, and a certificate by the deployment's own root.
    case prepare
    /// As ``prepare``; it takes over at once.
    case rotate
    /// Make a key, and a request for a certificate by somebody else's root.
    case request
  }

  /// The leaf that ordered it.
  public let leafIndex: UInt64
  /// Of which kind.
  public let kind: AuthorityKind
  /// What to do.
  public let action: Action
  /// Whether it still waits.
  public var isPending: Bool

  /// Collects the columns.
  public init(leafIndex: UInt64, kind: AuthorityKind, action: Action, isPending: Bool) {
    self.leafIndex = leafIndex
    self.kind = kind
    self.action = action
    self.isPending = isPending
  }
}

/// What an SVID is, and so what names it.
public enum SVIDKind: String, Sendable, CaseIterable {
  /// The certificate with a serial number, in lower-case hexadecimal.
  case x509
  /// The token with a `jti`.
  case jwt
}

/// Where the issuance of an SVID is on the record.
public struct IssuanceRow: Sendable, Equatable {
  /// What was issued.
  public let kind: SVIDKind
  /// Serial number or `jti`.
  public let id: String
  /// The leaf that says who got it.
  public let leafIndex: UInt64

  /// Collects the columns.
  public init(kind: SVIDKind, id: String, leafIndex: UInt64) {
    self.kind = kind
    self.id = id
    self.leafIndex = leafIndex
  }
}

/// An SVID that is revoked before its time.
public struct RevocationRow: Sendable, Equatable {
  /// What is revoked.
  public let kind: SVIDKind
  /// Serial number or `jti`.
  public let id: String
  /// When it ends anyway; the list forgets it then.
  public let expires: Timestamp
  /// The leaf that revoked it.
  public let leafIndex: UInt64

  /// Collects the columns.
  public init(kind: SVIDKind, id: String, expires: Timestamp, leafIndex: UInt64) {
    self.kind = kind
    self.id = id
    self.expires = expires
    self.leafIndex = leafIndex
  }
}

/// A trust domain that the own one federates with.
public struct FederationRow: Sendable, Equatable {
  /// The trust domain.
  public let trustDomain: String
  /// The terms, a JCS text: see ``FederationTerms``.
  public var terms: [UInt8]
  /// The newest bundle, as it was fetched or set; empty before the first.
  public var bundle: [UInt8]
  /// The leaf that wrote the bundle last, or else the terms.
  public var leafIndex: UInt64

  /// Collects the columns.
  public init(trustDomain: String, terms: [UInt8], bundle: [UInt8], leafIndex: UInt64) {
    self.trustDomain = trustDomain
    self.terms = terms
    self.bundle = bundle
    self.leafIndex = leafIndex
  }
}

/// A certificate revocation list as it was signed last.
public struct RevocationListRow: Sendable, Equatable {
  /// The authority that signed it; `root` for the root.
  public let issuer: String
  /// The list, DER.
  public let list: [UInt8]
  /// By when the next one is due.
  public let nextUpdate: Timestamp
  /// The leaf that recorded it.
  public let leafIndex: UInt64

  /// Collects the columns.
  public init(issuer: String, list: [UInt8], nextUpdate: Timestamp, leafIndex: UInt64) {
    self.issuer = issuer
    self.list = list
    self.nextUpdate = nextUpdate
    self.leafIndex = leafIndex
  }
}
