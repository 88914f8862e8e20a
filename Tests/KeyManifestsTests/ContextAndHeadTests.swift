import KeyManifests
import TestSupport
import Testing
import Wire

@Suite("Encryption contexts and key heads")
struct ContextAndHeadTests {
  @Test("one context has one text, wherever it came from")
  func canonical() throws {
    let pairs = try EncryptionContext(pairs: ["owner=own_1", "file=a.pdf"])
    #expect(String(decoding: pairs.canonical, as: UTF8.self) == #"{"file":"a.pdf","owner":"own_1"}"#)
    #expect(Hex.encode(pairs.digest) == "da526a2d44157ec36630aaa67666b3b070e0203f4551d7590078548a955d1d63")
    let parsed = try EncryptionContext(parsing: Array(#" { "owner" : "own_1", "file": "\u0061.pdf" } "#.utf8))
    #expect(parsed == pairs && parsed.canonical == pairs.canonical)
    #expect(try EncryptionContext(pairs: ["a=b=c"]).members["a"]?.string == "b=c")
    #expect(try EncryptionContext(pairs: ["a="]).members["a"]?.string == "")
    // Texts that look alike are not the same: a letter with its accent, and both apart.
    #expect(try EncryptionContext(pairs: ["a=\u{E9}"]) != EncryptionContext(pairs: ["a=e\u{301}"]))
    #expect(try EncryptionContext(pairs: ["\u{E9}=1", "e\u{301}=1"]).members.members.count == 2)
    // No grouping of names and values reads as another.
    #expect(try EncryptionContext(pairs: ["a=b", "c=d"]).digest != EncryptionContext(pairs: ["a=bc=d"]).digest)
  }

  @Test("limits of a context on both sides")
  func limits() throws {
    func pairs(_ count: Int) -> [String] { (0..<count).map { "name\($0)=v" } }
    #expect(try EncryptionContext(pairs: pairs(16)).members.members.count == 16)
    let name = String(repeating: "n", count: 64)
    let value = String(repeating: "v", count: 256)
    #expect(throws: Never.self) { try EncryptionContext(pairs: ["\(name)=\(value)"]) }
    let widest = (0..<16).map { index in
      #""\#(String(repeating: "\\u0001", count: 62))\#(index + 10)":"\#(String(repeating: "\\u0001", count: 256))""#
    }
    #expect(throws: Never.self) { try EncryptionContext(parsing: Array("{\(widest.joined(separator: ","))}".utf8)) }
    for refused in [
      [], pairs(17), ["a"], ["=v"], [""], ["\(name)n=v"], ["a=\(value)v"], ["a=1", "a=2"], ["\(name)é=v"],
    ] {
      let error = #expect(throws: KeyRecordError.self, "\(refused)") { try EncryptionContext(pairs: refused) }
      #expect(error?.code == .context)
    }
    for text in [
      "", "{}", "[]", "null", "\"a\"", #"{"a":1}"#, #"{"a":null}"#, #"{"a":{"b":"c"}}"#, #"{"a":["b"]}"#,
      #"{"a":"b","a":"b"}"#, #"{"a":"b","\u0061":"b"}"#, #"{"a":"b",}"#, #"{"a":"b"} x"#, #"{"":"b"}"#,
      "{\"a\":\"" + value + "v\"}", String(repeating: " ", count: 65_536) + #"{"a":"b"}"#,
    ] {
      let error = #expect(throws: KeyRecordError.self, "\(text)") { try EncryptionContext(parsing: Array(text.utf8)) }
      #expect(error?.code == .context)
    }
    let array: JSONValue = ["a"]
    #expect(throws: KeyRecordError.self) { try EncryptionContext(array) }
  }

  @Test("a chain tells every event, their order and their count")
  func chain() throws {
    let first = try KeyEvent(Records.kek(), leafIndex: 41)
    let second = try KeyEvent(Records.dek(), leafIndex: 42)
    var there = KeyEventChain()
    var back = KeyEventChain()
    #expect(there.count == 0 && there.value == [UInt8](repeating: 0, count: 32))
    for event in [first, second] { there.append(event) }
    for event in [second, first] { back.append(event) }
    #expect(there.count == 2 && there.value != back.value)
    var resumed = try KeyEventChain(
      count: 1, value: KeyEventChain.value(after: [UInt8](repeating: 0, count: 32), first))
    resumed.append(second)
    #expect(resumed == there)
    #expect(throws: KeyRecordError.self) { try KeyEventChain(count: 1, value: [1]) }
    #expect(throws: KeyRecordError.self) { try KeyEventChain(count: 0, value: there.value) }

    func event(
      id: String = "key_1", kind: KeyEvent.Kind = .kek, version: UInt32 = 1, state: KeyState = .active, digest: Int = 32
    ) throws -> KeyEvent {
      try KeyEvent(
        id: id, kind: kind, version: version, state: state, recordDigest: [UInt8](repeating: 0, count: digest),
        leafIndex: 0)
    }
    #expect(throws: Never.self) { try event(id: String(repeating: "k", count: 64)) }
    #expect(throws: Never.self) { try event(kind: .dek, version: 0) }
    for make in [
      { try event(id: "") }, { try event(id: String(repeating: "k", count: 65)) }, { try event(version: 0) },
      { try event(kind: .dek, state: .retired) }, { try event(kind: .dek, state: .disabled) },
      { try event(digest: 31) }, { try event(digest: 33) },
    ] { #expect(throws: KeyRecordError.self) { try make() } }
  }

  @Test("a head holds up to 100,000 destroyed keys, sorted, each once")
  func head() throws {
    let chain = try Records.chain()
    let ids = (0..<KeyHead.maximumDestroyed).map { index in
      "key_" + String(repeating: "0", count: 60 - String(index).utf8.count) + String(index)
    }
    let head = try KeyHead(chain: chain, destroyed: ids.reversed())
    #expect(head.destroyed == ids)
    #expect(try KeyHead(decoding: head.encoded) == head)
    #expect(head.encoded.count > 6_000_000 && head.macInput.count < 80)
    #expect(ids.enumerated().allSatisfy { $0.offset % 997 != 0 || head.isDestroyed($0.element) })
    #expect(head.isDestroyed(ids[99_999]) && !head.isDestroyed("key_") && !head.isDestroyed("zzz"))
    #expect(throws: KeyRecordError.self) { try KeyHead(chain: chain, destroyed: ids + ["one-more"]) }
    #expect(throws: KeyRecordError.self) { try KeyHead(chain: chain, destroyed: ["a", "a"]) }
    #expect(throws: KeyRecordError.self) { try KeyHead(chain: chain, destroyed: [""]) }
    #expect(!(try KeyHead(chain: chain, destroyed: []).isDestroyed("a")))
    // By bytes, not by any language's order.
    #expect(try KeyHead(chain: chain, destroyed: ["a", "B", "_", "1", "-"]).destroyed == ["-", "1", "B", "_", "a"])
    // Out of order is another encoding.
    let pair = try KeyHead(chain: chain, destroyed: ["a", "b"]).encoded
    var swapped = pair
    swapped[pair.count - 1] = 0x61
    swapped[pair.count - 4] = 0x62
    #expect(throws: KeyRecordError.self) { try KeyHead(decoding: swapped) }
  }
}
