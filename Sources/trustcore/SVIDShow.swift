import ArgumentParser
import OperatorClient
import Seal
import TransparencyLog
import Wire
import WorkloadIdentity

struct SVIDShow: OperatorCommand {
  static let configuration = CommandConfiguration(
    commandName: "show", abstract: "Shows who got a certificate or a token, and proves that it is on the record.",
    discussion: """
      What --json prints can be handed over: with --receipt it is proven again, from genesis.json alone.
      Exit code 0: proven. 65: it does not hold. 66: there is no such record, or no such file.
      Example: trustcore svid show svid.pem --state .trustcore
      """)

  @Argument(help: "A file with the certificate, PEM.")
  var file: String?

  @Option(help: "The certificate's serial number in hexadecimal, as openssl prints it.")
  var serial: String?

  @Option(parsing: .unconditional, help: "A token's 'jti'.")
  var jti: String?

  @Option(help: "A file that --json has printed; nobody is asked then.")
  var receipt: String?

  @Option(help: "The genesis.json that the log must descend from; that of the state folder unless stated.")
  var genesis: String?

  @OptionGroup var deployment: DeploymentOptions

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    guard [file, serial, jti, receipt].count(where: { $0 != nil }) == 1 else {
      throw ValidationError("Name a certificate's file, --serial, --jti or --receipt, one of them.")
    }
  }

  func perform() async throws(OperatorError) {
    let answer: JSONObject
    var asked: OperatorClient.SVIDName?
    if let receipt {
      let bytes = try SmallFile.read(receipt, maximumBytes: 4 << 20)
      guard let object = (try? JSONValue(parsing: bytes))?.object else {
        throw OperatorError(.malformed, "\(Wording.visible(receipt)) is no JSON that 'svid show --json' has printed.")
      }
      answer = object
    } else {
      let name = try name()
      guard let found = try await deployment.client().issuance(name) else {
        throw OperatorError(
          .init("svid_not_found"), "No such SVID is on the record: nobody got it here, or the number is mistyped.",
          status: 404)
      }
      (answer, asked) = (found, name)
    }
    let event = try proven(answer["seal"] ?? .null)
    // What was proven is what is shown, and has to be what was asked for.
    guard Self.matches(event.content, asked) else {
      throw OperatorError(.notAuthentic, "The daemon gave the record of another SVID.")
    }
    let shown: JSONObject = [
      "kind": event.content["kind"] ?? .null, "id": Self.id(event.content), "recorded": .string(event.time.description),
      "leaf_index": .integer(Int64(event.leafIndex)), "tree_size": .integer(Int64(event.checkpoint.head.size)),
      "issuance": .object(event.content), "seal": answer["seal"] ?? .null,
    ]
    tell(shown) { IssuanceReport.words(event, $0) }
  }

  private func name() throws(OperatorError) -> OperatorClient.SVIDName {
    if let serial { return .serial(serial) }
    if let jti { return .token(jti) }
    let chain = try WorkloadPEM.certificates(SmallFile.read(file ?? "", maximumBytes: 1 << 20))
    do { return .serial(Hex.encode(try UnverifiedX509SVID(chain: chain).unverifiedSerial)) } catch {
      throw OperatorError(.malformed, SocketOptions.sentence(error.message))
    }
  }

  private func proven(_ seal: JSONValue) throws(OperatorError) -> RecordedEvent {
    let path = genesis ?? deployment.state + "/genesis.json"
    let bytes = try SmallFile.read(path, maximumBytes: 1 << 20)
    let event: RecordedEvent
    do { event = try RecordedEvent(SealBundle.Part(seal), keys: Genesis(decoding: bytes).logKeys) } catch {
      throw OperatorError(.notAuthentic, "The record does not prove itself from \(Wording.visible(path)): \(error).")
    }
    guard event.kind == "svid.issued" else {
      throw OperatorError(.notAuthentic, "The record is of something else: \(Wording.visible(event.kind)).")
    }
    return event
  }

  private static func id(_ content: JSONObject) -> JSONValue { content["serial"] ?? content["jti"] ?? .null }

  private static func matches(_ content: JSONObject, _ name: OperatorClient.SVIDName?) -> Bool {
    switch name {
    case nil: true
    case .serial(let text): content["serial"]?.string == OperatorClient.serial(text)
    case .token(let id): content["jti"]?.string == id
    }
  }
}

/// An issuance in words.
enum IssuanceReport {
  static func words(_ event: RecordedEvent, _ shown: JSONObject) -> String {
    let content = event.content
    let process = content["process"]?.object ?? [:]
    let end = content["not_after"]?.integer.map { Timestamp(seconds: $0).description } ?? "-"
    let isToken = content["kind"]?.string == "jwt"
    var rows = [
      ("SPIFFE ID", EntryReport.text(content["spiffe_id"])),
      (isToken ? "Token" : "Serial number", EntryReport.text(shown["id"])),
    ]
    if isToken { rows.append(("Audiences", EntryReport.text(content["audiences"]))) }
    rows.append(("Valid until", end))
    rows.append(("Process", self.process(process)))
    if let program = process["executable"]?.object {
      rows.append(("Program", EntryReport.text(program["path"])))
      rows.append(("SHA-256", EntryReport.text(program["sha256"])))
    }
    if let unit = process["systemd_unit"] { rows.append(("Unit", EntryReport.text(unit))) }
    if let container = process["container"]?.object { rows.append(("Container", EntryReport.text(container["id"]))) }
    rows += [
      ("Attestation", EntryReport.text(content["attestation"])), ("Entry", EntryReport.text(content["entry"])),
      ("Authority", EntryReport.text(content["authority"])),
      ("Recorded", "\(event.time), leaf \(Wording.number(Int64(event.leafIndex)))"),
      ("Proven by", "the signed tree head of \(Wording.number(Int64(event.checkpoint.head.size))) leaves"),
    ]
    return Wording.list(rows.map { (name: $0.0, value: $0.1) })
  }

  private static func process(_ process: JSONObject) -> String {
    let user =
      process["user"]?.string.map { "\($0) (\(EntryReport.text(process["uid"])))" }
      ?? "user \(EntryReport.text(process["uid"]))"
    return "pid \(process["pid"]?.integer.map(String.init) ?? "-") of \(user)"
  }
}
