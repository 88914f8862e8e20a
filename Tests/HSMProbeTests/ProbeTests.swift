import Foundation
import HSMProbe
import KeyHierarchy
import HSMCustody
import PKCS11
import SecretMemory
import TestSupport
import Testing

/// The documents in HSM/Profiles against what the probe finds on this machine.
enum ProfileDocuments {
  static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("HSM/Profiles")

  /// A document's lines without comments, blank lines, versions and serial numbers.
  static func comparable(_ text: String) -> [String] {
    let varying = ["  version:", "  cryptoki:", "  serial:", "  hardware:", "  firmware:"]
    return text.split(separator: "\n").map(String.init).filter { line in
      !line.hasPrefix("#") && !varying.contains { line.hasPrefix($0) }
    }
  }

  /// Compares a probed profile with its document. With TRUSTCORE_WRITE_PROFILES set the document is written instead.
  static func check(_ profile: HSMProfile, _ name: String, packages: [String]) throws {
    let file = folder.appendingPathComponent(name)
    if ProcessInfo.processInfo.environment["TRUSTCORE_WRITE_PROFILES"] != nil {
      let comment = "measured on Debian 12 with " + packages.map(version).joined(separator: ", ")
      try Data(profile.yaml(comments: [comment]).utf8).write(to: file)
    }
    let written = comparable(try String(contentsOf: file, encoding: .utf8))
    let found = comparable(profile.yaml())
    for change in found.difference(from: written) {
      switch change {
      case .insert(_, let line, _): Issue.record("\(name) lacks what the token does now: \(line)")
      case .remove(_, let line, _): Issue.record("\(name) has what the token does no more: \(line)")
      }
    }
  }

  private static func version(_ package: String) -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/dpkg-query")
    process.arguments = ["-W", "-f=${Package} ${Version}", package]
    let output = Pipe()
    process.standardOutput = output
    guard (try? process.run()) != nil else { return package }
    process.waitUntilExit()
    return String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
  }
}

@Suite("Probe of SoftHSM")
struct SoftHSMProbeTests {
  @Test("The probe finds what softhsm2.yaml says, and leaves nothing behind") func profile() throws {
    let fixture = try SoftHSMFixture.shared
    let location = try #require(try fixture.makeTokens(.data)[.data])
    var probe = try ModuleProbe(fixture.module, token: location.uri)
    probe.triesSecondLogin = true
    let session = try Session(
      fixture.module, slot: try fixture.module.token(location.uri).slot, writable: true)
    try session.login(.user, pin: try location.pin())
    let before = try session.findObjects([])
    let profile = try probe.run(session)
    #expect(try session.findObjects([]) == before)
    try ProfileDocuments.check(profile, "softhsm2.yaml", packages: ["softhsm2"])
    #expect(profile.roles.allSatisfy { $0.serves })
    // Without its permission no wrong PIN is tried.
    probe.triesSecondLogin = false
    let careful = try probe.run(session)
    #expect(careful.behaviour.secondLogin == .untried("it could lock the PIN"))
    #expect(try session.findObjects([]) == before)
  }

  @Test("With a PIN it logs in and out by itself") func pin() throws {
    let fixture = try SoftHSMFixture.shared
    let location = try #require(try fixture.makeTokens(.log)[.log])
    let profile = try ModuleProbe(fixture.module, token: location.uri).run(pin: try location.pin())
    #expect(profile.token.model == "SoftHSM v2")
    // Logged out: it can be done again.
    _ = try ModuleProbe(fixture.module, token: location.uri).run(pin: try location.pin())
  }

  @Test("A wrong PIN, a token that is absent, a session that is not logged in") func refusals() throws {
    let fixture = try SoftHSMFixture.shared
    let location = try #require(try fixture.makeTokens(.root)[.root])
    let probe = try ModuleProbe(fixture.module, token: location.uri)
    #expect(throws: PKCS11Error(.pinIncorrect, in: "")) { try probe.run(pin: try SecretBytes.random(count: 8)) }
    let session = try Session(fixture.module, slot: try fixture.module.token(location.uri).slot, writable: true)
    let refused = #expect(throws: PKCS11Error.self) { _ = try probe.run(session) }
    #expect(refused?.code == .userNotLoggedIn)
    #expect(throws: PKCS11Error(.tokenNotPresent, in: "")) {
      try ModuleProbe(fixture.module, token: "pkcs11:token=absent")
    }
  }
}
