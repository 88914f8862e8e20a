import Testing
import Wire

@Suite("Strict JSON under mutation")
struct JSONFuzzTests {
  static let seeds = [
    #"{"a":[1,2.5,-3e-7,"x\u00e9\n",true,false,null,{"b":{}}],"\ud83d\ude00":"y"}"#,
    #"{"amount":"12.50","currency":"EUR","n":9007199254740991,"list":[[],[[]],{}]}"#,
    #"[0,-0,1e308,5e-324,"\\\"\/\b\f\n\r\t",{"":""}]"#,
  ]

  @Test(
    "what parses has one canonical text, which parses to itself; nothing crashes", arguments: 0..<4 as Range<UInt64>)
  func mutations(seed: UInt64) throws {
    var random = SplitMix64(seed: seed)
    let alphabet = Array("{}[]\",:0123456789.eE+-\\utrfnl \n\u{E9}\u{0}".utf8) + [0xFF, 0x80, 0xC0, 0xED]
    var accepted = 0
    for round in 0..<2500 {
      var text = Array(Self.seeds[round % Self.seeds.count].utf8)
      for _ in 0...random.next() % 3 where !text.isEmpty {
        let at = Int(random.next() % UInt64(text.count))
        let byte = alphabet[Int(random.next() % UInt64(alphabet.count))]
        switch random.next() % 4 {
        case 0: text[at] = byte
        case 1: text.insert(byte, at: at)
        case 2: text.remove(at: at)
        default: text.removeSubrange(at..<min(text.count, at + Int(random.next() % 6)))
        }
      }
      guard let value = try? JSONValue(parsing: text) else { continue }
      accepted += 1
      let canonical = value.canonical()
      let again = try JSONValue(parsing: canonical)
      #expect(again.canonical() == canonical, "\(String(decoding: text, as: UTF8.self))")
    }
    #expect(accepted > 100)
  }

  @Test("every prefix of a text is refused")
  func prefixes() {
    for seed in Self.seeds {
      let bytes = Array(seed.utf8)
      for count in 0..<bytes.count {
        #expect(throws: JSONError.self) { try JSONValue(parsing: Array(bytes[..<count])) }
      }
    }
  }

  @Test("random doubles survive, and take no more digits than needed")
  func doubles() throws {
    var random = SplitMix64(seed: 9)
    for _ in 0..<3000 {
      let value = Double(bitPattern: random.next())
      guard value.isFinite else { continue }
      let text = String(decoding: JSONValue.double(value).canonical(), as: UTF8.self)
      #expect(Double(text) == value || value == 0)
      #expect(try JSONValue(parsing: text).canonical() == Array(text.utf8))
      #expect(text.filter(\.isNumber).count <= 17 + 5 || !text.contains("e"))
    }
  }
}
