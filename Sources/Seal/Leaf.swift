public import Wire

/// A command's identifier: 16 random bytes.
public struct CommandID: Hashable, Sendable, CustomStringConvertible {
  /// The 16 bytes.
  public let bytes: [UInt8]

  /// Wraps 16 bytes; nil for another count.
  public init?(_ bytes: [UInt8]) {
    guard bytes.count == 16 else { return nil }
    self.bytes = bytes
  }

  /// Draws a new identifier.
  public init(from random: some RandomSource) { bytes = random.identifier() }

  /// Reads the text form: 22 characters of base64url.
  public init?(text: some StringProtocol) {
    guard text.utf8.count == 22, let bytes = try? Base64.URL.decode(text) else { return nil }
    self.init(bytes)
  }

  /// 22 characters of base64url.
  public var description: String { Base64.URL.encode(bytes) }
}

/// A leaf of the log: what was decided, done or issued, without a word that identifies anyone. Content enters only as
/// a salted commitment (``Commitment``). `docs/leaf-format.md` is the specification.
public enum Leaf: Sendable, Equatable {
  /// Leaf 0: the SHA-256 of `genesis.json`.
  case genesis(digest: [UInt8])
  /// A command that the gate allowed; the only leaf from which a seal can be minted.
  case authorized(Authorized)
  /// A command that the gate refused, with the refusal's stable code and a ``Commitment`` over the whole refusal, a
  /// JCS text, under the salt of the leaf's content.
  case denied(Authorized, code: String, refusal: [UInt8])
  /// A command that the gate allows only with approvals; no seal can be minted from it. `not_after` is the end of the
  /// hold: the last moment at which an approval can release it.
  case held(Authorized)
  /// What became of the authorised command at an earlier index; exactly one for each.
  case outcome(Outcome)
  /// Anything else that changes identities, keys or reservations.
  case event(Event)

  /// A decided command: authorised, held or denied.
  public struct Authorized: Sendable, Equatable {
    /// The command's identifier.
    public let command: CommandID
    /// The module that may carry it out, and no other.
    public let audience: String
    /// The tenant's random identifier.
    public let tenant: String
    /// The deployment's environment.
    public let environment: String
    /// ``Commitment`` over the encoded ``CommandEvidence``.
    public let commitment: [UInt8]
    /// Version of the policy that decided.
    public let policyVersion: String
    /// After this moment no module may carry the command out.
    public let notAfter: Timestamp

    /// Makes the leaf's value.
    public init(
      command: CommandID, audience: String, tenant: String, environment: String, commitment: [UInt8],
      policyVersion: String, notAfter: Timestamp
    ) {
      self.command = command
      self.audience = audience
      self.tenant = tenant
      self.environment = environment
      self.commitment = commitment
      self.policyVersion = policyVersion
      self.notAfter = notAfter
    }
  }

  /// What became of an authorised command.
  public struct Outcome: Sendable, Equatable {
    /// How it ended.
    public enum Status: UInt8, Sendable {
      /// The module carried it out.
      case done = 1
      /// The module could not carry it out; nothing was changed.
      case failed = 2
      /// Its `not_after` passed first; what was reserved is released.
      case expired = 3
    }

    /// Index of the authorised leaf.
    public let authorizedIndex: UInt64
    /// How it ended.
    public let status: Status
    /// ``Commitment`` over the result, a JCS text.
    public let commitment: [UInt8]

    /// Makes the leaf's value.
    public init(authorizedIndex: UInt64, status: Status, commitment: [UInt8]) {
      self.authorizedIndex = authorizedIndex
      self.status = status
      self.commitment = commitment
    }
  }

  /// An event that is no command.
  public struct Event: Sendable, Equatable {
    /// What happened, such as `token.issued`.
    public let kind: String
    /// ``Commitment`` over the event's content, a JCS text.
    public let commitment: [UInt8]

    /// Makes the leaf's value.
    public init(kind: String, commitment: [UInt8]) {
      self.kind = kind
      self.commitment = commitment
    }
  }

  static let domain = "trustcore/leaf/v1"
  /// An entry of the log holds at most this many bytes (C2SP tlog-tiles: a 16-bit length).
  public static let maximumBytes = 4096

  private var type: UInt8 {
    switch self {
    case .genesis: 1
    case .authorized: 2
    case .denied: 3
    case .outcome: 4
    case .event: 5
    case .held: 6
    }
  }

  /// The encoded leaf.
  /// - Parameter time: when it was decided, on the gate's clock.
  public func encoded(at time: Timestamp) -> [UInt8] {
    var writer = FieldWriter(domain: Self.domain, capacity: 320)
    writer.field(1, [type])
    writer.field(2, UInt64(bitPattern: time.milliseconds))
    switch self {
    case .genesis(let digest): writer.field(3, digest)
    case .authorized(let value):
      Self.write(value, decision: "allow", to: &writer)
    case .held(let value):
      Self.write(value, decision: "hold", to: &writer)
    case .denied(let value, let code, let refusal):
      Self.write(value, decision: "deny", to: &writer)
      writer.field(11, code)
      writer.field(12, refusal)
    case .outcome(let value):
      writer.field(3, value.authorizedIndex)
      writer.field(4, [value.status.rawValue])
      writer.field(5, value.commitment)
    case .event(let value):
      writer.field(3, value.kind)
      writer.field(4, value.commitment)
    }
    return writer.bytes
  }

  private static func write(_ value: Authorized, decision: String, to writer: inout FieldWriter) {
    writer.field(3, decision)
    writer.field(4, value.command.bytes)
    writer.field(5, value.audience)
    writer.field(6, value.tenant)
    writer.field(7, value.environment)
    writer.field(8, value.commitment)
    writer.field(9, value.policyVersion)
    writer.field(10, UInt64(bitPattern: value.notAfter.milliseconds))
  }

  /// Decodes a leaf and refuses any encoding but the one that ``encoded(at:)`` writes.
  public static func decode(_ bytes: [UInt8]) throws(CodecError) -> (leaf: Leaf, time: Timestamp) {
    guard bytes.count <= maximumBytes else { throw CodecError("a leaf is longer than \(maximumBytes) bytes") }
    var reader = try FieldReader(bytes, domain: domain)
    let type = try reader.bytes(1, count: 1)[0]
    let time = Timestamp(milliseconds: Int64(bitPattern: try reader.number(2)))
    let leaf: Leaf
    switch type {
    case 1: leaf = .genesis(digest: try reader.bytes(3, count: 32))
    case 2: leaf = .authorized(try authorized(&reader, decision: "allow"))
    case 3:
      let value = try authorized(&reader, decision: "deny")
      leaf = .denied(value, code: try reader.text(11), refusal: try reader.bytes(12, count: 32))
    case 4:
      let index = try reader.number(3)
      guard let status = Outcome.Status(rawValue: try reader.bytes(4, count: 1)[0]) else {
        throw CodecError("an outcome has an unknown status")
      }
      leaf = .outcome(Outcome(authorizedIndex: index, status: status, commitment: try reader.bytes(5, count: 32)))
    case 5:
      let kind = try reader.text(3)
      leaf = .event(Event(kind: kind, commitment: try reader.bytes(4, count: 32)))
    case 6: leaf = .held(try authorized(&reader, decision: "hold"))
    default: throw CodecError("a leaf has the unknown type \(type)")
    }
    try reader.finish()
    return (leaf, time)
  }

  private static func authorized(_ reader: inout FieldReader, decision: String) throws(CodecError) -> Authorized {
    guard try reader.text(3) == decision else { throw CodecError("a leaf's decision does not fit its type") }
    guard let command = CommandID(try reader.bytes(4, count: 16)) else { throw CodecError("no command id") }
    return Authorized(
      command: command, audience: try reader.text(5), tenant: try reader.text(6), environment: try reader.text(7),
      commitment: try reader.bytes(8, count: 32), policyVersion: try reader.text(9),
      notAfter: Timestamp(milliseconds: Int64(bitPattern: try reader.number(10))))
  }
}
