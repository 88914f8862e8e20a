public import JOSE

/// The covered components and the parameters of one signature (RFC 9421 sections 2.3 and 4.1), in the order received.
public struct SignatureInput: Sendable {
  /// The covered components; no two the same.
  public let components: [SignatureComponent]
  /// The parameters.
  public let parameters: StructuredField.Parameters
  /// `created`, in seconds since 1970.
  public let created: Int64?
  /// `expires`, in seconds since 1970.
  public let expires: Int64?
  /// `nonce`.
  public let nonce: String?
  /// `alg`.
  public let algorithm: String?
  /// `keyid`.
  public let keyID: String?
  /// `tag`.
  public let tag: String?

  /// The most components that a signature may cover.
  public static let maximumComponents = 64

  /// Reads an inner list; unknown parameters are kept, since they are signed.
  public init(_ list: StructuredField.InnerList) throws(ProofError) {
    guard list.items.count <= Self.maximumComponents else {
      throw ProofError(.signatureMalformed, "a signature may cover at most \(Self.maximumComponents) components")
    }
    var components: [SignatureComponent] = []
    components.reserveCapacity(list.items.count)
    for item in list.items {
      let component = try SignatureComponent(item)
      guard !components.contains(where: component.isSame) else {
        throw ProofError(.signatureMalformed, "the component \(component.name.prefix(64)) is covered twice")
      }
      components.append(component)
    }
    self.components = components
    parameters = list.parameters
    var integers: (created: Int64?, expires: Int64?)
    var texts: (nonce: String?, algorithm: String?, keyID: String?, tag: String?)
    for parameter in list.parameters.list {
      switch (parameter.key, parameter.value) {
      case ("created", .integer(let value)): integers.created = value
      case ("expires", .integer(let value)): integers.expires = value
      case ("nonce", .string(let value)): texts.nonce = value
      case ("alg", .string(let value)): texts.algorithm = value
      case ("keyid", .string(let value)): texts.keyID = value
      case ("tag", .string(let value)): texts.tag = value
      case ("created", _), ("expires", _), ("nonce", _), ("alg", _), ("keyid", _), ("tag", _):
        throw ProofError(.signatureMalformed, "the signature's parameter '\(parameter.key)' has the wrong type")
      default: break
      }
    }
    (created, expires) = integers
    (nonce, algorithm, keyID, tag) = texts
  }

  /// The value of `@signature-params` (section 2.3).
  func write(to out: inout [UInt8]) {
    out.append(UInt8(ascii: "("))
    for (index, component) in components.enumerated() {
      if index > 0 { out.append(0x20) }
      component.write(to: &out)
    }
    out.append(UInt8(ascii: ")"))
    StructuredField.write(parameters, to: &out)
  }
}

/// One signature of a message, of which nothing is known to be true.
public struct HTTPSignature: Sendable {
  /// The label that joins `Signature-Input` and `Signature`.
  public let label: String
  /// What it covers.
  public let input: SignatureInput
  /// The signature's bytes.
  public let signature: [UInt8]

  /// The longest `Signature-Input` and the longest `Signature`, in bytes.
  public static let maximumBytes = 8192

  /// Reads all signatures of a message.
  /// - Throws: `signature_missing` where there are none, `signature_malformed` where the two fields do not parse, give
  ///   a key twice, or differ in their labels.
  public static func all(of message: HTTPMessage) throws(ProofError) -> [HTTPSignature] {
    let inputs = try dictionary("signature-input", message)
    let signatures = try dictionary("signature", message)
    guard inputs.entries.count == signatures.entries.count else {
      throw ProofError(.signatureMalformed, "Signature-Input and Signature must have the same labels")
    }
    var found: [HTTPSignature] = []
    for entry in inputs.entries {
      guard case .innerList(let list) = entry.value else {
        throw ProofError(.signatureMalformed, "a member of Signature-Input must be a list in parentheses")
      }
      guard case .item(let item)? = signatures[entry.key], case .bytes(let bytes) = item.value else {
        throw ProofError(
          .signatureMalformed, "Signature must have a byte sequence labelled '\(entry.key.prefix(64))'")
      }
      found.append(HTTPSignature(label: entry.key, input: try SignatureInput(list), signature: bytes))
    }
    return found
  }

  private static func dictionary(
    _ name: String, _ message: HTTPMessage
  ) throws(ProofError) -> StructuredField.Dictionary {
    let values = message.values(name)
    guard !values.isEmpty else { throw ProofError(.signatureMissing, "the request lacks the field '\(name)'; sign it") }
    let text = values.count == 1 ? values[0] : values.joined(separator: ", ")
    guard text.utf8.count <= maximumBytes else {
      throw ProofError(.signatureMalformed, "the field '\(name)' is longer than \(maximumBytes) bytes")
    }
    let dictionary: StructuredField.Dictionary
    do {
      dictionary = try StructuredField.dictionary(text)
    } catch {
      throw ProofError(.signatureMalformed, "the field '\(name)' is \(error)")
    }
    guard !dictionary.hasDuplicates else {
      throw ProofError(.signatureMalformed, "the field '\(name)' gives a label or a parameter twice")
    }
    guard !dictionary.entries.isEmpty else { throw ProofError(.signatureMissing, "the field '\(name)' is empty") }
    return dictionary
  }
}

extension JWSAlgorithm {
  /// The algorithm's name in the HTTP Signature Algorithms registry (RFC 9421 section 6.2); nil where it has none.
  public var httpSignatureName: String? {
    switch self {
    case .es256: "ecdsa-p256-sha256"
    case .es384: "ecdsa-p384-sha384"
    case .edDSA: "ed25519"
    case .rs256: "rsa-v1_5-sha256"
    case .ps512: "rsa-pss-sha512"
    case .es512, .rs384, .rs512, .ps256, .ps384: nil
    }
  }
}
