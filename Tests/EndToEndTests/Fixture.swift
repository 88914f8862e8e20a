import AgentIdentity
import DemoClient
import Foundation
import JOSE
import Synchronization
import Testing
import TrustCoreAPI
import Wire

/// The daemon that most tests share, with an active agent, two accounts and money in the first.
struct Fixture: Sendable {
  let daemon: DaemonProcess
  let deployment: Deployment
  let client: TrustCoreClient
  let description: APIDescription
  let agent: Party
  /// An external account of the officer.
  let bank: String
  /// A customer account of the owner with 10,000.00 EUR.
  let account: String
  /// Another one, empty at first.
  let other: String
  /// People, a consent and a rail.
  let treasury: Treasury
  /// A key and a data key.
  let vault: Vault

  private static let running = Task { try await Fixture(state: Built.fresh("shared")) }

  /// The shared daemon, started by whoever asks first.
  static var shared: Fixture { get async throws { try await running.value } }

  init(state: String) async throws {
    daemon = DaemonProcess(executable: try Built.program("trustcored"), state: state)
    let ready = try await daemon.start()
    Built.daemons.withLock { $0.append(ready.pid) }
    deployment = try Deployment(ready)
    client = try TrustCoreClient(ready)
    description = try APIDescription(try await client.get("/openapi.json"))
    agent = try await deployment.enrol(try deployment.newKey(.p256), name: "end to end", client)
    try #require(try await deployment.approve(agent, client).status == 200)
    bank = try await Self.open(deployment.officer, ["currency": "EUR", "kind": "external"], client)
    account = try await Self.open(deployment.owner, ["currency": "EUR"], client)
    other = try await Self.open(deployment.owner, ["currency": "EUR"], client)
    let funding = Transfer.body(from: bank, to: account, "10000.00")
    try #require(try await deployment.officer.submit(client, "/v1/ledger/transfers", funding).status == 201)
    treasury = try await Treasury(deployment, client)
    vault = try await Vault(deployment, client)
  }

  private static func open(_ party: Party, _ body: JSONValue, _ client: TrustCoreClient) async throws -> String {
    let answer = try await party.submit(client, "/v1/ledger/accounts", body)
    return try #require(answer["result", "account", "id"]?.string, "\(answer.text)")
  }

  // MARK: - Requests whose answers are held to the description

  /// Sends a request and holds its answer to the description.
  @discardableResult
  func send(_ request: OutgoingRequest, at location: SourceLocation = #_sourceLocation) async throws -> Answer {
    let answer = try await client.send(request)
    description.check(request, answer, at: location)
    return answer
  }

  @discardableResult
  func get(_ path: String, bearer: String? = nil, at location: SourceLocation = #_sourceLocation) async throws -> Answer
  {
    try await send(
      OutgoingRequest("GET", path, headers: bearer.map { [HTTPMessage.Field("Authorization", "Bearer " + $0)] } ?? []),
      at: location)
  }

  @discardableResult
  func read(_ path: String, as party: Party? = nil, at location: SourceLocation = #_sourceLocation) async throws
    -> Answer
  {
    let party = party ?? agent
    return try await send(try party.read(path, token: try await party.token(client)), at: location)
  }

  @discardableResult
  func submit(
    _ path: String, _ body: JSONValue, as party: Party? = nil, _ options: Party.CommandOptions = .init(),
    at location: SourceLocation = #_sourceLocation
  ) async throws -> Answer {
    let party = party ?? agent
    return try await send(try party.command(path, body, token: try await party.token(client), options), at: location)
  }

  /// What must not change when a request is refused before anything is decided: accounts, consents, payments that wait,
  /// keys, and the log.
  func standing() async throws -> Standing {
    let accounts = try await read("/v1/ledger/accounts", as: deployment.owner)
    let bank = try await read("/v1/ledger/accounts/\(bank)", as: deployment.officer)
    let settlement = try await read("/v1/ledger/accounts/\(treasury.settlement)", as: deployment.officer)
    let consents = try await read("/v1/consents", as: deployment.owner)
    let waiting = try await get("/v1/approvals", as: treasury.bob)
    let status = try await get("/v1/status", bearer: deployment.auditorToken)
    try #require([accounts, bank, settlement, consents, waiting].allSatisfy { $0.status == 200 })
    let keys = try await get("/v1/keys", bearer: deployment.auditorToken)
    let size = try #require(status["log_size"]?.integer)
    return Standing(
      accounts: [accounts, bank, settlement, consents, waiting, keys].map(\.text),
      size: size - (try await leavesByTheClock(size)))
  }

  /// Accounts, consents, payments that wait and keys, and the log without what comes by the clock.
  struct Standing: Equatable {
    let accounts: [String]
    let size: Int64
  }

  /// Asks until a leaf is under the published checkpoint.
  func sealed(_ index: Int64) async throws {
    while try #require(try await get("/v1/status", bearer: deployment.auditorToken)["log_size"]?.integer) <= index {}
  }

  /// Tokens of everyone are fetched, so that fetching them does not grow the log later.
  func warm() async throws {
    for party in [agent, deployment.owner, deployment.officer, treasury.agent, treasury.bank] {
      _ = try await party.token(client)
    }
    // A token leaves before its leaf is sealed, and an answer before the leaf of its outcome is.
    let transfer = try await submit("/v1/ledger/transfers", Transfer.body(from: account, to: other, "0.01"))
    try await sealed(try #require(transfer["outcome_leaf_index"]?.integer))
  }
}

/// Bodies of transfers.
enum Transfer {
  static func body(from: String, to: String, _ amount: String, currency: String = "EUR") -> JSONValue {
    ["entries": .array(entries(from: from, to: to, amount, currency: currency))]
  }

  static func entries(from: String, to: String, _ amount: String, currency: String = "EUR") -> [JSONValue] {
    [
      ["account": .string(from), "side": "debit", "amount": .string(amount), "currency": .string(currency)],
      ["account": .string(to), "side": "credit", "amount": .string(amount), "currency": .string(currency)],
    ]
  }
}
