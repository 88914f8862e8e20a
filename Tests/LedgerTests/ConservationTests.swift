import CommandGate
import Ledger
import Seal
import Testing
import TestSupport
import Wire

/// A ledger of two numbers for each account, to hold the real one to.
private struct Model {
  struct Hold {
    let from, to: Int
    let amount: Int64
    let expires: Int64
    var isOpen = true
  }
  var balance: [Int64]
  var held: [Int64]
  var holds: [String: Hold] = [:]
  let overdraft: [Int64]

  func mayDebit(_ account: Int, _ amount: Int64) -> Bool {
    account == 0 || balance[account] + overdraft[account] - held[account] >= amount
  }

  mutating func move(_ from: Int, _ to: Int, _ amount: Int64) {
    balance[from] -= amount
    balance[to] += amount
  }
}

@Suite struct ConservationTests {
  /// Random commands: the ledger says yes and no where the model does, and money is neither made nor lost.
  @Test(arguments: [1, 2, 3] as [UInt64]) func moneyIsConserved(_ seed: UInt64) async throws {
    let d = try await InMemoryDeployment.running(seed: seed)
    let (w, random) = (d.world, SeededRandom(seed &* 977))
    try await d.enrol(w.agents[0])
    let accounts = [
      try await d.openAccount(by: w.officer, kind: "external"), try await d.openAccount(by: w.owner, overdraft: 300),
      try await d.openAccount(by: w.owner), try await d.openAccount(by: w.stranger),
    ]
    let owners = [w.officer, w.agents[0], w.owner, w.stranger]
    var model = Model(balance: [0, 0, 0, 0], held: [0, 0, 0, 0], overdraft: [0, 300, 0, 0])
    var (accepted, refused) = (0, 0)
    for _ in 0..<150 {
      let (from, shift) = (random.below(4), 1 + random.below(3))
      let (to, amount) = ((from + shift) % 4, Int64(1 + random.below(400)))
      let now = w.clock.now().milliseconds
      let done: Bool
      let expected: Bool
      switch random.below(10) {
      case 0...3:
        expected = model.mayDebit(from, amount)
        done = await Self.works {
          try await d.submit("/v1/ledger/transfers", .transfer(accounts[from], accounts[to], amount), by: owners[from])
        }
        if expected { model.move(from, to, amount) }
      case 4...5:
        expected = model.mayDebit(from, amount)
        let seconds = Int64(1 + random.below(20))
        let receipt = try? await d.submit(
          "/v1/ledger/holds", .hold(accounts[from], accounts[to], amount, seconds: seconds), by: owners[from])
        done = receipt != nil
        if let receipt {
          model.holds[receipt.command.id.description] = .init(
            from: from, to: to, amount: amount, expires: now + seconds * 1000)
          model.held[from] += amount
        }
      case 6...8:
        guard !model.holds.isEmpty else { continue }
        let id = random.pick(model.holds.keys.sorted())
        guard var hold = model.holds[id] else { continue }
        let part = random.below(2) == 0 ? min(amount, hold.amount + 1) : hold.amount
        let captures = random.below(3) > 0
        expected = hold.isOpen && now < hold.expires && (!captures || part <= hold.amount)
        done = await Self.works {
          try await d.submit(
            "/v1/ledger/holds/\(id)/\(captures ? "capture" : "void")", captures ? ["amount": .integer(part)] : [:],
            by: owners[hold.from])
        }
        if expected {
          hold.isOpen = false
          model.held[hold.from] -= hold.amount
          if captures { model.move(hold.from, hold.to, part) }
          model.holds[id] = hold
        }
      default:
        w.clock.advance(seconds: Int64(random.below(10)))
        let moment = w.clock.now().milliseconds
        for (id, var hold) in model.holds {
          let isDue = hold.isOpen && hold.expires <= moment
          let wasReleased = try await d.expire(id) != nil
          #expect(wasReleased == isDue)
          guard isDue else { continue }
          hold.isOpen = false
          model.held[hold.from] -= hold.amount
          model.holds[id] = hold
        }
        continue
      }
      #expect(done == expected)
      if done { accepted += 1 } else { refused += 1 }
      let stored = try accounts.map { try d.account($0) }
      #expect(stored.map(\.balance) == model.balance && stored.map(\.debitsPending) == model.held)
      #expect(stored.map(\.debitsPosted).reduce(0, +) == stored.map(\.creditsPosted).reduce(0, +))
      #expect(stored.map(\.debitsPending).reduce(0, +) == stored.map(\.creditsPending).reduce(0, +))
    }
    #expect(model.balance.reduce(0, +) == 0 && accepted > 20 && refused > 20, "\(accepted) \(refused)")
    await d.stop()
  }

  private static func works(_ body: () async throws -> Receipt) async -> Bool { (try? await body()) != nil }
}
