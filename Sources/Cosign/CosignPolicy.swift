/// The stored policy (WebAuthn Level 3 sections 7.1 and 7.2 leave these to the relying party). None of it is read from a
/// request.
enum CosignPolicy {
  /// What the authenticator must have done, whatever the purpose: UP and UV.
  static let demanded: AuthenticatorData.Flags = [.userPresent, .userVerified]

  /// True where a credential must not be able to leave its hardware.
  static func forbidsBackup(_ purpose: CredentialPurpose) -> Bool { purpose == .approval }

  /// True where a counter that did not grow refuses the assertion. Synced passkeys share no counter between devices, so
  /// that a sign-in is not locked out.
  static func refusesCounter(_ purpose: CredentialPurpose) -> Bool { purpose == .approval }
}

/// Limits on what comes from outside.
enum CosignLimits {
  /// Client data, in bytes.
  static let clientData = 8192
  /// An attestation object, in bytes.
  static let attestationObject = 65_536
  /// A credential's identifier, in bytes (section 4, "Credential ID").
  static let credentialID = 1...1023
  /// A signature, in bytes: RSA with 4096 bits has 512.
  static let signature = 1...512
  /// Extension outputs of an authenticator.
  static let extensions = 32
  /// Certificates in an attestation.
  static let certificates = 1...8
  /// A certificate, in bytes.
  static let certificate = 8192
}
