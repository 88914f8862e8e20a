import DemoClient
import JOSE
import SoftwareAuthenticator
import TrustCoreAPI
import Wire

/// Step 5: people enrol hardware keys, and a bank is named.
enum PeopleStep {
  private struct Newcomer {
    let name: String
    let title: String
    let story: String
    let person: JSONValue
    let attestation: SoftwareAuthenticator.AttestationKind
    var isInGroup = true
  }

  @Sendable static func run(_ stage: Stage) async {
    let say = stage.narrator
    say.heading("5  People with hardware keys")

    await stage.item(
      "5.1", "the officer makes a group of approvers",
      "Who may approve is an officer's signed command, as everything that changes who may do what."
    ) {
      let answer = try stage.demand(
        201, "the group", try await (try stage.officer).submit(try stage.client, "/v1/groups", ["name": "treasury"]))
      guard let id = answer["result", "group"]?.string else {
        throw Deviation("the group", expected: "result.group", actual: answer.text)
      }
      stage.setName("group", id)
      say.value("group", id)
      return .done("treasury, in leaf \(answer["leaf_index"]?.integer ?? -1)")
    }

    let newcomers: [Newcomer]
    do { newcomers = try Self.newcomers(stage) } catch {
      return await stage.item("5.2", "the owner enrols a hardware key", "") { throw error }
    }
    for (index, newcomer) in newcomers.enumerated() {
      await stage.item("5.\(index + 2)", newcomer.title, newcomer.story) { try await enrol(newcomer, stage) }
    }

    await stage.refusal(
      "5.6", "an invitation is used twice", "The token of Ada's invitation, in someone else's hands.", 409,
      "invitation_used"
    ) {
      try await stage.client.post("/v1/enrolments/options", [:], bearer: try stage.named("Ada's invitation"))
    }

    await stage.item(
      "5.7", "the ACH rail gets its bank",
      "An officer says how payments leave and names the bank's key; the bank then gets tokens like any other client."
    ) { try await rail(stage) }
  }

  private static func newcomers(_ stage: Stage) throws -> [Newcomer] {
    let chain = try AttestationChain(.init(model: nil, now: stage.time.now()), random: KernelRandom())
    func approver(_ name: String) -> JSONValue { ["kind": "approver", "name": .string(name)] }
    return [
      Newcomer(
        name: "the owner", title: "the owner enrols a hardware key",
        story: "An officer signs an invitation over the digest of a token; whoever holds the token enrols, once.",
        person: ["kind": "owner", "id": .string(try stage.owner.id), "name": "The owner"], attestation: .packedSelf),
      Newcomer(
        name: "Ada", title: "Ada enrols, with self attestation",
        story: "Two credentials with relying parties of their own: one approves and never signs in, one signs in.",
        person: approver("Ada"), attestation: .packedSelf),
      Newcomer(
        name: "Ben", title: "Ben enrols, with full attestation",
        story: "This key's maker vouches for it with certificates, which enter the record.",
        person: approver("Ben"), attestation: .packed(chain)),
      Newcomer(
        name: "Cleo", title: "Cleo enrols, into no group",
        story: "A person with a key, and nothing to approve.", person: approver("Cleo"), attestation: .packedSelf,
        isInGroup: false),
    ]
  }

  private static func enrol(_ newcomer: Newcomer, _ stage: Stage) async throws -> Outcome {
    let (client, officer) = (try stage.client, try stage.officer)
    let (invitation, token) = try await officer.invite(
      client, person: newcomer.person, group: newcomer.isInGroup ? try stage.named("group") : nil)
    try stage.demand(201, "the invitation", invitation)
    let person = try Person(newcomer.name, try stage.deployment.ready, attestation: newcomer.attestation)
    let answer = try stage.demand(201, "the enrolment", try await person.enrol(client, invitation: token))
    try expect("person", answer["person"]?.string, invitation["result", "person"]?.string)
    let credentials = (answer["credentials"]?.array ?? []).map { credential in
      let object = credential.object
      return "\(object?["purpose"]?.string ?? "") (\(object?["attestation"]?.string ?? ""))"
    }
    try expect("credentials", credentials.sorted(), ["approval (packed)", "sign_in (none)"])
    stage.setPerson(newcomer.name, person)
    stage.setName(newcomer.name + "'s invitation", token)
    stage.enrolments[person.id] = UInt64(answer["leaf_index"]?.integer ?? 0)
    stage.narrator.value("person", person.id)
    stage.narrator.value("credentials", credentials.joined(separator: ", "))
    return .done(
      "invited in \(invitation["leaf_index"]?.integer ?? -1), enrolled in leaf \(answer["leaf_index"]?.integer ?? -1)")
  }

  private static func rail(_ stage: Stage) async throws -> Outcome {
    let (client, officer, deployment) = (try stage.client, try stage.officer, try stage.deployment)
    let opened = try stage.demand(
      201, "the settlement account",
      try await officer.submit(client, "/v1/ledger/accounts", ["currency": "USD", "kind": "external"]))
    guard let settlement = opened["result", "account", "id"]?.string else {
      throw Deviation("the settlement account", expected: "result.account.id", actual: opened.text)
    }
    stage.setName("settlement account", settlement)
    let key = try deployment.newKey(.p256)
    let answer = try stage.demand(
      201, "the rail",
      try await officer.submit(
        client, "/v1/rails/ach",
        [
          "originator": [
            "immediate_destination": "121042882", "immediate_origin": " 091000019",
            "destination_name": "Sandbox Bank", "origin_name": "TrustCore Demo", "company_name": "TrustCore Demo",
            "company_identification": "1234567890", "odfi": "12104288", "entry_description": "PAYMENT",
          ],
          "settlement_account": .string(settlement), "bank": key.publicJWK.bareJSON,
        ]))
    guard let id = answer["result", "bank"]?.string else {
      throw Deviation("the rail", expected: "result.bank", actual: answer.text)
    }
    let bank = deployment.party(id: id, key: key)
    _ = try await bank.token(client)
    stage.setParty("bank", bank)
    stage.bank = SandboxBank(seed: 1, script: Stage.script)
    stage.narrator.value("bank", id)
    let files = try stage.demand(200, "its files", try await bank.get(client, "/v1/rails/ach/files"))
    try expect("files for the bank", files["files"]?.array?.count, 0)
    return .done("configured in leaf \(answer["leaf_index"]?.integer ?? -1), no files yet")
  }
}
