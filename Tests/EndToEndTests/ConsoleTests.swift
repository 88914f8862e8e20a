import DemoClient
import Foundation
import Testing
import TrustCoreAPI
import Wire

extension EndToEndTests {
  /// The console in Debian's Chromium, with a virtual security key. A page's exception, an error on its console or
  /// something that its policy blocked fails the command that it happened in.
  @Suite(.serialized) struct ConsoleInBrowser {
    @Test(.timeLimit(.minutes(5))) func enrolsReadsApprovesAndDeclines() async throws {
      guard let python = try Built.python(for: "the console in a browser") else { return }
      let fixture = try await Fixture.shared
      let treasury = fixture.treasury
      let browser = try Browser(python, console: try #require(fixture.deployment.ready["console"]))

      // Enrolment: two credentials on one key, each for a relying party of its own; the invitation works once.
      let token = try await fixture.invitation(["kind": "approver", "name": "Grace Hopper"], group: treasury.group)
      let enrolled = try await browser.ask(["do": "enrol", "token": .string(token)])
      #expect(enrolled["credentials"] == ["approve.trustcore.localhost", "trustcore.localhost"])
      #expect(enrolled["done"] == 2)
      #expect(try await browser.refusal(["do": "enrol", "token": .string(token)]).contains("invitation_used"))
      #expect(try await browser.refusal(["do": "enrol", "token": "AAAA"]).contains("invitation_invalid"))

      // Signing in: the list is what the person may decide about.
      #expect(try await browser.refusal(["do": "pending"]).contains("nobody is signed in"))
      let person = try #require(try await browser.ask(["do": "sign_in"])["person"]?.string)
      #expect(person.contains("apr_"))
      let first = try await fixture.held("12500.00", by: "ach", reference: "INV-4711")
      let second = try await fixture.held("2750.00", by: "ach", reference: "INV-4712")
      let third = try await fixture.held("1999.99")
      func pending() async throws -> [String] {
        (try await browser.ask(["do": "pending"])["payments"]?.array ?? []).compactMap { $0.object?["payment"]?.string }
      }
      #expect(try await pending().suffix(3) == [first, second, third])
      let list = try await browser.ask(["do": "pending"])["payments"]?.array?.map { $0.object?["headline"]?.string }
      #expect(list?.contains("USD 12,500.00 to Acme Supplies") == true)
      try await browser.draw("pending")

      // The page shows the exact statement, and what is approved goes through.
      let shown = try await browser.ask(["do": "show", "payment": .string(first)])
      let statement = try await fixture.get("/v1/approvals/\(first)", as: treasury.alice)["statement"]
      #expect(shown["statement"] == statement && shown["can_decide"] == true && shown["approvals"] == "0 of 1")
      #expect(shown["focus"] != "button")
      try await browser.draw("approval")
      let approved = try await browser.ask(["do": "approve", "payment": .string(first)])
      #expect(approved["state"] == "posted" && approved["approvals"] == "1 of 1", "\(approved)")
      try await fixture.reaches("sent", first)
      let receipt = try await fixture.read("/v1/receipts/\(first)", as: treasury.agent)
      #expect(receipt["payment", "approvals"]?.array?.count == 1)

      // What is declined, here by keyboard, is released.
      let declined = try await browser.ask(["do": "decline", "payment": .string(second), "keyboard": true])
      #expect(declined["state"] == "declined", "\(declined)")
      #expect(try await fixture.state(of: second) == "declined")
      #expect(try await pending().last == third)
      let ended = try await browser.ask(["do": "show", "payment": .string(second)])
      #expect(ended["can_decide"] == false && ended["note"]?.string?.contains("decline") == true, "\(ended)")

      // Who left the group sees why nothing can be decided, and neither button.
      let member = try #require(person.firstMatch(of: /apr_[A-Za-z0-9_-]+/)).output
      let removal: JSONValue = ["person": .string(String(member))]
      #expect(
        try await fixture.submit("/v1/groups/\(treasury.group)/remove", removal, as: fixture.deployment.officer).status
          == 200)
      let obstacle = try await browser.ask(["do": "show", "payment": .string(third)])
      #expect(obstacle["can_decide"] == false)
      #expect(obstacle["note"]?.string?.hasPrefix("Only members of the payment's group") == true, "\(obstacle)")
      try await browser.draw("obstacle")
      #expect(try await browser.refusal(["do": "approve", "payment": .string(third)]).contains("Only members"))
      #expect(try await fixture.state(of: third) == "held")
      #expect(try await browser.refusal(["do": "show", "payment": "nobody"]).contains("404"))

      // Signing out ends it.
      try await browser.ask(["do": "sign_out"])
      #expect(try await browser.refusal(["do": "pending"]).contains("nobody is signed in"))
      try await browser.draw("sign-in")
      try await browser.ask(["do": "quit"])
      #expect(try await fixture.decide(third, treasury.alice, "decline").status == 200)
      print("console: \(browser.count) commands in Chromium")
    }
  }
}

/// `console_browser.py` in a process of its own, a JSON line in and one out for each command.
private final class Browser {
  private let process = Process()
  private let input = Pipe()
  private let lines: AsyncStream<String>
  private let screenshots = ProcessInfo.processInfo.environment["TRUSTCORE_SCREENSHOTS"]
  private(set) var count = 0

  init(_ python: String, console: String) throws {
    let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent(
      "console_browser.py")
    let (output, error) = (Pipe(), Built.fresh("browser"))
    let (lines, line) = AsyncStream.makeStream(of: String.self)
    self.lines = lines
    _ = FileManager.default.createFile(atPath: error, contents: nil)
    process.executableURL = URL(fileURLWithPath: python)
    process.arguments = [script.path, "--console", console, "--screenshots", screenshots ?? Built.fresh("screenshots")]
    process.standardInput = input
    process.standardOutput = output
    process.standardError = FileHandle(forWritingAtPath: error)
    try process.run()
    let reading = output.fileHandleForReading
    Thread.detachNewThread {
      var rest: [UInt8] = []
      while case let data = reading.availableData, !data.isEmpty {
        rest += data
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
          line.yield(String(decoding: rest[..<end], as: UTF8.self))
          rest.removeSubrange(...end)
        }
      }
      line.yield("{\"ok\":false,\"error\":\"the driver ended; see \(error)\"}")
      line.finish()
    }
  }

  deinit {
    // The script ends its browser.
    if process.isRunning { process.terminate() }
  }

  private func answer(_ command: JSONValue) async throws -> JSONObject {
    try input.fileHandleForWriting.write(contentsOf: Data(command.canonical() + [UInt8(ascii: "\n")]))
    count += 1
    for await line in lines {
      return try #require(try JSONValue(parsing: Array(line.utf8)).object, "\(line)")
    }
    throw DemoError("the browser's driver has ended")
  }

  /// What a command gives that must succeed.
  @discardableResult
  func ask(_ command: JSONValue, at location: SourceLocation = #_sourceLocation) async throws -> JSONObject {
    let answer = try await answer(command)
    let text = String(decoding: JSONValue.object(answer).canonical(), as: UTF8.self)
    try #require(answer["ok"] == true, "\(text)", sourceLocation: location)
    return answer
  }

  /// Why a command fails that must fail; the page itself must have had no trouble.
  func refusal(_ command: JSONValue, at location: SourceLocation = #_sourceLocation) async throws -> String {
    let answer = try await answer(command)
    #expect(answer["ok"] == false && answer["problems"] == nil, "\(answer)", sourceLocation: location)
    return answer["error"]?.string ?? ""
  }

  /// Draws the page as it stands, wide and narrow, light and dark, where somebody wants to see it.
  func draw(_ name: String) async throws {
    guard screenshots != nil else { return }
    for (suffix, width, dark) in [("", 1280, false), ("-dark", 1280, true), ("-narrow", 380, false)] {
      try await ask([
        "do": "screenshot", "name": .string(name + suffix), "width": .integer(Int64(width)), "height": 800,
        "dark": .bool(dark),
      ])
    }
  }
}
