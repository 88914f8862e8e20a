import Foundation
import Synchronization
import Wire

// What the issue says a payment is, as naively as it can be said: lists, and sums over them. Nothing here is taken from
// the modules. The model is told the record, leaf by leaf, and says of each what had to stand there.

/// A consent as an owner would describe it.
struct ModelConsent: Sendable {
  struct Payee: Sendable {
    let id: String
    var ach: String?
    var book: String?
  }
  struct Cosign: Sendable {
    var above: Int64
    var approvals: Int
    var group: String
  }

  var id: String
  var version = 1
  /// Tells versions apart.
  var nonce: String
  var previous: String?
  let owner: String
  let agent: String
  let account: String
  let currency: String
  var payees: [Payee]
  var single: Int64
  var daily: Int64
  var zone: String
  var hourly: Int
  var cosign: Cosign?
  var expires: Timestamp
  var isRevoked = false

  var rails: [String] {
    ["ach", "book"].filter { rail in payees.contains { rail == "ach" ? $0.ach != nil : $0.book != nil } }
  }
}

/// A rule of a policy.
struct ModelRule: Sendable {
  enum Condition: Sendable {
    case above(Int64, String)
    case first
    case rail(String)
    case payee(String)
    case outside(from: Int, to: Int, weekdays: Set<Int>, zone: String)
    case young(Int64)
  }
  enum Action: Sendable {
    case allow, deny
    case hold(Int, String?)
  }
  let condition: Condition
  let action: Action
}

/// What somebody signed.
enum Intent: Sendable {
  case pay(consent: String, payee: String, rail: String, amount: Int64, currency: String, expiresIn: Int64)
  case decide(payment: String, approves: Bool, count: UInt32)
  case void(String)
  case transfer(from: String, to: String, Int64, String)
  case hold(from: String, to: String, Int64, String, seconds: Int64)
  case capture(String)
  case release(String)
  case put(ModelConsent, count: UInt32)
  case revoke(String)
  case publish(Int, [ModelRule])
  case remove(group: String, person: String)
  case configure
  case accept(file: Int, traces: [UInt64]?)
  case sendBack([UInt64])
  case revokeAgent(String)
}

/// A command: what, who, and until when.
struct ModelCommand: Sendable {
  enum Signer: Sendable { case agent, owner, officer, person, bank }
  let intent: Intent
  let by: String
  let kind: Signer
  /// The owner for whom the signer acts.
  let owner: String
  let notAfter: Timestamp
}

/// What a command must come to.
enum Verdict: Equatable, Sendable {
  case done
  case held
  case refused(String)
}

/// A refusal, by its code.
struct Refused: Error {
  let code: String
  init(_ code: String) { self.code = code }
}

struct ModelPayment: Sendable {
  enum State: String, Sendable {
    case reserved, held, releasing, ending, posted, sent, accepted, returned, declined, voided, expired, failed
    var isOpen: Bool { [.reserved, .held, .releasing, .ending].contains(self) }
    /// What was given back does not count.
    var counts: Bool { ![.declined, .voided, .expired, .failed].contains(self) }
  }
  struct Need: Sendable {
    let group: String
    let members: [String]
    let count: Int
  }
  struct Approval: Sendable {
    let person: String
    let approves: Bool
    let leaf: UInt64
    var isSealed = false
  }

  let id: String
  let leaf: UInt64
  let consent: ModelConsent
  let agent: String
  let payee: String
  let rail: String
  let credited: String
  let amount: Int64
  let policy: Int
  let time: Timestamp
  let expires: Timestamp?
  let needs: [Need]
  var state: State
  /// The leaf that ends the hold, or is about to.
  var endedBy: UInt64?
  var approvals: [Approval] = []
  var postedAt: UInt64?
  var trace: UInt64?
  var railIndex: Int?
  var file: Int?
  var isReturning = false
  /// How often a hold came to an end: once, by the end of the world.
  var ends = 0

  func isComplete(_ given: [Approval]) -> Bool {
    needs.allSatisfy { need in
      need.members.count { member in given.contains { $0.person == member && $0.approves } } >= need.count
    }
  }
}

struct ModelHold: Sendable {
  enum State: Sendable { case reserved, held, capturing, voiding, captured, voided, expired }
  let id: String
  let owner: String
  let from, to: String
  let amount: Int64
  let expires: Timestamp
  var state: State
}

struct ModelAccount: Sendable {
  let owner: String
  let currency: String
  let isExternal: Bool
  var overdraft: Int64 = 0
  var isUnderConsent = false
}

/// The whole world, as it must be after the leaves that it was told of.
struct Model: Sendable {
  struct Movement: Sendable {
    let leaf: UInt64
    let from, to: String
    let amount: Int64
  }

  var accounts: [String: ModelAccount] = [:]
  var owners: [String] = []
  /// Agents that may act, with the owner and the moment from which on they may.
  var agents: [String: (owner: String, since: Timestamp, isRevoked: Bool)] = [:]
  var groups: [String: [String]] = [:]
  var counts: [String: UInt32] = [:]
  var consents: [String: ModelConsent] = [:]
  var policy: (version: Int, rules: [ModelRule]) = (0, [])
  var settlement = ""
  var odfi: UInt64 = 0
  var rails = 1

  var payments: [ModelPayment] = []
  var holds: [ModelHold] = []
  var posted: [Movement] = []
  /// What is recorded and has no outcome yet, by leaf.
  var inFlight: [UInt64: (id: String, command: ModelCommand)] = [:]
  var files: [(number: Int, time: Timestamp)] = []

  // MARK: - Sums

  func balance(_ account: String) -> Int64 {
    posted.reduce(0) { $0 + ($1.to == account ? $1.amount : 0) - ($1.from == account ? $1.amount : 0) }
  }

  /// What is reserved and not posted.
  var reserved: [(from: String, to: String, amount: Int64)] {
    var all = payments.filter(\.state.isOpen).map { ($0.consent.account, $0.credited, $0.amount) }
    all += payments.filter(\.isReturning).map { ($0.credited, $0.consent.account, $0.amount) }
    all += holds.filter { [.reserved, .held, .capturing, .voiding].contains($0.state) }.map {
      ($0.from, $0.to, $0.amount)
    }
    for (_, flying) in inFlight {
      if case .transfer(let from, let to, let amount, _) = flying.command.intent { all.append((from, to, amount)) }
    }
    return all
  }

  func available(_ account: String) -> Int64 {
    balance(account) + (accounts[account]?.overdraft ?? 0)
      - reserved.reduce(0) { $0 + ($1.from == account ? $1.amount : 0) }
  }

  /// The date on the calendar of a place.
  static func date(_ moment: Timestamp, _ zone: String) -> DateComponents {
    calendar(zone).dateComponents(
      [.year, .month, .day], from: Date(timeIntervalSince1970: Double(moment.milliseconds) / 1000))
  }

  private static let calendars = Mutex<[String: Calendar]>([:])
  static func calendar(_ zone: String) -> Calendar {
    calendars.withLock { calendars in
      if let known = calendars[zone] { return known }
      var calendar = Calendar(identifier: .gregorian)
      calendar.timeZone = TimeZone(identifier: zone) ?? .gmt
      calendars[zone] = calendar
      return calendar
    }
  }

  func counting(_ consent: String) -> [ModelPayment] {
    payments.filter { $0.consent.id == consent && $0.state.counts }
  }

  /// What is spent on the day of a moment.
  func spent(_ consent: ModelConsent, on moment: Timestamp) -> Int64 {
    let today = Self.date(moment, consent.zone)
    return counting(consent.id).filter { abs($0.time.milliseconds - moment.milliseconds) < 100_000_000 }
      .filter { Self.date($0.time, consent.zone) == today }.reduce(0) { $0 + $1.amount }
  }

  /// How many payments there were in the hour that ends with a moment.
  func hour(_ consent: String, _ moment: Timestamp) -> Int {
    counting(consent).count { $0.time.milliseconds > moment.milliseconds - 3_600_000 }
  }

  func index(_ id: String) -> Int? { payments.firstIndex { $0.id == id } }

  // MARK: - The policy

  func judge(
    _ consent: ModelConsent, _ payee: String, _ rail: String, _ amount: Int64, at moment: Timestamp
  ) -> (isDenied: Bool, holds: [(count: Int, group: String?)]) {
    let isFirst = !counting(consent.id).contains { $0.payee == payee }
    var (isDenied, all): (Bool, [(count: Int, group: String?)]) = (false, [])
    for rule in policy.rules {
      let holds =
        switch rule.condition {
        case .above(let limit, let currency): consent.currency == currency && amount > limit
        case .first: isFirst
        case .rail(let name): rail == name
        case .payee(let id): payee == id
        case .young(let seconds):
          moment.milliseconds - (agents[consent.agent]?.since.milliseconds ?? 0) < seconds * 1000
        case .outside(let from, let to, let weekdays, let zone):
          {
            let parts = Self.calendar(zone).dateComponents(
              [.hour, .minute, .weekday], from: Date(timeIntervalSince1970: Double(moment.seconds)))
            let minute = (parts.hour ?? 0) * 60 + (parts.minute ?? 0)
            return !(weekdays.contains(parts.weekday ?? 0) && from <= minute && minute < to)
          }()
        }
      guard holds else { continue }
      switch rule.action {
      case .allow: break
      case .deny: isDenied = true
      case .hold(let count, let group): all.append((count, group))
      }
    }
    return (isDenied, all)
  }
}
