import DemoClient
import Foundation
import JOSE
import TransparencyLog
import TrustCoreAPI
import Wire

/// Why a line of the job deviated: what was expected, and what came instead.
struct Deviation: Error, CustomStringConvertible {
  let description: String

  init(_ what: String, expected: some Any, actual: some Any) {
    description = "\(what): expected \(expected), actual \(actual)"
  }
}

/// A line that cannot be tried because an earlier one failed.
struct NotReached: Error, CustomStringConvertible {
  let missing: String
  var description: String { "not reached: it needs \(missing)" }
}

func expect<Value: Equatable>(_ what: String, _ actual: Value, _ expected: Value) throws {
  if actual != expected { throw Deviation(what, expected: expected, actual: actual) }
}

/// What the steps share: the daemon, the parties on its stage, and the narrator. Every step does its work through
/// HTTPS, signals, files that `ready.json` names, and the two executables.
final class Stage {
  let narrator = Narrator()
  let trustcore: String
  let daemon: DaemonProcess
  /// A folder for copies, removed in the end.
  let scratch: String
  let time = WallClock()

  private var started: (client: TrustCoreClient, deployment: Deployment, log: LogVerifier)?
  private var parties: [String: Party] = [:]
  private var people: [String: Person] = [:]
  private var names: [String: String] = [:]
  /// Index of the leaf that approved a party's key, by id; of the leaf that put a consent's version in force, by name.
  var enrolments: [String: UInt64] = [:]
  /// The bank at the other end, with what it remembers.
  var bank: SandboxBank?

  init(trustcored: String, trustcore: String, state: String, scratch: String) {
    self.trustcore = trustcore
    self.scratch = scratch
    daemon = DaemonProcess(executable: trustcored, state: state, log: scratch + "/trustcored.log")
  }

  // MARK: - The daemon

  func start() async throws {
    let ready = try await daemon.start()
    let before = started
    let client = try TrustCoreClient(ready)
    // The roster stays the same over restarts, and with it the tokens that its parties hold.
    started = (client, try before?.deployment ?? Deployment(ready), try LogVerifier(ready))
    await before?.client.close()
  }

  func stop() async throws {
    try expect("exit status of trustcored after SIGTERM", try await daemon.stop() ?? 0, 0)
  }

  func kill() async {
    await daemon.kill()
  }

  func end() async {
    await kill()
    await started?.client.close()
    started = nil
  }

  var client: TrustCoreClient { get throws { try running.client } }
  var deployment: Deployment { get throws { try running.deployment } }
  var log: LogVerifier { get throws { try running.log } }
  var owner: Party { get throws { try deployment.owner } }
  var officer: Party { get throws { try deployment.officer } }

  private var running: (client: TrustCoreClient, deployment: Deployment, log: LogVerifier) {
    get throws {
      guard let started else { throw NotReached(missing: "a daemon that serves") }
      return started
    }
  }

  // MARK: - Parties and names

  func party(_ name: String) throws -> Party {
    guard let party = parties[name] else { throw NotReached(missing: "the agent '\(name)'") }
    return party
  }

  func setParty(_ name: String, _ party: Party) { parties[name] = party }

  /// Someone with a hardware key.
  func person(_ name: String) throws -> Person {
    guard let person = people[name] else { throw NotReached(missing: "the hardware key of \(name)") }
    return person
  }

  func setPerson(_ name: String, _ person: Person) { people[name] = person }

  /// An identifier, or another text, that an earlier line left.
  func named(_ name: String) throws -> String {
    guard let text = names[name] else { throw NotReached(missing: "the \(name)") }
    return text
  }

  func setName(_ name: String, _ text: String) { names[name] = text }

  // MARK: - Lines

  func item(
    _ number: String, _ title: String, _ story: String, _ body: () async throws -> Outcome
  ) async {
    narrator.item(number, title, story)
    let outcome: Outcome
    do { outcome = try await body() } catch { outcome = .deviated("\(error)") }
    narrator.outcome(number, title, outcome)
  }

  /// A refusal: the answer must have this status and code, and no balance may change.
  func refusal(
    _ number: String, _ title: String, _ story: String, _ status: Int, _ code: String,
    _ body: () async throws -> Answer
  ) async {
    await refusal(number, title, story, status, code, after: {}, body)
  }

  /// The same after a preparation, which may change balances.
  func refusal<Prepared>(
    _ number: String, _ title: String, _ story: String, _ status: Int, _ code: String,
    after prepare: () async throws -> Prepared, _ body: (Prepared) async throws -> Answer
  ) async {
    await item(number, title, story) {
      let prepared = try await prepare()
      let before = try await balances()
      let answer = try await body(prepared)
      try expect("answer", answer.summary, "\(status) \(code)")
      guard let detail = answer["detail"]?.string, !detail.isEmpty else {
        throw Deviation("detail", expected: "a sentence", actual: answer.text)
      }
      narrator.value("\(status)", detail)
      try expect("balances", try await balances(), before)
      return .refused(code: code, "and no balance changed")
    }
  }

  /// An answer that must be of a status.
  @discardableResult
  func demand(_ status: Int, _ what: String, _ answer: Answer) throws -> Answer {
    guard answer.status == status else {
      throw Deviation(what, expected: status, actual: answer.summary + " " + (answer["detail"]?.string ?? ""))
    }
    return answer
  }

  // MARK: - Money

  /// Balance, available and pending amounts of every account, by identifier, as owner and officer read them.
  func balances() async throws -> [String: String] {
    var balances: [String: String] = [:]
    for party in [try owner, try officer] {
      let answer = try demand(200, "the accounts", try await party.get(try client, "/v1/ledger/accounts"))
      for account in answer["accounts"]?.array ?? [] {
        guard let object = account.object, let id = object["id"]?.string else { continue }
        balances[id] = ["balance", "available", "debits_pending", "credits_pending"]
          .map { "\($0) \(object[$0]?.string ?? "")" }.joined(separator: ", ")
      }
    }
    return balances
  }

  /// Balance and available amount of an account in minor units of a currency with two digits.
  func account(_ name: String, as reader: Party? = nil) async throws -> (balance: Int, available: Int) {
    let answer = try demand(
      200, "the account", try await (reader ?? owner).get(try client, "/v1/ledger/accounts/\(try named(name))"))
    func minor(_ member: String) throws -> Int {
      guard let text = answer[member]?.string, text.contains("."), let units = Int(text.filter { $0 != "." }) else {
        throw Deviation(member, expected: "an amount with two decimals", actual: answer.text)
      }
      return units
    }
    return (try minor("balance"), try minor("available"))
  }

  static func decimal(_ units: Int) -> String {
    (units < 0 ? "-" : "") + "\(abs(units) / 100)." + String("\(100 + abs(units) % 100)".dropFirst())
  }

  /// The body of a transfer between two named accounts.
  func transfer(
    _ units: Int, from debit: String = "operating account", to credit: String = "supplier account",
    currency: String = "USD", memo: String? = nil
  ) throws -> JSONValue {
    var body = try entries(Self.decimal(units), Self.decimal(units), debit, credit, currency)
    if let memo { body["memo"] = .string(memo) }
    return .object(body)
  }

  func entries(
    _ debited: String, _ credited: String, _ debit: String = "operating account",
    _ credit: String = "supplier account", _ currency: String = "USD"
  ) throws -> JSONObject {
    func entry(_ account: String, _ side: String, _ amount: String) throws -> JSONValue {
      [
        "account": .string(try named(account)), "side": .string(side), "amount": .string(amount),
        "currency": .string(currency),
      ]
    }
    return ["entries": .array([try entry(debit, "debit", debited), try entry(credit, "credit", credited)])]
  }

  /// Asks until the answer is there, at most for some seconds: what time brings cannot be ordered.
  @discardableResult
  func poll<Value>(
    _ what: String, seconds: Int, _ ask: () async throws -> Value?
  ) async throws -> Value {
    let deadline = ContinuousClock.now + .seconds(seconds)
    while true {
      if let value = try await ask() { return value }
      guard ContinuousClock.now < deadline else {
        throw Deviation(what, expected: "within \(seconds) s", actual: "not yet")
      }
      try await Task.sleep(for: .milliseconds(50))
    }
  }
}
