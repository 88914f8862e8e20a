/// A policy that is or was in force.
public struct PolicyVersion: Sendable, Equatable {
  /// The tenant that it is for.
  public let tenant: String
  /// The rules.
  public let document: PolicyDocument
  /// Index of the authorised leaf that put it in force.
  public let leafIndex: UInt64

  /// Makes a version.
  public init(tenant: String, document: PolicyDocument, leafIndex: UInt64) {
    self.tenant = tenant
    self.document = document
    self.leafIndex = leafIndex
  }
}

/// Where policies are kept; versions are immutable. Synchronous: a unit of work is taken `inout`.
public protocol PolicyStore {
  /// The newest policy of a tenant; nil where the officers have set none.
  mutating func policy(tenant: String) throws -> PolicyVersion?
  /// Adds a version; one that is taken is an error of the store.
  mutating func insert(_ policy: PolicyVersion) throws
}
