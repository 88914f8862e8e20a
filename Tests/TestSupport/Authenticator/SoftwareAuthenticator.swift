// A browser and a CTAP2 device in one, for tests and demonstrations: it answers the options of a relying party as
// `PublicKeyCredential.toJSON()` does. It keeps its keys in memory and belongs to no product.

import COSE
import Crypto
public import Wire

/// A software authenticator that holds credentials by relying party.
public struct SoftwareAuthenticator: Sendable {
  /// How it attests what it makes, where a relying party asks for attestation (`"attestation": "direct"`).
  public enum AttestationKind: Sendable {
    /// Format `none`.
    case none
    /// Format `packed` without certificates.
    case packedSelf
    /// Format `packed` with the certificates of this chain.
    case packed(AttestationChain)
  }

  /// Why it gives no answer.
  public struct Refusal: Error, Equatable, CustomStringConvertible {
    /// The name of the `DOMException` that a browser would throw, or `TypeError`.
    public let name: String
    /// What was wrong.
    public let description: String
  }

  struct StoredCredential: Sendable {
    let id: [UInt8]
    let relyingPartyID: String
    let userHandle: [UInt8]
    let key: AuthenticatorKey
    var signCount: UInt32
  }

  /// The model.
  public let aaguid: [UInt8]
  /// How it attests.
  public var attestation: AttestationKind
  /// BE of the credentials that it makes.
  public var backupEligible: Bool
  /// BS of the credentials that it makes.
  public var backupState: Bool
  /// True where it counts signatures; synced passkeys do not, and always send 0.
  public var counts = true
  private let random: any RandomSource
  private var credentials: [StoredCredential] = []

  /// An authenticator without credentials.
  /// - Parameters:
  ///   - random: keys other than RSA's, which its library draws itself, and identifiers come from here.
  ///   - aaguid: the model; 16 bytes.
  ///   - attestation: how it attests.
  ///   - isSynced: BE and BS: false for a hardware key, true for a synced passkey.
  public init(
    random: any RandomSource, aaguid: [UInt8] = Array("trustcore-tests!".utf8), attestation: AttestationKind = .none,
    isSynced: Bool = false
  ) {
    self.random = random
    self.aaguid = aaguid
    self.attestation = attestation
    backupEligible = isSynced
    backupState = isSynced
  }

  /// The identifiers of the credentials that it holds for a relying party, the oldest first.
  public func credentialIDs(relyingPartyID: String) -> [[UInt8]] {
    credentials.filter { $0.relyingPartyID == relyingPartyID }.map(\.id)
  }

  // MARK: - navigator.credentials.create

  /// Makes a credential.
  /// - Parameters:
  ///   - options: a `PublicKeyCredentialCreationOptionsJSON`.
  ///   - origin: where the page was loaded from.
  ///   - faults: what to do wrong.
  /// - Returns: a `RegistrationResponseJSON`.
  public mutating func make(options: JSONValue, origin: String, faults: Faults = Faults()) throws -> JSONValue {
    let options = try Self.object(options, "the options")
    let relyingPartyID = try Self.relyingPartyID(options["rp"]?.object?["id"], origin, faults)
    let userHandle = try Self.bytes(options["user"]?.object?["id"], "user.id")
    if try Self.descriptors(options["excludeCredentials"]).contains(where: { find($0, relyingPartyID) != nil }) {
      throw Refusal(name: "InvalidStateError", description: "a credential of this account is here already")
    }
    let offered = (options["pubKeyCredParams"]?.array ?? []).compactMap { $0.object?["alg"]?.integer.map { Int($0) } }
    guard let kind = offered.lazy.compactMap({ AuthenticatorKey.Kind(rawValue: $0) }).first else {
      throw Refusal(name: "NotSupportedError", description: "no algorithm of pubKeyCredParams is known")
    }
    var credential = StoredCredential(
      id: faults.credentialID ?? random.bytes(32), relyingPartyID: relyingPartyID, userHandle: userHandle,
      key: try AuthenticatorKey(kind, random: random), signCount: 0)
    let publicKey = faults.publicKey?(credential.key.publicKey) ?? credential.key.publicKey
    let attested =
      aaguid + [UInt8(credential.id.count >> 8), UInt8(credential.id.count & 0xFF)] + credential.id + publicKey.encoded
    let data = authenticatorData(&credential, attested: attested, faults)
    let clientData = try Self.clientData("webauthn.create", options, origin, faults)
    let isDirect = ["direct", "enterprise"].contains(options["attestation"]?.string ?? "none")
    var (format, statement) = try attest(
      isDirect ? attestation : .none, credential.key, data + Array(SHA256.hash(data: clientData)))
    if let change = faults.statement { statement = change(statement) }
    let object: CBOR = [
      "fmt": .text(faults.format ?? format), "attStmt": .map(statement),
      "authData": .bytes(faults.authenticatorDataAfterSigning?(data) ?? data),
    ]
    credentials.append(credential)
    return Self.response(
      id: credential.id,
      [
        "clientDataJSON": Self.text(faults.clientDataAfterSigning?(clientData) ?? clientData),
        "attestationObject": Self.text(faults.attestationObject?(object.encoded) ?? object.encoded),
        "authenticatorData": Self.text(data), "publicKeyAlgorithm": .integer(Int64(kind.rawValue)),
        "transports": ["usb"],
      ])
  }

  private func attest(
    _ kind: AttestationKind, _ key: AuthenticatorKey, _ signed: [UInt8]
  ) throws -> (format: String, statement: CBORMap) {
    switch kind {
    case .none: return ("none", [:])
    case .packedSelf:
      return ("packed", ["alg": CBOR(key.kind.rawValue), "sig": .bytes(try key.sign(signed))])
    case .packed(let chain):
      return (
        "packed",
        [
          "alg": CBOR(chain.leafKey.kind.rawValue), "sig": .bytes(try chain.leafKey.sign(signed)),
          "x5c": .array(chain.presented.map { .bytes($0) }),
        ]
      )
    }
  }

  // MARK: - navigator.credentials.get

  /// Signs with a credential.
  /// - Parameters:
  ///   - options: a `PublicKeyCredentialRequestOptionsJSON`.
  ///   - origin: where the page was loaded from.
  ///   - credentialID: the credential that the person picks; otherwise the first of `allowCredentials` that is here, or
  ///     where that is empty, the newest.
  ///   - faults: what to do wrong.
  /// - Returns: an `AuthenticationResponseJSON`.
  public mutating func get(
    options: JSONValue, origin: String, credentialID: [UInt8]? = nil, faults: Faults = Faults()
  ) throws -> JSONValue {
    let options = try Self.object(options, "the options")
    let relyingPartyID = try Self.relyingPartyID(options["rpId"], origin, faults)
    var candidates = try Self.descriptors(options["allowCredentials"])
    if candidates.isEmpty { candidates = credentialIDs(relyingPartyID: relyingPartyID).reversed() }
    if let credentialID { candidates.removeAll { $0 != credentialID } }
    guard let index = candidates.compactMap({ find($0, relyingPartyID) }).first else {
      throw Refusal(name: "NotAllowedError", description: "no credential that is allowed is here")
    }
    let data = authenticatorData(&credentials[index], attested: nil, faults)
    let credential = credentials[index]
    let clientData = try Self.clientData("webauthn.get", options, origin, faults)
    let signature = try credential.key.sign(data + Array(SHA256.hash(data: clientData)))
    return Self.response(
      id: faults.credentialID ?? credential.id,
      [
        "clientDataJSON": Self.text(faults.clientDataAfterSigning?(clientData) ?? clientData),
        "authenticatorData": Self.text(faults.authenticatorDataAfterSigning?(data) ?? data),
        "signature": Self.text(faults.signature?(signature) ?? signature),
        "userHandle": Self.text(faults.userHandle ?? credential.userHandle),
      ])
  }

  private func find(_ id: [UInt8], _ relyingPartyID: String) -> Int? {
    credentials.firstIndex { $0.id == id && $0.relyingPartyID == relyingPartyID }
  }

  // MARK: - Parts

  private func authenticatorData(
    _ credential: inout StoredCredential, attested: [UInt8]?, _ faults: Faults
  ) -> [UInt8] {
    var flags: UInt8 = 0
    func set(_ bit: UInt8, _ holds: Bool) { if holds { flags |= 1 << bit } }
    set(0, faults.userPresent ?? true)
    set(2, faults.userVerified ?? true)
    set(3, faults.backupEligible ?? backupEligible)
    set(4, faults.backupState ?? backupState)
    set(6, attested != nil)
    set(7, faults.extensions != nil)
    flags ^= faults.flippedFlags
    if counts { credential.signCount += 1 }
    if let count = faults.signCount { credential.signCount = count }
    let count = credential.signCount
    let hash = Array(SHA256.hash(data: Array((faults.relyingPartyID ?? credential.relyingPartyID).utf8)))
    let data =
      hash + [flags] + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> $0) } + (attested ?? [])
      + (faults.extensions?.encoded ?? [])
    return faults.authenticatorData?(data) ?? data
  }

  private static func clientData(
    _ type: String, _ options: JSONObject, _ origin: String, _ faults: Faults
  ) throws -> [UInt8] {
    let challenge = try bytes(options["challenge"], "challenge")
    var object: JSONObject = [
      "type": .string(faults.type ?? type), "challenge": text(faults.challenge ?? challenge),
      "origin": .string(faults.origin ?? origin), "crossOrigin": false,
    ]
    for member in faults.clientDataMembers { object[member.name] = member.value }
    let json = JSONValue.object(object).canonical()
    return faults.clientData?(json) ?? json
  }

  private static func response(id: [UInt8], _ response: JSONObject) -> JSONValue {
    [
      "id": text(id), "rawId": text(id), "type": "public-key", "authenticatorAttachment": "cross-platform",
      "clientExtensionResults": [:], "response": .object(response),
    ]
  }

  private static func text(_ bytes: [UInt8]) -> JSONValue { .string(Base64.URL.encode(bytes)) }

  private static func object(_ value: JSONValue?, _ name: String) throws -> JSONObject {
    guard let object = value?.object else { throw Refusal(name: "TypeError", description: "\(name) must be an object") }
    return object
  }

  private static func bytes(_ value: JSONValue?, _ name: String) throws -> [UInt8] {
    guard let bytes = value?.string.flatMap({ try? Base64.URL.decode($0) }) else {
      throw Refusal(name: "TypeError", description: "\(name) must be base64url")
    }
    return bytes
  }

  private static func descriptors(_ value: JSONValue?) throws -> [[UInt8]] {
    try (value?.array ?? []).map { try bytes($0.object?["id"], "the id of a descriptor") }
  }

  /// A browser lets a page name its own host or a parent domain (WebAuthn Level 3 section 5.1.3 step 8).
  private static func relyingPartyID(_ stated: JSONValue?, _ origin: String, _ faults: Faults) throws -> String {
    let authority = origin.split(separator: "/", omittingEmptySubsequences: true).dropFirst().first ?? ""
    let host = String(authority.split(separator: ":").first ?? "")
    let id = stated?.string ?? host
    guard faults.skipsDomainCheck || host == id || host.hasSuffix("." + id) else {
      throw Refusal(name: "SecurityError", description: "\(id) is no relying party of \(origin)")
    }
    return id
  }
}
