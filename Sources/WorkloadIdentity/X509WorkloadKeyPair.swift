import Crypto
import FoundationEssentials
import Glibc
import SecretMemory

/// A P-256 key that is made for a workload.
public struct WorkloadKeyPair: Sendable {
  /// The SubjectPublicKeyInfo, DER.
  public let spki: [UInt8]
  /// The private key, in locked memory.
  public let key: SVIDKey

  /// PKCS #8 (RFC 5958) of an ECPrivateKey (RFC 5915): what stands before the scalar and between it and the public key.
  /// The public key is in, as OpenSSL has it; readers that do not need it skip it.
  private static let beforeScalar: [UInt8] = [
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08,
    0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, 0x04, 0x6D, 0x30, 0x6B, 0x02, 0x01, 0x01, 0x04, 0x20,
  ]
  private static let beforePoint: [UInt8] = [0xA1, 0x44, 0x03, 0x42, 0x00]
  private static let scalar = beforeScalar.count..<beforeScalar.count + 32
  private static let point = scalar.upperBound + beforePoint.count..<scalar.upperBound + beforePoint.count + 65

  /// Makes a key from the kernel's generator. The scalar is drawn on the stack, read there by swift-crypto, whose own
  /// numbers BoringSSL clears, copied into locked memory and wiped: it is never in an array.
  /// - Parameter owner: the user whose workload it is for.
  /// - Throws: ``SecretMemory/SecretMemoryError/Code-swift.struct/noLockedMemory`` when the store is full, and
  ///   ``SecretMemory/SecretMemoryError/Code-swift.struct/unreadable`` when the generator fails.
  public init(in store: SVIDKeyStore, owner: UInt32 = 0) throws {
    self = try unsafe withUnsafeTemporaryAllocation(byteCount: Self.point.upperBound, alignment: 1) { der in
      defer { unsafe wipe(der) }
      unsafe der.copyBytes(from: Self.beforeScalar)
      unsafe UnsafeMutableRawBufferPointer(rebasing: der[Self.scalar.upperBound...]).copyBytes(from: Self.beforePoint)
      let scalar = unsafe UnsafeMutableRawBufferPointer(rebasing: der[Self.scalar])
      var drawn: P256.Signing.PrivateKey?
      // FIPS 186-5 appendix A.2.2: a number that is no scalar (one of 2^32) is drawn again.
      while drawn == nil {
        guard unsafe getentropy(scalar.baseAddress, scalar.count) == 0 else {
          throw SecretMemoryError(.unreadable, "the kernel's generator failed (errno \(errno))")
        }
        drawn = unsafe try? P256.Signing.PrivateKey(rawRepresentation: UnsafeRawBufferPointer(scalar))
      }
      guard let publicKey = drawn?.publicKey.x963Representation else {
        throw SecretMemoryError(.unreadable, "the key could not be made")
      }
      unsafe UnsafeMutableRawBufferPointer(rebasing: der[Self.point]).copyBytes(from: publicKey)
      return Self(
        spki: CertificateDER.p256Key + publicKey,
        key: try unsafe store.key(copying: RawSpan(_unsafeBytes: UnsafeRawBufferPointer(der)), owner: owner))
    }
  }

  private init(spki: [UInt8], key: SVIDKey) {
    self.spki = spki
    self.key = key
  }
}
