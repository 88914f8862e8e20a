import AgentIdentity
import CommandGate
import Crypto
import Envelope
import Foundation
import HSMCustody
import JOSE
import KeyHierarchy
import KeyManifests
import KeyService
import Seal
import SecretMemory
import StorageSQLite
import TransparencyLog
import TrustCoreAPI
import SwiftASN1
import Glibc
import Wire
import WorkloadIdentity
import WorkloadService
import X509

/// Makes a deployment for development: an unattended root ceremony on SoftHSM tokens of its own, and a first roster
/// whose keys lie in files. Its environment and trust domain say so in every leaf and identifier.
struct DevelopmentDeployment {
  let state: StateDirectory
  /// The SoftHSM library; looked for when nil.
  let module: String?
  let time: any TimeSource
  let random: any RandomSource

  static let environment = "development"
  /// Browsers take every name below `localhost` for this machine. The parent signs people in, the child approves.
  static let console = ConsoleIdentity(
    host: "approve.trustcore.localhost", approvalID: "approve.trustcore.localhost", signInID: "trustcore.localhost")

  func make() async throws {
    let hsm = try DevelopmentHSM.openOrCreate(directory: state.hsm, provider: module)
    // The one time that the root token is logged in.
    let custodian = try hsm.openCustodian(roles: Set(TokenRole.allCases))
    defer { custodian.close() }

    let trustDomain = "tc-" + Hex.encode(random.bytes(6)) + ".dev.invalid"
    let domain = try TrustDomain(trustDomain)
    let profile = try CertificateAuthorityProfile(trustDomain: domain, name: Self.authorityName)
    let now = time.now()
    let rootKey = try X509SigningKey(.rootCA, custodian)
    let rootDER = try await profile.root(
      key: rootKey, validity: .init(notBefore: now.adding(seconds: -60), notAfter: now.adding(seconds: 3650 * 86_400)),
      random: random)
    let authorities = try await firstAuthorities(custodian) { publicKey, lifetime in
      try await DevelopmentRoot.issuing(
        publicKey, try X509Signer(certificate: rootDER, key: rootKey), profile, now: now, lifetime: lifetime,
        random: random)
    } root: {
      rootDER
    }
    let root = try Certificate(derEncoded: rootDER)
    let issuing = try Certificate(derEncoded: authorities[0].chain[0])
    let server = try CertificateAuthority(custodian: custodian, time: time, random: random)
      .server(issuing: issuing, key: .x509IssuingA, id: try Self.endpoint(domain))
    try state.write(try root.pem, to: state.rootCertificate)
    try ServerCertificate.write([server, issuing], state)

    let tenant = "ten_" + Base64.URL.encode(random.bytes(16))
    let officer = try person(.officer, tenant: tenant, file: state.officer)
    let owner = try person(.owner, tenant: tenant, file: state.owner)
    let registration = try token(in: state.registrationToken)
    _ = try token(in: state.auditorToken)

    let origin = trustDomain + "/log"
    let genesis = Genesis(
      origin: origin, trustDomain: trustDomain, environment: Self.environment, created: time.now(),
      rootFingerprint: try root.fingerprint, softwareDigest: try Self.softwareDigest(),
      logKeys: [try NoteVerifierKey(name: origin, publicKey: try custodian.publicKey(.logA).bytes)],
      roster: [officer, owner], console: Self.console)
    let encoded = try genesis.encoded()
    try state.write(encoded, to: state.genesis)
    try CheckpointSigner.createNew(headFile: state.headFile, origin: origin)
    try await KeyService<GateKeyRecorder<SQLiteStore>>.createHeadFile(state.keyHeadFile, custodian: custodian)
    let recovery = try makeRecoveryKey()
    let manifest = KeyManifest.developmentText

    var events = KeyName.all.map { key in
      var content: JSONObject = [
        "token": .string(key.token.rawValue), "label": .string(key.label), "algorithm": .string(key.algorithm.rawValue),
      ]
      if let half = try? custodian.publicKey(key) { content["public_key"] = .string(Base64.URL.encode(half.bytes)) }
      return EventRecord(kind: "token-key.created", content: content)
    }
    for certificate in [root, issuing, server] {
      events.append(
        EventRecord(
          kind: "certificate.issued", content: ["certificate_sha256": .string(Hex.encode(try certificate.fingerprint))])
      )
    }
    events.append(
      EventRecord(
        kind: "invitation.created",
        content: [
          "owner": .string(owner.id), "tenant": .string(tenant), "digest": .string(Hex.encode(registration)),
        ]))
    events.append(
      EventRecord(kind: "recovery-key.created", content: ["fingerprint": .string(Hex.encode(recovery.fingerprint))]))
    events.append(
      EventRecord(
        kind: "key-manifest.first", content: ["manifest": .string(String(decoding: manifest, as: UTF8.self))]))
    // The genesis is leaf 0, so the last event's index is their number.
    let manifestRow = KeyManifestRow(leafIndex: UInt64(events.count), document: manifest)
    let transitions =
      authorities.map { WorkloadTransition.prepared($0, order: nil, takesOver: true) } + [try firstEntry(domain)]
    let first = UInt64(events.count) + 1
    events += transitions.map { EventRecord(kind: $0.event.kind, content: $0.event.content) }
    let store = try SQLiteStore(path: state.database)
    try await store.openLog(genesis: encoded, events: events, at: time.now(), random: random) { unit in
      try unit.insert(officer)
      try unit.insert(owner)
      try unit.insert(Invitation(digest: registration, owner: owner.id, tenant: tenant))
      try unit.insert(manifestRow)
      for (index, transition) in transitions.enumerated() {
        let event = transition.event
        try WorkloadTransition(event.kind, .object(event.content), leafIndex: first + UInt64(index))
          .apply(leafIndex: first + UInt64(index), trustDomain: domain, in: &unit)
      }
    }
    try store.close()
    try state.finishMaking()
  }

  /// What the common names of its authorities begin with.
  static let authorityName = "TrustCore development"

  /// The first authority of each kind, in slot A; X.509 first. Without RSA there is none that signs with RS256.
  private func firstAuthorities(
    _ custodian: PKCS11Custodian, issue: (CustodyPublicKey, Int64) async throws -> [UInt8], root: () -> [UInt8]
  ) async throws -> [AuthorityRow] {
    var rows: [AuthorityRow] = []
    let now = time.now()
    for kind in AuthorityKind.allCases {
      let name = AuthoritySlot.a.key(of: kind)
      guard let publicKey = try? custodian.publicKey(name) else {
        guard name.isOptional else { throw StartError("\(name) is missing: make the deployment again") }
        continue
      }
      let lifetime = kind.lifetime
      rows.append(
        AuthorityRow(
          id: "aut_" + Base64.URL.encode(random.bytes(16)), kind: kind, slot: .a, state: .prepared,
          publicKey: publicKey.bytes, chain: kind == .x509 ? [try await issue(publicKey, lifetime)] : [],
          root: kind == .x509 ? root() : [], request: [], notBefore: now,
          notAfter: now.adding(seconds: lifetime), leafIndex: 0, changeIndex: 0))
    }
    return rows
  }

  /// An identity for whoever started the daemon.
  private func firstEntry(_ domain: TrustDomain) throws -> WorkloadTransition {
    let user = unsafe getpwuid(getuid()).flatMap { unsafe String(validatingCString: $0.pointee.pw_name) } ?? ""
    let named = try? SPIFFEID(domain, path: "/dev/" + user)
    let id = try named ?? SPIFFEID(domain, path: "/dev/uid-\(getuid())")
    return .registered(
      EntryID(random: random),
      [
        "spiffe_id": .string(id.description), "parent_id": .string(try Self.node(domain).description),
        "selectors": [.string("unix:uid:\(getuid())")], "issues": ["x509", "jwt", "own_key"],
      ])
  }

  /// The API server's identity, by which the bundle endpoint proves itself.
  static func endpoint(_ domain: TrustDomain) throws -> SPIFFEID { try SPIFFEID(domain, path: "/trustcore/api") }

  /// This machine's identity, below which entries stand.
  static func node(_ domain: TrustDomain) throws -> SPIFFEID { try SPIFFEID(domain, path: "/trustcore/node") }

  /// Makes a principal of the first roster, whose private key goes into a file for whoever plays that part.
  private func person(_ kind: Principal.Kind, tenant: String, file: String) throws -> Principal {
    let key = try SigningKey(.p256, secret: random.bytes(32))
    let id = (kind == .owner ? "own_" : "off_") + Base64.URL.encode(random.bytes(16))
    var jwk = key.privateJWK.object ?? [:]
    jwk["kid"] = .string(id)
    try state.write(JSONValue.object(jwk).canonical(), to: file)
    return Principal(
      id: id, kind: kind, tenant: tenant, owner: kind == .owner ? id : "", thumbprint: key.publicJWK.thumbprint,
      key: key.publicJWK.bareJSON.canonical(), status: .active, enrolmentIndex: 0)
  }

  /// Draws the recovery key. Its private half lies beside the deployment, which production never does: there a quorum
  /// shares it.
  private func makeRecoveryKey() throws -> RecoveryKey.PublicKey {
    let key = try RecoveryKey.generate()
    let seed = try key.seed.hexadecimal()
    try unsafe seed.withUnsafeBytes { try unsafe state.write(Array($0), to: state.developmentRecovery) }
    try state.write(Base64.encode(key.publicKey.bytes) + "\n", to: state.recoveryKey)
    return key.publicKey
  }

  /// Draws a bearer token into a file and gives its SHA-256.
  private func token(in file: String) throws -> [UInt8] {
    let token = Base64.URL.encode(random.bytes(32))
    try state.write(token + "\n", to: file)
    return Array(SHA256.hash(data: Array(token.utf8)))
  }

  private static func softwareDigest() throws -> [UInt8] {
    guard let file = FileHandle(forReadingAtPath: "/proc/self/exe") else {
      throw StartError("/proc/self/exe cannot be read: mount /proc")
    }
    var hash = SHA256()
    while let chunk = try file.read(upToCount: 1 << 20), !chunk.isEmpty { hash.update(data: chunk) }
    return Array(hash.finalize())
  }
}
