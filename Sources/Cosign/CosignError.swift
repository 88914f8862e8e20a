import COSE
import JOSE
import Wire

/// Why a registration, an assertion or the terms of an approval were refused. Equality is by code.
public struct CosignError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text, in snake case.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// A part is not well-formed, or longer than allowed.
    public static let malformed = Code("webauthn_malformed")
    /// The client data is of another ceremony.
    public static let type = Code("webauthn_type")
    /// The challenge is not the one that was given out.
    public static let challenge = Code("webauthn_challenge")
    /// The ceremony ran on another origin.
    public static let origin = Code("webauthn_origin")
    /// The ceremony ran in a frame of another origin.
    public static let crossOrigin = Code("webauthn_cross_origin")
    /// The authenticator answered another relying party.
    public static let relyingPartyID = Code("webauthn_rp_id")
    /// Nobody touched the authenticator.
    public static let userPresence = Code("webauthn_user_presence")
    /// The authenticator did not verify its user.
    public static let userVerification = Code("webauthn_user_verification")
    /// The flags say that a credential is backed up which cannot be.
    public static let backupState = Code("webauthn_backup_state")
    /// The credential may leave its hardware where it must not, or changed in whether it may.
    public static let backupEligible = Code("webauthn_backup_eligible")
    /// The signature does not verify.
    public static let signature = Code("webauthn_signature")
    /// The signature counter did not grow.
    public static let counter = Code("webauthn_counter")
    /// The credential's algorithm was not offered, or does not fit its key.
    public static let algorithm = Code("webauthn_algorithm")
    /// The attestation is of an unknown format, contradicts itself, or its certificates do not hold.
    public static let attestation = Code("webauthn_attestation")
    /// The credential is another one than expected, or made for another purpose.
    public static let credential = Code("webauthn_credential")
    /// The assertion names another person than the credential's.
    public static let userHandle = Code("webauthn_user_handle")
    /// The terms of an approval are not well-formed.
    public static let terms = Code("approval_terms")
  }

  /// The reason.
  public let code: Code
  /// What is wrong and what to do about it; never a secret.
  public let message: String
  /// Where the error was made.
  public let file: String
  /// The line in ``file``.
  public let line: UInt

  /// Makes an error.
  public init(_ code: Code, _ message: String, file: String = #fileID, line: UInt = #line) {
    self.code = code
    self.message = message
    self.file = file
    self.line = line
  }

  /// The code and the message.
  public var description: String { "\(code): \(message)" }

  /// Errors are equal when their codes are.
  public static func == (a: CosignError, b: CosignError) -> Bool { a.code == b.code }
}

/// Runs a step that reads JSON; what it refuses is malformed.
func reading<Value>(
  _ code: CosignError.Code = .malformed, _ body: () throws(JSONError) -> Value
) throws(CosignError) -> Value {
  do { return try body() } catch { throw CosignError(code, error.description) }
}

/// Runs a step that reads CBOR or a key.
func decoding<Value>(_ body: () throws(COSEError) -> Value) throws(CosignError) -> Value {
  do {
    return try body()
  } catch {
    let isAlgorithm = error.code == .keyAlgorithm || error.code == .keyUnsupported
    throw CosignError(isAlgorithm ? .algorithm : .malformed, error.description)
  }
}
