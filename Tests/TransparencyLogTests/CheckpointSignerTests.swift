import Foundation
import KeyHierarchy
import Testing
import TransparencyLog

@Suite("Checkpoint signer")
struct CheckpointSignerTests {
  private static let origin = "example.dev.invalid/log"

  /// A folder of its own for each test, removed with it.
  private final class Folder: Sendable {
    let path = NSTemporaryDirectory() + "trustcore-signer-" + UUID().uuidString
    var file: String { path + "/head" }
    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }
  }

  private let folder: Folder
  private let tree: MerkleTree
  private let heads: [TreeHead]

  init() throws {
    folder = try Folder()
    var tree = MerkleTree()
    var heads = [tree.head]
    for index in 0..<40 {
      tree.append(.leaf(NaiveTree.entry(index)))
      heads.append(tree.head)
    }
    (self.tree, self.heads) = (tree, heads)
  }

  private func checkpoint(_ size: Int) throws -> Checkpoint { try Checkpoint(origin: Self.origin, head: heads[size]) }
  private func proof(_ from: Int, _ to: Int) throws -> [MerkleHash] {
    try tree.consistencyProof(from: UInt64(from), to: UInt64(to))
  }
  private func open(_ custodian: TestCustodian) throws -> CheckpointSigner {
    try CheckpointSigner(headFile: folder.file, origin: Self.origin, custodian: custodian)
  }
  private func contents() throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: folder.file))) }
  private func write(_ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: folder.file)) }

  @Test func signsExtensionsAndRemembersThem() async throws {
    let custodian = try TestCustodian()
    try CheckpointSigner.createNew(headFile: folder.file, origin: Self.origin)
    var signer: CheckpointSigner? = try open(custodian)
    #expect(await signer?.lastHead == .empty)
    var last = 0
    for size in [1, 2, 7, 7, 8, 33] {
      let note = try #require(
        try await signer?.sign(checkpoint(size), consistencyProof: proof(last, size)))
      let key = try #require(signer?.verifierKey)
      #expect(try UnverifiedCheckpoint(note).verified(by: [key]).head == heads[size])
      last = size
    }
    #expect(custodian.operationCount == 6)
    signer = nil
    let again = try open(custodian)
    #expect(await again.lastHead == heads[33])
    _ = try await again.signLastHead()
    #expect(await again.check(heads[33]) == .inStep)
    #expect(await again.check(heads[34]) == .databaseAhead)
    #expect(await again.check(heads[32]) == .databaseBehind)
    #expect(await again.check(TreeHead(size: 33, root: .emptyTree)) == .forked)
  }

  @Test func refusesEverythingElse() async throws {
    let custodian = try TestCustodian()
    try CheckpointSigner.createNew(headFile: folder.file, origin: Self.origin)
    let signer = try open(custodian)
    _ = try await signer.sign(checkpoint(10), consistencyProof: [])
    let before = try contents()
    func refuses(_ code: LogError.Code, _ checkpoint: Checkpoint, _ proof: [MerkleHash]) async {
      await #expect(throws: LogError(code, "")) { try await signer.sign(checkpoint, consistencyProof: proof) }
    }
    await refuses(.notAnExtension, try checkpoint(9), try proof(9, 10))
    await refuses(.notAnExtension, try Checkpoint(origin: Self.origin, head: TreeHead(size: 10, root: .emptyTree)), [])
    await refuses(.proofInvalid, try checkpoint(20), [])
    await refuses(.proofInvalid, try checkpoint(20), try proof(9, 20))
    await refuses(.proofInvalid, try checkpoint(10), [.emptyTree])
    let fork = try Checkpoint(origin: Self.origin, head: TreeHead(size: 20, root: .emptyTree))
    await refuses(.proofInvalid, fork, try proof(10, 20))
    await refuses(.wrongOrigin, try Checkpoint(origin: "other/log", head: heads[20]), try proof(10, 20))
    let extended = try Checkpoint(origin: Self.origin, head: heads[20], extensionLines: ["x"])
    await refuses(.malformed, extended, try proof(10, 20))
    #expect(try contents() == before)
    #expect(custodian.operationCount == 1)
    _ = try await signer.sign(checkpoint(20), consistencyProof: proof(10, 20))
  }

  /// By the time the HSM is asked the file holds the head, and after its failure the same head is signed again.
  @Test func persistsBeforeSigning() async throws {
    let (folder, head) = (folder, heads[5])
    let custodian = try TestCustodian(beforeSigning: {
      let text = (try? String(decoding: Data(contentsOf: URL(fileURLWithPath: folder.file)), as: UTF8.self)) ?? ""
      #expect(text.contains("\n5\n\(head.root.base64)\n"))
    })
    try CheckpointSigner.createNew(headFile: folder.file, origin: Self.origin)
    let signer = try open(custodian)
    custodian.fail(1)
    await #expect(throws: CustodyError(.unavailable, "")) {
      try await signer.sign(checkpoint(5), consistencyProof: [])
    }
    #expect(await signer.lastHead == heads[5])
    _ = try await signer.sign(checkpoint(5), consistencyProof: [])
    #expect(custodian.signed == [try checkpoint(5).body])
  }

  @Test func oneSignatureAtATime() async throws {
    let (entered, enteredSignal) = AsyncStream.makeStream(of: Void.self)
    let (released, releaseSignal) = AsyncStream.makeStream(of: Void.self)
    let custodian = try TestCustodian(beforeSigning: {
      enteredSignal.yield()
      for await _ in released { break }
    })
    try CheckpointSigner.createNew(headFile: folder.file, origin: Self.origin)
    let signer = try open(custodian)
    let first = try checkpoint(3)
    let task = Task { try await signer.sign(first, consistencyProof: []) }
    for await _ in entered { break }
    let busy = LogError(.busy, "")
    await #expect(throws: busy) { try await signer.sign(checkpoint(4), consistencyProof: proof(3, 4)) }
    await #expect(throws: busy) { try await signer.advance(to: checkpoint(4), consistencyProof: proof(3, 4)) }
    await #expect(throws: busy) { try await signer.signLastHead() }
    #expect(await signer.lastHead == heads[3])
    releaseSignal.finish()
    _ = try await task.value
    enteredSignal.finish()
    _ = try await signer.sign(checkpoint(4), consistencyProof: proof(3, 4))
  }

  @Test func badSignaturesAreNotPassedOn() async throws {
    let custodian = try TestCustodian()
    try CheckpointSigner.createNew(headFile: folder.file, origin: Self.origin)
    let signer = try open(custodian)
    custodian.corruptSignatures()
    await #expect(throws: LogError(.signatureInvalid, "")) {
      try await signer.sign(checkpoint(5), consistencyProof: [])
    }
    let other = try TestCustodian(algorithm: .ecdsaP256)
    #expect(throws: LogError(.malformed, "")) {
      try CheckpointSigner(headFile: folder.file, origin: Self.origin, custodian: other)
    }
  }

  @Test func theFileIsGuarded() throws {
    let custodian = try TestCustodian()
    let unusable = LogError(.headFile, "")
    #expect(throws: unusable) { try open(custodian) }
    #expect(!FileManager.default.fileExists(atPath: folder.file))
    try CheckpointSigner.createNew(headFile: folder.file, origin: Self.origin)
    #expect(throws: unusable) { try CheckpointSigner.createNew(headFile: folder.file, origin: Self.origin) }
    #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path) == ["head"])
    let mode = try FileManager.default.attributesOfItem(atPath: folder.file)[.posixPermissions] as? Int
    #expect(mode == 0o600)
    #expect(throws: LogError(.wrongOrigin, "")) {
      try CheckpointSigner(headFile: folder.file, origin: "other/log", custodian: custodian)
    }
    var signer: CheckpointSigner? = try open(custodian)
    #expect(throws: LogError(.busy, "")) { try open(custodian) }
    #expect(signer != nil)
    signer = nil
    _ = try open(custodian)
    let longest = String(repeating: "o", count: 2048)
    #expect(throws: LogError(.malformed, "")) {
      try CheckpointSigner.createNew(headFile: folder.path + "/long", origin: longest + "o")
    }
    #expect(throws: LogError(.malformed, "")) {
      try CheckpointSigner.createNew(headFile: folder.path + "/long", origin: "")
    }
    try CheckpointSigner.createNew(headFile: folder.path + "/long", origin: longest)
    #expect(throws: unusable) {
      try CheckpointSigner.createNew(headFile: folder.path + "/absent/head", origin: Self.origin)
    }
  }

  /// A write torn at any sector leaves the head before it, which is the last that anyone signed.
  @Test func tornWritesLeaveTheLastHead() async throws {
    let custodian = try TestCustodian()
    try CheckpointSigner.createNew(headFile: folder.file, origin: Self.origin)
    var images: [[UInt8]] = []
    do {
      let signer = try open(custodian)
      for (from, to) in [(0, 4), (4, 5), (5, 6)] {
        try await signer.advance(to: checkpoint(to), consistencyProof: proof(from, to))
        images.append(try contents())
      }
    }
    let changed = zip(images[1], images[2]).enumerated().filter { $1.0 != $1.1 }.map(\.offset)
    let slot = try #require(changed.first) / 4096
    #expect(changed.allSatisfy { $0 / 4096 == slot }, "a write touches one slot alone")
    for offset in [changed[0], changed[changed.count / 2], slot * 4096, slot * 4096 + 4095] {
      var torn = images[2]
      torn[offset] ^= 0x55
      try write(torn)
      let recovered = try open(custodian)
      #expect(await recovered.lastHead == heads[5])
    }
    for cut in stride(from: 16, to: 160, by: 16) {
      var torn = images[1]
      torn.replaceSubrange(slot * 4096..<(slot * 4096 + cut), with: images[2][slot * 4096..<(slot * 4096 + cut)])
      try write(torn)
      let recovered = try open(custodian)
      #expect(await recovered.lastHead == heads[5])
    }
  }

  @Test func corruptFilesAreErrors() async throws {
    let custodian = try TestCustodian()
    try CheckpointSigner.createNew(headFile: folder.file, origin: Self.origin)
    do {
      let signer = try open(custodian)
      for size in 1...4 { try await signer.advance(to: checkpoint(size), consistencyProof: proof(size - 1, size)) }
    }
    let good = try contents()
    var bothBad = good
    bothBad[30] ^= 1
    bothBad[4096 + 30] ^= 1
    let swapped = Array(good[4096...] + good[..<4096])
    let corrupt = [[], [0], Array(good.dropLast()), good + [0], bothBad, swapped, [UInt8](repeating: 0, count: 8192)]
    for bytes in corrupt {
      try write(bytes)
      #expect(throws: LogError(.headFile, "")) { try open(custodian) }
      #expect(try contents() == bytes)
    }
    try write(good)
    #expect(await (try open(custodian)).lastHead == heads[4])
  }
}
