import Crypto
import Foundation
import KeyHierarchy
import NIOCore
import NIOSSL
import SwiftASN1
import X509

/// A private key in the HSM as swift-certificates sees it: it signs certificates.
struct HSMCertificateKey: CustomPrivateKey {
  let publicKey: Certificate.PublicKey
  private let name: KeyName
  private let custodian: any KeyCustodian

  init(_ name: KeyName, _ custodian: any KeyCustodian) throws {
    self.name = name
    self.custodian = custodian
    let key = try custodian.publicKey(name)
    switch key.algorithm {
    case .ecdsaP256: publicKey = Certificate.PublicKey(try P256.Signing.PublicKey(x963Representation: key.bytes))
    case .ecdsaP384: publicKey = Certificate.PublicKey(try P384.Signing.PublicKey(x963Representation: key.bytes))
    default: throw StartError("\(name) cannot sign certificates: make it an ECDSA key")
    }
  }

  var defaultSignatureAlgorithm: Certificate.SignatureAlgorithm {
    name.algorithm == .ecdsaP384 ? .ecdsaWithSHA384 : .ecdsaWithSHA256
  }

  var supportedSignatureAlgorithms: [Certificate.SignatureAlgorithm] { [defaultSignatureAlgorithm] }

  func signSynchronously(
    bytes: some DataProtocol, signatureAlgorithm: Certificate.SignatureAlgorithm
  ) throws -> Certificate.Signature {
    guard signatureAlgorithm == defaultSignatureAlgorithm else {
      throw StartError("\(name) signs with \(defaultSignatureAlgorithm) only")
    }
    let raw = try custodian.signBlocking(Array(bytes), with: name)
    let der =
      name.algorithm == .ecdsaP384
      ? try P384.Signing.ECDSASignature(rawRepresentation: raw).derRepresentation
      : try P256.Signing.ECDSASignature(rawRepresentation: raw).derRepresentation
    return try Certificate.Signature(
      signatureAlgorithm: signatureAlgorithm, signatureBytes: ASN1BitString(bytes: Array(der)[...]))
  }

  static var defaultPEMDiscriminator: String { "PRIVATE KEY" }

  func serialize(into coder: inout DER.Serializer) throws {
    throw StartError("\(name) never leaves its token")
  }

  static func == (a: HSMCertificateKey, b: HSMCertificateKey) -> Bool { a.publicKey == b.publicKey }
  func hash(into hasher: inout Hasher) { hasher.combine(publicKey) }
}

/// The same for NIOSSL: it signs TLS 1.3 handshakes.
final class HSMTLSKey: NIOSSLCustomPrivateKey, Hashable {
  private let name: KeyName
  private let custodian: any KeyCustodian

  init(_ name: KeyName, _ custodian: any KeyCustodian) {
    self.name = name
    self.custodian = custodian
  }

  var signatureAlgorithms: [SignatureAlgorithm] { [.ecdsaSecp256R1Sha256] }

  func sign(channel: any Channel, algorithm: SignatureAlgorithm, data: ByteBuffer) -> EventLoopFuture<ByteBuffer> {
    let promise = channel.eventLoop.makePromise(of: ByteBuffer.self)
    let (name, custodian, message) = (name, custodian, Array(data.readableBytesView))
    promise.completeWithTask {
      let raw = try await custodian.sign(message, with: name)
      // TLS carries ECDSA signatures in DER (RFC 8446 section 4.2.3).
      return ByteBuffer(bytes: try P256.Signing.ECDSASignature(rawRepresentation: raw).derRepresentation)
    }
    return promise.futureResult
  }

  func decrypt(channel: any Channel, data: ByteBuffer) -> EventLoopFuture<ByteBuffer> {
    channel.eventLoop.makeFailedFuture(StartError("an ECDSA key does not decrypt"))
  }

  static func == (a: HSMTLSKey, b: HSMTLSKey) -> Bool { a.name == b.name }
  func hash(into hasher: inout Hasher) { hasher.combine(name) }
}
