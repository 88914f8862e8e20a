public import COSE
public import Wire

/// What a registration must fit.
public struct RegistrationExpectations: Sendable {
  /// Who asked.
  public let relyingParty: RelyingParty
  /// The challenge given out. That it is fresh, and used once, is the caller's to see to.
  public let challenge: [UInt8]
  /// The algorithms offered.
  public let algorithms: [COSEAlgorithm]
  /// What the credential will be for.
  public let purpose: CredentialPurpose
  /// Trusted certificates as DER: of roots, of intermediate authorities, or attestation certificates themselves.
  public let anchors: [[UInt8]]
  /// The moment at which certificates must be valid.
  public let now: Timestamp

  /// Sets the expectations.
  public init(
    relyingParty: RelyingParty, challenge: [UInt8], algorithms: [COSEAlgorithm] = [.es256, .edDSA, .rs256],
    purpose: CredentialPurpose, anchors: [[UInt8]], now: Timestamp
  ) {
    self.relyingParty = relyingParty
    self.challenge = challenge
    self.algorithms = algorithms
    self.purpose = purpose
    self.anchors = anchors
    self.now = now
  }
}

/// A browser's answer to `navigator.credentials.create`, of which nothing is known to be true.
public struct UnverifiedRegistration: Sendable {
  private let clientDataJSON: [UInt8]
  private let attestationObject: [UInt8]
  /// The identifier that the browser states beside the signed one.
  private let statedID: [UInt8]?

  /// Reads a `RegistrationResponseJSON` (WebAuthn Level 3 section 5.1.8). Members beside those that are needed here are
  /// passed over, as browsers add to them.
  public init(_ json: JSONValue) throws(CosignError) {
    let (id, response) = try PublicKeyCredentialJSON.read(json)
    clientDataJSON = try PublicKeyCredentialJSON.bytes("clientDataJSON", of: response)
    attestationObject = try PublicKeyCredentialJSON.bytes("attestationObject", of: response)
    statedID = id
  }

  /// A registration from its two parts.
  public init(clientDataJSON: [UInt8], attestationObject: [UInt8]) {
    self.clientDataJSON = clientDataJSON
    self.attestationObject = attestationObject
    statedID = nil
  }

  /// Registers a credential, as WebAuthn Level 3 section 7.1 does it. Whether the identifier is new is for the store.
  /// - Throws: ``CosignError``.
  public func verified(_ expected: RegistrationExpectations) throws(CosignError) -> VerifiedRegistration {
    let clientData = try ClientData(clientDataJSON)
    try clientData.check(.create, challenge: expected.challenge, expected.relyingParty)
    let statement = try AttestationStatement(attestationObject)
    let data = statement.authenticatorData
    try data.check(expected.relyingParty, expected.purpose)
    guard let credential = data.attested else {
      throw CosignError(.malformed, "the authenticator data holds no credential; register one")
    }
    guard statedID.map({ $0 == credential.id }) ?? true else {
      throw CosignError(.credential, "the identifier stated is not the one that the authenticator made")
    }
    let key = try CredentialKey(credential.publicKey)
    // Section 6.5.1: no optional parameters, and CTAP2's canonical form. One key then has one text, so that nobody can
    // enrol it twice.
    guard (try? COSEKey(encoded: credential.publicKey))?.cbor.encoded == credential.publicKey else {
      throw CosignError(.malformed, "the credential's key has optional parameters, or is not in canonical form")
    }
    guard expected.algorithms.contains(key.algorithm) else {
      throw CosignError(.algorithm, "the credential's algorithm \(key.algorithm) was not offered")
    }
    let attestation = try statement.verified(
      credential: credential, key: key, clientDataHash: clientData.hash, anchors: expected.anchors, now: expected.now)
    return VerifiedRegistration(data, credential, key, attestation)
  }
}

/// A credential that was registered as it should, made by ``UnverifiedRegistration`` alone.
public struct VerifiedRegistration: Sendable {
  /// The credential's identifier.
  public let credentialID: [UInt8]
  /// The public key as a COSE_Key, exactly as in the authenticator data.
  public let publicKey: [UInt8]
  /// The credential's algorithm.
  public let algorithm: COSEAlgorithm
  /// The signature counter.
  public let signCount: UInt32
  /// The authenticator's model as it states it; true only as far as ``attestation`` is trusted.
  public let aaguid: [UInt8]
  /// BE.
  public let backupEligible: Bool
  /// BS.
  public let backupState: Bool
  /// UV.
  public let userVerified: Bool
  /// What vouches for the authenticator.
  public let attestation: Attestation

  fileprivate init(
    _ data: AuthenticatorData, _ credential: AuthenticatorData.AttestedCredential, _ key: CredentialKey,
    _ attestation: Attestation
  ) {
    credentialID = credential.id
    publicKey = credential.publicKey
    algorithm = key.algorithm
    signCount = data.signCount
    aaguid = credential.aaguid
    backupEligible = data.flags.contains(.backupEligible)
    backupState = data.flags.contains(.backupState)
    userVerified = data.flags.contains(.userVerified)
    self.attestation = attestation
  }

  /// The credential to store. `purpose` is that of the expectations; under another one no assertion will verify that
  /// this registration was not fit for.
  public func credential(person: String, purpose: CredentialPurpose, enrolmentIndex: UInt64) -> Credential {
    Credential(
      id: credentialID, person: person, purpose: purpose, publicKey: publicKey, signCount: signCount, aaguid: aaguid,
      backupEligible: backupEligible, backupState: backupState, enrolmentIndex: enrolmentIndex)
  }
}

/// What both answers of a browser share (WebAuthn Level 3 section 5.1). Their members are picked out one by one: no list
/// is kept of those that were read, since the others are passed over.
enum PublicKeyCredentialJSON {
  static func read(_ json: JSONValue) throws(CosignError) -> (id: [UInt8], response: JSONObject) {
    // One byte string has one text, so equal texts are equal identifiers.
    guard let object = json.object, object["type"] == "public-key", let response = object["response"]?.object,
      let text = object["rawId"]?.string, let stated = object["id"]?.string, stated.utf8.elementsEqual(text.utf8)
    else {
      throw CosignError(
        .malformed, "a credential must be of type public-key, have a response, and an id that is its rawId")
    }
    let id = try bytes("rawId", of: object)
    guard CosignLimits.credentialID.contains(id.count) else {
      throw CosignError(.malformed, "a credential's identifier must have 1 to 1023 bytes")
    }
    return (id, response)
  }

  /// A member that is base64url of 1 byte to 64 KiB.
  static func bytes(_ name: String, of object: JSONObject) throws(CosignError) -> [UInt8] {
    guard let text = object[name]?.string, (1...90_000).contains(text.utf8.count),
      let bytes = try? Base64.URL.decode(text)
    else { throw CosignError(.malformed, "'\(name)' must be base64url of at most 64 KiB") }
    return bytes
  }
}
