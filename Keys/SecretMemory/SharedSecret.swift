/// A secret that several may hold; the last one to let go wipes it.
public final class SharedSecret: Sendable {
  /// The secret, lent for as long as the holder lives.
  public let secret: SecretBytes

  /// Takes the secret over.
  public init(_ secret: consuming SecretBytes) { self.secret = secret }

  /// Lends the bytes.
  public func withBytes<R: ~Copyable, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    try unsafe secret.withUnsafeBytes { (bytes) throws(E) -> R in try unsafe body(bytes.bytes) }
  }
}
