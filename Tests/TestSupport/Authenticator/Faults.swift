public import COSE
public import Wire

/// What a software authenticator is to do wrong, or otherwise than usual, in one ceremony. Whatever is left nil is done
/// as it should.
public struct Faults: Sendable {
  /// UP.
  public var userPresent: Bool?
  /// UV.
  public var userVerified: Bool?
  /// BE.
  public var backupEligible: Bool?
  /// BS.
  public var backupState: Bool?
  /// Flags to turn over, after all others are set.
  public var flippedFlags: UInt8 = 0
  /// The counter to send, and to count on from.
  public var signCount: UInt32?
  /// The relying party to sign for.
  public var relyingPartyID: String?
  /// True to let a page name a relying party of another domain.
  public var skipsDomainCheck = false
  /// Extension outputs; sets ED.
  public var extensions: CBOR?
  /// The identifier to make a credential under, or to state with an assertion.
  public var credentialID: [UInt8]?
  /// The user handle to send.
  public var userHandle: [UInt8]?
  /// Changes the public key before it is signed.
  public var publicKey: (@Sendable (CBOR) -> CBOR)?

  /// `type` of the client data.
  public var type: String?
  /// `challenge` of the client data.
  public var challenge: [UInt8]?
  /// `origin` of the client data.
  public var origin: String?
  /// Members to set in the client data, such as `crossOrigin` and `topOrigin`.
  public var clientDataMembers: JSONObject = [:]
  /// Changes the client data before it is signed.
  public var clientData: (@Sendable ([UInt8]) -> [UInt8])?
  /// Changes the client data that is sent.
  public var clientDataAfterSigning: (@Sendable ([UInt8]) -> [UInt8])?

  /// Changes the authenticator data before it is signed.
  public var authenticatorData: (@Sendable ([UInt8]) -> [UInt8])?
  /// Changes the authenticator data that is sent.
  public var authenticatorDataAfterSigning: (@Sendable ([UInt8]) -> [UInt8])?
  /// Changes the signature of an assertion.
  public var signature: (@Sendable ([UInt8]) -> [UInt8])?

  /// The attestation's format.
  public var format: String?
  /// Changes the attestation statement.
  public var statement: (@Sendable (CBORMap) -> CBORMap)?
  /// Changes the encoded attestation object.
  public var attestationObject: (@Sendable ([UInt8]) -> [UInt8])?

  /// No faults.
  public init() {}

  /// Faults set by a closure, for use in an expression.
  public init(_ set: (inout Faults) -> Void) {
    self.init()
    set(&self)
  }
}
