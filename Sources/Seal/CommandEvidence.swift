import Crypto
import Wire

/// The raw bytes of a signed request, kept so that anyone can verify the signature again later.
public struct RequestRecord: Sendable, Equatable {
  /// The method, such as `POST`.
  public let method: String
  /// The absolute URI that the request was sent to, as signed.
  public let targetURI: String
  /// The signed header fields with their values, in the order of the signature's components.
  public let fields: [Field]
  /// The value of `Signature-Input`.
  public let signatureInput: String
  /// The value of `Signature`.
  public let signature: String
  /// The body as received.
  public let body: [UInt8]

  /// A header field.
  public struct Field: Sendable, Equatable {
    /// The name in lower case.
    public let name: String
    /// The value.
    public let value: String
    /// Makes a field.
    public init(name: String, value: String) {
      self.name = name
      self.value = value
    }
  }

  /// Makes a record.
  public init(
    method: String, targetURI: String, fields: [Field], signatureInput: String, signature: String, body: [UInt8]
  ) {
    self.method = method
    self.targetURI = targetURI
    self.fields = fields
    self.signatureInput = signatureInput
    self.signature = signature
    self.body = body
  }

  /// Whether a WebAuthn assertion in the body proves the request, which then has no HTTP message signature.
  public var isAsserted: Bool { signatureInput.isEmpty && signature.isEmpty }

  /// The value of a signed field.
  public func field(_ name: String) -> String? { fields.first { $0.name == name }?.value }

  /// The path of the target URI, without query.
  public var path: String {
    // `scheme://authority/path`: the path begins at the third slash.
    var rest = targetURI.utf8[...]
    for _ in 0..<3 {
      guard let slash = rest.firstIndex(of: UInt8(ascii: "/")) else { return "/" }
      rest = rest[rest.index(after: slash)...]
    }
    let path = rest.prefix { $0 != UInt8(ascii: "?") && $0 != UInt8(ascii: "#") }
    return "/" + String(Substring(path))
  }

  /// What makes two requests the same command: method, target and body, length-delimited under a domain tag.
  public var commandDigest: [UInt8] {
    var writer = FieldWriter(domain: "trustcore/command/v1", capacity: body.count + 256)
    writer.field(1, method)
    writer.field(2, targetURI)
    writer.field(3, body)
    return Array(SHA256.hash(data: writer.bytes))
  }
}

/// Everything that an authorised or denied leaf commits to: the signed request and whose it is.
public struct CommandEvidence: Sendable, Equatable {
  /// The signed request.
  public let request: RequestRecord
  /// The principal's identifier.
  public let principal: String
  /// The principal's public key as a JWK, a JCS text.
  public let key: [UInt8]
  /// Index of the leaf under which the principal's key was approved: 0, genesis, for those of the first roster.
  public let enrolmentIndex: UInt64
  /// The earlier leaves that the decision rests on.
  public let references: [Reference]

  /// An earlier leaf that a decision rests on.
  public struct Reference: Sendable, Equatable {
    /// What the leaf is to the decision: `consent`, `policy`, `held`, `approval`, `file` or `payment`.
    public let role: String
    /// The leaf's index.
    public let index: UInt64

    /// Names a leaf.
    public init(_ role: String, _ index: UInt64) {
      self.role = role
      self.index = index
    }
  }

  /// Makes the evidence.
  public init(
    request: RequestRecord, principal: String, key: [UInt8], enrolmentIndex: UInt64, references: [Reference] = []
  ) {
    self.request = request
    self.principal = principal
    self.key = key
    self.enrolmentIndex = enrolmentIndex
    self.references = references
  }

  static let domain = "trustcore/evidence/v1"
  /// Of evidence with references; as long as the other tag, which the encoder relies on.
  static let referringDomain = "trustcore/evidence/v2"
  /// A decision rests on at most so many earlier leaves.
  static let maximumReferences = 64

  /// The encoded evidence.
  public var encoded: [UInt8] {
    var writer = FieldWriter(domain: Self.domain, capacity: 2048 + request.body.count)
    writer.field(1, request.method)
    writer.field(2, request.targetURI)
    var fields: [UInt8] = []
    fields.reserveCapacity(1024)
    for field in request.fields {
      for text in [field.name, field.value] {
        fields.append(bigEndian: UInt32(text.utf8.count))
        fields.append(contentsOf: text.utf8)
      }
    }
    writer.field(3, fields)
    writer.field(4, request.signatureInput)
    writer.field(5, request.signature)
    writer.field(6, request.body)
    writer.field(7, principal)
    writer.field(8, key)
    writer.field(9, enrolmentIndex)
    return Self.encoded(writer.bytes, adding: references)
  }

  /// Adds references to evidence that has none, without encoding the rest again.
  static func encoded(_ plain: [UInt8], adding references: [Reference]) -> [UInt8] {
    if references.isEmpty { return plain }
    var bytes = plain
    bytes.replaceSubrange(1...referringDomain.utf8.count, with: referringDomain.utf8)
    var packed: [UInt8] = []
    for reference in references {
      packed.append(bigEndian: UInt32(reference.role.utf8.count))
      packed.append(contentsOf: reference.role.utf8)
      packed.append(contentsOf: [UInt8](bigEndian: reference.index))
    }
    bytes.append(10)
    bytes.append(bigEndian: UInt32(packed.count))
    return bytes + packed
  }

  /// Decodes evidence and refuses any encoding but the one that ``encoded`` writes.
  public init(decoding bytes: [UInt8]) throws(CodecError) {
    let refers = bytes.dropFirst().starts(with: Self.referringDomain.utf8)
    var reader = try FieldReader(bytes, domain: refers ? Self.referringDomain : Self.domain)
    let method = try reader.text(1)
    let target = try reader.text(2)
    var packed = try reader.bytes(3)[...]
    var fields: [RequestRecord.Field] = []
    while !packed.isEmpty {
      let name = try Self.text(&packed)
      fields.append(RequestRecord.Field(name: name, value: try Self.text(&packed)))
    }
    request = RequestRecord(
      method: method, targetURI: target, fields: fields, signatureInput: try reader.text(4),
      signature: try reader.text(5), body: try reader.bytes(6))
    principal = try reader.text(7)
    key = try reader.bytes(8)
    enrolmentIndex = try reader.number(9)
    references = refers ? try Self.references(try reader.bytes(10)) : []
    try reader.finish()
  }

  private static func references(_ bytes: [UInt8]) throws(CodecError) -> [Reference] {
    var packed = bytes[...]
    var references: [Reference] = []
    while !packed.isEmpty {
      let role = try text(&packed)
      guard packed.count >= 8, references.count < maximumReferences else {
        throw CodecError("a reference is cut short, or there are more than \(maximumReferences)")
      }
      references.append(Reference(role, packed.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }))
      packed = packed.dropFirst(8)
    }
    // Evidence without references is of version 1.
    guard !references.isEmpty else { throw CodecError("evidence of version 2 has no references") }
    return references
  }

  private static func text(_ packed: inout ArraySlice<UInt8>) throws(CodecError) -> String {
    guard packed.count >= 4 else { throw CodecError("a header field or a role is cut short") }
    let length = packed.prefix(4).reduce(0) { $0 << 8 | Int($1) }
    guard packed.count - 4 >= length,
      let text = String(validating: packed.dropFirst(4).prefix(length), as: UTF8.self)
    else { throw CodecError("a header field or a role is cut short or no UTF-8") }
    packed = packed.dropFirst(4 + length)
    return text
  }
}
