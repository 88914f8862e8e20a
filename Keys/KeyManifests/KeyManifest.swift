internal import Crypto
public import KeyHierarchy
internal import Wire

/// The key tree of a deployment as data (`Keys/Manifests`): the keys that its tokens hold, and for each class of data
/// how its key-encryption keys rotate and who may use them.
public struct KeyManifest: Sendable, Hashable {
  /// A manifest has at most this many bytes.
  public static let maximumBytes = 64 << 10
  /// At most this many HSM keys, and as many data classes.
  public static let maximumKeys = 64

  /// The environment, one of the coordinates of each key-encryption key.
  public let environment: String
  /// The HSM keys, sorted by label.
  public let keys: [HSMKey]
  /// The data classes, sorted by name.
  public let dataClasses: [DataClass]

  /// A key that lives on a token.
  public struct HSMKey: Sendable, Hashable {
    /// Token, label and algorithm.
    public let name: KeyName
    /// How long it may be used.
    public let lifetime: Duration
    /// When the next one takes over.
    public let rotation: Rotation
    /// What it may be used for; sorted, not empty.
    public let uses: [KeyUse]
  }

  /// When a key is replaced.
  public enum Rotation: Sendable, Hashable {
    /// In a ceremony, when people decide so.
    case ceremony
    /// On schedule, at this age.
    case every(Duration)
  }

  /// The class of that name, or nil.
  public func dataClass(_ name: String) -> DataClass? { dataClasses.first { $0.name == name } }

  /// SHA-256 of the canonical text of ``json``; what a leaf names.
  public var digest: [UInt8] { Array(SHA256.hash(data: json.canonical())) }
}

/// What a key on a token may be used for.
public enum KeyUse: String, Sendable, CaseIterable {
  /// Signs X.509 certificates.
  case signCertificates = "sign-certificates"
  /// Signs tree heads of the log.
  case signCheckpoints = "sign-checkpoints"
  /// Signs OAuth and JWT-SVID tokens.
  case signTokens = "sign-tokens"
  /// Authenticates the server in TLS handshakes.
  case serveTLS = "serve-tls"
  /// Wraps key-encryption keys.
  case wrapKeys = "wrap-keys"
  /// Unwraps them.
  case unwrapKeys = "unwrap-keys"
  /// Authenticates key records.
  case authenticateRecords = "authenticate-records"

  /// What keys of an algorithm on a token may be used for; empty where the token takes no such key.
  static func allowed(_ token: TokenRole, _ algorithm: KeyAlgorithm) -> [KeyUse] {
    switch (token, algorithm) {
    case (.root, .ecdsaP256), (.root, .ecdsaP384): [.signCertificates]
    case (.log, .ed25519): [.signCheckpoints]
    case (.identity, .ecdsaP256), (.identity, .ecdsaP384), (.identity, .ed25519):
      [.signCertificates, .signTokens, .serveTLS]
    case (.identity, .rsa2048): [.signTokens]
    case (.data, .aes256Wrap): [.wrapKeys, .unwrapKeys]
    case (.data, .hmacSHA256): [.authenticateRecords]
    default: []
    }
  }
}

/// A class of data: everything of one tenant in one environment that is of this class hangs on one key-encryption key.
public struct DataClass: Sendable, Hashable {
  /// What encrypts the data.
  public enum Algorithm: String, Sendable, CaseIterable {
    /// AES-256-GCM.
    case aes256GCM = "AES-256-GCM"
  }

  /// Which tenants may have keys of the class.
  public enum Tenants: Sendable, Hashable {
    /// Every tenant.
    case all
    /// These, sorted.
    case these([String])
  }

  /// When a cached data key is dropped: at the first bound that is reached.
  public struct DataKeyBounds: Sendable, Hashable {
    /// Since it was opened.
    public let age: Duration
    /// Uses.
    public let uses: Int64
    /// Bytes encrypted or decrypted.
    public let bytes: Int64
  }

  /// An operation that a principal asks for.
  public enum Operation: Sendable {
    /// Making or opening data keys to encrypt with.
    case encrypt
    /// Opening data keys to decrypt with.
    case decrypt
  }

  /// Its name.
  public let name: String
  /// What encrypts the data.
  public let algorithm: Algorithm
  /// The age at which a new version of the key-encryption key is made.
  public let rotateEvery: Duration
  /// How long after its rotation a version still opens; nil for ever.
  public let retireAfter: Duration?
  /// Who may encrypt; sorted, not empty.
  public let mayEncrypt: [PrincipalSelector]
  /// Who may decrypt; sorted, not empty.
  public let mayDecrypt: [PrincipalSelector]
  /// When cached data keys are dropped.
  public let dataKey: DataKeyBounds
  /// How long an ordered destruction waits.
  public let destroyAfter: Duration
  /// Which tenants may have keys of the class.
  public let tenants: Tenants

  /// True where the class is open to the tenant and one of the operation's selectors names the principal. Whether the
  /// principal belongs to the tenant is the caller's to check.
  public func permits(_ operation: Operation, _ kind: PrincipalKind, id: String, tenant: String) -> Bool {
    let selectors = operation == .encrypt ? mayEncrypt : mayDecrypt
    return has(tenant: tenant) && selectors.contains { $0.names(kind, id: id) }
  }

  /// True where the tenant may have keys of the class.
  public func has(tenant: String) -> Bool {
    switch tenants {
    case .all: true
    case .these(let tenants): tenants.contains(tenant)
    }
  }
}

/// Kinds of principals, as `AgentIdentity` names them.
public enum PrincipalKind: String, Sendable, CaseIterable {
  /// An owner of accounts and agents.
  case owner
  /// A software agent.
  case agent
  /// A security officer.
  case officer
  /// A person who approves.
  case approver
  /// A bank at the other end of a rail.
  case bank
}

/// One principal, or all of a kind.
public enum PrincipalSelector: Sendable, Hashable, CustomStringConvertible {
  /// All of a kind.
  case kind(PrincipalKind)
  /// The one with this identifier.
  case id(String)

  /// True where the principal is meant.
  public func names(_ kind: PrincipalKind, id: String) -> Bool {
    switch self {
    case .kind(let meant): meant == kind
    case .id(let meant): meant == id
    }
  }

  /// The text in a manifest: `owner`, `id:off_x`.
  public var description: String {
    switch self {
    case .kind(let kind): kind.rawValue
    case .id(let id): "id:" + id
    }
  }
}
