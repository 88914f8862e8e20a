import Crypto

/// `Content-Digest` (RFC 9530) with SHA-256 and SHA-512, the algorithms that its section 7.2 calls active.
public enum ContentDigest {
  /// The field's value for a body, with SHA-256.
  public static func value(of body: [UInt8]) -> String {
    var out = Array("sha-256=".utf8)
    StructuredField.write(.bytes(Array(SHA256.hash(data: body))), to: &out)
    return String(decoding: out, as: UTF8.self)
  }

  /// Compares the digests of a message with its body: at least one must be of a known algorithm, and all of a known
  /// algorithm must be the body's.
  /// - Parameters:
  ///   - values: the field's lines.
  ///   - body: the content as received.
  /// - Throws: `digest_missing` or `digest_mismatch`.
  public static func verify(_ values: [String], body: [UInt8]) throws(ProofError) {
    let text = values.count == 1 ? values[0] : values.joined(separator: ", ")
    guard !text.isEmpty else {
      throw ProofError(.digestMissing, "the request lacks Content-Digest; send the body's SHA-256")
    }
    guard text.utf8.count <= 1024, let dictionary = try? StructuredField.dictionary(text), !dictionary.hasDuplicates
    else { throw ProofError(.digestMismatch, "Content-Digest cannot be read; write it as sha-256=:<base64>:") }
    var known = 0
    for entry in dictionary.entries {
      guard case .item(let item) = entry.value, case .bytes(let digest) = item.value else {
        throw ProofError(.digestMismatch, "a member of Content-Digest is not a byte sequence")
      }
      let matches: Bool
      switch entry.key {
      case "sha-256": matches = SHA256.hash(data: body) == digest
      case "sha-512": matches = SHA512.hash(data: body) == digest
      default: continue
      }
      guard matches else {
        throw ProofError(.digestMismatch, "Content-Digest is not that of the body; hash the bytes that are sent")
      }
      known += 1
    }
    guard known > 0 else {
      throw ProofError(.digestMissing, "Content-Digest has no algorithm that is known; use sha-256 or sha-512")
    }
  }
}
