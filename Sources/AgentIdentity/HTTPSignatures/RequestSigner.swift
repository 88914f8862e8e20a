public import JOSE
public import Wire

/// The client's half: makes the fields that a signed request carries.
public struct RequestSigner: Sendable {
  private let key: SigningKey
  private let policy: SignaturePolicy
  private let items: [StructuredField.Item]
  private let label: String

  /// Signs with a key.
  /// - Parameters:
  ///   - key: the client's key; `keyid` becomes its thumbprint.
  ///   - policy: what the receiver demands; its components are covered, in its order.
  ///   - label: the signature's label.
  public init(key: SigningKey, policy: SignaturePolicy = .command, label: String = "sig") {
    self.key = key
    self.policy = policy
    self.label = label
    items = policy.components.map { StructuredField.Item(.string($0)) }
  }

  /// The fields to add to a request: `Content-Digest`, `Signature-Input` and `Signature`.
  /// - Parameters:
  ///   - target: the request's control data, with the URI that the server knows itself by.
  ///   - headers: the fields that are sent, `Content-Type`, `Idempotency-Key` and `Authorization` among them.
  ///   - body: the content.
  ///   - created: the present moment.
  ///   - nonce: fresh for every request: printable ASCII without `"` and `\`, as base64url is.
  ///   - expires: when the signature ends to count; nil leaves it to the receiver's greatest age.
  /// - Throws: `signature_coverage` where a covered field is not among `headers`.
  public func sign(
    _ target: HTTPMessage.Target, headers: [HTTPMessage.Field], body: [UInt8], created: Timestamp, nonce: String,
    expires: Timestamp? = nil
  ) throws(ProofError) -> [HTTPMessage.Field] {
    let digest = HTTPMessage.Field("Content-Digest", ContentDigest.value(of: body))
    let signed = try sign(
      HTTPMessage(target, headers: headers + [digest]), created: created, nonce: nonce, expires: expires)
    return [digest] + signed
  }

  /// `Signature-Input` and `Signature` for a message whose `Content-Digest` is in place.
  public func sign(
    _ message: HTTPMessage, created: Timestamp, nonce: String, expires: Timestamp? = nil
  ) throws(ProofError) -> [HTTPMessage.Field] {
    var parameters: [(String, StructuredField.BareItem)] = [("created", .integer(created.seconds))]
    if let expires { parameters.append(("expires", .integer(expires.seconds))) }
    parameters += [
      ("nonce", .string(nonce)), ("keyid", .string(key.verificationKey.thumbprint)), ("tag", .string(policy.tag)),
    ]
    let input = try SignatureInput(StructuredField.InnerList(items, StructuredField.Parameters(parameters)))
    let signature: [UInt8]
    do {
      signature = try key.sign(try SignatureBase.build(message, input))
    } catch let error as ProofError {
      throw error
    } catch {
      throw ProofError(.signatureInvalid, "the request could not be signed: \(error)")
    }
    var inputText = Array((label + "=").utf8)
    input.write(to: &inputText)
    var signatureText = Array((label + "=").utf8)
    StructuredField.write(.bytes(signature), to: &signatureText)
    return [
      HTTPMessage.Field("Signature-Input", String(decoding: inputText, as: UTF8.self)),
      HTTPMessage.Field("Signature", String(decoding: signatureText, as: UTF8.self)),
    ]
  }
}
