internal import Crypto
public import Wire

/// What the user says that encrypted data is about: names with values, all of which must be said again to decrypt.
/// It is not secret. At least one is demanded, so that no ciphertext can be passed off as another's.
public struct EncryptionContext: Sendable, Equatable {
  /// At most this many members.
  public static let maximumMembers = 16

  /// Names of 1 to 64 bytes with texts of 0 to 256 bytes.
  public let members: JSONObject

  /// Takes a JSON object whose members are all texts.
  public init(_ members: JSONObject) throws(KeyRecordError) {
    guard (1...Self.maximumMembers).contains(members.members.count) else {
      throw KeyRecordError(
        .context, "an encryption context has 1 to \(Self.maximumMembers) members; say what the data is about")
    }
    for member in members {
      guard (1...64).contains(member.name.utf8.count), let text = member.value.string, text.utf8.count <= 256 else {
        throw KeyRecordError(
          .context, "'\(member.name.prefix(64))': names have 1 to 64 bytes, values are texts of at most 256 bytes")
      }
    }
    self.members = members
  }

  /// Takes a JSON value, which must be an object of texts.
  public init(_ json: JSONValue) throws(KeyRecordError) {
    guard let object = json.object else {
      throw KeyRecordError(.context, "an encryption context is a JSON object whose members are texts")
    }
    try self.init(object)
  }

  /// Reads a JSON text.
  public init(parsing bytes: [UInt8]) throws(KeyRecordError) {
    let json: JSONValue
    do {
      json = try JSONValue(parsing: bytes, maximumDepth: 1, maximumBytes: 64 << 10)
    } catch {
      throw KeyRecordError(.context, "the encryption context is no JSON object of texts: \(error)")
    }
    try self.init(json)
  }

  /// Reads texts such as `invoice=2026-17`, as a command line gives them; a value may hold further `=`.
  public init(pairs: [String]) throws(KeyRecordError) {
    var members = JSONObject()
    for pair in pairs {
      guard let equals = pair.utf8.firstIndex(of: UInt8(ascii: "=")) else {
        throw KeyRecordError(.context, "'\(pair.prefix(64))' is no context; write name=value")
      }
      let name = String(pair[..<equals])
      guard members[name] == nil else {
        throw KeyRecordError(.context, "'\(name.prefix(64))' stands twice in the context; give it once")
      }
      members[name] = .string(String(pair[pair.index(after: equals)...]))
    }
    try self.init(members)
  }

  /// The canonical text (RFC 8785): one for each context.
  public var canonical: [UInt8] { JSONValue.object(members).canonical() }

  /// SHA-256 of ``canonical``.
  public var digest: [UInt8] { Array(SHA256.hash(data: canonical)) }
}
