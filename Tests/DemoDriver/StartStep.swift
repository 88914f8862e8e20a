import DemoClient
import Foundation
import TransparencyLog
import TrustCoreAPI
import Wire

/// Step 1: the daemon starts on an empty directory.
enum StartStep {
  static func run(_ stage: Stage) async {
    let say = stage.narrator
    say.heading("1  Start on an empty directory")

    await stage.item(
      "1.1", "trustcored makes a deployment and serves",
      "One command makes four HSM tokens, their keys, a CA and a log, and writes where everything is into ready.json."
    ) {
      let clock = ContinuousClock()
      let began = clock.now
      try await stage.start()
      let took = clock.now - began
      let ready = try stage.deployment.ready
      for name in ["api", "ca", "trust_domain", "genesis", "database", "pkcs11_config"] {
        guard let text = ready[name] else { throw Deviation("ready.json", expected: name, actual: "missing") }
        if name != "pkcs11_config" { say.value(name, text) }
      }
      try expect("pid in ready.json", ready.pid, await stage.daemon.pid ?? 0)
      try stage.demand(200, "/healthz", try await stage.client.get("/healthz"))
      try stage.demand(200, "/readyz", try await stage.client.get("/readyz"))
      return .done("ready after \(Narrator.seconds(took))")
    }

    await stage.item(
      "1.2", "keys live in the HSM and cannot leave it",
      "SoftHSM's own tools, another program, look into the four tokens: every key was made there and is never extractable."
    ) {
      let ready = try stage.deployment.ready
      let environment = ["SOFTHSM2_CONF": ready["pkcs11_config"] ?? ""]
      let slots = try Tool.run("softhsm2-util", ["--show-slots"], environment: environment).output
      let labels = slots.split(separator: "\n").compactMap { line -> String? in
        let parts = line.split(separator: ":", maxSplits: 1).map { $0.trimmingCharacters(in: .whitespaces) }
        return parts.count == 2 && parts[0] == "Label" && !parts[1].isEmpty ? parts[1] : nil
      }
      try expect("token labels", labels.sorted(), ["data", "identity", "log", "root"])
      var count = 0
      for label in labels.sorted() {
        guard let file = ready.pins[label], let pin = FileManager.default.contents(atPath: file) else {
          throw Deviation("pkcs11_pins", expected: "a file for \(label)", actual: "none")
        }
        let secrets = environment.merging(["TRUSTCORE_DEMO_PIN": String(decoding: pin, as: UTF8.self)]) { $1 }
        var keys: [String] = []
        for kind in ["privkey", "secrkey"] {
          let listing = try Tool.run(
            "pkcs11-tool",
            ["--module", ready["pkcs11_module"] ?? "", "--token-label", label, "--login", "--pin"]
              + ["env:TRUSTCORE_DEMO_PIN", "--list-objects", "--type", kind], environment: secrets
          ).output
          let lines = listing.split(separator: "\n").map { $0.trimmingCharacters(in: .whitespaces) }
          keys += lines.filter { $0.hasPrefix("label:") }.map { $0.dropFirst(6).trimmingCharacters(in: .whitespaces) }
          for access in lines where access.hasPrefix("Access:") {
            guard access.contains("always sensitive, never extractable, local") else {
              throw Deviation("a key of \(label)", expected: "never extractable, made there", actual: access)
            }
          }
        }
        say.value("token \(label)", keys.sorted().joined(separator: ", "))
        count += keys.count
      }
      guard count > 0 else { throw Deviation("keys", expected: "some", actual: "none") }
      return .done("\(labels.count) tokens, \(count) keys, none extractable")
    }

    await stage.item(
      "1.3", "TLS 1.3 under the deployment's own CA",
      "The server's key is in the HSM too. A client that offers TLS 1.2, or trusts other CAs, gets no connection."
    ) {
      let (api, authority) = (try stage.deployment.api, try stage.deployment.ready["ca"])
      var old = TrustCoreClient.Options(authority: authority)
      old.offersOnlyTLS12 = true
      for (what, options) in [("TLS 1.2", old), ("the system's CAs", TrustCoreClient.Options(authority: nil))] {
        let client = try TrustCoreClient(api: api, options)
        let answer = try? await client.get("/healthz")
        await client.close()
        if let answer { throw Deviation("a client with \(what)", expected: "no connection", actual: answer.summary) }
      }
      try stage.demand(200, "TLS 1.3", try await stage.client.get("/healthz"))
      return .done("1.3 accepted, 1.2 and other CAs not")
    }

    await stage.item(
      "1.4", "leaf 0 is the digest of genesis.json",
      "The first entry pins root CA, log key, software and roster. The demo computes the whole tree from its entries."
    ) {
      let deployment = try stage.deployment
      let checkpoint = try stage.log.checkpoint(
        try stage.demand(200, "/log/checkpoint", try await stage.client.get("/log/checkpoint")).body)
      try expect(
        "entries without the auditor's token", try await stage.client.get("/log/tile/entries/000.p/1").status, 401)
      let entries = try await stage.client.entries(checkpoint.head.size, auditor: deployment.auditorToken)
      let genesis = FileManager.default.contents(atPath: deployment.ready["genesis"] ?? "").map { [UInt8]($0) } ?? []
      try expect("leaf 0 is genesis.json's", LogVerifier.isGenesis(entries[0], of: genesis), true)
      try expect("the root over all entries", LogVerifier.root(entries[...]), checkpoint.head.root)
      say.value("origin", checkpoint.origin)
      say.value("root", checkpoint.head.root.base64)
      return .done("\(checkpoint.head.size) leaves under a signed root")
    }
  }
}
