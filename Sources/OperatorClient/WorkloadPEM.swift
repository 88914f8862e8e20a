public import SecretMemory
import SwiftASN1
public import WorkloadIdentity

/// Certificates and keys as files hold them (RFC 7468).
public enum WorkloadPEM {
  /// The most bytes of a file.
  public static let maximumBytes = 1 << 20

  /// Writes certificates, requests or revocation lists, one after the other.
  /// - Parameter label: what stands behind `BEGIN`.
  public static func encode(_ documents: [[UInt8]], _ label: String = "CERTIFICATE") -> [UInt8] {
    documents.flatMap { Array((PEMDocument(type: label, derBytes: $0).pemString + "\n").utf8) }
  }

  /// Reads a file of certificates; text around them is passed over, anything else in PEM is refused.
  /// - Throws: ``OperatorError/Code-swift.struct/malformed``.
  public static func certificates(_ bytes: [UInt8], _ label: String = "CERTIFICATE") throws(OperatorError) -> [[UInt8]]
  {
    guard bytes.count <= maximumBytes,
      let documents = try? PEMDocument.parseMultiple(pemString: String(decoding: bytes, as: UTF8.self)),
      !documents.isEmpty, documents.allSatisfy({ $0.discriminator == label })
    else {
      throw OperatorError(.malformed, "The file is no PEM with '\(label)' alone, of at most \(maximumBytes) bytes.")
    }
    return documents.map(\.derBytes)
  }

  private static let begin = Array("-----BEGIN PRIVATE KEY-----\n".utf8)
  private static let end = Array("-----END PRIVATE KEY-----\n".utf8)

  /// Writes a private key (RFC 5958) without leaving locked memory. The characters are computed and not looked up, so
  /// that the key does not choose which memory is read.
  public static func privateKey(_ key: SVIDKey) throws(SecretMemoryError) -> SecretBytes {
    let characters = (key.count + 2) / 3 * 4
    var text = try SecretBytes(zeros: begin.count + characters + (characters + 63) / 64 + end.count)
    key.withBytes { der in
      unsafe text.withUnsafeMutableBytes { out in
        var position = 0
        func put(_ byte: UInt8) {
          unsafe out[position] = byte
          position += 1
        }
        begin.forEach(put)
        var column = 0
        for start in stride(from: 0, to: der.byteCount, by: 3) {
          func byte(_ offset: Int) -> UInt32 {
            start + offset < der.byteCount
              ? UInt32(unsafe der.unsafeLoad(fromByteOffset: start + offset, as: UInt8.self)) : 0
          }
          let group = byte(0) << 16 | byte(1) << 8 | byte(2)
          let left = der.byteCount - start
          for index in 0..<4 {
            put(index > left ? UInt8(ascii: "=") : character(group >> UInt32(18 - 6 * index) & 63))
          }
          column += 4
          if column == 64 || left <= 3 {
            put(UInt8(ascii: "\n"))
            column = 0
          }
        }
        end.forEach(put)
      }
    }
    return text
  }

  /// RFC 4648 section 4, without a branch on the value.
  private static func character(_ value: UInt32) -> UInt8 {
    let value = Int32(bitPattern: value)
    /// All ones where the value is at least so much.
    func from(_ least: Int32) -> Int32 { ~((value - least) >> 31) }
    let code =
      value + 65 + (from(26) & 6) - (from(52) & 75) - (from(62) & 15) + (from(63) & 3)
    return UInt8(truncatingIfNeeded: code)
  }
}
