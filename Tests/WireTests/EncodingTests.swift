import Foundation
import Testing
import Wire

@Suite("Base64 and hexadecimal")
struct EncodingTests {
  /// RFC 4648 section 10.
  @Test(
    "RFC 4648's vectors",
    arguments: [
      ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
      ("foobar", "Zm9vYmFy"),
    ])
  func vectors(plain: String, encoded: String) throws {
    let bytes = Array(plain.utf8)
    #expect(Base64.encode(bytes) == encoded)
    #expect(try Base64.decode(encoded) == bytes)
    let unpadded = encoded.filter { $0 != "=" }
    #expect(Base64.URL.encode(bytes) == unpadded)
    #expect(try Base64.URL.decode(unpadded) == bytes)
  }

  @Test(
    "padded text that is not canonical is refused",
    arguments: [
      "Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "=", "==", "====", "A===", "Z=g=", "Zm9v=", "Zm9v====", "Zg==Zg==",
      "Zm9v\n",
      " Zm9v", "Zm 9v", "Zm9v-_==", "Zm9_", "Zm9é", "Z\u{0}==", "Zg==\u{0}",
    ])
  func refused(text: String) { #expect(throws: Base64.Invalid.self) { try Base64.decode(text) } }

  @Test(
    "base64url that is not canonical is refused",
    arguments: [
      "Zg==", "Zh", "Zm9", "A", "AAAAA", "Zm+v", "Zm/v", "Zm9v\n", " ", "Zm9v.", "=", "Zm9\u{FF56}", "Z\u{301}g",
    ])
  func refusedURL(text: String) { #expect(throws: Base64.Invalid.self) { try Base64.URL.decode(text) } }

  @Test("every length survives, and agrees with Foundation")
  func lengths() throws {
    var random = SplitMix64(seed: 1)
    for count in 0..<130 {
      let bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
      #expect(Base64.encode(bytes) == Data(bytes).base64EncodedString())
      #expect(try Base64.decode(Base64.encode(bytes)) == bytes)
      #expect(try Base64.URL.decode(Base64.URL.encode(bytes)) == bytes)
      #expect(Hex.decode(Hex.encode(bytes)) == bytes)
    }
  }

  @Test("each byte string has one text: of all last characters only the canonical one decodes")
  func oneText() {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    #expect(alphabet.filter { (try? Base64.URL.decode("A\($0)")) != nil }.count == 4)
    #expect(alphabet.filter { (try? Base64.URL.decode("AA\($0)")) != nil }.count == 16)
  }

  /// A source that always gives the same byte.
  private struct Constant: RandomSource {
    let byte: UInt8
    func bytes(_ count: Int) -> [UInt8] { [UInt8](repeating: byte, count: count) }
  }

  @Test("no identifier looks like an option of a command line")
  func identifiers() {
    for byte in UInt8.min...UInt8.max {
      let id = Constant(byte: byte).identifier()
      #expect(id.count == 16 && id.dropFirst().allSatisfy { $0 == byte })
      #expect(!Base64.URL.encode(id).hasPrefix("-"))
      #expect(id[0] == byte || Base64.URL.encode([byte, 0, 0]).hasPrefix("-"), "it is changed where it must be")
    }
  }

  @Test("hexadecimal is lower-case and whole", arguments: ["0", "0G", "AB", "0x", " 00", "é", "00 "])
  func hexRefused(text: String) { #expect(Hex.decode(text) == nil) }

  @Test("an empty hexadecimal text is no bytes")
  func hexEmpty() { #expect(Hex.decode("") == []) }
}

/// Seeded, so that every run is the same.
struct SplitMix64: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
