import Crypto
import Foundation
import TestSupport
import Testing
import TransparencyLog
import Wire

private let malformed = LogError(.malformed, "")

/// The texts in C2SP's specifications that are complete.
@Suite("C2SP examples", .enabled(if: Vectors.has("tlog/c2sp/examples")))
struct C2SPExampleTests {
  private func example(_ name: String) throws -> String {
    let text = String(decoding: try Vectors.data("tlog/c2sp/examples/\(name).txt"), as: UTF8.self)
    // The extraction may have cut the last newline of a code block, which notes need.
    return text.hasSuffix("\n") ? text : text + "\n"
  }

  @Test func examples() throws {
    var tally = Tally("tlog/c2sp")
    let vkey = try example("signed-note.3").trimmingCharacters(in: .newlines)
    let key = try NoteVerifierKey(vkey: vkey)
    tally.expect(key.vkey == vkey, "signed-note.3: the verifier key renders to itself")

    let signed = try example("signed-note.1")
    let note = try SignedNote(parsing: signed.utf8)
    let verified = try note.verify(with: [key])
    tally.expect(verified.map(\.key) == [key], "signed-note.1: verifies with the key of signed-note.3")
    tally.expect(note.rendered == signed, "signed-note.1: renders to itself")

    let poem = try example("signed-note.0")
    tally.expect(try SignedNote(parsing: poem.utf8).rendered == poem, "signed-note.0: empty lines within the text")

    for name in ["tlog-checkpoint.0", "tlog-cosignature.0"] {
      let text = try example(name)
      let checkpoint = try UnverifiedCheckpoint(text)
      let holds =
        checkpoint.note.rendered == text && checkpoint.claimed.body == checkpoint.note.text
        && checkpoint.claimed.origin == "example.com/behind-the-sofa" && checkpoint.claimed.size == 20_852_163
      tally.expect(holds, "\(name): parses and renders to itself")
    }

    // Bodies of the witness's add-checkpoint request: proof lines, an empty line, then a complete checkpoint.
    let request = try example("tlog-witness.1")
    let start = try #require(request.range(of: "\n\n")).upperBound
    let witnessed = try UnverifiedCheckpoint(request[start...])
    tally.expect(witnessed.note.signatures.count == 2, "tlog-witness.1: the checkpoint within it parses")
    for line in try example("tlog-witness.2").split(separator: "\n") {
      let one = try SignedNote(parsing: "text\n\n\(line)\n".utf8)
      tally.expect(one.signatures[0].signature.count == 72, "tlog-witness.2: a cosignature line has time and signature")
    }

    // The header of the complete lines of an elided example still parses, with a signature in place of the elision.
    let proof = try example("tlog-proof.0")
    let cut = try #require(proof.range(of: "\n— ")).lowerBound
    let whole = try TLogProof(parsing: proof[..<cut] + "\n" + (signed.split(separator: "\n").last ?? "") + "\n")
    let holds = whole.index == 73894 && whole.hashes.count == 5 && whole.checkpoint.claimed.size == 109_482
    tally.expect(holds, "tlog-proof.0: the lines before the elided signatures")

    for elided in ["tlog-proof.0 (signatures)", "tlog-witness.0", "tlog-witness.3"] {
      tally.leaveOut("\(elided): elided with [...] in the specification")
    }
    tally.leaveOut("signed-note.2: a grammar line")
    tally.leaveOut("tlog-cosignature.1: a signed message without its signature")
    for keys in ["ecdsa", "rsa"] {
      tally.leaveOut("det-keygen/\(keys).json: the HSM generates keys, never from a seed")
    }
    tally.report()
  }
}

@Suite("Signed notes")
struct NoteTests {
  private static let origin = "example.dev.invalid/log"
  private let log: TestCustodian
  private let witness: TestCustodian
  private let logKey: NoteVerifierKey
  private let witnessKey: NoteVerifierKey

  init() throws {
    log = try TestCustodian(seed: 1)
    witness = try TestCustodian(seed: 2)
    logKey = try NoteVerifierKey(name: Self.origin, publicKey: log.publicKeyBytes)
    witnessKey = try NoteVerifierKey(name: "w.example", type: .cosignatureV1, publicKey: witness.publicKeyBytes)
  }

  private func tree(_ size: Int) -> MerkleTree {
    var tree = MerkleTree()
    for index in 0..<size { tree.append(.leaf(NaiveTree.entry(index))) }
    return tree
  }

  private func signature(_ body: String) throws -> NoteSignature {
    try NoteSignature(by: logKey, signature: log.signature(body))
  }

  private func cosignature(_ body: String, time: UInt64) throws -> NoteSignature {
    let bytes = (0..<8).map { UInt8(truncatingIfNeeded: time >> (56 - 8 * $0)) }
    return try NoteSignature(
      by: witnessKey, signature: bytes + witness.signature("cosignature/v1\ntime \(time)\n\(body)"))
  }

  private func checkpoint(_ tree: MerkleTree, origin: String = origin) throws -> String {
    let body = try Checkpoint(origin: origin, head: tree.head).body
    return try SignedNote(text: body, signatures: [signature(body)]).rendered
  }

  @Test func verifiesLogAndWitness() throws {
    let body = try Checkpoint(origin: Self.origin, head: tree(3).head).body
    let unknown = try NoteSignature(keyName: "someone", keyID: 7, signature: [1])
    // One of name and id is not enough to be a known key's.
    let sameName = try NoteSignature(keyName: Self.origin, keyID: logKey.id ^ 1, signature: [1])
    let sameID = try NoteSignature(keyName: "other", keyID: logKey.id, signature: [1])
    let lines = try [unknown, sameName, sameID, signature(body), cosignature(body, time: 99)]
    let text = try SignedNote(text: body, signatures: lines).rendered
    let verified = try UnverifiedCheckpoint(text).verified(by: [logKey], witnesses: [witnessKey])
    #expect(verified.signers == [logKey])
    #expect(verified.cosignatures == [witnessKey: 99])
    #expect(verified.head == tree(3).head)
    #expect(verified.note.rendered == text)
  }

  @Test func refusesBadSignatures() throws {
    let body = try Checkpoint(origin: Self.origin, head: tree(3).head).body
    let (good, cosigned) = (try signature(body), try cosignature(body, time: 5))
    func verify(_ lines: [NoteSignature], _ keys: [NoteVerifierKey]) throws {
      let text = try SignedNote(text: body, signatures: lines).rendered
      _ = try UnverifiedCheckpoint(text).verified(by: keys, witnesses: [witnessKey])
    }
    var bytes = good.signature
    bytes[5] ^= 1
    let bad = try NoteSignature(by: logKey, signature: bytes)
    let invalid = LogError(.signatureInvalid, "")
    #expect(throws: invalid) { try verify([bad], [logKey]) }
    #expect(throws: invalid) { try verify([good, bad], [logKey]) }
    for length in [1, 63, 65] {
      let short = try NoteSignature(by: logKey, signature: Array((good.signature + [0]).prefix(length)))
      #expect(throws: invalid) { try verify([short], [logKey]) }
    }
    // The time is under the signature.
    var moved = cosigned.signature
    moved[7] ^= 1
    #expect(throws: invalid) { try verify([good, NoteSignature(by: witnessKey, signature: moved)], [logKey]) }
    moved = cosigned.signature
    moved[0] = 0x80
    #expect(throws: invalid) { try verify([good, NoteSignature(by: witnessKey, signature: moved)], [logKey]) }

    let none = LogError(.notSigned, "")
    #expect(throws: none) { try verify([good], []) }
    #expect(throws: none) { try verify([cosigned], [logKey]) }
    // A witness's key is no log key, and another log's key does not sign for this one.
    #expect(throws: none) { try verify([cosigned], [witnessKey]) }
    let other = try NoteVerifierKey(name: "other/log", publicKey: log.publicKeyBytes)
    let byOther = try NoteSignature(by: other, signature: good.signature)
    #expect(throws: none) { try verify([byOther], [other]) }
  }

  @Test func parsesStrictly() throws {
    let text = try checkpoint(tree(3))
    _ = try SignedNote(parsing: text.utf8)
    let line = try #require(text.split(separator: "\n").last)
    let base64 = try #require(line.split(separator: " ").last)
    let bad: [String] = [
      "", "\n", "\n\n", "text\n", "text\n\n", "text\n\(line)\n", "text\n\n\(line)", "text\n\n\n\(line)\n\n",
      "text\n\n\(line)\n\n\(line)", "text\n\n \(line)\n", "text\n\n\(line) \n", "text\n\n\(line) x\n",
      "text\n\n— \(base64)\n", "text\n\n—  \(base64)\n", "text\n\n— a\n", "text\n\n— a \n", "text\n\n- a \(base64)\n",
      "text\n\n—a \(base64)\n", "text\n\n— a+b \(base64)\n", "text\n\n— a\u{A0}b \(base64)\n",
      "text\n\n— a\u{2028}b \(base64)\n", "text\n\n— a AAAA\n", "text\n\n— a AAAAAA==\n", "text\n\n— a AAAAAAA\n",
      "te\txt\n\n\(line)\n", "te\r\n\n\(line)\n", "te\0xt\n\n\(line)\n", "text\n\n\(line)\ntext\n",
    ]
    for note in bad { #expect(throws: malformed, "\(note.debugDescription)") { try SignedNote(parsing: note.utf8) } }
    #expect(throws: malformed) { try SignedNote(parsing: [0xFF] + Array(text.utf8)) }
    #expect(try SignedNote(parsing: "\n\n\(line)\n".utf8).text == "\n")
    #expect(try SignedNote(parsing: "a\n\nb\n\n\(line)\n".utf8).text == "a\n\nb\n")
    #expect(try SignedNote(parsing: "\u{7F}\n\n— clé \(base64)\n".utf8).signatures[0].keyName == "clé")
  }

  @Test func notesHaveLimits() throws {
    let line = "— a AAAAAAA=\n"
    let sixteen = String(repeating: line, count: 16)
    #expect(try SignedNote(parsing: "t\n\n\(sixteen)".utf8).signatures.count == 16)
    let tooLarge = LogError(.tooLarge, "")
    #expect(throws: tooLarge) { try SignedNote(parsing: "t\n\n\(sixteen)\(line)".utf8) }
    let filler = String(repeating: "x", count: SignedNote.maximumSize - 2 - line.utf8.count)
    let note = try SignedNote(parsing: "\(filler)\n\n\(line)".utf8)
    #expect(note.rendered.utf8.count == SignedNote.maximumSize)
    #expect(throws: tooLarge) { try SignedNote(parsing: "x\(filler)\n\n\(line)".utf8) }
    #expect(throws: tooLarge) { try SignedNote(text: "x\(filler)\n", signatures: note.signatures) }
    let many = [NoteSignature](repeating: note.signatures[0], count: 17)
    #expect(throws: tooLarge) { try SignedNote(text: "t\n", signatures: many) }
    #expect(throws: malformed) { try SignedNote(text: "t\n", signatures: []) }
    #expect(throws: malformed) { try SignedNote(text: "t", signatures: note.signatures) }
    #expect(throws: malformed) { try SignedNote(text: "t\r\n", signatures: note.signatures) }
  }

  @Test func verifierKeysParseStrictly() throws {
    for key in [logKey, witnessKey] { #expect(try NoteVerifierKey(vkey: key.vkey) == key) }
    let parts = logKey.vkey.split(separator: "+", maxSplits: 2)
    let material = try Base64.decode(parts[2])
    let bad = [
      "", "+", "++", "\(parts[0])+\(parts[1])", "+\(parts[1])+\(parts[2])", "a b+\(parts[1])+\(parts[2])",
      "\(parts[0])+\(parts[1].uppercased())A+\(parts[2])", "\(parts[0])+00000000+\(parts[2])",
      "\(parts[0])+\(parts[1].dropLast())+\(parts[2])", "\(parts[0])x+\(parts[1])+\(parts[2])",
      "\(parts[0])+\(parts[1])+\(parts[2])\n", "\(parts[0])+\(parts[1])+\(parts[2].dropLast(4))",
      "\(parts[0])+\(parts[1])+\(Base64.encode(material + [0]))",
      "\(parts[0])+\(parts[1])+\(Base64.encode([2] + material.dropFirst()))",
      "\(parts[0])+\(parts[1])+\(Base64.encode([4] + material.dropFirst()))",
    ]
    for text in bad { #expect(throws: malformed, "\(text)") { try NoteVerifierKey(vkey: text) } }
    #expect(throws: malformed) { try NoteVerifierKey(name: "a", publicKey: [1]) }
    for name in ["", "a b", "a+b", "a\nb", "a\u{3000}b", "a\u{1}b", "a\u{85}b"] {
      #expect(throws: malformed) { try NoteVerifierKey(name: name, publicKey: logKey.publicKey) }
    }
  }

  @Test func checkpointBodiesParseStrictly() throws {
    let root = tree(3).root().base64
    let good = "o\n3\n\(root)\n"
    #expect(try Checkpoint(body: good).body == good)
    #expect(try Checkpoint(body: good + "ext\n").extensionLines == ["ext"])
    let empty = MerkleHash.emptyTree.base64
    #expect(try Checkpoint(body: "o\n0\n\(empty)\n").head == .empty)
    #expect(try Checkpoint(body: "o\n9223372036854775807\n\(root)\n").size == TreeHead.maximumSize)
    let bad = [
      "", "\n", "o\n", "o\n3\n", "o\n3\n\(root)", "\n3\n\(root)\n", "o\n\n\(root)\n", "o\n3\n\n", "o\n03\n\(root)\n",
      "o\n+3\n\(root)\n", "o\n-3\n\(root)\n", "o\n 3\n\(root)\n", "o\n3 \n\(root)\n", "o\n0x3\n\(root)\n",
      "o\n٣\n\(root)\n",
      "o\n9223372036854775808\n\(root)\n", "o\n18446744073709551616\n\(root)\n", "o\n3\n\(root.dropLast())\n",
      "o\n3\n\(root.dropLast(2))==\n", "o\n3\n\(root) \n", "o\n3\n\(root)\n\n", "o\n3\n\(root)\n\next\n",
      "\u{1}\n3\n\(root)\n",
    ]
    for body in bad { #expect(throws: malformed, "\(body.debugDescription)") { try Checkpoint(body: body) } }
    #expect(throws: LogError(.outOfRange, "")) { try Checkpoint(body: "o\n0\n\(root)\n") }
    // é in one scalar and in two are two origins.
    let (one, two) = (try Checkpoint(body: "\u{E9}\n3\n\(root)\n"), try Checkpoint(body: "e\u{301}\n3\n\(root)\n"))
    #expect(one != two && !one.hasOrigin(two.origin))
  }

  @Test func olderCheckpointsAreExtended() throws {
    let (small, large) = (tree(3), tree(7))
    let older = try UnverifiedCheckpoint(checkpoint(small)).verified(by: [logKey])
    let newer = try UnverifiedCheckpoint(checkpoint(large)).verified(by: [logKey])
    let proof = try large.consistencyProof(from: 3, to: 7)
    try newer.verifyExtends(older, proof: proof)
    #expect(throws: LogError(.outOfRange, "")) { try older.verifyExtends(newer, proof: proof) }
    #expect(throws: LogError(.proofInvalid, "")) { try newer.verifyExtends(older, proof: []) }
  }

  @Test func proofsVerifyOffline() throws {
    let tree = tree(11)
    let checkpoint = try UnverifiedCheckpoint(checkpoint(tree))
    let hashes = try tree.inclusionProof(index: 4, size: 11)
    let leaf = MerkleHash.leaf(NaiveTree.entry(4))
    for extra in [nil, [1, 2, 3]] as [[UInt8]?] {
      let proof = try TLogProof(index: 4, extra: extra, hashes: hashes, checkpoint: checkpoint)
      let parsed = try TLogProof(parsing: proof.rendered)
      #expect(parsed.rendered == proof.rendered && parsed.extra == extra && parsed.index == 4)
      #expect(try parsed.verify(leafHash: leaf, keys: [logKey]).head == tree.head)
      #expect(throws: LogError(.proofInvalid, "")) { try parsed.verify(leafHash: .leaf([1]), keys: [logKey]) }
      #expect(throws: LogError(.notSigned, "")) { try parsed.verify(leafHash: leaf, keys: []) }
    }
    let elsewhere = try TLogProof(index: 5, hashes: hashes, checkpoint: checkpoint)
    #expect(throws: LogError(.proofInvalid, "")) { try elsewhere.verify(leafHash: leaf, keys: [logKey]) }
    let outside = try TLogProof(index: 11, hashes: hashes, checkpoint: checkpoint)
    #expect(throws: LogError(.outOfRange, "")) { try outside.verify(leafHash: leaf, keys: [logKey]) }
  }

  @Test func proofsParseStrictly() throws {
    let note = try checkpoint(tree(2))
    let (head, hash) = ("c2sp.org/tlog-proof@v1", MerkleHash.leaf([1]).base64)
    _ = try TLogProof(parsing: "\(head)\nindex 0\n\n\(note)")
    _ = try TLogProof(parsing: "\(head)\nextra AA==\nindex 0\n\(hash)\n\n\(note)")
    let bad = [
      "", head, "\(head)\n", "\(head)\nindex 0\n", "\(head)\nindex 0\n\n", "\(head)2\nindex 0\n\n\(note)",
      "\(head)\nindex 00\n\n\(note)", "\(head)\nindex  0\n\n\(note)", "\(head)\nindex -1\n\n\(note)",
      "\(head)\nindex\n\n\(note)",
      "\(head)\nindex 0\nextra AA==\n\n\(note)", "\(head)\nextra \nindex 0\n\n\(note)",
      "\(head)\nextra AA\nindex 0\n\n\(note)",
      "\(head)\nextra AA==\nextra AA==\nindex 0\n\n\(note)", "\(head)\nindex 0\n\(hash.dropLast())\n\n\(note)",
      "\(head)\nindex 0\n\(hash)\n\(note)", "\(head)\n\nindex 0\n\n\(note)", "\(head)\nindex 0\n\n\n\(note)",
      "\(head)\nindex 9223372036854775808\n\n\(note)", "\(head)\r\nindex 0\n\n\(note)",
    ]
    for text in bad { #expect(throws: malformed, "\(text.debugDescription)") { try TLogProof(parsing: text) } }
    let line = hash + "\n"
    let most = String(repeating: line, count: 64)
    #expect(try TLogProof(parsing: "\(head)\nindex 0\n\(most)\n\(note)").hashes.count == 64)
    #expect(throws: malformed) { try TLogProof(parsing: "\(head)\nindex 0\n\(most)\(line)\n\(note)") }
    let checkpoint = try UnverifiedCheckpoint(note)
    let extra = [UInt8](repeating: 1, count: TLogProof.maximumExtraSize)
    let largest = try TLogProof(index: 0, extra: extra, hashes: [], checkpoint: checkpoint)
    #expect(try TLogProof(parsing: largest.rendered).extra == extra)
    let tooLarge = LogError(.tooLarge, "")
    #expect(throws: tooLarge) { try TLogProof(index: 0, extra: extra + [1], hashes: [], checkpoint: checkpoint) }
    let tooMany = [MerkleHash](repeating: .emptyTree, count: 65)
    #expect(throws: tooLarge) { try TLogProof(index: 0, hashes: tooMany, checkpoint: checkpoint) }
    #expect(throws: malformed) { try TLogProof(index: 0, extra: [], hashes: [], checkpoint: checkpoint) }
    #expect(throws: tooLarge) { try TLogProof(parsing: String(repeating: "x", count: TLogProof.maximumSize + 1)) }
    #expect(throws: malformed) { try TLogProof(parsing: String(repeating: "x", count: TLogProof.maximumSize)) }
  }
}

@Suite("Tile paths")
struct TilePathTests {
  @Test(arguments: [
    ("tile/0/000", TilePath(.hashes(level: 0), index: 0)),
    ("tile/0/x001/x234/067", TilePath(.hashes(level: 0), index: 1_234_067)),
    ("tile/0/x001/067.p/8", TilePath(.hashes(level: 0), index: 1067, width: 8)),
    ("tile/63/255.p/255", TilePath(.hashes(level: 63), index: 255, width: 255)),
    ("tile/entries/x999/999", TilePath(.entries, index: 999_999)),
    ("tile/entries/x001/000.p/1", TilePath(.entries, index: 1000, width: 1)),
    ("tile/0/x018/x446/x744/x073/x709/x551/615", TilePath(.hashes(level: 0), index: .max)),
  ])
  func roundTrips(text: String, path: TilePath?) {
    #expect(TilePath(text) == path)
    #expect(path?.description == text)
  }

  @Test(arguments: [
    "", "tile", "tile/", "tile/0", "tile/0/", "/tile/0/000", "tile/0/000/", "tile//000", "tile/00/000", "tile/64/000",
    "tile/-1/000", "tile/a/000", "tile/Entries/000", "tile/0/00", "tile/0/0000", "tile/0/00a", "tile/0/x000/000",
    "tile/0/x000/x001/000", "tile/0/001/000", "tile/0/x001", "tile/0/X001/000", "tile/0/x01/000", "tile/0/x0001/000",
    "tile/0/000.p", "tile/0/000.p/", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/08", "tile/0/000.p/1/2",
    "tile/0/x001.p/000", "tile/0/000/p/8", "tile/0/.p/8", "tile/0/x018/x446/x744/x073/x709/x551/616",
    "tile/0/x019/x000/x000/x000/x000/x000/000", "tile/0/٠٠٠", "tile/0/+00", "tile/0/000.p/+1", "tiles/0/000",
    "tile/0/x001/x001/x001/x001/x001/x001/x001/x001/x001/x001/x001/001",
  ])
  func refusesOtherSpellings(text: String) { #expect(TilePath(text) == nil) }

  @Test func widthsHaveLimits() {
    #expect(TilePath(.entries, index: 0, width: 0) == nil)
    #expect(TilePath(.entries, index: 0, width: 257) == nil)
    #expect(TilePath(.hashes(level: 64), index: 0) == nil)
    #expect(TilePath(.entries, index: 0, width: 256)?.description == "tile/entries/000")
  }
}
