import DemoClient
import Foundation
import TrustCoreAPI
import Wire

/// The statement that an approver signs, as the demo writes it from what it knows itself, as the page shows it, and as
/// the command line does. They must be the same, letter by letter.
enum Statement {
  /// What the demo asked for, and what came back.
  struct Known {
    let request: OutgoingRequest
    let answer: Answer
    let amount: String
    let reference: String
    /// For how many seconds it waits.
    let seconds: Int64
  }

  /// Writes the statement of a payment to Acme.
  static func written(_ known: Known, _ stage: Stage) throws -> String {
    let agent = try stage.party("payer")
    let end = known.answer["result", "expires_at"]?.string ?? ""
    let format = ISO8601DateFormatter()
    format.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
    guard let date = format.date(from: end) else { throw Deviation("expires_at", expected: "a moment", actual: end) }
    let asked = Timestamp(milliseconds: Int64((date.timeIntervalSince1970 * 1000).rounded()))
      .adding(seconds: -known.seconds)
    let lines = [
      ("Pay", known.amount), ("To", "Acme Supplies"), ("Counterparty", "acme"), ("By", "ACH credit, class CCD"),
      ("Routing number", "091000019"), ("Account number", "\(Stage.acme) (checking)"),
      ("Receiver", "Acme Supplies Inc"), ("Reference", known.reference),
      ("From account", try stage.named("payments account")), ("Owner", try stage.owner.id), ("Agent", agent.id),
      ("Agent key", agent.thumbprint), ("Consent", "\(try stage.named("consent")) version 1"),
      ("Consent digest", try stage.named("consent digest")), ("Policy", "builtin/1"),
      // The group's first version is empty; the owner, Ada and Ben came into it one by one.
      ("Approvals", "1 of treasury, version 4"), ("Asked", asked.description), ("Approve before", end),
      ("Payment", known.answer["result", "payment"]?.string ?? ""),
      ("Command digest", Base64.URL.encode(known.request.commandDigest(api: agent.api))),
    ]
    return lines.map { Narrator.pad($0.0 + ":", 17) + $0.1 + "\n" }.joined()
  }

  /// The text on the page: what stands in `<pre id="statement">`, without tags, unescaped.
  static func onPage(_ page: Answer) throws -> String {
    let html = page.text
    guard let start = html.range(of: "<pre id=\"statement\">"),
      let end = html.range(of: "</pre>", range: start.upperBound..<html.endIndex)
    else { throw Deviation("the page", expected: "a statement", actual: page.summary) }
    var text = String(html[start.upperBound..<end.lowerBound])
    text = text.replacing(/<[^>]*>/, with: "")
    for (entity, character) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")] {
      text = text.replacingOccurrences(of: entity, with: character)
    }
    return text
  }

  /// The text that `trustcore approvals show` reads out of the database.
  static func inTool(_ payment: String, _ stage: Stage) throws -> String {
    let result = try Tool.run(
      stage.trustcore,
      ["approvals", "show", payment, "--json", "--database", try stage.deployment.ready["database"] ?? ""])
    guard result.status == 0, let json = try? JSONValue(parsing: Array(result.output.utf8)),
      let text = json.object?["statement"]?.string
    else { throw Deviation("trustcore approvals show", expected: "a statement", actual: result.output) }
    return text
  }
}
