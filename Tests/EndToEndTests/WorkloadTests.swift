import DemoClient
import Foundation
import Glibc
import TestSupport
import Testing
import TrustCoreAPI
import Wire

extension EndToEndTests {
  /// Workload identity with the real programs: clients that others wrote, Envoy, OpenSSL, and ends in the middle.
  @Suite(.serialized) struct Workloads {
    private static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .appendingPathComponent("WorkloadAPITests").path

    /// `spiffe://…/dev/<user>` of a deployment.
    private static func identity(_ office: KeyOffice) async throws -> String {
      let entries = try await office.json(["entry", "list"])["entries"]?.array ?? []
      return try #require(entries.compactMap { $0.object?["spiffe_id"]?.string }.first { $0.contains("/dev/") })
    }

    private static func socket(_ running: KeyOffice.Running) throws -> String {
      try #require(running.ready["workload_socket"])
    }

    @Test func aPythonClientGetsAllThatItIsEntitledTo() async throws {
      guard let python = try Built.python(for: "py-spiffe") else { return }
      let office = try KeyOffice("py-spiffe")
      let running = try await office.start()
      let id = try await Self.identity(office)
      let socket = try Self.socket(running)
      let outcome = try await Built.pipe(
        python, [Self.root + "/workload_client.py", socket, "https://api.example.org"])
      #expect(outcome.status == 0, "\(outcome.complaint.suffix(2000))")
      let answer = try #require(try JSONValue(parsing: outcome.output).object?["workload"]?.object)
      #expect(answer["svids"] == [.string(id)] && answer["streamed"] == [.string(id)])
      #expect(answer["jwt_svids"] == [.string(id)] && answer["validated"] == .string(id))
      #expect(answer["key_matches"] == true && answer["chain"] == 2 && answer["roots"] == 1 && answer["jwt_keys"] == 2)
      if getuid() == 0 {
        // A stranger reaches the socket, and is told that it is one.
        let stranger = try await Built.pipe(
          "/usr/bin/setpriv",
          ["--reuid", "12345", "--clear-groups", python, Self.root + "/workload_client.py", socket, "x"])
        #expect(stranger.status != 0 && stranger.complaint.contains("no_identity"), "\(stranger.complaint.suffix(500))")
        #expect(stranger.complaint.contains("unix:uid:12345"), "it is told what it might be registered by")
      }
      try await office.stop(running)
      #expect(try await office.isSound())
    }

    /// Two Envoys, each an attested process of its own, while one authority after the other takes over.
    @Test func envoysKeepSpeakingWhileAuthoritiesRotate() async throws {
      guard let python = try Built.python(for: "Envoy") else { return }
      let office = try KeyOffice("envoy")
      let running = try await office.start()
      let socket = try Self.socket(running)
      async let script = Built.pipe(
        python, [Self.root + "/sds_envoy.py", "--socket", socket, "--rotations", "4", "--seconds", "60"],
        within: .seconds(90))
      // Each rotation gives every Envoy another certificate; the script ends at the fourth that it sees.
      let rotating = Task {
        while !Task.isCancelled {
          try await Task.sleep(for: .seconds(2))
          _ = try await office.json(["ca", "rotate", "x509"])
        }
      }
      let outcome = try await script
      rotating.cancel()
      _ = try? await rotating.value
      #expect(outcome.status == 0, "\(outcome.complaint.suffix(2000))")
      let last = try #require(outcome.text.split(separator: "\n").last)
      let result = try #require(try JSONValue(parsing: Array(last.utf8)).object)
      print("Envoy over \(last)")
      #expect(result["skipped"] == nil && result["failed"] == 0 && result["rejected"] == 0, "\(last)")
      #expect(result["serials_seen"]?.array?.count == 5, "\(last)")
      try await office.stop(running)
      #expect(try await office.isSound())
    }

    @Test func entriesOutliveTheProcessAndARotationInTheMiddle() async throws {
      let office = try KeyOffice("entries")
      var running = try await office.start()
      let id = try await Self.identity(office)
      let listed = try await office.json(["ca", "list"])
      let node = try #require(listed["node_id"]?.string)
      let entries = (0..<40).map { number -> JSONValue in
        [
          "spiffe_id": .string(id + "/n\(number)"), "parent_id": .string(node),
          "selectors": [.string("unix:uid:\(getuid())"), .string("unix:gid:\(getgid())")],
          "hint": .string("n\(number)"),
        ]
      }
      let file = try office.file("entries.json", Data(JSONValue.object(["entries": .array(entries)]).canonical()))
      #expect(try await office.tool(["entry", "apply", "-f", file]).status == 0)
      // A second run finds nothing to do.
      let before = try await running.read("/v1/status")["log_size"]?.integer
      #expect(try await office.tool(["entry", "apply", "-f", file]).status == 0)
      #expect(try await running.read("/v1/status")["log_size"]?.integer == before)
      let fetched = try await office.json(["svid", "fetch"])["svids"]?.array?.count
      #expect(fetched == 41)

      // Killed while the HSM makes the next authority's key, or before, or after: the order is carried out then.
      let order = Task { try await office.tool(["ca", "rotate", "x509"]) }
      try await Task.sleep(for: .milliseconds(60))
      await office.daemon.kill()
      _ = try? await order.value
      await running.client.close()
      running = try await office.start()
      #expect(try await office.json(["svid", "fetch"])["svids"]?.array?.count == 41)
      let rows = try await office.json(["ca", "list"])["authorities"]?.array?.compactMap(\.object) ?? []
      let active = rows.filter { $0["kind"] == "x509" && $0["state"] == "active" }
      #expect(active.count == 1)
      #expect(try await office.json(["entry", "list"])["entries"]?.array?.count == 41)
      try await office.stop(running)
      #expect(try await office.isSound())
    }

    /// Our issuing authority under somebody else's root, which OpenSSL plays.
    @Test func anUpstreamRootCertifiesOurAuthority() async throws {
      let office = try KeyOffice("upstream")
      let running = try await office.start()
      let request = try office.file("authority.csr")
      let asked = try await office.json(["ca", "request", "x509", "--out", request])
      let id = try #require(asked["id"]?.string)
      let (chain, rootFile) = try await Upstream.certify(request: request)
      // A chain that leads nowhere is refused and changes nothing.
      #expect(try await office.tool(["ca", "import", id, "--chain", rootFile]).status != 0)
      #expect(try await office.json(["ca", "import", id, "--chain", chain])["state"] == "prepared")
      #expect(try await office.json(["ca", "activate", "x509"])["state"] == "active")
      let folder = try office.file("svid")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      _ = try await office.json(["svid", "fetch", "--out", folder])
      try await Upstream.openssl([
        "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", rootFile, "-untrusted", folder + "/svid.pem",
        folder + "/svid.pem",
      ])
      try await office.stop(running)
      #expect(try await office.isSound())
    }

    /// The API's own certificate comes from whichever authority is active, without a restart and with a leaf each.
    @Test func theServersCertificateFollowsTheAuthority() async throws {
      let office = try KeyOffice("server")
      var running = try await office.start()
      let (api, root) = (try #require(running.ready["api"]), try #require(running.ready["ca"]))
      func presented() async throws -> String {
        let outcome = try await Built.pipe(
          "/usr/bin/openssl",
          ["s_client", "-connect", String(api.dropFirst(8)), "-CAfile", root, "-verify_return_error", "-showcerts"])
        #expect(outcome.status == 0, "\(outcome.complaint)")
        let certificates = outcome.text.matches(of: /-----BEGIN CERTIFICATE-----[^-]+/).map { String($0.0) }
        // Its own and its issuer's.
        #expect(certificates.count == 2)
        return try #require(certificates.first)
      }
      let first = try await presented()
      let old = try await office.json(["ca", "list"])["authorities"]?.array?.compactMap(\.object)
        .first { $0["kind"] == "x509" }?["id"]?.string
      _ = try await office.json(["ca", "rotate", "x509"])
      try await Built.eventually("another certificate") { try await presented() != first }
      let second = try await presented()
      // Nobody needs what a revoked authority signed.
      let id = try #require(old)
      #expect(try await office.tool(["ca", "revoke", id, "--yes"]).status == 0)
      #expect(try await presented() == second)
      try await office.stop(running)
      running = try await office.start()
      #expect(try await presented() == second)
      try await office.stop(running)
      #expect(try await office.isSound())
    }

    /// Which process got a certificate is proven from genesis.json alone.
    @Test func whoGotIt() async throws {
      let office = try KeyOffice("record")
      let running = try await office.start()
      let folder = try office.file("svid")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      let id = try #require(try await office.json(["svid", "fetch", "--out", folder])["spiffe_id"]?.string)
      let shown = try await office.json(["svid", "show", folder + "/svid.pem"])
      let issuance = try #require(shown["issuance"]?.object)
      let process = issuance["process"]?.object
      #expect(shown["kind"] == "x509" && issuance["spiffe_id"]?.string == id)
      #expect(process?["uid"]?.integer == Int64(getuid()))
      #expect(process?["executable"]?.object?["path"]?.string == office.program)
      let serial = try #require(shown["id"]?.string)
      let spelt = serial.uppercased().enumerated().map { ($0 > 0 && $0 % 2 == 0 ? ":" : "") + String($1) }.joined()
      #expect(try await office.json(["svid", "show", "--serial", spelt])["id"]?.string == serial)
      let words = try await office.tool(["svid", "show", "--serial", serial])
      #expect(words.status == 0 && words.text.contains(id) && words.text.contains("signed tree head"), "\(words.text)")

      let tokens = try await office.json(["svid", "jwt", "--audience", "x"])["svids"]?.array
      let token = try #require(tokens?.first?.object?["token"]?.string)
      let claims = try JSONValue(parsing: Base64.URL.decode(String(token.split(separator: ".")[1]))).object
      let jti = try #require(claims?["jti"]?.string)
      #expect(try await office.json(["svid", "show", "--jti", jti])["issuance"]?.object?["audiences"] == ["x"])
      #expect(try await office.tool(["svid", "show", "--serial", "00ff"]).status == 66)
      #expect(try await office.tool(["svid", "show", "--serial", serial, "--jti", jti]).status == 64)
      let revoked = try await office.json(["svid", "revoke", "--serial", serial])
      #expect(revoked["issued_leaf_index"] == shown["leaf_index"])
      #expect(try await office.json(["svid", "revoke", "--serial", "0badcafe"])["issued_leaf_index"] == .null)
      try await office.stop(running)

      // Nobody is asked any more.
      func verdict(_ receipt: JSONObject) async throws -> Int32 {
        let file = try office.file("receipt.json", Data(JSONValue.object(receipt).canonical()))
        return try await office.tool(["svid", "show", "--receipt", file]).status
      }
      #expect(try await verdict(shown) == 0)
      for name in ["leaf", "salt", "content", "proof"] {
        var (changed, seal) = (shown, try #require(shown["seal"]?.object))
        let text = try #require(seal[name]?.string)
        let other = text.first == "A" ? "B" : "A"
        seal[name] = .string(name == "proof" ? text.replacing("index ", with: "index 1") : other + text.dropFirst())
        changed["seal"] = .object(seal)
        #expect(try await verdict(changed) == 65, "\(name)")
      }
      #expect(try await office.isSound())
    }

    /// A root whose key lies in a file signs at the command line; and a workload's own key is certified.
    @Test func aRootOnDiskAndAKeyOfOnesOwn() async throws {
      let office = try KeyOffice("disk")
      let running = try await office.start()
      let (key, root) = (try office.file("disk.key"), try office.file("disk.pem"))
      try await Upstream.openssl([
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", root,
        "-days", "30", "-subj", "/CN=A root on disk", "-addext", "basicConstraints=critical,CA:true", "-addext",
        "keyUsage=critical,keyCertSign,cRLSign",
      ])
      unsafe chmod(key, 0o600)
      let asked = try await office.json(["ca", "request", "x509"])
      let id = try #require(asked["id"]?.string)
      let disk = ["--upstream-certificate", root, "--upstream-key", key]
      #expect(try await office.json(["ca", "import", id] + disk)["state"] == "prepared")
      #expect(try await office.json(["ca", "activate", "x509"])["state"] == "active")
      // A rotation must not quietly go back to the deployment's own root.
      #expect(try await office.tool(["ca", "rotate", "x509"]).summary.hasSuffix("authority_upstream"))
      let folder = try office.file("own")
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      _ = try await office.json(["svid", "fetch", "--own-key", "--out", folder])
      try await Upstream.openssl([
        "verify", "-x509_strict", "-CAfile", root, "-untrusted", folder + "/svid.pem", folder + "/svid.pem",
      ])
      let halves = try await (
        Built.pipe("/usr/bin/openssl", ["pkey", "-in", folder + "/svid.key", "-pubout"]),
        Built.pipe("/usr/bin/openssl", ["x509", "-in", folder + "/svid.pem", "-noout", "-pubkey"])
      )
      #expect(halves.0.output == halves.1.output && !halves.0.output.isEmpty)
      try await office.stop(running)
      #expect(try await office.isSound())
    }

    /// Two deployments that trust each other's bundle: a token of one verifies at the other, for whom the entry says so.
    @Test func aFederatedTokenVerifies() async throws {
      let (here, there) = (try KeyOffice("here"), try KeyOffice("there"))
      let (near, far) = (try await here.start(), try await there.start())
      let domain = try #require(far.ready["trust_domain"])
      let bundle = try here.file("far.json", Data(try await far.client.get("/.well-known/spiffe-bundle").body))
      // The endpoint is the other deployment's own API server, which proves itself by its SPIFFE ID.
      let api = try #require(far.ready["api"])
      let federated = try await here.tool([
        "federation", "set", "--trust-domain", domain, "--bundle", bundle, "--url", api + "/.well-known/spiffe-bundle",
        "--profile", "https_spiffe", "--endpoint-id", "spiffe://\(domain)/trustcore/api",
      ])
      #expect(federated.status == 0, "\(federated.complaint)")
      try await Built.eventually("a fetch of the bundle") {
        let rows = try await here.json(["federation", "list"])["federations"]?.array ?? []
        return rows.first?.object?["last_success"] != nil
      }
      let token = try #require(
        try await there.json(["svid", "jwt", "--audience", "near"])["svids"]?.array?.first?.object?["token"]?.string)
      let script = try here.file(
        "validate.py",
        Data(
          """
          import sys
          from spiffe import WorkloadApiClient
          with WorkloadApiClient(socket_path="unix:" + sys.argv[1]) as client:
              print(client.validate_jwt_svid(sys.stdin.read().strip(), "near").spiffe_id)
          """.utf8))
      let input = try here.file("token", Data(token.utf8))
      guard let python = try Built.python(for: "py-spiffe") else { return }
      func validate() async throws -> Outcome {
        try await Built.pipe(python, [script, try Self.socket(near)], input: input)
      }
      // Trusted by the deployment, and not for this workload.
      #expect(try await validate().status != 0)
      let own = try await Self.identity(here)
      let entry = try #require(
        try await here.json(["entry", "list"])["entries"]?.array?.first?.object?["id"]?.string)
      #expect(try await here.tool(["entry", "update", entry, "--federates-with", domain]).status == 0)
      let verified = try await validate()
      #expect(verified.status == 0 && verified.text.contains("spiffe://\(domain)/"), "\(verified.complaint)")
      #expect(own.hasPrefix("spiffe://") && !verified.text.contains(own))
      #expect(try await here.tool(["federation", "delete", domain]).status == 0)
      #expect(try await validate().status != 0)
      try await here.stop(near)
      try await there.stop(far)
      #expect(try await here.isSound())
    }
  }
}

/// Somebody else's root, which OpenSSL plays.
enum Upstream {
  static func openssl(_ arguments: [String]) async throws {
    let outcome = try await Built.pipe("/usr/bin/openssl", arguments)
    #expect(outcome.status == 0, "\(arguments): \(outcome.complaint)")
  }

  /// Signs a request.
  /// - Parameter request: the path of a PKCS #10 request, PEM.
  /// - Returns: the paths of the chain, its root last, and of the root.
  static func certify(request: String) async throws -> (chain: String, root: String) {
    let (key, root) = (Built.fresh("upstream.key"), Built.fresh("upstream.pem"))
    let (certificate, chain) = (Built.fresh("authority.pem"), Built.fresh("chain.pem"))
    try await openssl([
      "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384", "-nodes", "-keyout", key, "-out", root,
      "-days", "30", "-subj", "/CN=Somebody else's root", "-addext", "basicConstraints=critical,CA:true,pathlen:1",
      "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    ])
    try await openssl([
      "x509", "-req", "-in", request, "-CA", root, "-CAkey", key, "-days", "20", "-copy_extensions", "copyall", "-out",
      certificate,
    ])
    let text = try [certificate, root].map { try Data(contentsOf: URL(filePath: $0)) }
    try (text[0] + text[1]).write(to: URL(filePath: chain))
    return (chain, root)
  }
}
