import Crypto
public import SecretMemory

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The private half of an X-Wing key pair (draft-connolly-cfrg-xwing-kem: ML-KEM-768 and X25519; it stays closed while
/// either holds), to which secrets are sealed with HPKE (RFC 9180, base mode, AES-256-GCM): key-encryption keys for
/// offline recovery, data keys for one client.
///
/// It rests as its 32-byte seed in locked memory. The library's key object, on the heap, lives for one call.
public struct RecoveryKey: ~Copyable, Sendable {
  /// The bytes of a seed.
  public static let seedByteCount = 32
  /// What sealing adds: the encapsulated key and the tag.
  public static let overheadByteCount = encapsulatedByteCount + 16
  /// The bytes that a sealed secret may have.
  public static let secretByteCounts = 1...4096
  /// The most bytes of `info` (at least one, it names the purpose) and of `aad`.
  public static let maximumContextByteCount = 8192

  static let encapsulatedByteCount = 1120
  static let ciphersuite = HPKE.Ciphersuite.XWingMLKEM768X25519_SHA256_AES_GCM_256

  /// The public half.
  public let publicKey: PublicKey
  /// The private half: 32 bytes, to be split among a quorum and then let go.
  public let seed: SecretBytes

  /// The key pair of a seed.
  ///
  /// - Parameter seed: 32 bytes, uniformly random.
  /// - Throws: ``EnvelopeError/Code-swift.struct/badLength``.
  public init(seed: consuming SecretBytes) throws(EnvelopeError) {
    guard seed.count == Self.seedByteCount else {
      throw EnvelopeError(.badLength, "an X-Wing seed has \(Self.seedByteCount) bytes, not \(seed.count)")
    }
    do {
      publicKey = PublicKey(unchecked: Array(try Self.libraryKey(seed).publicKey.rawRepresentation))
    } catch {
      throw EnvelopeError(.failed, "the library refused an X-Wing seed: \(error)")
    }
    self.seed = seed
  }

  /// A new key pair, from the kernel's generator.
  ///
  /// - Throws: ``EnvelopeError/Code-swift.struct/noLockedMemory``.
  public static func generate() throws(EnvelopeError) -> RecoveryKey {
    try RecoveryKey(
      seed: inLockedMemory { () throws(SecretMemoryError) in try SecretBytes.random(count: seedByteCount) })
  }

  /// Opens what ``PublicKey/seal(_:info:aad:)`` made for this key.
  ///
  /// - Parameters:
  ///   - sealed: encapsulated key ‖ ciphertext ‖ tag.
  ///   - info: as it was sealed with.
  ///   - aad: as it was sealed with.
  /// - Throws: ``EnvelopeError/Code-swift.struct/notAuthentic`` when it was changed, sealed to another key or with
  ///   another `info` or `aad`; ``EnvelopeError/Code-swift.struct/badLength``.
  public borrowing func open(_ sealed: [UInt8], info: [UInt8], aad: [UInt8]) throws(EnvelopeError)
    -> SecretMemory.SharedSecret
  {
    try Self.check(info: info, aad: aad)
    guard Self.secretByteCounts.contains(sealed.count - Self.overheadByteCount) else {
      throw EnvelopeError(
        .badLength, "a sealed secret has \(Self.overheadByteCount) bytes more than the secret, not \(sealed.count)")
    }
    var plaintext: Data
    do {
      var recipient = try HPKE.Recipient(
        privateKey: Self.libraryKey(seed), ciphersuite: Self.ciphersuite, info: Data(info),
        encapsulatedKey: Data(sealed[..<Self.encapsulatedByteCount]))
      plaintext = try recipient.open(sealed[Self.encapsulatedByteCount...], authenticating: aad)
    } catch {
      throw EnvelopeError(
        .notAuthentic, "the sealed secret was changed, or is for another key or purpose: compare the fingerprints")
    }
    // The library gives its only copy; it is wiped before the heap has it back.
    defer { unsafe plaintext.withUnsafeMutableBytes { unsafe wipe($0) } }
    do {
      return SecretMemory.SharedSecret(try SecretBytes(copying: plaintext.bytes))
    } catch { throw EnvelopeError(error) }
  }

  private static func libraryKey(_ seed: borrowing SecretBytes) throws -> XWingMLKEM768X25519.PrivateKey {
    try unsafe seed.withUnsafeBytes { try unsafe .init(seedRepresentation: $0, publicKey: nil) }
  }

  fileprivate static func check(info: [UInt8], aad: [UInt8]) throws(EnvelopeError) {
    guard !info.isEmpty, info.count <= maximumContextByteCount, aad.count <= maximumContextByteCount else {
      throw EnvelopeError(
        .badLength, "info has 1 to \(maximumContextByteCount) bytes and aad 0 to \(maximumContextByteCount)")
    }
  }
}

extension RecoveryKey {
  /// The public half of an X-Wing key pair.
  public struct PublicKey: Hashable, Sendable {
    /// The bytes of a public key: 1184 of ML-KEM-768, then 32 of X25519.
    public static let byteCount = 1216
    private static let latticeByteCount = 1184

    /// The 1216 bytes.
    public let bytes: [UInt8]

    /// Parses a public key.
    ///
    /// - Throws: ``EnvelopeError/Code-swift.struct/badKey`` for another length, and for coefficients that are not reduced
    ///   (FIPS 203, section 7.2).
    public init(_ bytes: [UInt8]) throws(EnvelopeError) {
      guard bytes.count == Self.byteCount,
        (try? MLKEM768.PublicKey(rawRepresentation: bytes[..<Self.latticeByteCount])) != nil
      else { throw EnvelopeError(.badKey, "this is no X-Wing public key of \(Self.byteCount) bytes: export it again") }
      self.bytes = bytes
    }

    fileprivate init(unchecked bytes: [UInt8]) { self.bytes = bytes }

    /// SHA-256 of the bytes, by which people and records name the key.
    public var fingerprint: [UInt8] { Array(SHA256.hash(data: bytes)) }

    /// Seals a secret so that the private half alone opens it.
    ///
    /// - Parameters:
    ///   - secret: 1 to 4096 bytes.
    ///   - info: what the secret is for, as `trustcore/…/v1`; 1 to 8192 bytes.
    ///   - aad: what it is bound to; 0 to 8192 bytes.
    /// - Returns: encapsulated key ‖ ciphertext ‖ tag, ``RecoveryKey/overheadByteCount`` bytes more than `secret` has.
    /// - Throws: ``EnvelopeError/Code-swift.struct/badLength``.
    public func seal(_ secret: RawSpan, info: [UInt8], aad: [UInt8]) throws(EnvelopeError) -> [UInt8] {
      try RecoveryKey.check(info: info, aad: aad)
      guard RecoveryKey.secretByteCounts.contains(secret.byteCount) else {
        throw EnvelopeError(
          .badLength, "a secret has 1 to \(RecoveryKey.secretByteCounts.upperBound) bytes, not \(secret.byteCount)")
      }
      do {
        var sender = try HPKE.Sender(
          recipientKey: XWingMLKEM768X25519.PublicKey(rawRepresentation: bytes), ciphersuite: RecoveryKey.ciphersuite,
          info: Data(info))
        let sealed = try unsafe secret.withUnsafeBytes { try unsafe sender.seal($0, authenticating: aad) }
        return Array(sender.encapsulatedKey) + sealed
      } catch {
        throw EnvelopeError(.failed, "the library refused to seal to this key: \(error)")
      }
    }
  }
}
