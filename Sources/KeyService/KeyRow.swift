/// A key-encryption key as people name it: one for each tenant and data class, with its versions.
public struct KeyRow: Sendable, Equatable {
  /// Where a key stands.
  public enum State: String, Sendable, CaseIterable {
    /// Ordered, and not made yet.
    case pending
    /// In use.
    case active
    /// Neither encrypts nor decrypts until it is enabled again.
    case disabled
    /// Its destruction is ordered: it is used no more.
    case destroying
    /// Its wrapped bytes are erased.
    case destroyed
  }

  /// `key_…`
  public let id: String
  /// The tenant that it belongs to.
  public let tenant: String
  /// The data class of the manifest.
  public let dataClass: String
  /// Index of the leaf that ordered it.
  public let leafIndex: UInt64
  /// Where it stands.
  public var state: State
  /// Its newest version; 0 until it is made.
  public var version: UInt32
  /// When the newest version was made; milliseconds.
  public var since: Int64

  /// Makes a row.
  public init(
    id: String, tenant: String, dataClass: String, leafIndex: UInt64, state: State, version: UInt32, since: Int64
  ) {
    self.id = id
    self.tenant = tenant
    self.dataClass = dataClass
    self.leafIndex = leafIndex
    self.state = state
    self.version = version
    self.since = since
  }
}

/// One version of a key: its record, and the codes of authenticity beside it. Both are opaque to the storage.
public struct KeyVersionRow: Sendable, Equatable {
  /// The key.
  public let key: String
  /// The version, from 1.
  public let version: UInt32
  /// The encoded record. Once destroyed it holds no wrapped bytes; empty where a restore has replayed a destruction.
  public var record: [UInt8]
  /// The encoded codes of authenticity.
  public var codes: [UInt8]
  /// Index of the leaf that records its present form.
  public var leafIndex: UInt64

  /// Makes a row.
  public init(key: String, version: UInt32, record: [UInt8], codes: [UInt8], leafIndex: UInt64) {
    self.key = key
    self.version = version
    self.record = record
    self.codes = codes
    self.leafIndex = leafIndex
  }
}

/// A data key: its record, which names the version that encrypts it, and its codes of authenticity.
public struct DataKeyRow: Sendable, Equatable {
  /// `dek_…`
  public let id: String
  /// The key that encrypts it.
  public let key: String
  /// The version of that key.
  public var version: UInt32
  /// The encoded record.
  public var record: [UInt8]
  /// The encoded codes of authenticity.
  public var codes: [UInt8]
  /// Index of the leaf that records its present form.
  public var leafIndex: UInt64

  /// Makes a row.
  public init(id: String, key: String, version: UInt32, record: [UInt8], codes: [UInt8], leafIndex: UInt64) {
    self.id = id
    self.key = key
    self.version = version
    self.record = record
    self.codes = codes
    self.leafIndex = leafIndex
  }
}

/// One step in the history of a record: what its newest form is. The rows are only added to, and each continues a chain
/// of digests whose end is kept outside the database.
public struct KeyEventRow: Sendable, Equatable {
  /// Counts from 1 without gaps.
  public let sequence: UInt64
  /// The record: `key_…/<version>` or `dek_…`.
  public let record: String
  /// A key's version, or a data key's revision.
  public let number: UInt32
  /// The record's state: `active`, `retired`, `disabled`, `destroyed`.
  public let state: String
  /// SHA-256 of the encoded record.
  public let digest: [UInt8]
  /// Index of the leaf that records it.
  public let leafIndex: UInt64
  /// The chain after this step; 32 bytes.
  public let chain: [UInt8]

  /// Makes a row.
  public init(
    sequence: UInt64, record: String, number: UInt32, state: String, digest: [UInt8], leafIndex: UInt64, chain: [UInt8]
  ) {
    self.sequence = sequence
    self.record = record
    self.number = number
    self.state = state
    self.digest = digest
    self.leafIndex = leafIndex
    self.chain = chain
  }
}

/// Work with the HSM that a sealed command or the schedule has ordered.
public struct KeyTask: Sendable, Equatable {
  /// What is to be done.
  public enum Kind: String, Sendable, CaseIterable {
    /// Make the first version.
    case create
    /// Make a further version; earlier ones open and no longer encrypt.
    case rotate
    /// Encrypt every data key of earlier versions under the newest.
    case rewrap
    /// Write all versions as disabled.
    case disable
    /// Write all versions as they were before.
    case enable
    /// Erase all versions.
    case destroy
    /// Erase the versions that no data key needs and whose time is over.
    case retire
  }

  /// Where it stands.
  public enum State: String, Sendable, CaseIterable {
    /// To be done.
    case pending
    /// Done.
    case done
    /// Will not be done.
    case cancelled
  }

  /// The command's identifier, or `due_<leaf index>` for what the schedule ordered.
  public let id: String
  /// The key.
  public let key: String
  /// What is to be done.
  public let kind: Kind
  /// Not before this moment; milliseconds.
  public let notBefore: Int64
  /// Index of the leaf that ordered it.
  public let leafIndex: UInt64
  /// Where it stands.
  public var state: State
  /// Index of the leaf that records its end.
  public var endIndex: UInt64?

  /// Makes a task.
  public init(
    id: String, key: String, kind: Kind, notBefore: Int64, leafIndex: UInt64, state: State = .pending,
    endIndex: UInt64? = nil
  ) {
    self.id = id
    self.key = key
    self.kind = kind
    self.notBefore = notBefore
    self.leafIndex = leafIndex
    self.state = state
    self.endIndex = endIndex
  }
}

/// A manifest that came into force.
public struct KeyManifestRow: Sendable, Equatable {
  /// Index of the leaf that put it in force.
  public let leafIndex: UInt64
  /// Its YAML text.
  public let document: [UInt8]

  /// Makes a row.
  public init(leafIndex: UInt64, document: [UInt8]) {
    self.leafIndex = leafIndex
    self.document = document
  }
}
