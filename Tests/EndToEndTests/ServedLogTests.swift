import DemoClient
import Testing
import TransparencyLog
import TrustCoreAPI
import Wire

extension EndToEndTests {
  /// The log as a reader finds it, by C2SP tlog-tiles: hash for hash, from the outside.
  @Suite(.serialized) struct ServedLog {
    private static func checkpoint(_ fixture: Fixture) async throws -> VerifiedCheckpoint {
      let answer = try await fixture.get("/log/checkpoint")
      let keys = try fixture.deployment.ready.logKeys.map { try NoteVerifierKey(vkey: $0) }
      return try UnverifiedCheckpoint(answer.text).verified(by: keys)
    }

    /// The root over hashes (RFC 9162 section 2.1.1), as plainly as it can be said.
    private static func root(_ hashes: ArraySlice<MerkleHash>) -> MerkleHash {
      guard hashes.count > 1 else { return hashes.first ?? .emptyTree }
      var split = 1
      while split * 2 < hashes.count { split *= 2 }
      let middle = hashes.startIndex + split
      return .node(root(hashes[..<middle]), root(hashes[middle...]))
    }

    private static func path(_ kind: String, _ index: Int, _ width: Int) -> String {
      // Below a million tiles, a path has at most two groups.
      func group(_ number: Int) -> String { String(String(1000 + number).dropFirst()) }
      let name = index < 1000 ? group(index) : "x\(group(index / 1000))/\(group(index % 1000))"
      return "/log/tile/\(kind)/\(name)" + (width < 256 ? ".p/\(width)" : "")
    }

    /// Enough entries that a full tile and one of level 1 exist.
    private static func fill(_ fixture: Fixture) async throws {
      while try await checkpoint(fixture).head.size < 290 {
        try await withThrowingTaskGroup(of: Void.self) { group in
          for _ in 0..<20 {
            group.addTask {
              let body = Transfer.body(from: fixture.account, to: fixture.other, "0.01")
              let status = try await fixture.submit("/v1/ledger/transfers", body).status
              #expect(status == 201)
            }
          }
          try await group.waitForAll()
        }
      }
    }

    @Test func tilesAndEntriesGiveTheSignedRoot() async throws {
      let fixture = try await Fixture.shared
      try await fixture.warm()
      try await Self.fill(fixture)
      let head = try await Self.checkpoint(fixture).head
      let size = Int(head.size)
      var fromTiles: [MerkleHash] = []
      var fromEntries: [MerkleHash] = []
      for start in stride(from: 0, to: size, by: 256) {
        let width = min(256, size - start)
        let tile = try await fixture.get(Self.path("0", start / 256, width))
        #expect(tile.body.count == 32 * width)
        fromTiles += stride(from: 0, to: tile.body.count, by: 32).compactMap { MerkleHash(tile.body[$0..<$0 + 32]) }
        let bundle = try await fixture.get(
          Self.path("entries", start / 256, width), bearer: fixture.deployment.auditorToken)
        var rest = bundle.body[...]
        while rest.count >= 2 {
          let length = Int(rest[rest.startIndex]) << 8 | Int(rest[rest.startIndex + 1])
          fromEntries.append(.leaf(rest.dropFirst(2).prefix(length)))
          rest = rest.dropFirst(2 + length)
        }
        #expect(rest.isEmpty)
      }
      #expect(fromTiles.count == size && fromTiles == fromEntries)
      #expect(Self.root(fromTiles[...]) == head.root)
      // Level 1 holds the roots of the full tiles.
      let full = size / 256
      let upper = try await fixture.get(Self.path("1", 0, full))
      let roots = (0..<full).map { Self.root(fromTiles[($0 * 256)..<($0 * 256 + 256)]) }
      #expect(upper.body == roots.flatMap(\.bytes))
    }

    @Test func everyPartialWidthIsAPrefix() async throws {
      let fixture = try await Fixture.shared
      try await Self.fill(fixture)
      let size = Int(try await Self.checkpoint(fixture).head.size)
      let full = try await fixture.get("/log/tile/0/000").body
      for width in 1..<256 {
        let tile = try await fixture.get("/log/tile/0/000.p/\(width)")
        #expect(tile.status == 200 && tile.body == Array(full.prefix(32 * width)), "width \(width)")
      }
      let last = size % 256
      let whole = try await fixture.get("/log/tile/0/001.p/\(last)").body
      for width in 1...last {
        let tile = try await fixture.get("/log/tile/0/001.p/\(width)")
        #expect(tile.body == Array(whole.prefix(32 * width)), "width \(width)")
        let bundle = try await fixture.get("/log/tile/entries/001.p/\(width)", bearer: fixture.deployment.auditorToken)
        let entries = try EntryBundle.decode(bundle.body, width: width)
        #expect(entries.count == width)
      }
    }

    @Test func growthIsConsistent() async throws {
      let fixture = try await Fixture.shared
      try await Self.fill(fixture)
      var heads = [try await Self.checkpoint(fixture)]
      for _ in 0..<4 {
        let body = Transfer.body(from: fixture.account, to: fixture.other, "0.01")
        #expect(try await fixture.submit("/v1/ledger/transfers", body).status == 201)
        heads.append(try await Self.checkpoint(fixture))
      }
      let newest = try #require(heads.last)
      var hashes: [MerkleHash] = []
      let size = Int(newest.head.size)
      for start in stride(from: 0, to: size, by: 256) {
        let bytes = try await fixture.get(Self.path("0", start / 256, min(256, size - start))).body
        hashes += stride(from: 0, to: bytes.count, by: 32).compactMap { MerkleHash(bytes[$0..<$0 + 32]) }
      }
      var tree = MerkleTree()
      for hash in hashes { _ = tree.append(hash) }
      for older in heads {
        #expect(older.head.size <= newest.head.size)
        #expect(Self.root(hashes.prefix(Int(older.head.size))) == older.head.root)
        try newest.verifyExtends(
          older, proof: try tree.consistencyProof(from: older.head.size, to: newest.head.size, from: NoTiles()))
      }
    }

    @Test func receiptsAreUnderThePublishedLog() async throws {
      let fixture = try await Fixture.shared
      let body = Transfer.body(from: fixture.account, to: fixture.other, "0.01")
      let answer = try await fixture.submit("/v1/ledger/transfers", body)
      let keys = try fixture.deployment.ready.logKeys.map { try NoteVerifierKey(vkey: $0) }
      let proof = try TLogProof(parsing: try #require(answer["receipt", "proof"]?.string))
      let leaf = try Base64.URL.decode(try #require(answer["receipt", "leaf"]?.string))
      let verified = try proof.verify(leafHash: .leaf(leaf), keys: keys)
      #expect(try await Self.checkpoint(fixture).head.size >= verified.head.size)
      let bundle = try await fixture.get(
        Self.path("entries", Int(proof.index / 256), Int(proof.index % 256) + 1),
        bearer: fixture.deployment.auditorToken)
      #expect(try EntryBundle.decode(bundle.body, width: Int(proof.index % 256) + 1).last == leaf)
    }

    @Test func entriesNeedTheAuditor() async throws {
      let fixture = try await Fixture.shared
      let token = try await fixture.agent.token(fixture.client)
      for bearer in [nil, "x", fixture.deployment.registrationToken, token] {
        #expect(try await fixture.get("/log/tile/entries/000.p/1", bearer: bearer).status == 401)
      }
    }

    @Test func cachesAreTold() async throws {
      let fixture = try await Fixture.shared
      let checkpoint = try await fixture.get("/log/checkpoint")
      #expect(checkpoint.header("content-type") == "text/plain; charset=utf-8")
      #expect(checkpoint.header("cache-control") == "no-cache")
      let tile = try await fixture.get("/log/tile/0/000.p/1")
      #expect(tile.header("content-type") == "application/octet-stream")
      #expect(tile.header("cache-control")?.contains("immutable") == true)
      #expect(tile.header("cache-control")?.contains("public") == true)
      let entries = try await fixture.get("/log/tile/entries/000.p/1", bearer: fixture.deployment.auditorToken)
      #expect(entries.header("cache-control")?.contains("private") == true)
      #expect(try await fixture.get("/log/tile/0/999").header("cache-control") == "no-store")
    }

    @Test func uncoveredTilesAndOtherSpellingsAre404() async throws {
      let fixture = try await Fixture.shared
      try await Self.fill(fixture)
      let size = Int(try await Self.checkpoint(fixture).head.size)
      let (full, last) = (size / 256, size % 256)
      // The journal of key uses may add a leaf at any moment, so what is not covered lies a little further on.
      let (beyond, width) = last + 32 < 256 ? (full, last + 32) : (full + 1, 32)
      for path in [
        Self.path("0", full, 256), Self.path("0", beyond, width), Self.path("0", full + 1, 1),
        Self.path("1", 0, full + 1), "1/001.p/1",
        "2/000.p/1", "63/000.p/1", "64/000.p/1", "8/x999/x999/x999/x999/x999/x999/999",
        "0/x018/x446/x744/x073/x709/x551/615",
      ].map({ $0.hasPrefix("/") ? String($0.dropFirst("/log/tile/".count)) : $0 }) + [
        "0/000.p/0", "0/000.p/256", "0/000.p/01", "0/000.p/-1", "0/000.p", "0/000.p/", "0/000.P/1", "0/0", "0/00",
        "0/0000", "0/x000/000",
        "0/x00/000", "00/000", "-1/000", "0/-01", "0/x001", "0/001/000", "0/000/", "0//000", "0", "x/000", "data/000",
        "0/000.p/1/2",
        "0/%30%30%30", "0/000;x", "entries", "0/ab0",
      ] {
        let answer = try await fixture.get("/log/tile/" + path, bearer: fixture.deployment.auditorToken)
        #expect(answer.status == 404, "\(path)")
      }
      for path in [
        "entries/000.p/0", "entries/0", Self.path("entries", beyond, width).replacing("/log/tile/", with: ""),
        "entries/x000/000",
        "entries/000/", "entries/999",
      ] {
        let answer = try await fixture.get("/log/tile/" + path, bearer: fixture.deployment.auditorToken)
        #expect(answer.summary == "404 tile_not_found", "\(path)")
      }
    }
  }
}
