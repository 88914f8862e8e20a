import Crypto
public import Wire

/// A model's judgement of a payment. A model never decides: rules do, and they name the score.
public struct Score: Sendable, Equatable {
  /// Which score.
  public let name: String
  /// The version of the model that gave it.
  public let version: String
  /// 0 to 1000; rules take any other value for a score that is missing.
  public let value: Int

  /// Makes a score.
  public init(name: String, version: String, value: Int) {
    self.name = name
    self.version = version
    self.value = value
  }
}

/// All that rules may know of a payment.
public struct PolicyFacts: Sendable, Equatable {
  /// The tenant.
  public var tenant: String
  /// The agent that asks.
  public var agent: String
  /// The owner it acts for.
  public var owner: String
  /// When the agent was approved.
  public var agentSince: Timestamp
  /// The consent's identifier.
  public var consent: String
  /// By which rail.
  public var rail: String
  /// To whom, by the identifier in the consent.
  public var counterparty: String
  /// True for the first payment to this counterparty under this consent.
  public var isFirstPayment: Bool
  /// How much.
  public var money: Money
  /// When the payment is decided.
  public var at: Timestamp
  /// What models say of it.
  public var scores: [Score]

  /// Makes facts.
  public init(
    tenant: String, agent: String, owner: String, agentSince: Timestamp, consent: String, rail: String,
    counterparty: String, isFirstPayment: Bool, money: Money, at: Timestamp, scores: [Score] = []
  ) {
    self.tenant = tenant
    self.agent = agent
    self.owner = owner
    self.agentSince = agentSince
    self.consent = consent
    self.rail = rail
    self.counterparty = counterparty
    self.isFirstPayment = isFirstPayment
    self.money = money
    self.at = at
    self.scores = scores
  }

  /// The facts as their digest covers them.
  public var json: JSONObject {
    let scores = scores.map { score -> JSONValue in
      ["name": .string(score.name), "version": .string(score.version), "value": .integer(Int64(score.value))]
    }
    return [
      "tenant": .string(tenant), "agent": .string(agent), "owner": .string(owner),
      "agent_since": .integer(agentSince.milliseconds), "consent": .string(consent), "rail": .string(rail),
      "counterparty": .string(counterparty), "first_payment": .bool(isFirstPayment),
      "amount": .string(money.decimal), "currency": .string(money.currency.code), "at": .integer(at.milliseconds),
      "scores": .array(scores),
    ]
  }

  /// SHA-256(JCS(``json``)).
  public var digest: [UInt8] { Array(SHA256.hash(data: JSONValue.object(json).canonical())) }
}
