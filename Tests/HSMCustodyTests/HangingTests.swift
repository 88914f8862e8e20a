@testable import HSMCustody
import KeyHierarchy
import PKCS11
import SecretMemory
import TestSupport
import Testing

/// Calls that do not come back, as far as custody can tell: they are held with a session lent, as the HSM would.
@Suite("Custodian: calls that hang")
struct HangingTests {
  let fixture: SoftHSMFixture
  let clock = ManualCustodyClock()
  private let gate = Monitor(false)
  private let inside = Monitor(0)

  init() throws { fixture = try SoftHSMFixture.shared }

  private func open(_ roles: Set<TokenRole>, _ limits: PKCS11Custodian.Limits = .init()) throws -> PKCS11Custodian {
    var tokens: [TokenRole: PKCS11Custodian.TokenLocation] = [:]
    for role in roles { tokens.merge(try fixture.makeTokens(role)) { $1 } }
    return try PKCS11Custodian.open(
      provider: fixture.hsm.provider, tokens: tokens, roles: roles, limits: limits, clock: clock)
  }

  private func hang(
    _ custodian: PKCS11Custodian, _ role: TokenRole, on purpose: TokenConnection.Purpose = .work
  ) throws -> Task<CustodyError.Code?, Never> {
    let cluster = try #require(custodian.clusters[role])
    let (gate, inside) = (gate, inside)
    return Task {
      await custodyCode {
        try await cluster.perform { (token, operation) throws(TokenFailure) in
          _ = try token.attempt(operation, on: purpose) { (_) throws(PKCS11Error) in
            inside.update { $0 += 1 }
            gate.wait { $0 ? () : nil }
          }
        }
      }
    }
  }

  private func letGo() { gate.update { $0 = true } }

  @Test("One hangs: it is answered at its deadline, the others go on") func one() async throws {
    let custodian = try open([.identity])
    let hung = try hang(custodian, .identity)
    await until { inside.read { $0 } == 1 }
    #expect(try await custodian.sign([1], with: .oauthA).count == 64)
    clock.advance(by: .seconds(10))
    #expect(await hung.value == .timedOut)
    #expect(custodian.health().map(\.state) == [.ready])
    #expect(custodian.health().first?.lent == 1)
    for _ in 0..<4 {
      #expect(try await custodian.sign([1], with: .oauthA).count == 64)
      #expect(try custodian.signBlocking([1], with: .oauthA).count == 64)
    }
    // The anchor, the other one to work with, and the quarantined one, for which none is opened before it is needed.
    #expect(custodian.health().first?.sessions == 3)
    letGo()
    await until { custodian.health().first?.lent == 0 }
    #expect(custodian.health().first?.sessions == 2)
    custodian.close()
  }

  @Test("Four hang: that token is refused at once, the other one is not") func four() async throws {
    let custodian = try open([.identity, .data])
    var hung: [Task<CustodyError.Code?, Never>] = []
    for count in [2, 4] {
      hung += [try hang(custodian, .identity), try hang(custodian, .identity)]
      await until { inside.read { $0 } == count }
      clock.advance(by: .seconds(10))
    }
    for job in hung { #expect(await job.value == .timedOut) }
    #expect(await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } == .unavailable)
    #expect(await custodyCode { _ = try custodian.signBlocking([1], with: .oauthA) } == .unavailable)
    #expect(custodian.health().map(\.state) == [.unresponsive, .ready])
    #expect(custodian.health().first?.reason.contains("4 calls hang") == true)
    #expect(try await custodian.authenticate([1], with: .recordMAC).count == 32)
    #expect(try custodian.randomBytes(8).count == 8)
    letGo()
    await until { custodian.health().allSatisfy { $0.state == .ready } }
    #expect(try await custodian.sign([1], with: .oauthA).count == 64)
    custodian.close()
  }

  @Test("The anchor hangs: another one takes its place, with the keys") func anchor() async throws {
    let custodian = try open([.data])
    let (iv, context) = ([UInt8](repeating: 1, count: 12), [UInt8(1)])
    let kek = try await custodian.wrap(custodian.randomSecret(count: 32))
    let key = try await custodian.randomSecret(count: 32)
    let text = try await custodian.encrypt(key, iv: iv, context: context, under: kek)
    let hung = try hang(custodian, .data, on: .anchor)
    await until { inside.read { $0 } == 1 }
    clock.advance(by: .seconds(10))
    #expect(await hung.value == .timedOut)
    #expect(try await custodian.decrypt(text, iv: iv, context: context, under: kek).secret.count == 32)
    #expect(custodian.health().first?.logins == 2)
    // The session that hangs may still hold the key.
    #expect(await custodyCode { try await custodian.forget(kek) } == .unavailable)
    letGo()
    await until { custodian.health().first?.lent == 0 }
    try await custodian.forget(kek)
    custodian.close()
  }

  @Test("What waits for a session is late too") func waiting() async throws {
    var limits = PKCS11Custodian.Limits()
    limits.sessionsPerToken = 1
    let custodian = try open([.identity], limits)
    let hung = try hang(custodian, .identity)
    await until { inside.read { $0 } == 1 }
    let waiting = Task { await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } }
    let member = try #require(custodian.clusters[.identity]?.members.first)
    await until { member.executor.waiting == 0 && custodian.health().first?.lent == 1 }
    clock.advance(by: .seconds(10))
    #expect(await hung.value == .timedOut)
    let code = await waiting.value
    #expect(code == .timedOut || code == nil)
    #expect(member.executor.stuck == 1)
    #expect(try await custodian.sign([1], with: .oauthA).count == 64)
    letGo()
    custodian.close()
  }

  @Test("Closing does not wait for what hangs") func closing() async throws {
    let custodian = try open([.identity])
    let hung = try hang(custodian, .identity)
    await until { inside.read { $0 } == 1 }
    clock.advance(by: .seconds(10))
    #expect(await hung.value == .timedOut)
    custodian.close()
    #expect(custodian.health().map(\.state) == [.closed])
    #expect(await custodyCode { _ = try await custodian.sign([1], with: .oauthA) } == .unavailable)
    letGo()
  }

  @Test("A single session in all does everything, one at a time") func single() async throws {
    let custodian = try open([.data])
    defer { custodian.close() }
    let member = try #require(custodian.clusters[.data]?.members.first)
    _ = member.monitor.update { state in
      defer { (state.idle, state.pool, state.poolLimit) = ([], 0, 0) }
      return state.idle
    }
    let kek = try await custodian.wrap(custodian.randomSecret(count: 32))
    let key = try await custodian.randomSecret(count: 32)
    try await withThrowingTaskGroup { group in
      for _ in 0..<30 {
        group.addTask {
          _ = try await custodian.encrypt(key, iv: [UInt8](repeating: 1, count: 12), context: [1], under: kek)
          _ = try await custodian.authenticate(record: [1])
        }
      }
      try await group.waitForAll()
    }
    #expect(custodian.health().first?.sessions == 1)
  }

  @Test("When the module is initialised again, and how seldom")
  func disturbing() {
    let disturbing = (0..<600).filter(TokenConnection.isWorthDisturbing)
    #expect(disturbing == [0, 8, 64, 512])
  }

  @Test("Pauses double from 0.2 s to 5 s") func pauses() {
    var state = TokenConnection.State(poolLimit: 1, keks: KEKTable(limit: 1))
    var pauses: [Duration] = []
    for _ in 0..<40 {
      state.goDown(TokenFailure(error: CustodyError(.unavailable, "")), .zero)
      if case .down(_, let until) = state.status { pauses.append(until) }
    }
    #expect(
      pauses.prefix(6) == [
        .milliseconds(200), .milliseconds(400), .milliseconds(800), .milliseconds(1600), .milliseconds(3200),
        .seconds(5),
      ])
    #expect(pauses.dropFirst(5).allSatisfy { $0 == .seconds(5) })
  }
}
