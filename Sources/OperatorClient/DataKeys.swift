import Envelope
public import SecretMemory
import Wire

/// A data key as the daemon handed it out: in locked memory, for one file.
public struct DataKey: Sendable {
  /// The data key's identifier.
  public let id: String
  /// The key that wraps it.
  public let key: String
  /// The 32 bytes.
  public let secret: SharedSecret

  /// Collects the parts.
  public init(id: String, key: String, secret: SharedSecret) {
    self.id = id
    self.key = key
    self.secret = secret
  }
}

extension OperatorClient {
  /// What data keys are sealed for on their way to a client; their identifier is the additional data.
  static let deliveryInfo = Array("trustcore/data-key/v1".utf8)

  /// A new data key.
  /// - Parameters:
  ///   - key: the key that wraps it.
  ///   - context: what it is for.
  public func newDataKey(
    under key: String, context: FileContext, as who: Deployment.Who
  ) async throws(OperatorError) -> DataKey {
    let path = "/v1/keys/\(try Self.checked(key))/data-keys"
    return try await delivered(path, context, who) { answer in (answer["data_key"]?.string, answer["key"]?.string) }
  }

  /// A data key that exists.
  /// - Throws: the daemon's refusal where the context is another one.
  public func openDataKey(
    _ header: EnvelopeHeader, context: FileContext, as who: Deployment.Who
  ) async throws(OperatorError) -> DataKey {
    try await delivered("/v1/data-keys/\(header.dataKey)/open", context, who) { _ in (header.dataKey, header.key) }
  }

  /// Asks for a data key sealed to a key pair that lives for this one answer: who reads the connection later, with a
  /// quantum computer even, does not read the data key.
  private func delivered(
    _ path: String, _ context: FileContext, _ who: Deployment.Who,
    names: (JSONObject) -> (id: String?, key: String?)
  ) async throws(OperatorError) -> DataKey {
    let recipient: RecoveryKey
    do { recipient = try RecoveryKey.generate() } catch { throw OperatorError(error) }
    let answer = Self.flat(
      try await command(
        path,
        [
          "context": .object(context.json), "recipient": .string(Base64.URL.encode(recipient.publicKey.bytes)),
        ], as: who
      ).json)
    let named = names(answer)
    guard let sealed = answer["sealed"]?.string.flatMap({ try? Base64.URL.decode($0) }), let id = named.id,
      let key = named.key
    else {
      throw OperatorError(.unexpectedAnswer, "The daemon gave no data key: its version may not fit this program's.")
    }
    let secret: SharedSecret
    do {
      secret = try recipient.open(sealed, info: Self.deliveryInfo, aad: Array(id.utf8))
    } catch {
      throw OperatorError(.unexpectedAnswer, "The data key that the daemon sent does not open: ask again.")
    }
    guard secret.secret.count == 32 else {
      throw OperatorError(
        .unexpectedAnswer, "The data key that the daemon sent has \(secret.secret.count) bytes, not 32.")
    }
    return DataKey(id: id, key: key, secret: secret)
  }
}
