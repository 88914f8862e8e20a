import DemoClient
import Foundation
import Testing

extension EndToEndTests {
  /// A client that other people's libraries make, with proofs verified by code that is none of ours.
  @Suite(.serialized) struct SecondClient {
    @Test func enrolsPaysAndVerifiesItsReceipt() async throws {
      guard let python = try Built.python(for: "the second client") else { return }
      let fixture = try await Fixture.shared
      let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
        "second_client.py"
      ).path
      let (status, output) = try await Built.run(python, [script, fixture.daemon.state + "/ready.json"])
      let steps = output.split(separator: "\n").filter { $0.hasPrefix("ok: ") }.count
      #expect(status == 0 && steps >= 20, "\(output.suffix(3000))")
      print("second client: \(steps) steps")
    }
  }
}
