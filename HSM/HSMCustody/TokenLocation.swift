public import SecretMemory

extension PKCS11Custodian {
  /// Where a token is and how its PIN is had.
  public struct TokenLocation: Sendable {
    /// An RFC 7512 URI with the label, better with the serial too; never with a PIN.
    public let uri: String
    /// Gives the PIN, when the token is opened.
    public let pin: @Sendable () throws(SecretMemoryError) -> SecretBytes

    /// A token whose PIN comes from somewhere.
    public init(uri: String, pin: @escaping @Sendable () throws(SecretMemoryError) -> SecretBytes) {
      self.uri = uri
      self.pin = pin
    }

    /// A token whose PIN is in one of the places where PINs may be.
    public init(uri: String, pin source: PINSource) {
      self.init(uri: uri) { () throws(SecretMemoryError) in try source.read() }
    }

    /// A token whose PIN is in a file of mode 0600.
    public init(uri: String, pinFile: String) { self.init(uri: uri, pin: .file(pinFile)) }
  }

  /// Bounds on what a custodian uses and takes. All are per token, so one that hangs takes nothing from the others.
  public struct Limits: Sendable {
    /// Sessions to work on, beside the one that holds the login, at least 1. A token that has fewer gets by with what it
    /// has, with that one even.
    public var sessionsPerToken = 2
    /// Threads that call the token; SoftHSM loses throughput with more than two.
    public var threads = 2
    /// Operations that may wait for a thread; further ones are refused with `hsm_busy`.
    public var waitingOperations = 1024
    /// The longest message for Ed25519 and HMAC, which go to the HSM whole, the longest context and the most random
    /// bytes at once.
    public var messageBytes = 1 << 20
    /// How long an operation may take, with its time in the queue and a repetition; then its caller gets `hsm_timeout`.
    public var deadline = Duration.seconds(10)
    /// Calls past their deadline that may hang inside the token before it counts as unresponsive, and further operations
    /// are refused at once. Each keeps a thread and a session.
    public var stuckCalls = 4
    /// Key-encryption keys that a token holds at once; the one unused for longest goes first.
    public var loadedKeys = 256

    /// The defaults.
    public init() {}
  }
}
