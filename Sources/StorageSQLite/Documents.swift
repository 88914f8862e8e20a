import Consent
import Policy

/// The documents that were read last: a payment reads its consent and the policy, and reading them anew costs more than
/// all else that it does. One that is stored with other bytes is read anew. Used on its connection's queue alone.
final class Documents: @unchecked Sendable {
  private var consents: [String: (bytes: [UInt8], value: ConsentTerms)] = [:]
  private var policies: [String: (bytes: [UInt8], value: PolicyDocument)] = [:]
  private static let limit = 1024

  /// The terms of a consent.
  func terms(_ id: String, _ bytes: [UInt8], read: ([UInt8]) throws -> ConsentTerms) rethrows -> ConsentTerms {
    try Self.value(id, bytes, in: &consents, read)
  }

  /// The policy of a tenant.
  func policy(_ tenant: String, _ bytes: [UInt8], read: ([UInt8]) throws -> PolicyDocument) rethrows -> PolicyDocument {
    try Self.value(tenant, bytes, in: &policies, read)
  }

  private static func value<Value>(
    _ key: String, _ bytes: [UInt8], in known: inout [String: (bytes: [UInt8], value: Value)],
    _ read: ([UInt8]) throws -> Value
  ) rethrows -> Value {
    if let last = known[key], last.bytes == bytes { return last.value }
    let value = try read(bytes)
    if known.count >= limit { known.removeAll() }
    known[key] = (bytes, value)
    return value
  }
}
