public import Rails
public import Wire

/// How a tenant's payments leave by ACH.
public struct ACHRail: Sendable, Equatable {
  /// The tenant.
  public let tenant: String
  /// Who originates, as the bank knows it.
  public let originator: ACHOriginator
  /// The external account of the ledger that stands for the bank.
  public let settlementAccount: String
  /// The principal of the bank, which says what became of files.
  public let bank: String
  /// Index of the authorised leaf that configured it.
  public let leafIndex: UInt64

  /// Makes a rail.
  public init(tenant: String, originator: ACHOriginator, settlementAccount: String, bank: String, leafIndex: UInt64) {
    self.tenant = tenant
    self.originator = originator
    self.settlementAccount = settlementAccount
    self.bank = bank
    self.leafIndex = leafIndex
  }
}

/// An entry that goes, or went, into a file: durable before the file is written, its identifiers from its leaf.
public struct RailEntry: Sendable, Equatable {
  /// Index of the authorised leaf under which the payment was posted.
  public let leafIndex: UInt64
  /// The payment.
  public let payment: String
  /// The tenant.
  public let tenant: String
  /// The entry's trace number.
  public let trace: UInt64
  /// Index of the leaf whose configuration it goes out under.
  public let railIndex: UInt64
  /// The file that it went into, counted from 1 in its tenant; nil as long as it waits.
  public var file: Int?

  /// Makes an entry.
  public init(leafIndex: UInt64, payment: String, tenant: String, trace: UInt64, railIndex: UInt64, file: Int? = nil) {
    self.leafIndex = leafIndex
    self.payment = payment
    self.tenant = tenant
    self.trace = trace
    self.railIndex = railIndex
    self.file = file
  }
}

/// A file for the bank. Its bytes follow from these fields and its entries, so that it is the same whenever it is
/// written.
public struct RailFile: Sendable, Equatable {
  /// The tenant.
  public let tenant: String
  /// Counts the tenant's files, from 1.
  public let number: Int
  /// When it was cut.
  public let created: Timestamp
  /// NACHA's file id modifier.
  public let modifier: String
  /// Index of the event leaf that records it.
  public let leafIndex: UInt64
  /// The rail's configuration, by the leaf that made it.
  public let railIndex: UInt64
  /// How many entries it has.
  public let count: Int
  /// SHA-256 of its bytes.
  public let digest: [UInt8]

  /// Makes a record.
  public init(
    tenant: String, number: Int, created: Timestamp, modifier: String, leafIndex: UInt64, railIndex: UInt64,
    count: Int, digest: [UInt8]
  ) {
    self.tenant = tenant
    self.number = number
    self.created = created
    self.modifier = modifier
    self.leafIndex = leafIndex
    self.railIndex = railIndex
    self.count = count
    self.digest = digest
  }
}
