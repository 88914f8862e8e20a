import TestSupport
import Testing
import Wire
import WorkloadIdentity
@testable import WorkloadService

/// The next process over the same storage serves the same.
@Suite struct RestartTests {
  private typealias D = ServiceDeployment

  @Test func theSameIsServed() async throws {
    let d = try await D.found()
    let ids = try await d.change(create: (1...5).map { D.entry("/\($0)", "unix:uid:\($0)") })
    _ = try await d.change(update: [(ids[1], D.entry("/two", "unix:uid:2"))], delete: [ids[0]])
    let token = try await d.connect(uid: 2).jwtSVIDs(audiences: ["x"], id: nil)[0].token
    let revoked = try JSONValue(parsing: Base64.URL.decode(String(token.split(separator: ".")[1]))).object?["jti"]
    try await d.command("/v1/svids/revoke", ["jti": revoked ?? .null])
    try await d.submit("/v1/authorities/x509/prepare", as: d.world.officer.principal, d.world.officer.key)
    let bundle = try await d.service.publishedBundle()
    let next = try await d.restarted()
    #expect(try await next.service.publishedBundle() == bundle)
    #expect(await next.service.status()["entries"]?.integer == 4)
    #expect(await code { _ = try await next.connect(uid: 1).snapshot() } == "no_identity")
    #expect(try await next.paths(next.connect(uid: 2).snapshot()) == ["/two"])
    #expect(
      await code { _ = try await next.connect(uid: 2).validate(jwtSVID: token, audience: "x") } == "jwt_svid_invalid")
    // An order that waited is carried out.
    try await next.service.tend()
    #expect(try await next.states() == ["active", "prepared"])
    // Changes are followed from where the last process was.
    _ = try await next.change(create: [D.entry("/six", "unix:uid:6")], delete: [ids[2]])
    #expect(try await next.paths(next.connect(uid: 6).snapshot()) == ["/six"])
    #expect(await code { _ = try await next.connect(uid: 3).snapshot() } == "no_identity")
    #expect(try await next.audit().isEmpty)
    await next.stop()
  }
}
