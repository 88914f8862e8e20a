public import Ledger
public import Wire

/// A payment that the gate allowed or held: what was asked, under what it was decided, and where it stands.
public struct Payment: Sendable, Equatable {
  /// Where a payment stands.
  public enum State: String, Sendable {
    /// Its command is recorded but not sealed yet.
    case reserved
    /// It waits for approvals; funds and budget are reserved.
    case held
    /// The approval that completes it is recorded but not sealed yet.
    case releasing
    /// A decision that ends the hold is recorded but not sealed yet.
    case ending
    /// Posted in the ledger.
    case posted
    /// Its entry is in a file for the bank.
    case sent
    /// The bank has taken the file.
    case accepted
    /// The bank has sent it back, and the ledger has followed.
    case returned
    /// An approver declined it.
    case declined
    /// Its agent or owner ended it.
    case voided
    /// Its approvals did not come in time.
    case expired
    /// It could not be carried out in time.
    case failed

    /// Whether it counts against the limits of its consent: what was given back does not.
    public var counts: Bool {
      switch self {
      case .declined, .voided, .expired, .failed: false
      default: true
      }
    }
  }

  /// Approvals that a held payment needs of one group, with the roster as it was when the payment was held.
  public struct Need: Sendable, Equatable {
    /// The group.
    public let group: String
    /// Its name then.
    public let name: String
    /// Its version then.
    public let version: Int
    /// Its members then, ascending.
    public let members: [String]
    /// How many of them must approve.
    public let approvals: Int

    /// Makes a need.
    package init(group: String, name: String, version: Int, members: [String], approvals: Int) {
      self.group = group
      self.name = name
      self.version = version
      self.members = members
      self.approvals = approvals
    }
  }

  /// The identifier of the command that asked for it.
  public let id: String
  /// The tenant.
  public let tenant: String
  /// The owner whose money it is.
  public let owner: String
  /// The agent that asked.
  public let agent: String
  /// The thumbprint of the key that signed.
  public let agentThumbprint: String
  /// The consent's identifier.
  public let consent: String
  /// The version that it was decided under.
  public let consentVersion: Int
  /// That version's digest.
  public let consentDigest: [UInt8]
  /// The policy that it was decided under.
  public let policyVersion: String
  /// What the policy said and why, as ``PolicyDecision/record``.
  public let policyRecord: JSONObject
  /// The account that is debited.
  public let account: String
  /// To whom, by the identifier in the consent.
  public let counterparty: String
  /// `ach` or `book`.
  public let rail: String
  /// The account that is credited: the rail's settlement account, or the counterparty's own.
  public let credited: String
  /// How much.
  public let money: Money
  /// What it is for, in the agent's words.
  public let reference: String?
  /// ``RequestRecord/commandDigest`` of the request.
  public let commandDigest: [UInt8]
  /// Index of the leaf that allowed or held it.
  public let leafIndex: UInt64
  /// When that was.
  public let decidedAt: Timestamp
  /// Until when a held payment can be released; nil where it was not held.
  public let expires: Timestamp?
  /// The approvals that it needs; empty where it was not held.
  public let needs: [Need]
  /// Where it stands.
  public var state: State
  /// The identifier of the command that ended the hold, or is about to.
  public var endedBy: String?
  /// Index of the authorised leaf under which it was posted; nil before.
  public var postedIndex: UInt64?
  /// NACHA's code of a return, from the moment that it is recorded; nil where there is none.
  public var returnCode: String?

  /// Makes a payment, as it was decided or as it is stored.
  package init(
    id: String, tenant: String, owner: String, agent: String, agentThumbprint: String, consent: String,
    consentVersion: Int, consentDigest: [UInt8], policyVersion: String, policyRecord: JSONObject,
    account:
      String, counterparty: String, rail: String, credited: String, money: Money, reference: String?,
    commandDigest: [UInt8], leafIndex: UInt64, decidedAt: Timestamp, expires: Timestamp?, needs: [Need],
    state:
      State, endedBy: String? = nil, postedIndex: UInt64? = nil, returnCode: String? = nil
  ) {
    self.id = id
    self.tenant = tenant
    self.owner = owner
    self.agent = agent
    self.agentThumbprint = agentThumbprint
    self.consent = consent
    self.consentVersion = consentVersion
    self.consentDigest = consentDigest
    self.policyVersion = policyVersion
    self.policyRecord = policyRecord
    self.account = account
    self.counterparty = counterparty
    self.rail = rail
    self.credited = credited
    self.money = money
    self.reference = reference
    self.commandDigest = commandDigest
    self.leafIndex = leafIndex
    self.decidedAt = decidedAt
    self.expires = expires
    self.needs = needs
    self.state = state
    self.endedBy = endedBy
    self.postedIndex = postedIndex
    self.returnCode = returnCode
  }

  /// The entries that it posts.
  public var entries: [Entry] {
    [
      Entry(account: account, side: .debit, money: money), Entry(account: credited, side: .credit, money: money),
    ]
  }
}

/// What a person decided about a held payment.
public struct GivenApproval: Sendable, Equatable {
  /// The payment's identifier.
  public let payment: String
  /// The person.
  public let person: String
  /// The credential.
  public let credential: [UInt8]
  /// True for an approval, false for a decline.
  public let approves: Bool
  /// The identifier of the command that carries the assertion.
  public let command: String
  /// Index of its authorised leaf.
  public let leafIndex: UInt64
  /// False as long as its command is recorded but not sealed yet.
  public var isSealed: Bool

  /// Makes an approval.
  public init(
    payment: String, person: String, credential: [UInt8], approves: Bool, command: String, leafIndex: UInt64,
    isSealed: Bool
  ) {
    self.payment = payment
    self.person = person
    self.credential = credential
    self.approves = approves
    self.command = command
    self.leafIndex = leafIndex
    self.isSealed = isSealed
  }
}

/// What was spent or reserved under a consent within one day of its zone.
public struct BudgetWindow: Sendable, Equatable {
  /// The consent.
  public let consent: String
  /// The day's start, inclusive.
  public let start: Timestamp
  /// The day's end, exclusive.
  public let end: Timestamp
  /// Minor units.
  public var spent: Int64

  /// Makes a window.
  public init(consent: String, start: Timestamp, end: Timestamp, spent: Int64) {
    self.consent = consent
    self.start = start
    self.end = end
    self.spent = spent
  }
}
