internal import Wire

/// Which data a key-encryption key is for: tenant × environment × data class.
public struct KeyCoordinates: Sendable, Hashable {
  /// The tenant's random identifier, 1 to 64 letters, digits, `.`, `_`, `-`.
  public let tenant: String
  /// The deployment's environment, a name of a manifest.
  public let environment: String
  /// The data class, a name of a manifest.
  public let dataClass: String

  /// Makes coordinates.
  /// - Throws: ``KeyRecordError`` where a text is none of the kind.
  public init(tenant: String, environment: String, dataClass: String) throws(KeyRecordError) {
    guard tenant.isIdentifier, environment.isManifestName, dataClass.isManifestName else {
      throw KeyRecordError(
        .invalid,
        "tenants are 1 to 64 letters, digits, '.', '_' and '-', environments and classes 1 to 64 of a-z, 0-9 and '-'; "
          + "name them as the manifest does")
    }
    self.tenant = tenant
    self.environment = environment
    self.dataClass = dataClass
  }
}

/// Where a key stands.
public enum KeyState: UInt8, Sendable, CaseIterable, CustomStringConvertible {
  /// Encrypts and opens.
  case active = 1
  /// Opens what it encrypted, never encrypts.
  case retired = 2
  /// Does neither until it is enabled.
  case disabled = 3
  /// Its record holds no key any more; final.
  case destroyed = 4

  /// The state's stable text.
  public var description: String {
    switch self {
    case .active: "active"
    case .retired: "retired"
    case .disabled: "disabled"
    case .destroyed: "destroyed"
    }
  }

  /// True where the key may encrypt.
  public var encrypts: Bool { self == .active }
  /// True where the key may open what it encrypted.
  public var opens: Bool { self == .active || self == .retired }
}

/// The bytes that `record-mac` authenticates: tag ‖ check value of the root key ‖ SHA-256 of the whole body. The digest
/// stands for the body, so that no HSM is sent more than a few bytes; the check value binds the MAC to one token.
enum RecordMAC {
  static func input(_ domain: String, root: [UInt8], digest: [UInt8]) -> [UInt8] {
    var writer = RecordWriter(domain: domain, capacity: 80)
    writer.delimited(root)
    writer.fixed(digest)
    return writer.bytes
  }
}

extension RecordWriter {
  mutating func coordinates(_ value: KeyCoordinates) {
    text(value.tenant)
    text(value.environment)
    text(value.dataClass)
  }
}

extension RecordReader {
  mutating func coordinates() throws(KeyRecordError) -> KeyCoordinates {
    try KeyCoordinates(tenant: try text(), environment: try text(), dataClass: try text())
  }
}

/// Checks an identifier or a count of bytes that a record holds.
func require(_ holds: Bool, _ message: @autoclosure () -> String) throws(KeyRecordError) {
  guard holds else { throw KeyRecordError(.invalid, message()) }
}

/// Refuses what is no key identifier.
func requireKeyID(_ id: String) throws(KeyRecordError) {
  try require(id.isIdentifier, "a key's identifier has 1 to 64 letters, digits, '.', '_' and '-'; check it")
}
