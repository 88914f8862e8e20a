import Foundation
import Policy
import Testing
import Wire

@testable import Consent
@testable import Payments

/// Statements and the digest of a policy against docs/leaf-vectors.json, which a program made that shares no line with
/// this one.
@Suite("Statements")
struct StatementTests {
  private let vectors: JSONObject

  init() throws {
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    vectors = try #require(
      try JSONValue(parsing: [UInt8](Data(contentsOf: root.appendingPathComponent("docs/leaf-vectors.json")))).object)
  }

  private func documents(_ subject: String) throws -> [(document: [UInt8], digest: String)] {
    try #require(vectors["digests"]?.array).filter { $0.object?["subject"]?.string == subject }.map { value in
      (
        Array(try #require(value.object?["document"]?.string).utf8), try #require(value.object?["digest"]?.string)
      )
    }
  }

  private func terms() throws -> ConsentTerms {
    let document = try #require(try documents("consent").first).document
    return try ConsentTerms(canonical: document, validate: RailDestination.validate)
  }

  private func payment(
    _ money: Money, to counterparty: String, rail: String, credited: String, reference: String?
  ) throws -> Payment {
    let terms = try terms()
    let asked = Timestamp(milliseconds: 1_800_000_300_001)
    let text = try #require(vectors["statements"]?.array?[0].object?["text"]?.string)
    let digest = try #require(text.split(separator: "\n").last?.split(separator: " ").last)
    return Payment(
      id: "BA_9WSXUDhHGe3I4p_yZVw", tenant: "ten_1", owner: "own_1", agent: "agt_1",
      agentThumbprint: terms.agentThumbprint, consent: terms.id, consentVersion: 1, consentDigest: terms.digest,
      policyVersion: "policy/3", policyRecord: [:], account: "acc_1", counterparty: counterparty, rail: rail,
      credited: credited, money: money, reference: reference, commandDigest: try Base64.URL.decode(digest),
      leafIndex: 40, decidedAt: asked, expires: asked.adding(seconds: 86_400),
      needs: [.init(group: "grp_1", name: "treasury", version: 3, members: ["apr_1"], approvals: 1)], state: .held)
  }

  @Test("the text and its digest are those of the vectors") func vectorsHold() throws {
    let (dollars, yen) = (try #require(Currency("USD")), try #require(Currency("JPY")))
    let payments = [
      try payment(
        Money(minorUnits: 1_250_000, currency: dollars), to: "acme", rail: "ach", credited: "acc_9",
        reference: "Invoice 4711"),
      try payment(
        Money(minorUnits: 1_000_000, currency: yen), to: "bob", rail: "book", credited: "acc_2", reference: nil),
    ]
    let statements = try #require(vectors["statements"]?.array)
    #expect(statements.count == payments.count)
    for (payment, vector) in zip(payments, statements) {
      let counterparty = try #require(try terms().counterparty(payment.counterparty))
      let statement = try PaymentStatement(payment, to: counterparty)
      #expect(statement.text == vector.object?["text"]?.string)
      #expect(Hex.encode(statement.digest) == vector.object?["digest"]?.string)
    }
  }

  @Test("consents and policies have the digests of the vectors") func digestsHold() throws {
    for (document, digest) in try documents("consent") {
      #expect(
        Hex.encode(try ConsentTerms(canonical: document, validate: RailDestination.validate).digest) == digest)
    }
    for (document, digest) in try documents("policy") {
      #expect(Hex.encode(try PolicyDocument(try JSONValue(parsing: document)).digest) == digest)
    }
  }

  @Test(
    "digits are grouped by three",
    arguments: [
      ("0.01", "0.01"), ("999", "999"), ("1000", "1,000"), ("12500.00", "12,500.00"), ("1000000", "1,000,000"),
    ])
  func grouping(_ plain: String, _ grouped: String) { #expect(PaymentStatement.grouped(plain) == grouped) }

  @Test("what cannot be seen is written out")
  func visible() {
    #expect(PaymentStatement.visible("a\u{202E}b\\\n") == "a\\u{202e}b\\\\\\u{a}")
    #expect(PaymentStatement.visible("Café 東京") == "Café 東京")
  }
}
