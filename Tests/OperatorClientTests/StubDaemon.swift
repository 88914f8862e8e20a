import AgentIdentity
import Crypto
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import JOSE
import Logging
import NIOCore
import NIOSSL
import OperatorClient
import SwiftASN1
import Synchronization
import TrustCoreAPI
import Wire
import X509

/// A clock that stands still.
struct FixedClock: TimeSource {
  func now() -> Timestamp { Timestamp(seconds: 1_800_000_000) }
}

/// A daemon's front door: TLS 1.3 under a CA of its own, access tokens, and every signature verified. What it answers
/// behind that door is the test's.
final class StubDaemon: Sendable {
  /// A request that got through the door.
  struct Seen: Sendable {
    let method: String
    let path: String
    let json: JSONObject
  }

  /// What to answer to a request.
  typealias Handler = @Sendable (Seen) throws -> (Int, JSONObject)

  let folder: String
  let officer = try! SigningKey(.p256, secret: [UInt8](repeating: 7, count: 32))
  let owner = try! SigningKey(.ed25519, secret: [UInt8](repeating: 9, count: 32))
  private let handler: Handler
  private let time: any TimeSource
  private let log = Mutex<[Seen]>([])
  private let issued = Mutex(0)
  private let address = Mutex("")

  var seen: [Seen] { log.withLock { $0 } }
  /// How many access tokens were issued.
  var tokenCount: Int { issued.withLock { $0 } }
  var api: String { address.withLock { $0 } }
  var deployment: Deployment { get throws { try Deployment(state: folder) } }
  var client: OperatorClient { get throws { try OperatorClient(deployment, time: FixedClock()) } }

  /// Runs a stub for as long as `body` takes.
  static func run<R>(
    _ handler: @escaping Handler = { _ in (200, [:]) }, _ body: (StubDaemon) async throws -> R
  ) async throws -> R {
    try await run(handler, FixedClock(), body)
  }

  /// The same for a client in a process of its own, which reads the system's clock.
  static func runOnWallClock<R>(
    _ handler: @escaping Handler, _ body: (StubDaemon) async throws -> R
  ) async throws -> R {
    try await run(handler, SystemClock(), body)
  }

  private static func run<R>(
    _ handler: @escaping Handler, _ time: any TimeSource, _ body: (StubDaemon) async throws -> R
  ) async throws -> R {
    let stub = try StubDaemon(handler, time)
    defer { try? FileManager.default.removeItem(atPath: stub.folder) }
    let (key, certificate) = try Certificate.selfSigned()
    try Data(certificate.serializeAsPEM().pemString.utf8).write(to: URL(fileURLWithPath: stub.folder + "/ca.pem"))
    var tls = TLSConfiguration.makeServerConfiguration(
      certificateChain: [
        .certificate(try NIOSSLCertificate(bytes: Array(certificate.serializeAsPEM().pemString.utf8), format: .pem))
      ],
      privateKey: .privateKey(try NIOSSLPrivateKey(bytes: Array(key.pemRepresentation.utf8), format: .pem)))
    tls.minimumTLSVersion = .tlsv13
    let (ports, port) = AsyncStream.makeStream(of: Int.self)
    var logger = Logger(label: "stub")
    logger.logLevel = .critical
    let application = Application(
      responder: CallbackResponder { (request: Request, _: BasicRequestContext) in try await stub.respond(to: request)
      },
      server: try .tls(.http1(), tlsConfiguration: tls),
      configuration: ApplicationConfiguration(address: .hostname("127.0.0.1", port: 0)),
      onServerRunning: { channel in port.yield(channel.localAddress?.port ?? 0) }, logger: logger)
    // It serves until the process ends: NIO traps when a connection that is being negotiated is cancelled.
    Task { try await application.run() }
    for await number in ports {
      try stub.writeReady("https://127.0.0.1:\(number)")
      break
    }
    return try await body(stub)
  }

  private init(_ handler: @escaping Handler, _ time: any TimeSource) throws {
    self.handler = handler
    self.time = time
    folder = FileManager.default.temporaryDirectory.appendingPathComponent("stub-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
  }

  /// Writes the files of a deployment's state.
  private func writeReady(_ api: String) throws {
    address.withLock { $0 = api }
    for (name, text) in [
      ("auditor.token", "auditor-token\n"), ("officer.jwk", Self.text(officer.privateJWK)),
      ("owner.jwk", Self.text(owner.privateJWK)),
    ] {
      try write(name, Array(text.utf8), mode: 0o600)
    }
    let ready = ReadyFile(
      texts: [
        "api": api, "ca": folder + "/ca.pem", "auditor_token_file": folder + "/auditor.token",
        "officer_id": "officer-1", "officer_key_file": folder + "/officer.jwk", "owner_id": "owner-1",
        "owner_key_file": folder + "/owner.jwk",
      ], logKeys: [], pins: [:], pid: 1)
    try write("ready.json", ready.encoded, mode: 0o600)
  }

  func write(_ name: String, _ bytes: [UInt8], mode: Int) throws {
    _ = FileManager.default.createFile(
      atPath: folder + "/" + name, contents: Data(bytes), attributes: [.posixPermissions: mode])
  }

  static func text(_ value: JSONValue) -> String { String(decoding: value.canonical(), as: UTF8.self) }

  // MARK: - The door

  private func respond(to request: Request) async throws -> Response {
    let body = Array(try await request.body.collect(upTo: 1 << 20).readableBytesView)
    let (status, json): (Int, JSONObject)
    do {
      (status, json) = try answer(request, body)
    } catch let problem as Problem {
      (status, json) = (problem.status, problem.members(requestID: "request-1"))
    } catch {
      (status, json) = (401, ["code": "refused_by_the_stub", "detail": .string("\(error)")])
    }
    return Response(
      status: .init(code: status), headers: [.contentType: "application/json"],
      body: .init(byteBuffer: ByteBuffer(bytes: JSONValue.object(json).canonical())))
  }

  private func answer(_ request: Request, _ body: [UInt8]) throws -> (Int, JSONObject) {
    let path = request.uri.path
    let fields = request.headers.map { HTTPMessage.Field($0.name.canonicalName, $0.value) }
    func value(_ name: String) -> String { fields.first { $0.name.lowercased() == name }?.value ?? "" }
    func demand(_ holds: Bool, _ code: String) throws { if !holds { throw Problem(401, code, "The stub refuses.") } }
    if request.method == .get {
      try demand(value("authorization") == "Bearer auditor-token", "token_invalid")
    } else if path == "/oauth/token" {
      return try issue(body, proof: value("dpop"))
    } else {
      let message = HTTPMessage(
        .init(method: "POST", scheme: "https", authority: String(api.dropFirst(8)), path: path, query: nil),
        headers: fields)
      let signed = try UnverifiedSignedRequest(message)
      let token = String(value("authorization").dropFirst("DPoP ".count))
      let key = token.hasPrefix("officer") ? officer.verificationKey : owner.verificationKey
      _ = try signed.verified(with: key, body: body, now: time.now())
      let proof = try DPoPProof(value("dpop")).verified(
        DPoPExpectations(method: "POST", uri: HTTPURI(api + path)!, accessToken: token), now: time.now())
      try demand(proof.thumbprint == key.thumbprint, "invalid_dpop_proof")
    }
    let seen = Seen(
      method: request.method.rawValue, path: path,
      json: body.isEmpty ? [:] : try JSONValue(parsing: body).object ?? [:])
    log.withLock { $0.append(seen) }
    return try handler(seen)
  }

  private func issue(_ body: [UInt8], proof: String) throws -> (Int, JSONObject) {
    let form = String(decoding: body, as: UTF8.self)
    let assertion = String(form.components(separatedBy: "client_assertion=").last ?? "")
    let unverified = try UnverifiedJWT(assertion)
    for (id, key) in [("officer-1", officer), ("owner-1", owner)] where unverified.unverifiedClaims.subject == id {
      let jwt = try unverified.verified(
        with: JWK(key.publicJWK.bareJSON), allowed: [key.algorithm],
        expectations: JWTExpectations(
          type: nil, issuer: id, audience: api, leeway: 0, maximumLifetime: 60, required: ["sub", "jti"]),
        now: time.now())
      _ = try DPoPProof(proof).verified(
        DPoPExpectations(method: "POST", uri: HTTPURI(api + "/oauth/token")!, accessToken: nil),
        now: time.now())
      issued.withLock { $0 += 1 }
      return (200, ["access_token": .string((jwt.claims.subject ?? "") + "-token"), "expires_in": 600])
    }
    throw Problem(401, "invalid_client", "The assertion is of nobody that is known here.")
  }
}

extension Certificate {
  /// A certificate for 127.0.0.1 that signs itself, valid for longer than these tests will be run.
  static func selfSigned() throws -> (P256.Signing.PrivateKey, Certificate) {
    let key = P256.Signing.PrivateKey()
    let name = try DistinguishedName { CommonName("stub") }
    let certificate = try Certificate(
      version: .v3, serialNumber: SerialNumber(bytes: [1]), publicKey: PublicKey(key.publicKey),
      notValidBefore: Date(timeIntervalSince1970: 1_577_836_800),
      notValidAfter: Date(timeIntervalSince1970: 2_493_072_000), issuer: name, subject: name,
      signatureAlgorithm: .ecdsaWithSHA256,
      extensions: Extensions {
        Critical(BasicConstraints.isCertificateAuthority(maxPathLength: nil))
        SubjectAlternativeNames([
          .dnsName("localhost"), .ipAddress(ASN1OctetString(contentBytes: [127, 0, 0, 1])),
        ])
      }, issuerPrivateKey: PrivateKey(key))
    return (key, certificate)
  }
}

extension StubDaemon {
  /// A certificate, as PEM, that this stub does not have.
  static func foreignCertificate() throws -> (P256.Signing.PrivateKey, String) {
    let (key, certificate) = try Certificate.selfSigned()
    return (key, try certificate.serializeAsPEM().pemString)
  }
}
