import Crypto

#if canImport(FoundationEssentials)
import FoundationEssentials
#else
import Foundation
#endif

/// The key, base nonce and commitment of one stream (c2sp.org/chunked-encryption@v1 with SHA-512 and AES-256-GCM, there
/// called Cobblestone-256), and what is done with them. The key rests in a `SymmetricKey`, on the heap, for the life of
/// the stream alone; swift-crypto zeroes it then.
struct ChunkedStreamKey: Sendable {
  static let saltByteCount = 24
  static let commitmentByteCount = 32
  static let tagByteCount = 16
  /// "Message chunking": chunks are numbered from 0 and never reach this number.
  static let chunkLimit: UInt64 = 1 << 38

  let commitment: [UInt8]
  private let key: SymmetricKey
  private let nonceHead: UInt32
  private let nonceTail: UInt64

  /// "Key derivation".
  init(key: RawSpan, salt: [UInt8], context: [UInt8]) throws(EnvelopeError) {
    guard key.byteCount == 32 else {
      throw EnvelopeError(.badLength, "a stream's key has 32 bytes, not \(key.byteCount)")
    }
    let info = Array("c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0".utf8) + salt + context
    let derived = unsafe key.withUnsafeBytes {
      unsafe HKDF<SHA512>.expand(pseudoRandomKey: $0, info: info, outputByteCount: 32 + 12 + Self.commitmentByteCount)
    }
    (self.key, nonceHead, nonceTail, commitment) = unsafe derived.withUnsafeBytes { bytes in
      unsafe (
        SymmetricKey(data: bytes[..<32]), UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 32, as: UInt32.self)),
        UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 36, as: UInt64.self)), Array(bytes[44...])
      )
    }
  }

  /// "AEAD usage": the base nonce XOR the chunk's number, which reaches its last 5 bytes at most.
  private func nonce(_ chunk: UInt64) throws -> AES.GCM.Nonce {
    try unsafe withUnsafeTemporaryAllocation(byteCount: 12, alignment: 4) { bytes in
      unsafe bytes.storeBytes(of: nonceHead.bigEndian, as: UInt32.self)
      unsafe bytes.storeBytes(of: (nonceTail ^ chunk).bigEndian, toByteOffset: 4, as: UInt64.self)
      return try unsafe AES.GCM.Nonce(data: UnsafeRawBufferPointer(bytes))
    }
  }

  /// Writes 16 bytes more than `plaintext` has.
  func seal(_ chunk: UInt64, _ plaintext: UnsafeRawBufferPointer, to output: UnsafeMutableRawPointer) throws {
    let box = try unsafe AES.GCM.seal(plaintext, using: key, nonce: nonce(chunk))
    guard let sealed = box.combined else { throw CryptoKitError.incorrectParameterSize }
    // Nonce ‖ ciphertext ‖ tag lies there in one piece, and so is copied once.
    unsafe sealed.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      unsafe output.copyMemory(from: start + 12, byteCount: bytes.count - 12)
    }
  }

  /// Writes 16 bytes less than `sealed` has, once they are authentic.
  func open(_ chunk: UInt64, _ sealed: UnsafeRawBufferPointer, to output: UnsafeMutableRawPointer) throws {
    let end = sealed.count - Self.tagByteCount
    let box = try unsafe AES.GCM.SealedBox(
      nonce: nonce(chunk), ciphertext: UnsafeRawBufferPointer(rebasing: sealed[..<end]),
      tag: UnsafeRawBufferPointer(rebasing: sealed[end...]))
    let plaintext = try AES.GCM.open(box, using: key)
    unsafe plaintext.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return }
      unsafe output.copyMemory(from: start, byteCount: bytes.count)
    }
  }
}
