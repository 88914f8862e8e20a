/// What a signature must look like to count (RFC 9421 section 3.2.1 leaves this to the application).
public struct SignaturePolicy: Sendable {
  /// Components that must be covered. These and any others are covered without parameters, and fields in one line.
  public let components: [String]
  /// How long a signature lives after `created`, and how far off `expires` may be, in seconds.
  public let maximumAge: Int64
  /// How far `created` may lie in the future, in seconds: clocks differ.
  public let futureSkew: Int64
  /// The `tag` that a signature bears, if it bears any: one made for another purpose is refused.
  public let tag: String
  /// How long `nonce` may be, in bytes.
  public let nonceLength: ClosedRange<Int>

  /// Makes a policy.
  public init(
    components: [String] = SignaturePolicy.commandComponents, maximumAge: Int64 = 300, futureSkew: Int64 = 5,
    tag: String = "trustcore", nonceLength: ClosedRange<Int> = 16...128
  ) {
    self.components = components
    self.maximumAge = maximumAge
    self.futureSkew = futureSkew
    self.tag = tag
    self.nonceLength = nonceLength
  }

  /// What the signature of a command covers.
  public static let commandComponents = [
    "@method", "@target-uri", "content-digest", "content-type", "idempotency-key", "authorization",
  ]
  /// The policy of every route that changes something.
  public static let command = SignaturePolicy()
}
