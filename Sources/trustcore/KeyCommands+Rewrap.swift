import ArgumentParser
import OperatorClient
import Wire

extension KeyCommands {
  struct Rewrap: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Wraps the data keys of a key by its newest version, while it serves.",
      discussion: "Example: trustcore keys rewrap key_7f3a --wait --state .trustcore")

    @OptionGroup var one: OneKey
    var json: Bool { one.json }

    @Flag(help: "Wait until it is done, and show how far it is.")
    var wait = false

    func perform() async throws(OperatorError) {
      let client = try one.deployment.client()
      guard wait else {
        return tell(try await client.key(one.key, .rewrap, as: one.signer.who(unsaid: .officer))) { answer in
          RewrapProgress.isPending(answer)
            ? KeyReport.done("is being rewrapped")(answer)
              + "\nSee how far it is with 'trustcore keys show \(Wording.visible(one.key))'."
            : KeyReport.done("is rewrapped")(answer)
        }
      }
      try await order(client)
      let line = StatusLine(.error)
      var reporter = StepReporter(everyTime: line.isTerminal)
      let key = try await client.awaitRewrap(one.key, pause: { try await Task.sleep(for: .milliseconds(500)) }) {
        if let text = reporter.line($0) { line.show(text) }
      }
      line.finish()
      tell(key) { key in
        var key = key
        // Where the key was ordered.
        key["leaf_index"] = nil
        return KeyReport.done("is rewrapped")(key)
      }
    }

    /// Orders it, unless the schedule has, as it does after a rotation.
    private func order(_ client: OperatorClient) async throws(OperatorError) {
      while true {
        do throws(OperatorError) {
          _ = try await client.key(one.key, .rewrap, as: one.signer.who(unsaid: .officer))
          return
        } catch {
          guard error.code == .init("key_busy") else { throw error }
          let key = try await client.key(one.key)
          if RewrapProgress.isPending(key) { return }
          // What was under way has ended meanwhile, or is something else.
          guard key["tasks"]?.array?.isEmpty == true else { throw error }
        }
      }
    }
  }

  struct Destroy: OperatorCommand {
    static let configuration = CommandConfiguration(
      abstract: "Ends a key for good: what it encrypted can never be read again.",
      discussion: """
        Asks for the key's identifier once more, unless --yes is given. Prints the receipt, which says what backups
        can still reach.
        Example: trustcore keys destroy key_7f3a --yes --state .trustcore
        """)

    @OptionGroup var one: OneKey
    var json: Bool { one.json }

    @Flag(help: "Do not ask.")
    var yes = false

    func perform() async throws(OperatorError) {
      try Self.confirm(one.key, yes: yes, isTerminal: Descriptor.input.isTerminal && Descriptor.error.isTerminal) {
        complainRaw("Everything that \(Wording.visible(one.key)) encrypted will be lost. Type its identifier: ")
        return readLine()
      }
      tell(try await one.ask(.destroy), KeyReport.destruction)
    }

    /// Makes sure that a person means it.
    static func confirm(
      _ key: String, yes: Bool, isTerminal: Bool, ask: () -> String?
    ) throws(OperatorError) {
      if yes { return }
      guard isTerminal else {
        throw OperatorError(
          .usage, "Nobody can be asked here: say --yes if \(Wording.visible(key)) shall end for good.")
      }
      guard ask() == key else { throw OperatorError(.usage, "That is not the key's identifier: nothing was done.") }
    }
  }
}
