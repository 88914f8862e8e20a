import AgentIdentity
import CommandGate
import Foundation
import Ledger
import Seal
import StorageSQLite
import Synchronization
import Testing
import TestSupport
import TransparencyLog
import Wire

typealias SQLiteDeployment = TestDeployment<SQLiteStore>

/// What is on the disk at one moment, as a process that was killed then would have left it: database and head file.
struct CrashImage: Sendable {
  let step: GateStep
  let folder: String
  /// The answers that had been given, by idempotency key.
  let answers: [String: Answer]
  /// The checkpoint that was public.
  let published: String?
}

/// How a command was answered for good.
enum Answer: Hashable, Sendable {
  case receipt([UInt8])
  case refused(String)
}

/// Takes images of a running deployment. They are taken between two steps, on the gate's own actor, so that the
/// deployment itself need not be killed: it goes on in another world.
final class CrashCamera: Sendable {
  private struct State {
    var answers: [String: Answer] = [:]
    var images: [CrashImage] = []
    var steps = 0
    var published: (@Sendable () -> String?)?
  }
  private let state = Mutex(State())
  private let folder: String
  /// Which steps to take an image after: given the step and how many there were before it.
  private let takes: @Sendable (GateStep, Int) -> Bool

  init(_ folder: String, takes: @escaping @Sendable (GateStep, Int) -> Bool) {
    self.folder = folder
    self.takes = takes
  }

  var images: [CrashImage] { state.withLock { $0.images } }

  func watch(_ published: @escaping @Sendable () -> String?) { state.withLock { $0.published = published } }

  func answered(_ key: String, _ answer: Answer) { state.withLock { $0.answers[key] = answer } }

  func after(_ step: GateStep) {
    let (isTaken, answers, published) = state.withLock { state in
      state.steps += 1
      return (takes(step, state.steps - 1), state.answers, state.published?())
    }
    guard isTaken, let image = try? Self.copy(folder) else { return }
    state.withLock {
      $0.images.append(CrashImage(step: step, folder: image, answers: answers, published: published))
    }
  }

  /// The database comes before its log: frames that are appended meanwhile are of commits that come later.
  static func copy(_ folder: String) throws -> String {
    let copy = try TemporaryFolder.make()
    for name in ["db", "db-wal", "head"] where FileManager.default.fileExists(atPath: "\(folder)/\(name)") {
      try FileManager.default.copyItem(atPath: "\(folder)/\(name)", toPath: "\(copy)/\(name)")
    }
    return copy
  }
}

/// A deployment on SQLite that can be crashed, with accounts and an agent.
struct CrashBench {
  let world: TestWorld
  let own, other: String

  /// Founds a deployment in a folder and gives the owner's account 1,000.00.
  static func found(seed: UInt64, in folder: String) async throws -> CrashBench {
    let world = try TestWorld(seed: seed)
    let store = try SQLiteStore(path: folder + "/db")
    try await world.found(store, headFile: folder + "/head")
    let d = try await SQLiteDeployment(world, store: store, headFile: folder + "/head")
    d.start()
    try await d.enrol(world.agents[0])
    let bank = try await d.openAccount(by: world.officer, kind: "external")
    let (own, other) = (try await d.openAccount(by: world.owner), try await d.openAccount(by: world.stranger))
    try await d.submit("/v1/ledger/transfers", .transfer(bank, own, 100_000), by: world.officer)
    await d.stop()
    try store.close()
    return CrashBench(world: world, own: own, other: other)
  }

  /// Opens the deployment in a folder, hands it over, and stops it when nothing is in flight any more.
  func running<Result>(
    in folder: String, _ camera: CrashCamera? = nil, _ body: (SQLiteDeployment) async throws -> Result
  ) async throws -> Result {
    let store = try SQLiteStore(path: folder + "/db")
    let d = try await SQLiteDeployment(world, store: store, headFile: folder + "/head") { configuration in
      if let camera { configuration.onStep = { camera.after($0) } }
    }
    let published = d.gate.published
    camera?.watch { published.note }
    #expect(await d.gate.mode == .running)
    d.start()
    let result = try await body(d)
    await d.stop()
    try store.close()
    return result
  }

  func transfer(_ amount: Int64, _ d: SQLiteDeployment) async throws -> SignedCommand {
    try await d.sign("/v1/ledger/transfers", .transfer(own, other, amount), by: world.agents[0], seconds: 300)
  }

  /// Submits commands all at once and returns their answers.
  static func submit(
    _ commands: [SignedCommand], to d: SQLiteDeployment, _ camera: CrashCamera? = nil
  ) async -> [String: Answer] {
    await withTaskGroup(of: (String, Answer?).self) { group in
      for command in commands {
        group.addTask {
          let answer = await Self.answer(to: command, d)
          if let answer { camera?.answered(command.idempotencyKey, answer) }
          return (command.idempotencyKey, answer)
        }
      }
      return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
    }
  }

  private static func answer(to command: SignedCommand, _ d: SQLiteDeployment) async -> Answer? {
    while true {
      do {
        return .receipt(try await d.gate.submit(command, to: "ledger").text)
      } catch let denied as Denied {
        return .refused(denied.problem.code)
      } catch let problem as Problem where problem.code == "idempotency_key_in_flight" {
        await Task.yield()
      } catch let problem as Problem {
        return problem.status < 500 ? .refused(problem.code) : nil
      } catch {
        return nil
      }
    }
  }

  /// Restarts from an image and holds it to what was promised before the crash.
  func verify(_ image: CrashImage, _ commands: [SignedCommand]) async throws {
    let answers = try await running(in: image.folder) { d in
      let answers = await Self.submit(commands, to: d)
      if let note = image.published {
        // What was public once is a prefix of what is public now.
        let old = try UnverifiedCheckpoint(note).claimed.head
        try await d.store.read { unit in
          let head = try #require(try unit.head())
          let proof = try MerkleTree(restoring: head, from: unit).consistencyProof(
            from: old.size, to: head.size, from: unit)
          try MerkleProof.verifyConsistency(from: old, to: head, proof: proof)
        }
      }
      return answers
    }
    #expect(answers.count == commands.count, "\(image.step)")
    for (key, answer) in image.answers {
      #expect(answers[key] == answer, "after \(image.step): the answer to \(key) is another one now")
    }
    try audit(image.folder, commands, answers)
  }

  /// The whole deployment is sound, nothing is in flight, and each accepted command moved money once.
  func audit(_ folder: String, _ commands: [SignedCommand], _ answers: [String: Answer]) throws {
    let report = try DeploymentAudit(database: folder + "/db", genesis: world.genesisText).run()
    #expect(report.findings.map(\.description) == [])
    #expect(report.inFlight == 0 && report.unsealed == 0)
    let accepted = try commands.filter { command in
      guard case .receipt? = answers[command.idempotencyKey] else { return false }
      return true
    }.map { command in
      let entries = try JSONValue(parsing: command.body).object?["entries"]?.array
      return entries?.first?.object?["amount"]?.integer ?? 0
    }
    let store = try SQLiteStore(path: folder + "/db", mode: .readOnly)
    defer { try? store.close() }
    let credited = try store.readBlocking { unit in try unit.account(other)?.balance }
    #expect(credited == accepted.reduce(0, +))
    // Five commands came before: approval, three accounts, funding.
    #expect(report.receipts == 5 + accepted.count, "\(report)")
  }
}
