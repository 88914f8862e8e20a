import KeyHierarchy
@testable import KeyService
import Testing
import TestSupport
import Wire

/// How many operations of the HSM each request costs, with one token and with two.
@Suite struct OperationCountTests {
  private static func report(
    _ what: String, _ tokens: [UnreliableKEKCustodian], _ expected: [[UnreliableKEKCustodian.Operation: Int]]
  ) {
    for (number, (token, expected)) in zip(tokens, expected).enumerated() {
      let counts = token.counts.filter { $0.key != .checkValue && $0.value > 0 }
      #expect(counts == expected, "\(what), token \(number + 1)")
      let list = counts.sorted { $0.key.rawValue < $1.key.rawValue }.map { "\($0.key) \($0.value)" }
      print("HSM operations: \(what), token \(number + 1) of \(tokens.count): \(list.joined(separator: ", "))")
    }
    for token in tokens { token.reset() }
  }

  @Test(arguments: [1, 2]) func eachRequest(_ count: Int) async throws {
    let tokens = try (0..<count).map { try DataTokens.custodian($0) }
    var deployment = try await KeyDeployment.inMemory(tokens: tokens)
    try await deployment.service.open()
    for token in tokens { token.reset() }
    func both(
      _ first: [UnreliableKEKCustodian.Operation: Int], _ second: [UnreliableKEKCustodian.Operation: Int]
    ) -> [[UnreliableKEKCustodian.Operation: Int]] { [first, second] }

    // The end of the history costs one code for each token, here and below; writes that come together share it.
    let key = try await deployment.create()
    Self.report(
      "create", tokens,
      both([.random: 1, .wrap: 1, .encrypt: 1, .authenticate: 2], [.wrap: 1, .encrypt: 1, .authenticate: 2]))
    let drawn = try await deployment.make(key)
    await deployment.service.following?.value
    Self.report(
      "draw a data key", tokens, both([.random: 1, .encrypt: 1, .authenticate: 2], [.authenticate: 2]))
    _ = try await deployment.open(drawn.id)
    Self.report("open a data key that is in memory", tokens, both([:], [:]))
    deployment = try await deployment.restarted()
    try await deployment.service.open()
    for token in tokens { token.reset() }
    _ = try await deployment.open(drawn.id)
    // One for the key's record, which is in memory from then on.
    Self.report("open a data key, first use of its key", tokens, both([.authenticate: 2, .decrypt: 1], [:]))
    let second = try await deployment.make(key)
    await deployment.service.following?.value
    for token in tokens { token.reset() }
    deployment.clock.advance(seconds: 3600)
    _ = try await deployment.open(drawn.id)
    Self.report("open a data key that was seen before, no more in memory", tokens, both([.decrypt: 1], [:]))
    _ = try await deployment.open(second.id)
    for token in tokens { token.reset() }

    try await deployment.order("rotate", key)
    Self.report(
      "rotate", tokens,
      both([.random: 1, .wrap: 1, .encrypt: 1, .authenticate: 3], [.wrap: 1, .encrypt: 1, .authenticate: 3]))
    // Each opened, encrypted again and authenticated; their records were verified before.
    try await deployment.order("rewrap", key)
    Self.report(
      "rewrap two data keys", tokens,
      both([.decrypt: 2, .encrypt: 2, .authenticate: 3], [.authenticate: 3]))
    try await deployment.order("disable", key)
    Self.report("disable, two versions", tokens, both([.authenticate: 3, .forget: 2], [.authenticate: 3, .forget: 2]))
    try await deployment.order("enable", key)
    Self.report("enable, two versions", tokens, both([.authenticate: 3], [.authenticate: 3]))
    try await deployment.order("destroy", key)
    Self.report("destroy, two versions", tokens, both([.authenticate: 3, .forget: 2], [.authenticate: 3, .forget: 2]))
    await deployment.stop()
  }
}
