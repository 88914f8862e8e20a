import DemoClient
import Foundation
import JOSE
import Wire

/// Step 9: keys that nobody sees, and files that open for those who may, in their context, until the key ends.
enum KeyStep {
  private static let context = ["customer=42", "document=contract"]

  @Sendable static func run(_ stage: Stage) async {
    stage.narrator.heading("9  Keys: custody and envelope encryption")
    await custody(stage)
    await file(stage)
    await documents(stage)
    await renewal(stage)
    await end(stage)
  }

  // MARK: - Custody

  private static func custody(_ stage: Stage) async {
    await stage.item(
      "9.1", "tokens are ready, and keep their keys in",
      "trustcore status. At its start the daemon asked the data token to unwrap a key as an extractable one. The token refused."
    ) {
      let status = try KeyTool(stage, ["status"]).json
      let tokens = (status["tokens"]?.array ?? []).compactMap(\.object)
      let roles = tokens.map { "\($0["role"]?.string ?? "") \($0["state"]?.string ?? "")" }
      try expect("tokens", roles.sorted(), ["data ready", "identity ready", "log ready"])
      try expect("the hostile unwrap", status["hostile_unwrap"]?.string, "refused")
      try expect("keys", status["keys_mode"]?.string, "open")
      stage.narrator.value("tokens", roles.joined(separator: ", ") + "; root is logged out")
      stage.narrator.value("hostile unwrap", "refused")
      return .done("\(tokens.count) tokens ready, hostile unwrap refused")
    }

    await stage.refuse(
      "9.2", "a key by order of an owner", "Keys are made by security officers, whoever will use them.",
      "officer_required"
    ) { try KeyTool(stage, ["keys", "create", "--class", "files", "--as", "owner"]) }

    await stage.item(
      "9.3", "an officer has the key for files made",
      "Drawn in the HSM, wrapped there by a key that never leaves, and to the offline recovery key (X-Wing)."
    ) {
      let made = try KeyTool(stage, ["keys", "create", "--class", "files"]).json
      try expect("state", made["state"]?.string, "active")
      guard let key = made["key"]?.string, let version = made["versions"]?.array?.first?.object,
        let wraps = version["wrapped_to"]?.array?.compactMap(\.string), wraps.count == 2
      else { throw Deviation("the key", expected: "one version for token and recovery key", actual: made) }
      stage.setName("files key", key)
      stage.setName("wraps", wraps.joined(separator: " "))
      stage.narrator.value("key", key)
      for wrap in wraps { stage.narrator.value("wrapped to", wrap) }
      return .done("leaf \(version["leaf_index"]?.integer ?? -1)")
    }
  }

  // MARK: - A file

  private static func file(_ stage: Stage) async {
    let (plain, sealed, opened) = (stage.scratch + "/file", stage.scratch + "/file.tc", stage.scratch + "/file.opened")
    await stage.item(
      "9.4", "the owner encrypts 3 MiB, and decrypts them",
      "Under a data key of the file's own and a context that is not in the file. The daemon sees neither content nor name."
    ) {
      var generator = SystemRandomNumberGenerator()
      let words = (0..<(3 << 20) / 8).map { _ in generator.next() as UInt64 }
      let content = unsafe words.withUnsafeBytes { unsafe Data($0) }
      try content.write(to: URL(fileURLWithPath: plain))
      let made = try KeyTool(
        stage, ["keys", "encrypt", try stage.named("files key"), "--in", plain, "--out", sealed], context: context
      ).json
      try expect("bytes encrypted", made["plaintext_bytes"]?.integer, Int64(content.count))
      _ = try KeyTool(stage, ["keys", "decrypt", "--in", sealed, "--out", opened], context: context).json
      guard try Data(contentsOf: URL(fileURLWithPath: opened)) == content else {
        throw Deviation("what was decrypted", expected: "what was encrypted", actual: "something else")
      }
      stage.setName("encrypted file", sealed)
      stage.narrator.value("data key", made["data_key"]?.string ?? "")
      return .done("\(content.count) bytes, the same")
    }
    await stage.refuse(
      "9.5", "the same file in another context", "It was encrypted for customer 42; somebody asks for customer 43.",
      "context_mismatch", leaving: stage.scratch + "/other"
    ) {
      try KeyTool(
        stage, ["keys", "decrypt", "--in", try stage.named("encrypted file"), "--out", stage.scratch + "/other"],
        context: ["customer=43", "document=contract"])
    }
    await stage.refuse(
      "9.6", "one flipped bit", "In the middle of the encrypted file; with --out there is then no file at all.",
      "not_authentic", leaving: stage.scratch + "/other"
    ) {
      var bytes = try Data(contentsOf: URL(fileURLWithPath: try stage.named("encrypted file")))
      bytes[bytes.count / 2] ^= 1
      let flipped = stage.scratch + "/flipped.tc"
      try bytes.write(to: URL(fileURLWithPath: flipped))
      return try KeyTool(
        stage, ["keys", "decrypt", "--in", flipped, "--out", stage.scratch + "/other"], context: context)
    }
  }

  private static func documents(_ stage: Stage) async {
    let other = stage.scratch + "/other"
    await stage.refuse(
      "9.7", "an agent reads what it may only write",
      "The manifest lets agents encrypt documents, and not decrypt them. Its own document stays closed to it.",
      "key_use_not_permitted", leaving: other
    ) {
      let made = try KeyTool(stage, ["keys", "create", "--class", "documents"]).json
      let (agent, sealed) = (try stage.party("P-256"), stage.scratch + "/document.tc")
      let (identity, plain) = (stage.scratch + "/agent.jwk", stage.scratch + "/document")
      try Data("for the owner's eyes".utf8).write(to: URL(fileURLWithPath: plain))
      guard
        FileManager.default.createFile(
          atPath: identity, contents: Data(agent.key.privateJWK.canonical()), attributes: [.posixPermissions: 0o600])
      else { throw DemoError("\(identity) cannot be written") }
      let signer = ["--as", identity, "--id", agent.id]
      _ = try KeyTool(
        stage, ["keys", "encrypt", made["key"]?.string ?? "", "--in", plain, "--out", sealed] + signer,
        context: context
      ).json
      return try KeyTool(stage, ["keys", "decrypt", "--in", sealed, "--out", other] + signer, context: context)
    }
  }

  // MARK: - A new version

  private static func renewal(_ stage: Stage) async {
    var drawn: [DataKeyClient.Drawn] = []
    await stage.item(
      "9.8", "a service draws 100 data keys over HTTP",
      "Each sealed to an X-Wing key that the service made for the answer, and asked for once more: the same 32 bytes."
    ) {
      let service = DataKeyClient(client: try stage.client, party: try stage.owner)
      drawn = try await service.draw(100, under: try stage.named("files key"))
      try expect("different data keys", Set(drawn.map(\.secret)).count, drawn.count)
      _ = try await service.open(drawn)
      return .done("\(drawn.count) drawn, opened, and different")
    }
    await stage.item(
      "9.9", "rotate and rewrap, while data keys open",
      "A second version takes over; the data keys are brought under it in batches, a leaf each. Files are not touched."
    ) {
      guard !drawn.isEmpty else { throw NotReached(missing: "the data keys") }
      let key = try stage.named("files key")
      let service = DataKeyClient(client: try stage.client, party: try stage.owner)
      let (known, flag) = (drawn, Flag())
      async let opened = service.open(known, until: flag)
      let progress: String
      do {
        defer { flag.raise() }
        let rotated = try KeyTool(stage, ["keys", "rotate", key]).json
        try expect("version", rotated["version"]?.integer, 2)
        // The schedule brings data keys along too, and may have been first.
        let rewrap = try await stage.poll("the rewrap", seconds: 60) {
          let tool = try KeyTool(stage, ["keys", "rewrap", key, "--wait"])
          return tool.code == "key_busy" ? nil : tool
        }
        progress = rewrap.progress
        let data = try (rewrap.json["versions"]?.array ?? []).map { $0.object?["data_keys"]?.integer ?? -1 }
        try expect("data keys of version 1", data.first, 0)
        guard let newest = data.last, newest > known.count else {
          throw Deviation("data keys of version 2", expected: "more than \(known.count)", actual: data)
        }
        stage.narrator.value("under version 2", "\(newest) data keys, none under version 1")
      }
      stage.narrator.value("meanwhile", "\(try await opened) data keys opened, each the right one")
      if !progress.isEmpty { stage.narrator.value("progress", progress) }
      let again = stage.scratch + "/file.again"
      _ = try KeyTool(
        stage, ["keys", "decrypt", "--in", try stage.named("encrypted file"), "--out", again], context: context
      ).json
      guard FileManager.default.contentsEqual(atPath: again, andPath: stage.scratch + "/file") else {
        throw Deviation("the file of 9.4", expected: "as before", actual: "something else")
      }
      return .done("version 2, and the file of 9.4 opens")
    }
  }

  // MARK: - The end

  private static func end(_ stage: Stage) async {
    let say = stage.narrator
    await stage.item(
      "9.10", "the key is destroyed, with a receipt",
      "The leaf, its content and its proof are verified by the demo itself. It names what backups can still reach."
    ) {
      let key = try stage.named("files key")
      let answer = try KeyTool(stage, ["keys", "destroy", key, "--yes"]).json
      try expect("the task", answer["task_state"]?.string, "done")
      guard let receipt = answer["destruction"] else {
        throw Deviation("the answer", expected: "a receipt", actual: answer)
      }
      let event = try stage.log.event(receipt)
      try expect("kind", event.kind, "key.destroyed")
      try expect("key", event.content["key"]?.string, key)
      let states = (event.content["records"]?.array ?? []).compactMap { $0.object?["state"]?.string }
      try expect("versions", states, ["destroyed", "destroyed"])
      let facts = event.content["facts"]?.object ?? [:]
      guard let reach = facts["reach"]?.object, let since = reach["copies_since"]?.string,
        let until = reach["copies_until"]?.string
      else { throw Deviation("the receipt", expected: "what backups can reach", actual: event.content) }
      let keys = (reach["open_with"]?.array ?? []).compactMap(\.string)
      try expect("keys that open backups", keys.joined(separator: " "), try stage.named("wraps"))
      say.value("leaf", "\(event.index), proven")
      say.value("gone", "2 versions, \(facts["data_keys"]?.integer ?? -1) data keys")
      say.value("dropped by", (facts["nodes"]?.array ?? []).compactMap(\.string).joined(separator: ", "))
      say.value("backups", "copies of the database from \(since) to \(until) still hold it, wrapped; it opens with")
      for (index, key) in keys.enumerated() { say.value("", (index == 0 ? "" : "or ") + owner(of: key)) }
      return .done("leaf \(event.index); \(keys.count) keys still open backups")
    }
    await stage.refuse(
      "9.11", "decrypting afterwards", "The file is there, and the key is not.", "key_destroyed",
      leaving: stage.scratch + "/other"
    ) {
      try KeyTool(
        stage, ["keys", "decrypt", "--in", try stage.named("encrypted file"), "--out", stage.scratch + "/other"],
        context: context)
    }
  }

  /// Whose a key is that opens a backup.
  private static func owner(of recipient: String) -> String {
    switch recipient.prefix(while: { $0 != ":" }) {
    case "token": "the data token, \(recipient)"
    case "recovery": "the offline recovery key, \(recipient)"
    default: recipient
    }
  }
}
