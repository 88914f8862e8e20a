import Crypto
import Foundation
import JOSE
import KeyHierarchy
import Logging
import ServiceLifecycle
import SwiftASN1
import Synchronization
import Wire
import WorkloadAPI
import WorkloadAttestation
import WorkloadIdentity
import X509

/// A trust domain with a root, which issues real certificates that are valid for longer than these tests will be run.
struct FakeTrustDomain: Sendable {
  let domain: TrustDomain
  let root: Certificate
  private let key: P256.Signing.PrivateKey
  private static let start = Date(timeIntervalSince1970: 1_577_836_800)
  private static let end = Date(timeIntervalSince1970: 2_493_072_000)

  init(_ name: String) throws {
    domain = try TrustDomain(name)
    key = P256.Signing.PrivateKey()
    let publicKey = Certificate.PublicKey(key.publicKey)
    let subject = try DistinguishedName { CommonName(name) }
    root = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(bytes: [1]), publicKey: publicKey,
      notValidBefore: Self.start, notValidAfter: Self.end, issuer: subject, subject: subject,
      signatureAlgorithm: .ecdsaWithSHA256,
      extensions: Certificate.Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
        Critical(KeyUsage(keyCertSign: true, cRLSign: true))
        SubjectKeyIdentifier(hash: publicKey)
      }, issuerPrivateKey: Certificate.PrivateKey(key))
  }

  var rootDER: [UInt8] { get throws { try Self.der(root) } }

  /// The list of the root, with one serial number on it.
  func crl(revoking serial: UInt8) async throws -> [UInt8] {
    let key = key
    let signing = try X509SigningKey(
      CustodyPublicKey(algorithm: .ecdsaP256, bytes: Array(key.publicKey.x963Representation))
    ) { try Array(key.signature(for: $0).rawRepresentation) }
    return try await CRL.make(
      issuer: X509Signer(certificate: rootDER, key: signing), number: 1,
      thisUpdate: Timestamp(seconds: 1_577_836_800), nextUpdate: Timestamp(seconds: 2_493_072_000),
      revoked: [
        CertificateRevocation(serial: X509SerialNumber([serial]), since: Timestamp(seconds: 1_577_836_800))
      ])
  }

  static func der(_ certificate: Certificate) throws -> [UInt8] {
    var serializer = DER.Serializer()
    try serializer.serialize(certificate)
    return serializer.serializedBytes
  }

  /// Issues a certificate.
  func leaf(_ path: String, serial: UInt8, usage: KeyUsage = KeyUsage(digitalSignature: true)) throws
    -> (der: [UInt8], key: [UInt8])
  {
    let own = P256.Signing.PrivateKey()
    let certificate = try Certificate(
      version: .v3, serialNumber: Certificate.SerialNumber(bytes: [serial]),
      publicKey: Certificate.PublicKey(own.publicKey),
      notValidBefore: Self.start, notValidAfter: Self.end, issuer: root.subject,
      subject: DistinguishedName { CommonName("leaf") }, signatureAlgorithm: .ecdsaWithSHA256,
      extensions: Certificate.Extensions {
        Critical(usage)
        try ExtendedKeyUsage([.serverAuth, .clientAuth])
        SubjectAlternativeNames([
          .uniformResourceIdentifier(try SPIFFEID(domain, path: path).description), .dnsName("web.example"),
        ])
      }, issuerPrivateKey: Certificate.PrivateKey(key))
    return (try Self.der(certificate), Array(own.derRepresentation))
  }
}

/// The Workload API on a socket of its own: every caller gets what the test says.
final class FakeWorkloadAPI: Sendable {
  struct State {
    var snapshot: WorkloadSnapshot?
    var refusal: WorkloadRefusal?
    var isTokenRevoked = false
    var version: UInt64 = 0
    var waiting: [CheckedContinuation<Void, Never>] = []
    var connections = 0
  }
  let state = Mutex(State())
  let store = SVIDKeyStore(capacity: 64)
  let own: FakeTrustDomain
  let other: FakeTrustDomain
  let tokenKey = try! SigningKey(.p256, secret: [UInt8](repeating: 3, count: 32))

  init() throws {
    own = try FakeTrustDomain("example.org")
    other = try FakeTrustDomain("other.org")
  }

  /// Runs the server while `body` runs.
  func run<R: Sendable>(_ body: @Sendable (String) async throws -> R) async throws -> R {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("wl-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appendingPathComponent("w.sock").path
    var limits = WorkloadAPIServer.Limits()
    limits.grace = .milliseconds(200)
    let server = try WorkloadAPIServer(path: path, limits: limits, logger: Logger(label: "test")) { _ in
      self.state.withLock { $0.connections += 1 }
      return FakeWorkloadConnection(fake: self)
    }
    return try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask { try await server.run() }
      defer { group.cancelAll() }
      return try await body(path)
    }
  }

  var jwks: [UInt8] {
    get throws {
      let jwk = JWK(tokenKey.verificationKey, keyID: "k", algorithm: .es256)
      return try JWTBundle(trustDomain: own.domain, keys: [jwk]).jwks(.svid).canonical()
    }
  }

  /// The workload has these identities from now on.
  func publish(
    _ paths: [String], isFederated: Bool = false, leafOf issuer: FakeTrustDomain? = nil, crls: [[UInt8]] = []
  ) throws {
    let version = state.withLock { state in
      state.version += 1
      return state.version
    }
    let svids = try paths.enumerated().map { index, path in
      let leaf = try (issuer ?? own).leaf(path, serial: UInt8(version * 10) + UInt8(index))
      return WorkloadX509SVID(
        id: try SPIFFEID((issuer ?? own).domain, path: path), chain: [leaf.der],
        key: try unsafe store.key(copying: leaf.key.span.bytes), hint: index == 0 ? "" : "hint\(index)",
        expires: Timestamp(seconds: 2_493_072_000), entry: "ent_\(index)")
    }
    var bundles = [own.domain: WorkloadBundle(roots: [try own.rootDER], jwks: try jwks)]
    if isFederated {
      bundles[other.domain] = WorkloadBundle(roots: [try other.rootDER], jwks: Array("{\"keys\":[]}".utf8))
    }
    let snapshot = WorkloadSnapshot(
      version: version, trustDomain: own.domain, svids: svids, bundles: bundles, crls: crls)
    change { $0.snapshot = snapshot }
  }

  /// Changes something and wakes every stream.
  func change(_ body: (inout State) -> Void) {
    let waiting = state.withLock { state in
      body(&state)
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }

  func token(_ claims: JSONObject) throws -> String {
    try tokenKey.jws(JSONValue.object(claims).canonical(), header: ["typ": "JWT", "kid": "k"])
  }

  /// What is refused, or not there.
  func current() throws -> WorkloadSnapshot {
    try state.withLock { state in
      if let refusal = state.refusal { throw refusal }
      guard let snapshot = state.snapshot else {
        throw WorkloadRefusal(.permissionDenied, "no_identity", "no entry matches this workload: ask for one")
      }
      return snapshot
    }
  }
}

struct FakeWorkloadConnection: WorkloadConnection {
  let fake: FakeWorkloadAPI

  func updates() async throws -> any WorkloadUpdates {
    _ = try fake.current()
    return FakeWorkloadUpdates(fake: fake)
  }

  func snapshot() async throws -> WorkloadSnapshot { try fake.current() }
  func confirm() throws(WorkloadRefusal) {}

  func jwtSVIDs(audiences: [String], id: SPIFFEID?) async throws -> [WorkloadJWTSVID] {
    try fake.current().svids.filter { id == nil || $0.id == id }.map { svid in
      let claims = JWTSVID.claims(
        id: svid.id, audience: audiences, issued: Timestamp(seconds: 1_577_836_800),
        expires: Timestamp(seconds: 2_493_072_000), issuer: nil, jti: "j1")
      return WorkloadJWTSVID(id: svid.id, token: try fake.token(claims), hint: svid.hint)
    }
  }

  func validate(jwtSVID token: String, audience: String) async throws -> (id: SPIFFEID, claims: JSONObject) {
    if fake.state.withLock({ $0.isTokenRevoked }) {
      throw WorkloadRefusal(.invalidArgument, "jwt_svid_invalid", "the token is revoked")
    }
    return (try UnverifiedJWTSVID(token).unverifiedID, [:])
  }

  func x509SVID(request: [UInt8], id: SPIFFEID?) async throws -> WorkloadX509SVID { try fake.current().svids[0] }
  func close() {}
}

final class FakeWorkloadUpdates: WorkloadUpdates {
  private let fake: FakeWorkloadAPI
  private let seen = Mutex<UInt64>(0)
  private let isCancelled = Mutex(false)

  init(fake: FakeWorkloadAPI) { self.fake = fake }

  func cancel() {
    isCancelled.withLock { $0 = true }
    fake.change { _ in }
  }

  func next() async throws -> WorkloadSnapshot? {
    while true {
      try Task.checkCancellation()
      if isCancelled.withLock({ $0 }) { return nil }
      let snapshot = try fake.current()
      let seen = seen.withLock { $0 }
      if snapshot.version > seen {
        self.seen.withLock { $0 = snapshot.version }
        return snapshot
      }
      await withTaskCancellationHandler {
        await withCheckedContinuation { continuation in
          let isLate = fake.state.withLock { state in
            if state.snapshot?.version != seen || state.refusal != nil || isCancelled.withLock({ $0 })
              || Task.isCancelled
            {
              return true
            }
            state.waiting.append(continuation)
            return false
          }
          if isLate { continuation.resume() }
        }
      } onCancel: {
        fake.change { _ in }
      }
    }
  }
}
