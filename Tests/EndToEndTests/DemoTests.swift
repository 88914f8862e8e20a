import Foundation
import Testing

extension EndToEndTests {
  /// The main job, as `make demo` runs it.
  @Suite(.serialized) struct Demo {
    /// What the summary must name, with the code of each refusal.
    private static let refusals = [
      "signature_missing", "key_unknown", "agent_pending", "agent_revoked", "digest_mismatch", "signature_replayed",
      "signature_expired", "token_key_mismatch", "idempotency_key_reused", "transfer_unbalanced", "account_overdrawn",
      "currency_mismatch", "amount_excess_precision", "seal_missing",
      "seal_not_authorized", "seal_wrong_audience", "seal_expired", "invitation_used", "bank_file_seen",
      "consent_single_limit", "consent_daily_limit", "consent_hourly_limit", "consent_rail_not_permitted",
      "consent_counterparty_not_permitted", "consent_revoked", "consent_expired", "consent_wrong_agent",
      "account_under_consent", "approval_wrong_command", "approval_by_initiator", "approval_not_permitted",
      "credential_purpose", "webauthn_challenge", "approval_repeated", "approval_expired",
      "approval_consent_changed", "approval_policy_changed", "policy_denied", "officer_required",
      "context_mismatch", "not_authentic", "key_use_not_permitted", "key_destroyed", "log_read_only",
      "identity_not_yours", "audience_reserved", "entries_right_required",
    ]

    @Test func everyLineOfTheSummaryIsAsItShouldBe() async throws {
      let (status, output) = try await Built.run(
        try Built.program("DemoDriver"),
        ["--trustcored", try Built.program("trustcored"), "--trustcore", try Built.program("trustcore")],
        within: .seconds(300))
      #expect(status == 0, "\(output.suffix(4000))")
      let summary = try #require(output.components(separatedBy: "\nSummary\n").last, "\(output.suffix(4000))")
      let lines = summary.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
      let rows = lines.filter { $0.wholeMatch(of: /([1-9]|10|11|12)\.[0-9]+ .*/) != nil }
      for step in 1...12 {
        #expect(rows.contains { $0.hasPrefix("\(step).") }, "no line for step \(step):\n\(summary)")
      }
      #expect(!summary.contains("FAILED"), "\(summary)")
      for code in Self.refusals {
        #expect(rows.contains { $0.contains("refused") && $0.contains(code) }, "no refusal with \(code):\n\(summary)")
      }
      #expect(
        lines.last { !$0.isEmpty }?.hasPrefix("All \(rows.count) lines did what they should") == true, "\(summary)")
    }
  }
}
