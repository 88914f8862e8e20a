import CommandGate
import Consent
import Payments
import Seal
import StorageSQLite
import Testing
import TestSupport
import TransparencyLog
import Wire

/// A gate that decides otherwise than the rules say signs a log that is sound in itself; the audit finds it all the same.
@Suite struct WrongDecisionTests {
  enum Lie: String, CaseIterable, Sendable {
    case allowsWhatIsHeld, holdsWhatIsAllowed, holdsForLonger, holdsSomethingElse, refersToNothing, refersElsewhere
    case namesAnotherPolicy, refusesWhatIsAllowed, ignoresALimit
  }

  /// Payments, but for one lie about the rulings of requests to pay.
  private struct LyingModule: CommandModule {
    let honest: PaymentsModule<SQLiteUnit>
    let lie: Lie
    var verifier: SealVerifier { honest.verifier }

    func parse(_ signed: SignedCommand) throws(Problem) -> PaymentCommand { try honest.parse(signed) }

    func policyVersion(for context: CommandContext, in unit: inout SQLiteUnit) throws -> String {
      lie == .namesAnotherPolicy ? "policy/9" : try honest.policyVersion(for: context, in: &unit)
    }

    func reserve(_ command: PaymentCommand, context: CommandContext, in unit: inout SQLiteUnit) throws -> Ruling {
      let ruling: Ruling
      do { ruling = try honest.reserve(command, context: context, in: &unit) } catch {
        if lie == .ignoresALimit { return .allow }
        throw error
      }
      guard case .authorize = command else { return ruling }
      switch (lie, ruling.disposition) {
      case (.allowsWhatIsHeld, .hold): return Ruling(.allow, references: ruling.references)
      case (.holdsWhatIsAllowed, .allow):
        return Ruling(.hold(until: context.decidedAt.adding(seconds: 9), [:]), references: ruling.references)
      case (.holdsForLonger, .hold(let end, let held)):
        return Ruling(.hold(until: end.adding(seconds: 1), held), references: ruling.references)
      case (.holdsSomethingElse, .hold(let end, var held)):
        held["amount"] = "0.01"
        return Ruling(.hold(until: end, held), references: ruling.references)
      case (.refersToNothing, _): return Ruling(ruling.disposition)
      case (.refersElsewhere, _): return Ruling(ruling.disposition, references: [.init("consent", 1)])
      case (.refusesWhatIsAllowed, .allow): throw Problem(403, "policy_denied", "No.")
      default: return ruling
      }
    }

    func apply(
      _ sealed: Sealed<PaymentCommand>, at now: Timestamp, in unit: inout SQLiteUnit
    ) throws -> JSONObject {
      // What was refused has left nothing to carry out.
      if lie == .ignoresALimit, case .authorize = sealed.command { return [:] }
      return try honest.apply(sealed, at: now, in: &unit)
    }

    func release(_ command: PaymentCommand, context: CommandContext, in unit: inout SQLiteUnit) throws {
      try honest.release(command, context: context, in: &unit)
    }
  }

  @Test(arguments: Lie.allCases) func areFound(_ lie: Lie) async throws {
    let folder = try TemporaryFolder.make()
    let world = try TestWorld()
    let store = try SQLiteStore(path: folder + "/s.sqlite")
    try await world.found(store, headFile: folder + "/head")
    let d = try await TestDeployment(
      world, store: store, headFile: folder + "/head", replacing: { LyingModule(honest: $0, lie: lie) })
    d.start()
    let (terms, _) = try await SampleDeployment.prepare(d)
    try await d.settle()
    let first = try await store.read { try $0.head()?.size ?? 0 }
    let amount = [.allowsWhatIsHeld, .holdsForLonger, .holdsSomethingElse].contains(lie) ? "2000.00" : "20.00"
    let request = lie == .ignoresALimit ? "20000.00" : amount
    _ = try? await d.authorize(request, to: "acme", under: terms.id, agent: world.agents[2])
    await d.stop()
    try store.close()
    let report = try DeploymentAudit(database: folder + "/s.sqlite", genesis: world.genesisText).run()
    let places = report.findings.map(\.place)
    // The policy's name stands on each of the module's leaves.
    #expect(lie == .namesAnotherPolicy ? !places.isEmpty : places.first == "leaf \(first)", "\(report.findings)")
    let sentences: [Lie: String] = [
      .allowsWhatIsHeld: "had to be held", .holdsWhatIsAllowed: "had to be authorised",
      .holdsForLonger: "or held otherwise", .holdsSomethingElse: "what was held", .refersToNothing: "refers to other",
      .refersElsewhere: "refers to other", .namesAnotherPolicy: "names the policy policy/9",
      .refusesWhatIsAllowed: "had to be allowed", .ignoresALimit: "had to be refused",
    ]
    #expect(report.findings.first?.sentence.contains(sentences[lie] ?? "-") == true, "\(report.findings)")
  }
}
