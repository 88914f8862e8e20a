public import Wire

/// Why a workload gets no answer, in the terms of the Workload API (SPIFFE Workload API section 4.3).
public struct WorkloadRefusal: Error, Sendable, Equatable, CustomStringConvertible {
  /// The status of gRPC that it becomes.
  public enum Status: String, Sendable {
    /// The request is malformed.
    case invalidArgument
    /// The workload has no identity, or not the one that it asks for.
    case permissionDenied
    /// Not now: shed, sealed, or the HSM is away.
    case unavailable
    /// The log is read-only, or the daemon failed.
    case failedPrecondition
  }

  /// The status.
  public let status: Status
  /// The stable code, in snake case.
  public let code: String
  /// What is wrong and what to do about it.
  public let message: String
  /// After how many milliseconds to try again; nil where that is no use.
  public let retryAfter: Int64?

  /// Makes a refusal.
  public init(_ status: Status, _ code: String, _ message: String, retryAfter: Int64? = nil) {
    self.status = status
    self.code = code
    self.message = message
    self.retryAfter = retryAfter
  }

  /// The code and the message.
  public var description: String { "\(code): \(message)" }

  /// Refusals are equal when their codes are.
  public static func == (a: WorkloadRefusal, b: WorkloadRefusal) -> Bool { a.code == b.code }
}

/// An X.509-SVID as a workload gets it.
public struct WorkloadX509SVID: Sendable {
  /// The identity.
  public let id: SPIFFEID
  /// The certificate and its issuers below the root, each DER, the leaf first.
  public let chain: [[UInt8]]
  /// The private key; nil where the workload keeps it itself.
  public let key: SVIDKey?
  /// The entry's hint; empty where it has none.
  public let hint: String
  /// When the certificate ends.
  public let expires: Timestamp
  /// The entry that it is issued for.
  public let entry: String

  /// Collects the parts.
  public init(id: SPIFFEID, chain: [[UInt8]], key: SVIDKey?, hint: String, expires: Timestamp, entry: String) {
    self.id = id
    self.chain = chain
    self.key = key
    self.hint = hint
    self.expires = expires
    self.entry = entry
  }
}

/// A JWT-SVID as a workload gets it.
public struct WorkloadJWTSVID: Sendable {
  /// The identity.
  public let id: SPIFFEID
  /// The token, in JWS compact form.
  public let token: String
  /// The entry's hint.
  public let hint: String

  /// Collects the parts.
  public init(id: SPIFFEID, token: String, hint: String) {
    self.id = id
    self.token = token
    self.hint = hint
  }
}

/// A trust domain's bundle as workloads get it.
public struct WorkloadBundle: Sendable, Equatable {
  /// The root certificates, each DER.
  public let roots: [[UInt8]]
  /// The keys of JWT-SVIDs as a JWK set, UTF-8.
  public let jwks: [UInt8]

  /// Collects the parts.
  public init(roots: [[UInt8]], jwks: [UInt8]) {
    self.roots = roots
    self.jwks = jwks
  }
}

/// All that a workload is entitled to at one moment. It is complete: what is absent was taken away.
public final class WorkloadSnapshot: Sendable {
  /// Grows with every change while the daemon runs.
  public let version: UInt64
  /// The trust domain that the daemon serves.
  public let trustDomain: TrustDomain
  /// The identities, the default first; never empty.
  public let svids: [WorkloadX509SVID]
  /// The bundles of the own trust domain and of those that the entries federate with.
  public let bundles: [TrustDomain: WorkloadBundle]
  /// Certificate revocation lists, DER.
  public let crls: [[UInt8]]
  /// When the first of the certificates ends.
  public let expires: Timestamp

  /// Collects the parts.
  public init(
    version: UInt64, trustDomain: TrustDomain, svids: [WorkloadX509SVID], bundles: [TrustDomain: WorkloadBundle],
    crls: [[UInt8]]
  ) {
    self.version = version
    self.trustDomain = trustDomain
    self.svids = svids
    self.bundles = bundles
    self.crls = crls
    expires = svids.map(\.expires).min() ?? Timestamp(milliseconds: .max)
  }
}

/// What is pushed to one stream, which one task reads. The newest snapshot alone counts, so nothing queues behind a slow
/// reader.
public protocol WorkloadUpdates: Sendable {
  /// The newest snapshot that this reader has not had; at once at first, then when there is a change.
  /// - Returns: nil once the daemon stops, or after ``cancel()``.
  /// - Throws: a refusal of status ``WorkloadRefusal/Status/permissionDenied`` once nothing is left to be entitled to;
  ///   `CancellationError` when the calling task is cancelled, which leaves nothing behind.
  func next() async throws -> WorkloadSnapshot?
  /// Ends the stream from any task: whoever waits in ``next()`` has nil at once, and so has whoever calls it later.
  func cancel()
}

/// A connection as the Workload API sees it: a process that is attested, and confirmed to be still the same before
/// anything is signed for it. Whoever sends it an answer confirms it once more. Every method throws ``WorkloadRefusal``.
public protocol WorkloadConnection: Sendable {
  /// The complete state, again and again.
  func updates() async throws -> any WorkloadUpdates
  /// The complete state, once.
  func snapshot() async throws -> WorkloadSnapshot
  /// Throws unless the process is still there and still the one that was attested; called right before an answer goes.
  func confirm() throws(WorkloadRefusal)
  /// JWT-SVIDs for audiences, of one identity or of each that the workload has.
  /// - Parameter audiences: 1 to 64 texts of 1 to 1024 bytes.
  func jwtSVIDs(audiences: [String], id: SPIFFEID?) async throws -> [WorkloadJWTSVID]
  /// Verifies a JWT-SVID of the own or a federated trust domain.
  /// - Returns: the subject and all claims.
  func validate(jwtSVID token: String, audience: String) async throws -> (id: SPIFFEID, claims: JSONObject)
  /// Issues an X.509-SVID for a key that the workload keeps.
  /// - Parameter request: a PKCS #10 certificate signing request, DER.
  func x509SVID(request: [UInt8], id: SPIFFEID?) async throws -> WorkloadX509SVID
  /// The process is gone, or the connection is closed.
  func close()
}
