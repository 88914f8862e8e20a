import Foundation
public import JOSE
public import TrustCoreAPI
public import Wire

/// A running deployment as its files describe it: the parties of the development roster, and the bearer tokens.
public struct Deployment: Sendable {
  /// What the daemon wrote.
  public let ready: ReadyFile
  /// The security officer of the development roster.
  public let officer: Party
  /// The owner of the development roster.
  public let owner: Party
  /// The initial access token with which agents enrol.
  public let registrationToken: String
  /// The token that opens entry bundles.
  public let auditorToken: String
  private let time: any TimeSource
  private let random: any RandomSource

  /// Reads the files that a `ready.json` names.
  public init(_ ready: ReadyFile, time: any TimeSource = WallClock(), random: any RandomSource = KernelRandom()) throws
  {
    func text(_ name: String) throws -> String {
      guard let path = ready[name], let data = FileManager.default.contents(atPath: path) else {
        throw DemoError("ready.json names no readable '\(name)'")
      }
      return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }
    func party(_ name: String) throws -> Party {
      guard let id = ready[name + "_id"], let api = ready["api"] else { throw DemoError("ready.json lacks \(name)_id") }
      var jwk = try JSONValue(parsing: Array(try text(name + "_key_file").utf8)).object ?? [:]
      jwk["kid"] = nil
      return Party(id: id, key: try SigningKey(privateJWK: .object(jwk)), api: api, time: time, random: random)
    }
    self.ready = ready
    self.time = time
    self.random = random
    officer = try party("officer")
    owner = try party("owner")
    registrationToken = try text("registration_token_file")
    auditorToken = try text("auditor_token_file")
  }

  /// The base URL.
  public var api: String { ready["api"] ?? "" }

  /// A party with a key and an id, on this deployment's clock and randomness.
  public func party(id: String, key: SigningKey) -> Party {
    Party(id: id, key: key, api: api, time: time, random: random)
  }

  /// A new key.
  public func newKey(_ kind: SigningKey.Kind) throws -> SigningKey {
    try SigningKey(kind, secret: random.bytes(32))
  }

  /// Enrols a key (RFC 7591) and gives the agent that it belongs to from then on, still pending.
  /// - Throws: ``DemoError`` where the daemon refuses.
  public func enrol(_ key: SigningKey, name: String, _ client: TrustCoreClient) async throws -> Party {
    let answer = try await client.post(
      "/oauth/register",
      [
        "client_name": .string(name), "jwks": ["keys": [key.publicJWK.bareJSON]],
        "token_endpoint_auth_method": "private_key_jwt", "grant_types": ["client_credentials"],
      ], bearer: registrationToken)
    guard answer.status == 201, let id = answer["client_id"]?.string, answer["status"]?.string == "pending" else {
      throw DemoError("the agent was not enrolled: \(answer.summary) \(answer.text)")
    }
    return party(id: id, key: key)
  }

  /// The owner approves an agent's key.
  public func approve(_ agent: Party, _ client: TrustCoreClient) async throws -> Answer {
    try await owner.submit(client, "/v1/agents/\(agent.id)/approve", ["thumbprint": .string(agent.thumbprint)])
  }

  /// The owner ends an agent.
  public func revoke(_ agent: Party, _ client: TrustCoreClient) async throws -> Answer {
    try await owner.submit(client, "/v1/agents/\(agent.id)/revoke", [:])
  }
}
