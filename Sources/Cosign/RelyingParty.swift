import Crypto

/// Who asks for signatures: a relying party as WebAuthn Level 3 section 4 describes it.
public struct RelyingParty: Sendable, Equatable {
  /// The relying party's identifier: a domain, as in `approvals.example.org`.
  public let id: String
  /// The origins that may run ceremonies, each exactly as browsers serialise it: `https://example.org:8443`.
  public let origins: Set<String>
  /// SHA-256 of the identifier, as authenticator data carries it.
  let idHash: [UInt8]

  /// Names a relying party and its origins.
  public init(id: String, origins: Set<String>) {
    self.id = id
    self.origins = origins
    idHash = Array(SHA256.hash(data: Array(id.utf8)))
  }
}

/// What a credential is for. The two never stand in for each other, not even for one person.
public enum CredentialPurpose: String, Sendable, CaseIterable {
  /// Approves commands: bound to its hardware.
  case approval
  /// Signs a person in: may be a synced passkey.
  case signIn = "sign_in"
}
