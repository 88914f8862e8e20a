import Testing
import WorkloadIdentity

@Suite("Selectors")
struct SelectorTests {
  @Test("type and value, up to the first colon")
  func parts() throws {
    let selector = try Selector("unix:uid:1000")
    #expect(selector.type == "unix" && selector.value == "uid:1000" && selector.description == "unix:uid:1000")
    #expect(try Selector("a:::").value == "::")
    #expect(try Selector("a: ").value == " ")
  }

  @Test("limits on both sides")
  func limits() throws {
    func text(_ type: Int, _ total: Int) -> String {
      String(repeating: "a", count: type) + ":" + String(repeating: "b", count: total - type - 1)
    }
    for (type, total, holds) in [
      (1, 3, true), (32, 40, true), (33, 40, false), (4, 4352, true), (4, 4353, false), (1, 2, false),
    ] {
      #expect(((try? Selector(text(type, total))) != nil) == holds, "\(type) \(total)")
    }
    for value in UInt8.min...0x7F {
      let scalar = Unicode.Scalar(value)
      let isType = "abcdefghijklmnopqrstuvwxyz0123456789_".unicodeScalars.contains(scalar)
      if scalar != ":" { #expect(((try? Selector("a\(scalar)b:c")) != nil) == isType, "type with \(value)") }
      #expect(((try? Selector("a:b\(scalar)c")) != nil) == (value >= 0x20 && value != 0x7F), "value with \(value)")
    }
    for text in ["", ":", "a", "a:", ":a", "unix\u{301}:a", "\u{E4}:a"] {
      #expect(throws: SPIFFEError(.selector, ""), "\(text)") { try Selector(text) }
    }
  }

  @Test("a colon is a colon, whatever joins it")
  func graphemes() throws {
    #expect(try Selector("a:\u{301}b").value.utf8.elementsEqual("\u{301}b".utf8))
    #expect(try Selector("a:\u{301}b:c").value.utf8.elementsEqual("\u{301}b:c".utf8))
  }

  @Test("canonical equivalents are different selectors")
  func equivalents() throws {
    #expect(try Selector("unix:path:/\u{E9}") != Selector("unix:path:/e\u{301}"))
  }
}
