import Consent
import Policy

/// Documents that were read before, by their bytes: a payment reads its consent and the policy, and reading them anew
/// costs more than all else that it does. Used on its connection's queue alone.
final class Documents: @unchecked Sendable {
  private var consents: [[UInt8]: ConsentTerms] = [:]
  private var policies: [[UInt8]: PolicyDocument] = [:]
  private static let limit = 1024

  func terms(_ bytes: [UInt8], read: ([UInt8]) throws -> ConsentTerms) rethrows -> ConsentTerms {
    try Self.value(bytes, in: &consents, read)
  }

  func policy(_ bytes: [UInt8], read: ([UInt8]) throws -> PolicyDocument) rethrows -> PolicyDocument {
    try Self.value(bytes, in: &policies, read)
  }

  private static func value<Value>(
    _ bytes: [UInt8], in known: inout [[UInt8]: Value], _ read: ([UInt8]) throws -> Value
  ) rethrows -> Value {
    if let value = known[bytes] { return value }
    let value = try read(bytes)
    if known.count >= limit { known.removeAll() }
    known[bytes] = value
    return value
  }
}
