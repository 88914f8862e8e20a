import COSE

/// Authenticator data (WebAuthn Level 3 section 6.1), parsed and not yet checked.
struct AuthenticatorData {
  /// The flags byte. Bits 1 and 5 are reserved for future use and not looked at: authenticators of a later level may set
  /// them, and the signature covers them.
  struct Flags: OptionSet {
    let rawValue: UInt8
    static let userPresent = Flags(rawValue: 1 << 0)
    static let userVerified = Flags(rawValue: 1 << 2)
    static let backupEligible = Flags(rawValue: 1 << 3)
    static let backupState = Flags(rawValue: 1 << 4)
    static let attested = Flags(rawValue: 1 << 6)
    static let extensions = Flags(rawValue: 1 << 7)
  }

  /// A new credential (section 6.5.1).
  struct AttestedCredential {
    let aaguid: [UInt8]
    let id: [UInt8]
    /// The COSE key as it came.
    let publicKey: [UInt8]
  }

  /// The bytes as they came: what is signed.
  let bytes: [UInt8]
  let relyingPartyIDHash: [UInt8]
  let flags: Flags
  let signCount: UInt32
  let attested: AttestedCredential?

  init(_ bytes: [UInt8]) throws(CosignError) {
    // There is no limit on the whole: each part that may be long has its own.
    guard bytes.count >= 37 else { throw CosignError(.malformed, "authenticator data must have 37 bytes at least") }
    self.bytes = bytes
    relyingPartyIDHash = Array(bytes[..<32])
    flags = Flags(rawValue: bytes[32])
    signCount = bytes[33..<37].reduce(0) { $0 << 8 | UInt32($1) }
    var rest = bytes[37...]
    attested = flags.contains(.attested) ? try Self.takeCredential(from: &rest) : nil
    if flags.contains(.extensions) { try Self.takeExtensions(from: &rest) }
    guard rest.isEmpty else { throw CosignError(.malformed, "bytes follow the authenticator data; check its flags") }
  }

  private static func takeCredential(from rest: inout ArraySlice<UInt8>) throws(CosignError) -> AttestedCredential {
    guard rest.count >= 18 else { throw CosignError(.malformed, "the attested credential data ends too early") }
    let aaguid = Array(rest.prefix(16))
    let count = rest.dropFirst(16).prefix(2).reduce(0) { $0 << 8 | Int($1) }
    rest = rest.dropFirst(18)
    guard CosignLimits.credentialID.contains(count), rest.count >= count else {
      throw CosignError(.malformed, "a credential's identifier must be there in full and have 1 to 1023 bytes")
    }
    let id = Array(rest.prefix(count))
    rest = rest.dropFirst(count)
    // The key has no length of its own: it ends where its CBOR does.
    let key = rest
    let length = try decoding { () throws(COSEError) in
      try CBOR.first(in: key, limits: .init(bytes: 2048, items: 64, depth: 2)).count
    }
    rest = rest.dropFirst(length)
    return AttestedCredential(aaguid: aaguid, id: id, publicKey: Array(key.prefix(length)))
  }

  /// Extension outputs (section 9) are read for their form; none changes what is decided here.
  private static func takeExtensions(from rest: inout ArraySlice<UInt8>) throws(CosignError) {
    let bytes = rest
    let (item, count) = try decoding { () throws(COSEError) in
      try CBOR.first(in: bytes, limits: .init(bytes: 4096, items: 256, depth: 8))
    }
    guard let map = item.map, map.count <= CosignLimits.extensions, map.allSatisfy({ $0.key.text != nil }) else {
      throw CosignError(
        .malformed, "extension outputs must be a map of at most \(CosignLimits.extensions) named by texts")
    }
    rest = rest.dropFirst(count)
  }

  /// Section 7.1 steps 14 to 18, section 7.2 steps 16 to 19, and what the stored policy asks for beyond them.
  func check(_ relyingParty: RelyingParty, _ purpose: CredentialPurpose) throws(CosignError) {
    guard relyingPartyIDHash == relyingParty.idHash else {
      throw CosignError(.relyingPartyID, "the authenticator answered another relying party than \(relyingParty.id)")
    }
    let missing = CosignPolicy.demanded.subtracting(flags)
    guard !missing.contains(.userPresent) else {
      throw CosignError(.userPresence, "nobody touched the authenticator; touch it when it asks")
    }
    guard !missing.contains(.userVerified) else {
      throw CosignError(
        .userVerification, "the authenticator did not verify its user; set a PIN or a fingerprint on it")
    }
    guard flags.contains(.backupEligible) || !flags.contains(.backupState) else {
      throw CosignError(.backupState, "the flags call a credential backed up that cannot be; use another authenticator")
    }
    guard !flags.contains(.backupEligible) || !CosignPolicy.forbidsBackup(purpose) else {
      throw CosignError(
        .backupEligible, "the credential can be backed up, so it cannot approve; use a hardware key that keeps its own")
    }
  }
}
