import DemoClient
import Foundation
import Synchronization
import TrustCoreAPI
import Wire
import WorkloadAPI
import WorkloadIdentity

/// Step 10: services get identities for what they are, pushed as soon as anything changes.
enum WorkloadStep {
  @Sendable static func run(_ stage: Stage) async {
    stage.narrator.heading("10  Workload identity: SPIFFE on an HSM")
    await fetch(stage)
    await refusals(stage)
    await push(stage)
    await tokens(stage)
  }

  // MARK: - Fetching

  private static func fetch(_ stage: Stage) async {
    let folder = stage.scratch + "/svid"
    await stage.item(
      "10.1", "a certificate for what a process is",
      "trustcore svid fetch. No secret is sent: the kernel says who asks (SO_PEERPIDFD), an entry says what that is worth."
    ) {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      let made = try KeyTool(stage, ["svid", "fetch", "--out", folder]).json
      let domain = try stage.deployment.ready["trust_domain"] ?? ""
      guard let id = made["spiffe_id"]?.string, id.hasPrefix("spiffe://\(domain)/dev/") else {
        throw Deviation("the identity", expected: "one of \(domain)", actual: made)
      }
      stage.narrator.value("identity", id)
      stage.narrator.value("certificate", "\(folder)/svid.pem, its key beside it with mode 0600")
      stage.setName("workload identity", id)
      return .done(id.replacingOccurrences(of: domain, with: "…"))
    }
    await stage.item(
      "10.2", "OpenSSL verifies it, strictly",
      "openssl verify -x509_strict, against the bundle that federated trust domains fetch over HTTPS."
    ) {
      let result = try Tool.run(
        "openssl",
        [
          "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", folder + "/bundle.pem", "-untrusted",
          folder + "/svid.pem", folder + "/svid.pem",
        ])
      guard result.status == 0 else { throw Deviation("openssl verify", expected: 0, actual: result.output) }
      let serial = try serial(of: folder + "/svid.pem")
      stage.narrator.value("serial", serial)
      return .done("serial \(serial.prefix(12))…")
    }
  }

  private static func serial(of file: String) throws -> String {
    let text = try Tool.run("openssl", ["x509", "-in", file, "-noout", "-serial"]).output
    guard let serial = text.split(separator: "=").last else {
      throw Deviation("openssl x509", expected: "a serial number", actual: text)
    }
    return serial.trimmingCharacters(in: .whitespacesAndNewlines).lowercased()
  }

  // MARK: - Refusals

  private static func refusals(_ stage: Stage) async {
    await stage.refuse(
      "10.3", "an identity that is somebody else's", "The process has no entry for it.", "identity_not_yours"
    ) {
      let domain = try stage.deployment.ready["trust_domain"] ?? ""
      return try KeyTool(stage, ["svid", "jwt", "--audience", "demo", "--id", "spiffe://\(domain)/payments"])
    }
    await stage.refuse(
      "10.4", "a token for our own OAuth issuer", "A workload's token must never pass for an access token.",
      "audience_reserved"
    ) { try KeyTool(stage, ["svid", "jwt", "--audience", try stage.deployment.ready["api"] ?? ""]) }
    await stage.refuse(
      "10.5", "an entry by order of an owner", "Who is what, officers say, and registrars that they enrol.",
      "entries_right_required"
    ) {
      try KeyTool(
        stage,
        [
          "entry", "create", "--spiffe-id", try stage.named("workload identity") + "/more", "--selector",
          "unix:uid:\(getuid())", "--as", "owner",
        ])
    }
  }

  // MARK: - Pushes

  /// What a stream has been told, for whoever waits.
  private final class Seen: Sendable {
    private let updates = Mutex<[(ids: [String], serial: [UInt8], at: ContinuousClock.Instant)]>([])

    func add(_ update: ClientX509Update) {
      updates.withLock {
        $0.append((update.svids.map(\.id.description), update.svids[0].chain[0], ContinuousClock.now))
      }
    }

    /// Waits for an update that a condition holds for, 20 s at most.
    func first(
      _ what: String, after count: Int, _ holds: ([String], [UInt8]) -> Bool
    ) async throws -> (count: Int, at: ContinuousClock.Instant) {
      let end = ContinuousClock.now + .seconds(20)
      while ContinuousClock.now < end {
        let all = updates.withLock { $0 }
        if let index = all.indices.first(where: { $0 >= count && holds(all[$0].ids, all[$0].serial) }) {
          return (index + 1, all[index].at)
        }
        try await Task.sleep(for: .milliseconds(1))
      }
      throw Deviation(what, expected: "a push within 20 s", actual: updates.withLock { $0.last?.ids ?? [] })
    }

    var last: (count: Int, serial: [UInt8]) { updates.withLock { ($0.count, $0.last?.serial ?? []) } }
  }

  private static func push(_ stage: Stage) async {
    let seen = Seen()
    let socket = (try? stage.deployment)?.ready["workload_socket"] ?? ""
    let stream = Task {
      try await WorkloadClient.connected(to: socket) { client in
        try await client.x509SVIDs {
          seen.add($0)
          return .more
        }
      }
    }
    defer { stream.cancel() }

    await stage.item(
      "10.6", "an entry reaches an open stream",
      "trustcore entry create, signed by the officer. The stream gets the further identity without asking."
    ) {
      let before = try await seen.first("the first message", after: 0) { _, _ in true }.count
      let id = try stage.named("workload identity") + "/more"
      let made = try KeyTool(
        stage, ["entry", "create", "--spiffe-id", id, "--selector", "unix:uid:\(getuid())", "--x509-ttl", "10m"]
      ).json
      let answered = ContinuousClock.now
      guard let entry = made["created"]?.array?.first?.string else {
        throw Deviation("the answer", expected: "an entry", actual: made)
      }
      stage.setName("entry", entry)
      let pushed = try await seen.first("the push", after: before) { ids, _ in ids.contains(id) }
      stage.narrator.value("entry", entry)
      let early = pushed.at <= answered
      return .done(
        early ? "there before the officer's answer" : "\((pushed.at - answered) / .milliseconds(1)) ms later")
    }
    await stage.item(
      "10.7", "the entry goes, and the identity with it",
      "What a stream says is complete: what is absent was taken away."
    ) {
      let id = try stage.named("workload identity") + "/more"
      let before = seen.last.count
      _ = try KeyTool(stage, ["entry", "delete", try stage.named("entry")]).json
      _ = try await seen.first("the push", after: before) { ids, _ in !ids.contains(id) && !ids.isEmpty }
      return .done("gone from the stream")
    }
    await stage.item(
      "10.8", "another authority takes over",
      "trustcore ca rotate x509: a new key in the HSM's other slot, certified by the root; every stream gets new identities."
    ) {
      let before = seen.last
      _ = try KeyTool(stage, ["ca", "rotate", "x509"]).json
      _ = try await seen.first("the push", after: before.count) { _, serial in serial != before.serial }
      let listed = try KeyTool(stage, ["ca", "list"]).json
      let rows = (listed["authorities"]?.array ?? []).compactMap(\.object).filter { $0["kind"]?.string == "x509" }
      try expect(
        "authorities", rows.map { "\($0["slot"]?.string ?? "") \($0["state"]?.string ?? "")" }, ["a old", "b active"])
      return .done("slot b signs, and the stream has its certificate")
    }
  }

  // MARK: - Tokens and revocation

  private static func tokens(_ stage: Stage) async {
    await stage.item(
      "10.9", "a token, and who verifies it",
      "trustcore svid jwt: ES256 with a key of its own in the HSM, found through OpenID Connect discovery."
    ) {
      let made = try KeyTool(stage, ["svid", "jwt", "--audience", "demo"]).json
      guard let token = made["svids"]?.array?.first?.object?["token"]?.string ?? made["token"]?.string else {
        throw Deviation("the answer", expected: "a token", actual: made)
      }
      // A token is nothing for a command line, which everybody can read: this process verifies it.
      let domain = try TrustDomain(try stage.deployment.ready["trust_domain"] ?? "")
      let published = try stage.demand(200, "the bundle", try await stage.client.get("/.well-known/spiffe-bundle"))
      let bundle = try SPIFFEBundle(trustDomain: domain, parsing: published.body)
      let verified = try UnverifiedJWTSVID(token).verified(
        keys: { $0 == domain ? bundle.jwt : nil }, audience: "demo", now: stage.time.now())
      try expect("the subject", verified.id.description, try stage.named("workload identity"))
      let discovery = try stage.demand(
        200, "discovery", try await stage.client.get("/workload/.well-known/openid-configuration"))
      try expect("the issuer", verified.claims["iss"]?.string, discovery["issuer"]?.string)
      stage.narrator.value("issuer", discovery["issuer"]?.string ?? "")
      return .done("verified with the published bundle")
    }
    await stage.item(
      "10.10", "a certificate is revoked",
      "trustcore svid revoke; the authority signs a new list, which the Workload API hands out too."
    ) {
      let folder = stage.scratch + "/svid"
      _ = try KeyTool(stage, ["svid", "fetch", "--out", folder]).json
      let serial = try Self.serial(of: folder + "/svid.pem")
      _ = try KeyTool(stage, ["svid", "revoke", "--serial", serial, "--expires-in", "1h"]).json
      let file = stage.scratch + "/crl.der"
      let end = ContinuousClock.now + .seconds(10)
      while ContinuousClock.now < end {
        // 503 until the active authority has a list.
        let list = try await stage.client.get("/workload/crl")
        if list.status == 200 {
          try Data(list.body).write(to: URL(fileURLWithPath: file))
          let text = try Tool.run("openssl", ["crl", "-inform", "DER", "-in", file, "-noout", "-text"]).output
          if text.lowercased().contains(serial) { return .done("OpenSSL finds it in the list") }
        }
        try await Task.sleep(for: .milliseconds(50))
      }
      throw Deviation("the list", expected: "serial \(serial)", actual: "another list")
    }
    await stage.item(
      "10.11", "which process got it",
      "trustcore svid show: the leaf of the issuance, proven under the signed tree head from genesis.json."
    ) {
      let shown = try KeyTool(stage, ["svid", "show", stage.scratch + "/svid/svid.pem"]).json
      let process = shown["issuance"]?.object?["process"]?.object
      try expect("its user", process?["uid"]?.integer.map(String.init), String(getuid()))
      let program = process?["executable"]?.object?["path"]?.string
      stage.narrator.value("program", program ?? "")
      stage.narrator.value("leaf", shown["leaf_index"]?.integer.map(String.init) ?? "")
      return .done("proven: pid \(process?["pid"]?.integer ?? 0), \(program?.split(separator: "/").last ?? "")")
    }
  }
}
