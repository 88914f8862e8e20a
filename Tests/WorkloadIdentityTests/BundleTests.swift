import JOSE
import TestSupport
import Testing
import Wire

@testable import WorkloadIdentity

@Suite("SPIFFE bundles")
struct BundleTests {
  let domain: TrustDomain
  let key = SigningKey(.p256, random: SeededRandom(1))

  init() throws { domain = try TrustDomain("example.org") }

  private func make(_ sequence: UInt64?, hint: Int64? = nil, keys: Int = 1) throws -> SPIFFEBundle {
    try SPIFFEBundle(
      trustDomain: domain, x509Authorities: [],
      jwtAuthorities: (0..<keys).map { JWK(key.verificationKey, keyID: "k\($0)") }, sequence: sequence,
      refreshHint: hint)
  }

  private func parse(_ bytes: [UInt8]) throws -> SPIFFEBundle { try SPIFFEBundle(trustDomain: domain, parsing: bytes) }

  @Test("sequences keep 64 bits, written and read", arguments: [nil, 0, 1 << 53 - 1, 1 << 53 + 1, .max] as [UInt64?])
  func sequence(_ sequence: UInt64?) throws {
    let bundle = try make(sequence, hint: 300)
    #expect(try parse(bundle.json()) == bundle)
    #expect(try parse(bundle.json()).sequence == sequence)
    guard let sequence, sequence < 1 << 53 else { return }
    #expect(try JSONValue(parsing: bundle.json()).canonical() == bundle.json())
  }

  @Test("limits: bytes, keys, hint")
  func limits() throws {
    let text = Array("{\"keys\":[]}".utf8)
    func padded(_ count: Int) -> [UInt8] { text + [UInt8](repeating: 0x20, count: count - text.count) }
    #expect(try parse(padded(1 << 20)).jwtAuthorities.isEmpty)
    #expect(throws: SPIFFEError(.bundle, "")) { try parse(padded(1 << 20 + 1)) }
    func ignored(_ count: Int) -> [UInt8] {
      Array("{\"keys\":[\(Array(repeating: "{}", count: count).joined(separator: ","))]}".utf8)
    }
    #expect(try parse(ignored(256)).jwtAuthorities.isEmpty)
    #expect(throws: SPIFFEError(.bundle, "")) { try parse(ignored(257)) }
    #expect(try parse(make(nil, keys: 256).json()).jwtAuthorities.count == 256)
    #expect(throws: SPIFFEError(.bundle, "")) { try make(nil, keys: 257) }
    #expect(try make(nil, hint: 0).refreshHint == 0)
    #expect(throws: SPIFFEError(.bundle, "")) { try make(nil, hint: -1) }
    #expect(throws: SPIFFEError(.bundle, "")) {
      try SPIFFEBundle(
        trustDomain: domain, x509Authorities: [[0x30, 0]], jwtAuthorities: [], sequence: nil, refreshHint: nil)
    }
  }

  @Test("the name of the sequence in escapes is its name")
  func escapes() throws {
    #expect(try parse(Array(#"{"keys":[],"spiffe\u005fsequence":7}"#.utf8)).sequence == 7)
    // Only beyond 2^53 is it looked for in the text, and there as it is written by all.
    #expect(throws: SPIFFEError(.bundle, "")) {
      try parse(Array(#"{"keys":[],"spiffe\u005fsequence":9007199254740993}"#.utf8))
    }
    #expect(
      try parse(Array(#"{"a":"\"\\","b":"{[","keys":[],"spiffe_sequence":9007199254740993}"#.utf8)).sequence
        == 9_007_199_254_740_993)
  }
}
