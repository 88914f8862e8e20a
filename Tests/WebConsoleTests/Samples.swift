import WebConsole
import Wire

/// Pages with the same texts everywhere.
enum Samples {
  static let expires = Timestamp(seconds: 1_795_251_600)

  static func approval(
    statement: String = "Pay USD 1.00", state: String = "held", mine: String? = nil, obstacle: String? = nil,
    id: String = "pay_1", digest: String = "00ff"
  ) -> ConsolePage {
    Console.approval(
      Console.Approval(
        id: id, statement: statement, digest: digest, expires: expires, given: 1, needed: 2, state: state, mine: mine,
        obstacle: obstacle))
  }

  /// Every page there is, with `text` wherever a text of others can stand.
  static func pages(_ text: String) -> [(name: String, page: ConsolePage)] {
    let item = Console.Pending(id: text, headline: text, expires: expires, given: 0, needed: 2)
    return [
      ("sign-in", Console.signIn()),
      ("enrol", Console.enrol()),
      ("pending", Console.pending([item, item], person: text)),
      ("nothing pending", Console.pending([], person: text)),
      ("approval", approval(statement: text, id: text, digest: text)),
      ("decided", approval(statement: text, mine: text)),
      ("ended", approval(statement: text, state: text)),
      ("obstacle", approval(statement: text, obstacle: text)),
      ("problem", Console.problem(404, code: text, detail: text, requestID: text)),
    ]
  }
}
