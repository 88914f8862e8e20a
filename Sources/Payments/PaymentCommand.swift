public import Cosign
public import Rails
import Seal
public import Wire

/// What can be asked of payments and their rail.
public enum PaymentCommand: Sendable, Equatable {
  /// An agent asks to pay.
  case authorize(PaymentRequest)
  /// The agent or the owner ends a held payment.
  case void(String)
  /// An approver decides about a held payment.
  case decide(String, ApprovalTerms)
  /// An officer says how payments leave by ACH.
  case configure(ACHOriginator, settlementAccount: String, bank: JSONValue)
  /// The bank says that it has taken a file: the entries with these trace numbers, or all of them.
  case accepted(file: Int, traces: [UInt64]?)
  /// The bank sends entries back.
  case returned([ACHReturn])
}

/// What an agent asks for. Where the money goes, the consent says.
public struct PaymentRequest: Sendable, Equatable {
  /// The consent to pay under.
  public let consent: String
  /// To whom, by the identifier in the consent.
  public let counterparty: String
  /// `ach` or `book`.
  public let rail: String
  /// How much.
  public let money: Money
  /// What it is for: 1 to 80 printable ASCII characters, which travel with an ACH entry.
  public let reference: String?
  /// For how many seconds it waits for approvals, if it must.
  public let expiresIn: Int64

  /// A held payment waits a day unless it says otherwise, and at most a week.
  public static let defaultSeconds: Int64 = 86_400
  static let maximumSeconds: Int64 = 7 * 86_400

  init(_ json: JSONValue) throws {
    var reader = try ObjectReader(json, "the payment")
    consent = try reader.string("consent", maximumBytes: 64)
    counterparty = try reader.string("counterparty", maximumBytes: 64)
    rail = try reader.string("rail", maximumBytes: 16)
    let code = try reader.string("currency", maximumBytes: 3)
    guard let currency = Currency(code) else {
      throw Problem(422, "currency_unknown", "Use an ISO 4217 code such as USD; '\(code)' is none that is known.")
    }
    money = try Money(amount: try reader.value("amount"), currency: currency)
    reference = try reader.optionalString("reference", maximumBytes: 80)
    expiresIn = try reader.optionalInteger("expires_in", in: 1...Self.maximumSeconds) ?? Self.defaultSeconds
    try reader.finish()
    guard reference?.utf8.allSatisfy({ (0x20...0x7E).contains($0) }) ?? true else {
      throw Problem(422, "reference_characters", "Write 'reference' in printable ASCII: it travels with the payment.")
    }
  }
}

extension PaymentCommand {
  /// A file of returns has at most so many bytes.
  static let maximumReturnFile = 400_000

  /// Reads a command in a signed request, by its path.
  init(_ signed: SignedCommand) throws(Problem) {
    let parts = signed.path.split(separator: "/", omittingEmptySubsequences: false).map(String.init)
    let unknown = Problem(404, "route_not_found", "There is no command at this path.")
    guard signed.method == "POST", parts.count >= 4, parts[1] == "v1" else { throw unknown }
    if let asserted = signed.asserted {
      guard parts.count == 5, parts[2] == "approvals", parts[4] == "decisions" else { throw unknown }
      do { self = .decide(parts[3], try ApprovalTerms(asserted.subject)) } catch {
        throw Problem(400, error.code.description, error.message)
      }
      return
    }
    self = try Problem.reading {
      let json = try JSONValue(parsing: signed.body)
      switch Array(parts[2...]) {
      case ["payments", "authorize"]: return .authorize(try PaymentRequest(json))
      case let path where path.count == 3 && path[0] == "payments" && path[2] == "void":
        try ObjectReader(json, "the void").finish()
        return .void(path[1])
      case ["rails", "ach"]:
        var reader = try ObjectReader(json, "the rail")
        let value = try reader.value("originator")
        let originator: ACHOriginator
        do throws(ACHError) { originator = try ACHOriginator(json: value) } catch { throw error.problem }
        let account = try reader.string("settlement_account", maximumBytes: 64)
        let bank = try reader.value("bank")
        try reader.finish()
        return .configure(originator, settlementAccount: account, bank: bank)
      case ["rails", "ach", "answers"]: return try Self.answer(json)
      default: throw unknown
      }
    }
  }

  private static func answer(_ json: JSONValue) throws -> PaymentCommand {
    var reader = try ObjectReader(json, "the answer")
    if reader.optional("returns") != nil {
      let text = try reader.string("returns", maximumBytes: maximumReturnFile)
      try reader.finish()
      let returns: [ACHReturn]
      do { returns = try ACHFile(parsing: Array(text.utf8)).returns } catch { throw error.problem }
      guard !returns.isEmpty, Set(returns.map(\.originalTraceNumber)).count == returns.count else {
        throw Problem(422, "returns_repeated", "A file of returns sends at least one entry back, and each one once.")
      }
      return .returned(returns)
    }
    let number = try reader.integer("accepted_file", in: 1...JSONValue.greatestInteger)
    let named = try reader.optional("trace_numbers") == nil ? nil : reader.array("trace_numbers", limit: 10_000)
    try reader.finish()
    let traces = try named?.map { value -> UInt64 in
      guard let text = value.string, text.utf8.count == 15, let trace = UInt64(text) else {
        throw Problem(422, "trace_number", "A trace number is a string of 15 digits.")
      }
      return trace
    }
    return .accepted(file: Int(number), traces: traces)
  }
}
