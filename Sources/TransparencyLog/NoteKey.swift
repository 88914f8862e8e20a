internal import Crypto
internal import Wire

/// The signature types of C2SP signed-note that this log uses.
public enum NoteSignatureType: UInt8, Sendable, Hashable {
  /// Ed25519 over the note's text.
  case ed25519 = 0x01
  /// A witness's timestamped Ed25519 cosignature of a checkpoint (C2SP tlog-cosignature).
  case cosignatureV1 = 0x04
}

/// A public key that verifies notes (C2SP signed-note, "Verifier keys").
public struct NoteVerifierKey: Hashable, Sendable, CustomStringConvertible {
  /// The key's name; a log's key bears the log's origin.
  public let name: String
  /// The signature type that the key makes.
  public let type: NoteSignatureType
  /// The 32 bytes of an Ed25519 public key (RFC 8032).
  public let publicKey: [UInt8]
  /// The first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ public key), big-endian.
  public let id: UInt32

  /// Makes a key.
  ///
  /// - Parameters:
  ///   - name: not empty, without spaces, plus signs and control characters.
  ///   - type: the signature type.
  ///   - publicKey: 32 bytes.
  /// - Throws: ``LogError/Code-swift.struct/malformed``.
  public init(name: String, type: NoteSignatureType = .ed25519, publicKey: [UInt8]) throws(LogError) {
    guard NoteText.isKeyName(name) else {
      throw LogError(.malformed, "a key name is not empty and has no spaces, plus signs and control characters")
    }
    guard publicKey.count == 32 else {
      throw LogError(.malformed, "an Ed25519 public key has 32 bytes, not \(publicKey.count)")
    }
    self.name = name
    self.type = type
    self.publicKey = publicKey
    let digest = SHA256.hash(data: Array(name.utf8) + [0x0A, type.rawValue] + publicKey)
    id = digest.prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
  }

  /// Parses a vkey, `name+hex(id)+base64(type ‖ public key)`.
  ///
  /// - Throws: ``LogError/Code-swift.struct/malformed``, also for a key id that is not the key's.
  public init(vkey text: String) throws(LogError) {
    let parts = text.split(separator: "+", maxSplits: 2, omittingEmptySubsequences: false)
    guard parts.count == 3, parts[2].utf8.count == 44, let material = try? Base64.decode(parts[2]),
      material.count == 33, let type = NoteSignatureType(rawValue: material[0])
    else { throw LogError(.malformed, "a verifier key is name+id+base64 of a type byte (1 or 4) and 32 key bytes") }
    try self.init(name: String(parts[0]), type: type, publicKey: Array(material.dropFirst()))
    guard Hex.encode(idBytes).utf8.elementsEqual(parts[1].utf8) else {
      throw LogError(.malformed, "the key id is not the one of this name and key: copy the whole verifier key again")
    }
  }

  var idBytes: [UInt8] { NoteText.bigEndian(id) }

  /// The key as a vkey.
  public var vkey: String { "\(name)+\(Hex.encode(idBytes))+\(Base64.encode([type.rawValue] + publicKey))" }

  /// The key as a vkey.
  public var description: String { vkey }

  /// True where the signature names this key; says nothing about its validity.
  func isNamed(by signature: NoteSignature) -> Bool {
    id == signature.keyID && name.utf8.elementsEqual(signature.keyName.utf8)
  }

  /// Verifies a signature over a note's text.
  ///
  /// - Returns: when the cosigner says that it signed, in seconds since 1970; nil for the type without time.
  /// - Throws: ``LogError/Code-swift.struct/signatureInvalid``.
  func verify(_ signature: [UInt8], over text: String) throws(LogError) -> UInt64? {
    switch type {
    case .ed25519:
      try verifyEd25519(signature[...], over: Array(text.utf8))
      return nil
    case .cosignatureV1:
      let time = signature.prefix(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
      guard signature.count == 8 + 64, time <= UInt64(Int64.max) else { throw invalid() }
      try verifyEd25519(signature[8...], over: Array("cosignature/v1\ntime \(time)\n\(text)".utf8))
      return time
    }
  }

  private func verifyEd25519(_ signature: ArraySlice<UInt8>, over message: [UInt8]) throws(LogError) {
    guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: publicKey), signature.count == 64,
      key.isValidSignature(signature, for: message)
    else { throw invalid() }
  }

  private func invalid() -> LogError {
    LogError(.signatureInvalid, "the signature by \(name) does not verify: the note was altered or badly signed")
  }
}
