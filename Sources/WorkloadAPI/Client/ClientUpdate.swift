import GRPCCore
public import WorkloadIdentity

/// An X.509-SVID as a workload gets it from the daemon.
public struct ClientX509SVID: Sendable {
  /// The identity.
  public let id: SPIFFEID
  /// The certificate and its issuers below the root, each DER, the leaf first.
  public let chain: [[UInt8]]
  /// The private key, in locked memory; nil where the workload keeps it itself.
  public let key: SVIDKey?
  /// The trust domain's roots, each DER.
  public let bundle: [[UInt8]]
  /// The entry's hint; empty where it has none.
  public let hint: String

  /// The same with the key that its workload has kept.
  public func with(key: SVIDKey) -> ClientX509SVID {
    ClientX509SVID(id: id, chain: chain, key: key, bundle: bundle, hint: hint)
  }
}

/// All that a workload is entitled to. It is complete: what is absent was taken away.
public struct ClientX509Update: Sendable {
  /// The identities, the default first; never empty.
  public let svids: [ClientX509SVID]
  /// Certificate revocation lists, DER.
  public let crls: [[UInt8]]
  /// The roots of the other trust domains, each DER.
  public let federated: [TrustDomain: [[UInt8]]]

  /// An update of one identity, of which nothing else is known.
  public init(alone svid: ClientX509SVID) { self.init(svids: [svid], crls: [], federated: [:]) }

  init(svids: [ClientX509SVID], crls: [[UInt8]], federated: [TrustDomain: [[UInt8]]]) {
    self.svids = svids
    self.crls = crls
    self.federated = federated
  }
}

/// Whom a workload may trust. It is complete: what is absent was taken away.
public struct ClientX509Bundles: Sendable {
  /// The roots by trust domain, each DER.
  public internal(set) var roots: [TrustDomain: [[UInt8]]] = [:]
  /// Certificate revocation lists, DER.
  public internal(set) var crls: [[UInt8]] = []
}

/// Whether a client wants more of a stream.
public enum ClientStreamStep: Sendable {
  /// The next message, when there is one.
  case more
  /// The stream is ended.
  case enough
}

/// Reads `X509SVIDResponse`, with its keys into locked memory.
struct X509UpdateDeserializer: MessageDeserializer {
  let store: SVIDKeyStore

  func deserialize<Bytes: GRPCContiguousBytes>(_ message: Bytes) throws -> ClientX509Update {
    try unsafe message.withUnsafeBytes { try unsafe read($0.bytes) }
  }

  private func read(_ message: RawSpan) throws -> ClientX509Update {
    var svids: [ClientX509SVID] = []
    var crls: [[UInt8]] = []
    var federated: [TrustDomain: [[UInt8]]] = [:]
    var reader = ProtobufReader(message)
    while let field = try reader.next() {
      switch field.number {
      case 1: svids.append(try svid(field.content))
      case 2: crls.append(field.bytes)
      case 3:
        let entry = try MapEntry(field.content)
        federated[try SPIFFEID(entry.key).trustDomain] = try DERSequence.split(entry.value)
      default: break
      }
    }
    guard !svids.isEmpty else { throw WorkloadAPIError(.answer, "the daemon answered without an X.509-SVID") }
    return ClientX509Update(svids: svids, crls: crls, federated: federated)
  }

  private func svid(_ message: RawSpan) throws -> ClientX509SVID {
    var id = ""
    var chain: [UInt8] = []
    var key: SVIDKey?
    var bundle: [UInt8] = []
    var hint = ""
    var reader = ProtobufReader(message)
    while let field = try reader.next() {
      switch field.number {
      case 1: id = field.text
      case 2: chain = field.bytes
      case 3: key = try store.key(copying: field.content)
      case 4: bundle = field.bytes
      case 5: hint = field.text
      default: break
      }
    }
    guard let key, !chain.isEmpty, !bundle.isEmpty else {
      throw WorkloadAPIError(.answer, "the daemon answered with an X.509-SVID without certificate, key or bundle")
    }
    return ClientX509SVID(
      id: try SPIFFEID(id), chain: try DERSequence.split(chain), key: key, bundle: try DERSequence.split(bundle),
      hint: hint)
  }
}

/// Reads `X509BundlesResponse`.
struct X509BundlesDeserializer: MessageDeserializer {
  func deserialize<Bytes: GRPCContiguousBytes>(_ message: Bytes) throws -> ClientX509Bundles {
    try unsafe message.withUnsafeBytes { bytes in
      var bundles = ClientX509Bundles()
      var reader = unsafe ProtobufReader(bytes.bytes)
      while let field = try reader.next() {
        if field.number == 1 { bundles.crls.append(field.bytes) }
        guard field.number == 2 else { continue }
        let entry = try MapEntry(field.content)
        bundles.roots[try SPIFFEID(entry.key).trustDomain] = try DERSequence.split(entry.value)
      }
      return bundles
    }
  }
}

/// Reads `JWTBundlesResponse`: a map from trust domain IDs to JWK sets.
struct JWTBundlesDeserializer: MessageDeserializer {
  func deserialize<Bytes: GRPCContiguousBytes>(_ message: Bytes) throws -> [TrustDomain: [UInt8]] {
    try unsafe message.withUnsafeBytes { bytes in
      var bundles: [TrustDomain: [UInt8]] = [:]
      var reader = unsafe ProtobufReader(bytes.bytes)
      while let field = try reader.next() {
        guard field.number == 1 else { continue }
        let entry = try MapEntry(field.content)
        bundles[try SPIFFEID(entry.key).trustDomain] = entry.value
      }
      return bundles
    }
  }
}

/// An entry of a map from text to bytes.
private struct MapEntry {
  var key = ""
  var value: [UInt8] = []

  init(_ message: RawSpan) throws(WorkloadAPIError) {
    var reader = ProtobufReader(message)
    while let field = try reader.next() {
      if field.number == 1 { key = field.text }
      if field.number == 2 { value = field.bytes }
    }
  }
}

/// Certificates that follow one another without anything between (SPIFFE_Workload_API.md section 5.1).
enum DERSequence {
  /// Cuts at the end of each SEQUENCE (X.690 section 8.1); what is in them is for others to read.
  static func split(_ bytes: [UInt8]) throws(WorkloadAPIError) -> [[UInt8]] {
    var parts: [[UInt8]] = []
    var rest = bytes[...]
    while !rest.isEmpty {
      let bytes = Array(rest.prefix(6))
      guard bytes.count >= 2, bytes[0] == 0x30 else { throw malformed }
      var header = 2
      var count = Int(bytes[1])
      if count >= 0x80 {
        header += count & 0x7F
        guard (3...6).contains(header), bytes.count >= header else { throw malformed }
        count = bytes[2..<header].reduce(0) { $0 << 8 | Int($1) }
      }
      guard header + count <= rest.count else { throw malformed }
      parts.append(Array(rest.prefix(header + count)))
      rest = rest.dropFirst(header + count)
    }
    return parts
  }

  private static var malformed: WorkloadAPIError {
    WorkloadAPIError(.answer, "the daemon's certificates are no sequence of DER")
  }
}
