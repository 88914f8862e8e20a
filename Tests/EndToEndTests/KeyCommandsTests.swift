import Crypto
import DemoClient
import Envelope
import Foundation
import JOSE
import TestSupport
import Testing
import Wire

extension EndToEndTests {
  /// `trustcore keys` against a running daemon: what a person does with keys and files, and what they are told.
  @Suite(.serialized) struct KeyFiles {
    /// Bytes that repeat in no chunk.
    private static func bytes(_ count: Int) -> Data {
      var state = UInt64(count) &+ 0x9E37_79B9_7F4A_7C15
      var data = Data(capacity: count + 8)
      while data.count < count {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        unsafe withUnsafeBytes(of: state) { unsafe data.append(contentsOf: $0) }
      }
      return data.prefix(count)
    }

    @Test func filesOfEverySizeGoInAndComeOut() async throws {
      let office = try KeyOffice("files")
      let running = try await office.start()
      let key = try await office.makeKey()
      for count in [0, 1, ChunkedEncryptor.chunkByteCount, ChunkedEncryptor.chunkByteCount + 1, 64 << 20] {
        let plain = Self.bytes(count)
        let sealed = try await office.encrypted(plain, under: key, as: "\(count)")
        let size = try #require(try FileManager.default.attributesOfItem(atPath: sealed)[.size] as? Int)
        #expect(size > count && size < count + count / 1000 + 512, "\(count) bytes became \(size)")
        let out = try office.file("\(count).out")
        let outcome = try await office.decrypt(sealed, KeyOffice.context + ["--out", out])
        #expect(outcome.status == 0 && outcome.complaint.isEmpty && outcome.output.isEmpty, "\(outcome.complaint)")
        // Compared apart from #expect, which would print both in full.
        let isSame = FileManager.default.contents(atPath: out) == plain
        #expect(isSame, "\(count) bytes came out otherwise")
      }
      // Through pipes: nothing can be measured, sought or read twice.
      let plain = Self.bytes(3_000_001)
      let (file, out) = (try office.file("piped", plain), try office.file("piped.out"))
      let line = """
        set -e; t='\(try Built.program("trustcore"))'; s='\(office.state)'
        cat '\(file)' | "$t" keys encrypt '\(key)' --context customer=42 --state "$s" \
        | "$t" keys decrypt --context customer=42 --state "$s" | cat > '\(out)'
        """
      let piped = try await Built.pipe("/bin/sh", ["-c", line])
      #expect(piped.status == 0 && piped.complaint.isEmpty, "\(piped.complaint)")
      let isSame = FileManager.default.contents(atPath: out) == plain
      #expect(isSame)
      // A report for programs.
      let report = try await office.tool(
        ["keys", "encrypt", key, "--in", file, "--json"] + KeyOffice.context, output: try office.file("piped.tc"))
      let told = try JSONValue(parsing: Array(report.complaint.utf8)).object
      #expect(told?["key"]?.string == key && told?["plaintext_bytes"] == 3_000_001, "\(report.complaint)")
      // Each use is a line of the journal, each data key a leaf.
      try await office.stop(running)
      let journal = try FileManager.default.contentsOfDirectory(atPath: office.state + "/key-uses")
        .map { try String(contentsOfFile: office.state + "/key-uses/" + $0, encoding: .utf8) }.joined()
      #expect(journal.matches(of: /"operation":"encrypt"/).count == 7)
      #expect(journal.matches(of: /"operation":"decrypt"/).count == 6)
      #expect(try await office.isSound())
    }

    @Test func whatIsWrongIsSaidAndNothingIsLeft() async throws {
      let office = try KeyOffice("wrong")
      let running = try await office.start()
      let key = try await office.makeKey()
      let plain = Self.bytes(200_000)
      let sealed = try await office.encrypted(plain, under: key, as: "good")
      let good = try Data(contentsOf: URL(fileURLWithPath: sealed))
      // Magic, length, header, salt and commitment, then chunks with their tags.
      let head = 11 + (0..<4).reduce(0) { $0 << 8 | Int(good[7 + $1]) }
      let chunks = head + ChunkedEncryptor.headerByteCount
      let (chunk, whole) = (ChunkedEncryptor.chunkByteCount, ChunkedEncryptor.sealedChunkByteCount)
      func flipped(_ place: Int) -> Data {
        var copy = good
        copy[place] ^= 1
        return copy
      }
      func replaced(_ text: String, with other: String) throws -> Data {
        let range = try #require(good.range(of: Data(text.utf8)))
        return good[..<range.lowerBound] + Data(other.utf8) + good[range.upperBound...]
      }
      func header(_ text: String) -> Data {
        good.prefix(7) + [0, 0, 0, UInt8(text.utf8.count)] + Data(text.utf8) + good.suffix(from: head)
      }
      let id = try #require(String(decoding: good[11..<head], as: UTF8.self).firstMatch(of: /dek_[A-Za-z0-9_-]{22}/)).0
      let last = try #require(id.last)
      let otherID = id.dropLast() + (last == "A" ? "Q" : "A")
      let cases: [(String, Data, String)] = [
        ("the first byte", flipped(0), "65 not_an_envelope"),
        ("another magic", Data("PK\u{3}\u{4}".utf8) + good.dropFirst(4), "65 not_an_envelope"),
        ("a text", Data("Dear Sir or Madam, this is no encrypted file at all.\n".utf8), "65 not_an_envelope"),
        ("nothing", Data(), "65 envelope_truncated"),
        ("a version to come", Data("TCENV2\n".utf8) + good.dropFirst(7), "65 envelope_too_new"),
        ("a header to come", header(#"{"data_key":"dek_x","key":"key_x","v":2}"#), "65 envelope_too_new"),
        ("a header of later members", header(#"{"a":1,"data_key":"dek_x","key":"key_x","v":1}"#), "65 malformed"),
        ("no JSON in the header", header(#"{"data_key""#), "65 malformed"),
        ("a header of 8,193 bytes", good.prefix(7) + [0, 0, 0x20, 1] + good.dropFirst(11), "65 malformed"),
        ("a header of 0 bytes", good.prefix(7) + [0, 0, 0, 0] + good.dropFirst(11), "65 malformed"),
        ("another data key", try replaced(String(id), with: String(otherID)), "66 data_key_not_found"),
        ("another key", try replaced(key, with: "key_" + String(repeating: "A", count: 22)), "65 not_authentic"),
        ("the salt", flipped(head), "65 not_authentic"), ("the commitment", flipped(chunks - 1), "65 not_authentic"),
        ("the first chunk", flipped(chunks), "65 not_authentic"),
        ("the first tag", flipped(chunks + chunk + 15), "65 not_authentic"),
        ("the second chunk", flipped(chunks + whole + 7), "65 not_authentic"),
        ("the last chunk", flipped(good.count - 17), "65 not_authentic"),
        ("the last byte", flipped(good.count - 1), "65 not_authentic"),
        ("cut in its magic", good.prefix(3), "65 envelope_truncated"),
        ("cut in its header", good.prefix(head - 1), "65 envelope_truncated"),
        ("cut in its salt", good.prefix(chunks - 1), "65 envelope_truncated"),
        ("cut behind its prefix", good.prefix(chunks), "65 envelope_truncated"),
        ("cut in its first tag", good.prefix(chunks + whole - 2), "65 not_authentic"),
        ("cut behind a chunk", good.prefix(chunks + whole), "65 envelope_truncated"),
        ("cut by a byte", good.dropLast(), "65 not_authentic"),
        ("a byte more", good + [0], "65 not_authentic"), ("itself twice", good + good, "65 not_authentic"),
        (
          "chunks exchanged",
          good.prefix(chunks) + good[(chunks + whole)..<(chunks + 2 * whole)] + good[chunks..<(chunks + whole)]
            + good.suffix(from: chunks + 2 * whole), "65 not_authentic"
        ),
      ]
      let out = try office.file("bad.out")
      for (name, bytes, summary) in cases {
        let outcome = try await office.decrypt(
          try office.file("bad", bytes), KeyOffice.context + ["--out", out])
        #expect(outcome.summary == summary, "\(name): \(outcome.complaint)")
        #expect(outcome.complaint.split(separator: "\n").count == 1, "\(name): \(outcome.complaint)")
        #expect(!FileManager.default.fileExists(atPath: out), "\(name) left a file")
      }
      for (name, outcome, summary) in [
        ("another context", try await office.decrypt(sealed, ["--context", "customer=43"]), "65 context_mismatch"),
        (
          "a context more", try await office.decrypt(sealed, KeyOffice.context + ["--context", "a=b"]),
          "65 context_mismatch"
        ), ("no context", try await office.decrypt(sealed, []), "64"),
        ("no such file", try await office.decrypt(sealed + ".not", KeyOffice.context), "66 no_input"),
        (
          "no such key", try await office.tool(["keys", "encrypt", "key_nobody"] + KeyOffice.context),
          "66 key_not_found"
        ), ("a path for a key", try await office.tool(["keys", "show", "../status"]), "64 usage"),
        ("no such key to show", try await office.tool(["keys", "show", "key_nobody"]), "66 key_not_found"),
        ("no such class", try await office.tool(["keys", "create", "--class", "x"]), "65 data_class_unknown"),
        ("the class again", try await office.tool(["keys", "create", "--class", "files"]), "65 key_exists"),
        (
          "an owner's rotation", try await office.tool(["keys", "rotate", key, "--as", "owner"]), "77 officer_required"
        ),
        (
          "nowhere to write",
          try await office.tool(["keys", "encrypt", key, "--out", "/proc/none/x"] + KeyOffice.context),
          "73 cannot_create"
        ),
        ("no --yes", try await office.tool(["keys", "destroy", key]), "64 usage"),
      ] { #expect(outcome.summary == summary && outcome.output.isEmpty, "\(name): \(outcome.complaint)") }
      // The good one was not harmed by any of it.
      #expect(try await office.decrypt(sealed).output.count == 200_000)
      try await office.stop(running)
      #expect(try await office.tool(["keys", "list"]).summary == "69 daemon_unreachable")
      #expect(try await office.tool(["status"]).summary == "69 daemon_unreachable")
      print("keys: \(cases.count) damaged files were refused by 'trustcore keys decrypt', each by its code")
    }

    /// Officer, owner and agent use keys as the manifest lets them; an approver has no signature that would do.
    @Test func theManifestSaysWhoMay() async throws {
      let office = try KeyOffice("may")
      let running = try await office.start()
      let (deployment, client) = (running.deployment, running.client)
      let key = try await office.makeKey()
      func agent(_ name: String) async throws -> (id: String, options: [String]) {
        let signing = try deployment.newKey(.ed25519)
        let party = try await deployment.enrol(signing, name: name, client)
        try #require(try await deployment.approve(party, client).status == 200)
        let path = try office.file(name + ".jwk", Data(signing.privateJWK.canonical()))
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: path)
        return (party.id, ["--as", path, "--id", party.id])
      }
      let (first, second) = (try await agent("first"), try await agent("second"))
      let input = try office.file("plain", Data("secret".utf8))
      func encrypt(_ who: [String]) async throws -> Outcome {
        try await office.tool(["keys", "encrypt", key, "--in", input] + KeyOffice.context + who)
      }
      for who in [["--as", "officer"], ["--as", "owner"], first.options, second.options] {
        let sealed = try await encrypt(who)
        #expect(sealed.status == 0, "\(who): \(sealed.complaint)")
        let file = try office.file("sealed", Data(sealed.output))
        for reader in [["--as", "officer"], [], first.options] {
          #expect(try await office.decrypt(file, KeyOffice.context + reader).text == "secret")
        }
      }
      // An approver signs with a hardware key, on a page: nothing here is theirs.
      let group = try await deployment.officer.submit(client, "/v1/groups", ["name": "approvers"])
      let name = try #require(group["result", "group"]?.string, "\(group.text)")
      let (invited, token) = try await deployment.officer.invite(
        client, person: ["kind": "approver", "name": "Alice"], group: name)
      #expect(invited.status == 201)
      let alice = try await Member.enrolled(Person("Alice", deployment.ready), token, client)
      let asAlice = Array(first.options.dropLast()) + [alice.id]
      #expect(try await encrypt(asAlice).summary == "77 invalid_client")
      // Another key than the one that is enrolled is nobody's.
      let stranger = try office.file("stranger.jwk", Data(try deployment.newKey(.p256).privateJWK.canonical()))
      #expect(try await encrypt(["--as", stranger, "--id", first.id]).summary == "77 key_file_exposed")
      try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: stranger)
      #expect(try await encrypt(["--as", stranger, "--id", first.id]).summary == "77 invalid_client")

      // From here on one agent alone encrypts, and the owner alone decrypts.
      let narrow = GoodBody.manifest.replacing(
        "may_encrypt: [owner, agent, officer]\n    may_decrypt: [owner, agent, officer]",
        with: "may_encrypt: [id:\(first.id)]\n    may_decrypt: [owner]")
      #expect(narrow != GoodBody.manifest)
      let published = try await deployment.officer.submit(
        client, "/v1/key-manifests", ["manifest": .string(narrow)])
      #expect(published.status == 201, "\(published.text)")
      for who in [["--as", "officer"], ["--as", "owner"], second.options] {
        #expect(try await encrypt(who).summary == "77 key_use_not_permitted", "\(who)")
      }
      let sealed = try await encrypt(first.options)
      #expect(sealed.status == 0, "\(sealed.complaint)")
      let file = try office.file("narrow", Data(sealed.output))
      #expect(try await office.decrypt(file).text == "secret")
      for who in [["--as", "officer"], first.options] {
        #expect(try await office.decrypt(file, KeyOffice.context + who).summary == "77 key_use_not_permitted")
      }
      try await office.stop(running)
      #expect(try await office.isSound())
    }
  }
}
