import CommandGate
import Foundation
import KeyHierarchy
import NIOCore
import NIOSSL
import StorageSQLite
import SwiftASN1
import Synchronization
import Wire
import WorkloadIdentity
import WorkloadService
import X509

/// The API server's certificate, which follows the issuing authorities while the server runs: each handshake has the
/// newest one.
final class ServerCertificate: Sendable {
  private let state: StateDirectory
  private let custodian: any KeyCustodian
  private let trustDomain: TrustDomain
  private let time: any TimeSource
  private let random: any RandomSource
  private let root: [UInt8]
  private let present: Mutex<Chain>
  /// Before this moment nothing is tried again.
  private let pause = Mutex(Timestamp(milliseconds: .min))

  /// The server's own certificate and its issuer's, also as TLS wants them.
  private struct Chain {
    let certificates: [Certificate]
    let sources: [NIOSSLCertificateSource]

    init(_ certificates: [Certificate]) throws {
      self.certificates = certificates
      sources = try certificates.map {
        .certificate(try NIOSSLCertificate(bytes: Array(try $0.pem.utf8), format: .pem))
      }
    }
  }

  /// How long before its end it is replaced, in seconds.
  private static let renewal: Int64 = 30 * 86_400
  /// How long it waits after an attempt that failed, in seconds: each may leave a leaf.
  private static let patience: Int64 = 60

  /// Reads the present one.
  init(
    _ state: StateDirectory, _ custodian: any KeyCustodian, _ trustDomain: TrustDomain, time: any TimeSource,
    random: any RandomSource
  ) throws {
    (self.state, self.custodian, self.trustDomain, self.time, self.random) =
      (state, custodian, trustDomain, time, random)
    root = try PEMDocument(pemString: try state.text(state.rootCertificate)).derBytes
    let documents = try PEMDocument.parseMultiple(pemString: try state.text(state.serverCertificate))
    present = Mutex(try Chain(try documents.map { try Certificate(derEncoded: $0.derBytes) }))
  }

  /// Puts one in force that the active authority issues, where another one did or it ends soon.
  /// - Parameter record: puts the issuance on the record, before it is used.
  func follow(_ store: SQLiteStore, record: (EventRecord) async throws -> Void) async throws {
    let active = try await store.read { unit in try unit.authorities(.x509).last { $0.state == .active } }
    // Clients trust the deployment's own root; under somebody else's the certificate stays as it is.
    guard let active, active.root == root, let der = active.chain.first else { return }
    let (issuing, chain) = (try Certificate(derEncoded: der), present.withLock { $0.certificates })
    let now = time.now()
    let soon = Date(timeIntervalSince1970: TimeInterval(now.adding(seconds: Self.renewal).seconds))
    guard now >= pause.withLock({ $0 }), chain.count < 2 || chain[1] != issuing || chain[0].notValidAfter < soon else {
      return
    }
    pause.withLock { $0 = now.adding(seconds: Self.patience) }
    let server = try CertificateAuthority(custodian: custodian, time: time, random: random)
      .server(
        issuing: issuing, key: active.slot.key(of: .x509), id: try DevelopmentDeployment.endpoint(trustDomain))
    guard issuing.publicKey.isValidSignature(server.signature, for: server) else {
      throw StartError("the authority's key has been replaced meanwhile")
    }
    try await record(
      EventRecord(
        kind: "certificate.issued", content: ["certificate_sha256": .string(Hex.encode(try server.fingerprint))]))
    let next = try Chain([server, issuing])
    try Self.write(next.certificates, state)
    present.withLock { $0 = next }
    pause.withLock { $0 = now }
  }

  /// Writes a chain, the server's own certificate first.
  static func write(_ chain: [Certificate], _ state: StateDirectory) throws {
    try state.write(try chain.map { try $0.pem }.joined(), to: state.serverCertificate)
  }

  /// The server's side of TLS 1.3; its key stays in the HSM.
  func tls() throws -> TLSConfiguration {
    var tls = TLSConfiguration.makeServerConfiguration(
      certificateChain: present.withLock { $0.sources },
      privateKey: .privateKey(NIOSSLPrivateKey(customPrivateKey: HSMTLSKey(.apiTLSA, custodian))))
    tls.minimumTLSVersion = .tlsv13
    tls.sslContextCallback = { [self] _, promise in
      var newest = NIOSSLContextConfigurationOverride()
      newest.certificateChain = present.withLock { $0.sources }
      promise.succeed(newest)
    }
    return tls
  }
}
