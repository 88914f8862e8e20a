import DemoClient
import Foundation
import Synchronization
import Wire

/// Step 12: the daemon is killed in the middle of a burst.
enum CrashStep {
  /// A command of the burst, and the answer if one came.
  private struct Order: Sendable {
    let key: String
    var answer: Answer?
  }

  /// What the tasks of the burst share.
  private final class Orders: Sendable {
    private let sent = Mutex<[Order]>([])

    var all: [Order] { sent.withLock { $0 } }

    /// Notes a new order, before it is sent.
    func add(_ key: String) -> Int {
      sent.withLock { sent in
        sent.append(Order(key: key))
        return sent.count - 1
      }
    }

    func acknowledge(_ index: Int, _ answer: Answer) { sent.withLock { $0[index].answer = answer } }
  }

  private static let workers = 8
  private static let units = 10

  static func run(_ stage: Stage) async {
    let say = stage.narrator
    say.heading("12  Killed in the middle of a burst")
    var orders: [Order] = []
    var before = 0

    await stage.item(
      "12.1", "kill -9 while \(workers) tasks send transfers",
      "Some are answered, some are in flight; the process gets no chance to finish anything."
    ) {
      before = try await stage.account("operating account").balance
      orders = try await burst(stage, killAfter: Int.random(in: 40...80))
      let answered = orders.count { $0.answer != nil }
      say.value("acknowledged", "\(answered)")
      say.value("sent, no answer", "\(orders.count - answered)")
      guard answered > 0 else { throw Deviation("acknowledged commands", expected: "some", actual: 0) }
      return .done("after \(answered) answers, \(orders.count - answered) in flight")
    }

    await stage.item(
      "12.2", "every acknowledged command is there once",
      "Each order of the burst is sent again under its Idempotency-Key, answered or not: none is lost, none posts twice."
    ) {
      guard !orders.isEmpty else { throw NotReached(missing: "the burst") }
      try await stage.start()
      try stage.demand(200, "/readyz", try await stage.client.get("/readyz"))
      let (client, agent) = (try stage.client, try stage.party("P-256"))
      let answered = orders.count { $0.answer != nil }
      // Recovery finishes what was recorded; nothing new is sent yet.
      let survived = try await stage.poll("recovery", seconds: 20) {
        let account = try await stage.account("operating account")
        return account.balance == account.available ? (before - account.balance) / units : nil
      }
      guard (answered...orders.count).contains(survived) else {
        throw Deviation("commands after the restart", expected: "\(answered) to \(orders.count)", actual: survived)
      }
      let body = try stage.transfer(units)
      for order in orders {
        let again = try await stage.poll("order \(order.key)", seconds: 20) { () -> Answer? in
          let answer = try await agent.submit(
            client, "/v1/ledger/transfers", body, Party.CommandOptions(idempotencyKey: order.key))
          return answer.code == "idempotency_key_in_flight" ? nil : answer
        }
        try stage.demand(201, "order \(order.key) again", again)
        if let first = order.answer { try expect("the answer of order \(order.key)", again.text, first.text) }
      }
      let after = try await stage.account("operating account")
      try expect("debited in all", before - after.balance, orders.count * units)
      try expect("available", after.available, after.balance)
      say.value("after restart", "\(survived) posted, \(answered) of them were acknowledged")
      say.value("after repeating", "\(orders.count) posted, one each")
      return .done("\(answered) acknowledged, \(orders.count) posted once")
    }

    await stage.item(
      "12.3", "the record is still sound",
      "The whole log once more, offline: every authorised leaf has exactly one outcome."
    ) {
      try await stage.stop()
      let audit = try AuditStep.audit(stage, try AuditStep.database(stage))
      try audit.demandSound()
      try expect("commands in flight", audit.count("in_flight"), 0)
      return .done("sound: " + audit.proven)
    }
  }

  /// Sends transfers from several tasks and kills the daemon after so many answers.
  /// - Returns: every order that was sent.
  private static func burst(_ stage: Stage, killAfter count: Int) async throws -> [Order] {
    let (client, agent) = (try stage.client, try stage.party("P-256"))
    let (body, token) = (try stage.transfer(units), try await agent.token(try stage.client))
    let orders = Orders()
    let (answers, continuation) = AsyncStream.makeStream(of: Answer?.self)
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<workers {
        group.addTask {
          while true {
            let key = agent.fresh()
            let request = try agent.command(
              "/v1/ledger/transfers", body, token: token, Party.CommandOptions(idempotencyKey: key))
            let index = orders.add(key)
            let answer = try? await client.send(request)
            continuation.yield(answer)
            // Without an answer the daemon is gone, as it should be by then.
            guard let answer, answer.status == 201 else { return }
            orders.acknowledge(index, answer)
          }
        }
      }
      var answered = 0
      for await answer in answers {
        guard answer?.status == 201 else {
          throw Deviation("a transfer of the burst", expected: 201, actual: answer?.summary ?? "no answer")
        }
        answered += 1
        if answered == count {
          await stage.kill()
          break
        }
      }
      try await group.waitForAll()
    }
    return orders.all
  }
}
