public import Wire

/// What an assertion must fit.
public struct AssertionExpectations: Sendable {
  /// Who asked.
  public let relyingParty: RelyingParty
  /// The challenge given out. That it is fresh, and used once, is the caller's to see to.
  public let challenge: [UInt8]
  /// What the assertion is to be used for.
  public let purpose: CredentialPurpose

  /// Sets the expectations.
  public init(relyingParty: RelyingParty, challenge: [UInt8], purpose: CredentialPurpose) {
    self.relyingParty = relyingParty
    self.challenge = challenge
    self.purpose = purpose
  }
}

/// A browser's answer to `navigator.credentials.get`, of which nothing is known to be true.
public struct UnverifiedAssertion: Sendable, Equatable {
  /// The credential that is said to have signed: for finding it, and nothing else.
  public let credentialID: [UInt8]
  private let authenticatorData: [UInt8]
  private let clientDataJSON: [UInt8]
  private let signature: [UInt8]
  private let userHandle: [UInt8]?

  /// Reads an `AuthenticationResponseJSON` (WebAuthn Level 3 section 5.1.8). Members beside those that are needed here
  /// are passed over, as browsers add to them.
  public init(_ json: JSONValue) throws(CosignError) {
    let (id, response) = try PublicKeyCredentialJSON.read(json)
    credentialID = id
    authenticatorData = try PublicKeyCredentialJSON.bytes("authenticatorData", of: response)
    clientDataJSON = try PublicKeyCredentialJSON.bytes("clientDataJSON", of: response)
    signature = try PublicKeyCredentialJSON.bytes("signature", of: response)
    let handle = response["userHandle"] ?? .null
    userHandle = handle == .null ? nil : try PublicKeyCredentialJSON.bytes("userHandle", of: response)
  }

  /// An assertion from its parts.
  public init(
    credentialID: [UInt8], authenticatorData: [UInt8], clientDataJSON: [UInt8], signature: [UInt8],
    userHandle: [UInt8]?
  ) {
    self.credentialID = credentialID
    self.authenticatorData = authenticatorData
    self.clientDataJSON = clientDataJSON
    self.signature = signature
    self.userHandle = userHandle
  }

  /// Reads the form in which ``json`` records an assertion; nothing else may stand in it.
  public init(recorded: JSONValue) throws(CosignError) {
    self = try reading { () throws(JSONError) in
      var reader = try ObjectReader(recorded, "the recorded assertion")
      let assertion = UnverifiedAssertion(
        credentialID: try reader.base64URL("credential_id"),
        authenticatorData: try reader.base64URL("authenticator_data"),
        clientDataJSON: try reader.base64URL("client_data_json"), signature: try reader.base64URL("signature"),
        userHandle: reader.optional("user_handle") == nil ? nil : try reader.base64URL("user_handle"))
      try reader.finish()
      return assertion
    }
  }

  /// The assertion as evidence: base64url members `credential_id`, `authenticator_data`, `client_data_json`,
  /// `signature` and, where there is one, `user_handle`.
  public var json: JSONValue {
    func text(_ bytes: [UInt8]) -> JSONValue { .string(Base64.URL.encode(bytes)) }
    var object: JSONObject = [
      "credential_id": text(credentialID), "authenticator_data": text(authenticatorData),
      "client_data_json": text(clientDataJSON), "signature": text(signature),
    ]
    object["user_handle"] = userHandle.map(text)
    return .object(object)
  }

  /// Verifies the assertion, as WebAuthn Level 3 section 7.2 does it. The caller stores the new counter and backup
  /// state in the same transaction that consumes the challenge.
  /// - Throws: ``CosignError``.
  public func verified(
    by credential: Credential, _ expected: AssertionExpectations
  ) throws(CosignError) -> VerifiedAssertion {
    guard credentialID == credential.id, credential.purpose == expected.purpose else {
      throw CosignError(.credential, "the credential is not the one asked for, or was registered for another purpose")
    }
    guard userHandle.map({ $0.elementsEqual(credential.person.utf8) }) ?? true else {
      throw CosignError(.userHandle, "the assertion names another person than the credential's")
    }
    let clientData = try ClientData(clientDataJSON)
    try clientData.check(.get, challenge: expected.challenge, expected.relyingParty)
    let data = try AuthenticatorData(authenticatorData)
    try data.check(expected.relyingParty, expected.purpose)
    guard data.flags.contains(.backupEligible) == credential.backupEligible else {
      throw CosignError(.backupEligible, "the credential changed in whether it can be backed up; register it anew")
    }
    if let attested = data.attested {
      guard attested.id == credential.id, attested.publicKey == credential.publicKey,
        attested.aaguid == credential.aaguid
      else { throw CosignError(.credential, "the assertion carries another credential than the one that signed") }
    }
    try checkSignature(by: credential, clientData, data)
    // Section 6.1.1: authenticators without a counter always send 0.
    let counts = data.signCount != 0 || credential.signCount != 0
    let counterRisk = counts && data.signCount <= credential.signCount
    guard !counterRisk || !CosignPolicy.refusesCounter(expected.purpose) else {
      throw CosignError(.counter, "the signature counter did not grow: the key may have been copied; register another")
    }
    return VerifiedAssertion(
      signCount: data.signCount, backupState: data.flags.contains(.backupState),
      userVerified: data.flags.contains(.userVerified), counterRisk: counterRisk)
  }

  /// Section 7.2 step 21.
  func checkSignature(
    by credential: Credential, _ clientData: ClientData, _ data: AuthenticatorData
  ) throws(CosignError) {
    guard CosignLimits.signature.contains(signature.count) else {
      throw CosignError(.signature, "a signature must have 1 to \(CosignLimits.signature.upperBound) bytes")
    }
    try CredentialKey(credential.publicKey).verify(signature: signature, message: data.bytes + clientData.hash)
  }
}

/// An assertion that holds, made by ``UnverifiedAssertion`` alone.
public struct VerifiedAssertion: Sendable {
  /// The new signature counter.
  public let signCount: UInt32
  /// BS.
  public let backupState: Bool
  /// UV.
  public let userVerified: Bool
  /// True where the counter did not grow: the credential may exist twice. Only sign-ins get this far with it.
  public let counterRisk: Bool

  fileprivate init(signCount: UInt32, backupState: Bool, userVerified: Bool, counterRisk: Bool) {
    self.signCount = signCount
    self.backupState = backupState
    self.userVerified = userVerified
    self.counterRisk = counterRisk
  }
}
