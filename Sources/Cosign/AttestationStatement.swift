import COSE
import Wire

/// What vouches for an authenticator (WebAuthn Level 3 section 6.5).
public struct Attestation: Sendable, Equatable {
  /// How a statement was signed (section 6.5.4).
  public enum Kind: Sendable, Equatable {
    /// Not at all.
    case none
    /// With the credential's own key.
    case selfAttested
    /// With a key of the authenticator's maker.
    case certified
  }

  /// Where the statement's certificates lead.
  public enum Trust: Sendable, Equatable {
    /// There are none.
    case none
    /// To nothing that the relying party trusts.
    case untrusted
    /// To the anchor with this SHA-256 of its DER; 32 bytes.
    case anchored([UInt8])
  }

  /// The statement's format: `none` or `packed`.
  public let format: String
  /// How it was signed.
  public let kind: Kind
  /// Where its certificates lead.
  public let trust: Trust
}

/// An attestation object (WebAuthn Level 3 section 6.5.4), parsed and not yet checked.
struct AttestationStatement {
  let authenticatorData: AuthenticatorData
  let format: String
  let statement: CBORMap

  init(_ attestationObject: [UInt8]) throws(CosignError) {
    let object = try decoding { () throws(COSEError) in
      try CBOR(
        decoding: attestationObject, limits: .init(bytes: CosignLimits.attestationObject, items: 128, depth: 8))
    }.map
    guard let object, object.count == 3, let format = object["fmt"]?.text, let statement = object["attStmt"],
      let data = object["authData"]?.bytes
    else { throw CosignError(.malformed, "an attestation object must be a map of fmt, attStmt and authData") }
    try self.init(format: format, statement: statement, authenticatorData: data)
  }

  init(format: String, statement: CBOR, authenticatorData: [UInt8]) throws(CosignError) {
    guard ["none", "packed"].contains(where: { $0.utf8.elementsEqual(format.utf8) }) else {
      let named = String(decoding: format.utf8.prefix(32), as: UTF8.self)
      throw CosignError(
        .attestation, "the attestation format '\(named)' is not verified here; ask for none or packed")
    }
    guard let map = statement.map else { throw CosignError(.malformed, "attStmt must be a map") }
    self.authenticatorData = try AuthenticatorData(authenticatorData)
    self.format = format
    self.statement = map
  }

  /// Verifies the statement over the authenticator data and the hash of the client data.
  func verified(
    credential: AuthenticatorData.AttestedCredential, key: CredentialKey, clientDataHash: [UInt8], anchors: [[UInt8]],
    now: Timestamp
  ) throws(CosignError) -> Attestation {
    // Section 8.7. The AAGUID may be any: clients no longer blank it.
    if format == "none" {
      guard statement.count == 0 else { throw CosignError(.attestation, "attStmt of the format none must be empty") }
      return Attestation(format: format, kind: .none, trust: .none)
    }
    // Section 8.2.
    guard let algorithm = statement["alg"]?.integer.map(COSEAlgorithm.init(rawValue:)),
      let signature = statement["sig"]?.bytes, CosignLimits.signature.contains(signature.count)
    else { throw CosignError(.attestation, "attStmt of the format packed must have alg and sig") }
    guard statement.allSatisfy({ ["alg", "sig", "x5c"].contains($0.key) }) else {
      throw CosignError(.attestation, "attStmt has members other than alg, sig and x5c; ECDAA is not verified")
    }
    let signed = authenticatorData.bytes + clientDataHash
    guard let chain = statement["x5c"] else {
      guard algorithm == key.algorithm else {
        throw CosignError(.attestation, "a self attestation must have its credential's algorithm")
      }
      do {
        try key.verify(signature: signature, message: signed)
      } catch {
        throw CosignError(.attestation, "the self attestation's signature does not verify")
      }
      return Attestation(format: format, kind: .selfAttested, trust: .none)
    }
    let path = try AttestationPath(chain)
    try path.leaf.checkAttestationRules(aaguid: credential.aaguid)
    try path.leaf.verify(signature: signature, message: signed, algorithm: algorithm)
    let anchor = try path.anchor(among: anchors, at: now)
    return Attestation(format: format, kind: .certified, trust: anchor.map { .anchored($0) } ?? .untrusted)
  }
}
