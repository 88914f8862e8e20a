import SwiftProtobuf
import WorkloadIdentity

/// One stream of Envoy's Secret Discovery Service, without I/O: requests and snapshots go in, and ``next()`` says what
/// is owed. Responses are made when they are asked for and not queued, so that a slow reader gets the newest alone.
///
/// A name that stands for nothing is no error (spire#5687: it used to end the stream and all that hung on it); it is
/// answered once it stands for something. Nothing is sent that the subscriber was sent before (spire#5280), whether it
/// took it or refused it.
protocol SDSSession: Sendable {
  associatedtype Request: SwiftProtobuf.Message
  init()
  /// Takes a request in.
  /// - Throws: what ends the stream: another type than Secret, or a subscription beyond ``SDSLimits``.
  mutating func receive(_ request: Request) throws(WorkloadRefusal) -> SDSRemark?
  /// Takes the newest snapshot in.
  mutating func update(_ snapshot: WorkloadSnapshot)
  /// The response that is owed, which then counts as sent; nil if there is none.
  mutating func next() -> SDSResponse?
}

/// What is worth a line in the log.
enum SDSRemark: Equatable, Sendable {
  /// The subscriber refused a response, and why.
  case rejected(nonce: String, reason: String)
  /// The request answers an older response than the last, or none; it was passed over.
  case stale(nonce: String)
}

/// A response before it is encoded.
struct SDSResponse: Sendable {
  /// Which of the two shapes of discovery it has.
  enum Form: Sendable { case stateOfTheWorld, delta }

  let form: Form
  let version: String
  /// Empty in the answer of FetchSecrets.
  let nonce: String
  let resources: [SDSResource]
  /// The names that stand for nothing (any more); delta alone.
  let removed: [String]
}

/// What a subscriber may ask of a stream.
enum SDSLimits {
  /// The one type that is served. A service of a single type may be asked without naming it (discovery.proto, type_url).
  static let typeURL = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
  /// The most names of a stream.
  static let names = 256
  /// The most bytes of a name: a SPIFFE ID's.
  static let nameBytes = SPIFFEID.maximumBytes
  /// The most bytes of a reason in the log.
  static let reasonBytes = 512

  static func check(typeURL: String, names: some Collection<String>) throws(WorkloadRefusal) {
    guard typeURL.isEmpty || typeURL == Self.typeURL else {
      throw WorkloadRefusal(.invalidArgument, "sds_type", "ask for the type \(Self.typeURL)")
    }
    guard names.count <= Self.names, names.allSatisfy({ $0.utf8.count <= nameBytes }) else {
      throw WorkloadRefusal(
        .invalidArgument, "sds_names", "name at most \(Self.names) resources of at most \(nameBytes) bytes each")
    }
  }
}

/// The nonces of a stream: 1, 2, 3 and so on.
struct SDSNonces: Sendable {
  private(set) var last: UInt64 = 0
  private var rejected: UInt64 = 0

  mutating func draw() -> String {
    last += 1
    return String(last)
  }

  /// Whether a nonce was given out on this stream.
  func gave(_ nonce: String) -> Bool { UInt64(nonce).map { $0 >= 1 && $0 <= last } ?? false }

  /// A refusal of a response; each is told once, so that a subscriber cannot fill the log.
  mutating func reject(_ nonce: String, because reason: String) -> SDSRemark? {
    guard let number = UInt64(nonce), number > rejected, number <= last else { return nil }
    rejected = number
    return .rejected(nonce: nonce, reason: Self.printable(reason, SDSLimits.reasonBytes))
  }

  /// A request that answers none of the responses that it should.
  static func stale(_ nonce: String) -> SDSRemark { .stale(nonce: printable(nonce, 20)) }

  /// A subscriber's text, fit for the log.
  private static func printable(_ text: String, _ count: Int) -> String {
    String(decoding: text.utf8.prefix(count).map { (0x20..<0x7F).contains($0) ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
  }
}
