import Crypto
import Foundation
import KeyHierarchy
import SecretMemory
import TestSupport
import Testing
import Wire

@testable import WorkloadIdentity

/// A root, an issuing authority below it, and what tests make with them. The keys are new in every run.
struct TestAuthority {
  static let now = Timestamp(seconds: 1_800_000_000)
  static let validity = CertificateAuthorityProfile.Validity(
    notBefore: now.adding(seconds: -3600), notAfter: now.adding(seconds: 86_400))

  let trustDomain: TrustDomain
  let profile: CertificateAuthorityProfile
  let random: SeededRandom
  let rootKey = P384.Signing.PrivateKey()
  let issuingKey = P256.Signing.PrivateKey()
  let root: X509Signer
  let issuing: X509Signer

  init(_ name: String = "example.org", seed: UInt64 = 1) async throws {
    trustDomain = try TrustDomain(name)
    profile = try CertificateAuthorityProfile(trustDomain: trustDomain, name: "Test")
    random = SeededRandom(seed)
    let rootSigning = try signingKey(rootKey)
    root = try X509Signer(
      certificate: try await profile.root(key: rootSigning, validity: Self.validity, random: random), key: rootSigning)
    issuing = try X509Signer(
      certificate: try await profile.issuing(
        key: custodyKey(issuingKey), signedBy: root, validity: Self.validity, random: random),
      key: signingKey(issuingKey))
  }

  func template(_ path: String = "/app/web", dnsNames: [String] = [], crl: String? = nil) throws -> X509LeafTemplate {
    try X509LeafTemplate(
      issuer: issuing, id: SPIFFEID(trustDomain, path: path), dnsNames: dnsNames, crl: crl)
  }

  func leaf(_ template: X509LeafTemplate, spki: [UInt8]? = nil) async throws -> X509LeafTemplate.Leaf {
    let spki = spki ?? Array(P256.Signing.PrivateKey().publicKey.derRepresentation)
    return try await template.issue(spki: spki, now: Self.now, lifetime: 3600, random: random)
  }

  func verify(_ chain: [[UInt8]], crls: [[UInt8]] = []) async throws -> X509SVID {
    try await UnverifiedX509SVID(chain: chain)
      .verified(bundle: { $0 == trustDomain ? [root.der] : nil }, now: Self.now, crls: crls)
  }
}

func custodyKey(_ key: P256.Signing.PrivateKey) -> CustodyPublicKey {
  CustodyPublicKey(algorithm: .ecdsaP256, bytes: Array(key.publicKey.x963Representation))
}

func custodyKey(_ key: P384.Signing.PrivateKey) -> CustodyPublicKey {
  CustodyPublicKey(algorithm: .ecdsaP384, bytes: Array(key.publicKey.x963Representation))
}

func signingKey(_ key: P256.Signing.PrivateKey) throws -> X509SigningKey {
  try X509SigningKey(custodyKey(key)) { Array(try key.signature(for: $0).rawRepresentation) }
}

func signingKey(_ key: P384.Signing.PrivateKey) throws -> X509SigningKey {
  try X509SigningKey(custodyKey(key)) { Array(try key.signature(for: $0).rawRepresentation) }
}

/// A folder for one test's files; removed with it.
final class TestFolder {
  let url: URL

  init() throws {
    url = FileManager.default.temporaryDirectory.appendingPathComponent("x509-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: url) }

  func write(_ name: String, _ bytes: [UInt8]) throws {
    try Data(bytes).write(to: url.appendingPathComponent(name))
  }

  /// A file of PEM blocks.
  func write(_ name: String, pem label: String, _ items: [[UInt8]]) throws {
    let text = items.map { item in
      let lines = Data(item).base64EncodedString(options: [.lineLength64Characters, .endLineWithLineFeed])
      return "-----BEGIN \(label)-----\n\(lines)\n-----END \(label)-----\n"
    }
    try write(name, Array(text.joined().utf8))
  }

  /// Runs a program in the folder and returns its status and all that it printed.
  func run(_ program: String, _ arguments: String...) throws -> (status: Int32, output: String) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    process.currentDirectoryURL = url
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    process.standardInput = FileHandle.nullDevice
    try process.run()
    let output = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: output, as: UTF8.self))
  }
}

/// The data beside the tests.
enum X509Conformance {
  static func object(_ name: String, file: String = #filePath) throws -> [String: Any] {
    let url = URL(fileURLWithPath: file).deletingLastPathComponent().appendingPathComponent("Conformance/\(name)")
    return try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
  }

  static func bytes(_ text: Any?) throws -> [UInt8] {
    Array(try #require((text as? String).flatMap { Data(base64Encoded: $0) }))
  }
}

func isRefused(_ code: SPIFFEError.Code, _ body: () async throws -> Void) async -> Bool {
  do {
    try await body()
    return false
  } catch {
    return (error as? SPIFFEError)?.code == code
  }
}
