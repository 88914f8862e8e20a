import JOSE
public import Wire

/// The public key of a JWK file, whichever part of the key the file has.
public enum PublicKeyFile {
  /// Reads a file.
  /// - Returns: a JWK of the members that make the public key, and no other.
  /// - Throws: ``OperatorError/Code-swift.struct/exposed`` for a private key that others may read;
  ///   ``OperatorError/Code-swift.struct/malformed`` for what is no key of P-256 or Ed25519.
  public static func read(_ path: String) throws(OperatorError) -> JSONValue {
    do throws(OperatorError) {
      // Into locked memory first, for it may be a private one.
      return try Deployment.key(inFile: path).publicJWK.bareJSON
    } catch {
      guard error.code != .noInput else { throw error }
    }
    let file = try Descriptor(reading: path)
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    defer { for index in bytes.indices { bytes[index] = 0 } }
    let count = try file.read(into: &bytes)
    guard count < bytes.count, let value = try? JSONValue(parsing: Array(bytes.prefix(count))) else {
      throw OperatorError(.malformed, "\(Wording.visible(path)) is no JWK.")
    }
    do throws(JOSEError) {
      let key = try JWK(value)
      guard let algorithm = key.key.algorithms.first, [.es256, .edDSA].contains(algorithm) else {
        throw JOSEError(.unsupportedKey, "the key must be of P-256 or Ed25519")
      }
      return key.bareJSON
    } catch {
      guard error.code != .privateKey else {
        throw OperatorError(.exposed, "\(Wording.visible(path)) has a private key that others may read: chmod 600 it.")
      }
      throw OperatorError(.malformed, "\(Wording.visible(path)): \(error.message).")
    }
  }
}
