import Crypto
import Wire

/// The client data of a ceremony (WebAuthn Level 3 section 5.8.1), parsed and not yet checked.
struct ClientData {
  /// SHA-256 of the bytes as they came: what is signed, since unknown members are allowed and any writing again could
  /// lose them.
  let hash: [UInt8]
  private let type: String
  private let challenge: String
  private let origin: String
  private let isCrossOrigin: Bool

  init(_ bytes: [UInt8]) throws(CosignError) {
    let object = try reading { () throws(JSONError) in
      try JSONValue(parsing: bytes, maximumDepth: 8, maximumBytes: CosignLimits.clientData)
    }.object
    guard let object, let type = object["type"]?.string, let challenge = object["challenge"]?.string,
      let origin = object["origin"]?.string
    else {
      throw CosignError(.malformed, "the client data must be an object with the texts type, challenge and origin")
    }
    let crossOrigin = object["crossOrigin"] ?? false
    guard let isCrossOrigin = crossOrigin.bool else {
      throw CosignError(.malformed, "'crossOrigin' in the client data must be true or false")
    }
    hash = Array(SHA256.hash(data: bytes))
    self.type = type
    self.challenge = challenge
    self.origin = origin
    self.isCrossOrigin = isCrossOrigin || object["topOrigin"] != nil
  }

  /// What a ceremony is called in its client data.
  enum Ceremony: String {
    case create = "webauthn.create"
    case get = "webauthn.get"
  }

  /// Section 7.1 steps 7 to 11, section 7.2 steps 10 to 14.
  func check(_ ceremony: Ceremony, challenge expected: [UInt8], _ relyingParty: RelyingParty) throws(CosignError) {
    guard type.utf8.elementsEqual(ceremony.rawValue.utf8) else {
      throw CosignError(.type, "the client data is not of \(ceremony.rawValue); answer the ceremony that was asked for")
    }
    guard let bytes = try? Base64.URL.decode(challenge), isEqualInConstantTime(bytes, expected) else {
      throw CosignError(.challenge, "the challenge is not the one given out; ask for a new one and sign that")
    }
    guard relyingParty.origins.contains(where: { $0.utf8.elementsEqual(origin.utf8) }) else {
      throw CosignError(
        .origin, "the ceremony ran on an origin that is not permitted; open the page at its own address")
    }
    guard !isCrossOrigin else {
      throw CosignError(.crossOrigin, "the ceremony ran inside another site's page; open the page by itself")
    }
  }
}

/// Compares without telling by its time where the first difference is; lengths are no secret.
func isEqualInConstantTime(_ a: [UInt8], _ b: [UInt8]) -> Bool {
  a.count == b.count && zip(a, b).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
}
