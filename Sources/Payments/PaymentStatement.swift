import Consent
import Crypto
import Rails
import Wire

/// What an approver reads, exactly: the text that the page and the command line show, and whose digest is signed.
/// It has one form for one payment, so that two surfaces can be compared by eye.
public struct PaymentStatement: Sendable, Equatable {
  /// The version of this rendering; any change to a line takes a new one.
  public static let rendererVersion = "1"
  /// The language of the text.
  public static let locale = "en-US"
  /// The text; lines end with a line feed.
  public let text: String
  /// The first line's sentence, for lists.
  public let headline: String

  /// SHA-256("trustcore/statement/v1" ‖ text).
  public var digest: [UInt8] { Array(SHA256.hash(data: Array(("trustcore/statement/v1" + text).utf8))) }

  /// Renders a held payment.
  public init(of payment: Payment, in unit: inout some PaymentStore) throws {
    guard let terms = try unit.consent(payment.consent, version: payment.consentVersion)?.terms,
      terms.digest == payment.consentDigest, let counterparty = terms.counterparty(payment.counterparty)
    else { throw Problem(503, "consent_missing", "The payment's consent is not stored; restore the database.") }
    try self.init(payment, to: counterparty)
  }

  init(_ payment: Payment, to counterparty: Counterparty) throws {
    let amount = "\(payment.money.currency.code) \(Self.grouped(payment.money.decimal))"
    headline = "\(amount) to \(Self.visible(counterparty.name))"
    var lines = [
      ("Pay", amount), ("To", Self.visible(counterparty.name)), ("Counterparty", counterparty.id),
    ]
    if payment.rail == "ach", let destination = counterparty.ach {
      let account: ACHAccount
      do { account = try ACHAccount(json: destination) } catch { throw error.problem }
      lines += [
        ("By", "ACH credit, class \(account.entryClass.code)"), ("Routing number", account.routingNumber),
        ("Account number", "\(account.accountNumber) (\(account.kind.rawValue))"),
        ("Receiver", Self.visible(account.receiverName)),
      ]
    } else {
      lines += [("By", "book transfer"), ("Account", payment.credited)]
    }
    if let reference = payment.reference { lines.append(("Reference", Self.visible(reference))) }
    lines += [
      ("From account", payment.account), ("Owner", payment.owner), ("Agent", payment.agent),
      ("Agent key", payment.agentThumbprint), ("Consent", "\(payment.consent) version \(payment.consentVersion)"),
      ("Consent digest", Base64.URL.encode(payment.consentDigest)), ("Policy", payment.policyVersion),
    ]
    for need in payment.needs {
      lines.append(("Approvals", "\(need.approvals) of \(Self.visible(need.name)), version \(need.version)"))
    }
    lines += [
      ("Asked", payment.decidedAt.description), ("Approve before", payment.expires?.description ?? "-"),
      ("Payment", payment.id), ("Command digest", Base64.URL.encode(payment.commandDigest)),
    ]
    text = lines.map { label, value in
      label + ":" + String(repeating: " ", count: max(1, 16 - label.count)) + value + "\n"
    }.joined()
  }

  /// Groups the digits before the point by three: `12,500.00`.
  static func grouped(_ decimal: String) -> String {
    let parts = decimal.split(separator: ".", maxSplits: 1)
    let whole = Array(parts[0])
    let grouped = whole.indices.map { index in
      (index > 0 && (whole.count - index) % 3 == 0 ? "," : "") + String(whole[index])
    }.joined()
    return grouped + (parts.count == 2 ? "." + parts[1] : "")
  }

  /// Whatever cannot be seen, or turns the direction of writing, as its code point.
  static func visible(_ text: String) -> String {
    text.unicodeScalars.map { scalar in
      switch scalar.properties.generalCategory {
      case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator:
        "\\u{" + String(scalar.value, radix: 16) + "}"
      default: scalar == "\\" ? "\\\\" : String(scalar)
      }
    }.joined()
  }
}
