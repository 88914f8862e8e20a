import Crypto
import KeyHierarchy
import KeyManifests
import TestSupport
import Testing
import Wire

@Suite("Key records")
struct RecordTests {
  /// The values were encoded and hashed by a few lines of Python (struct, hashlib) after the field lists in the sources.
  @Test("encodings are those that were written down, for good")
  func knownAnswers() throws {
    let kek = try Records.kek()
    #expect(kek.encoded.count == 1325)
    #expect(Hex.encode(kek.digest) == "9c0439cf6e3ca83155f660a576924b09e9676c4d363329805445179c6f7e5511")
    #expect(
      Hex.encode(kek.macInput(for: Records.root))
        == "1b7472757374636f72652f6b656b2d7265636f72642d6d61632f763100080001020304050607" + Hex.encode(kek.digest))
    let dek = try Records.dek()
    #expect(Hex.encode(dek.digest) == "c0b6df2589ae0b397bbdadbc829a5b84958b7a8f7e308271bf323c9321e55854")
    #expect(
      Hex.encode(dek.macInput(for: Records.root))
        == "1b7472757374636f72652f64656b2d7265636f72642d6d61632f763100080001020304050607" + Hex.encode(dek.digest))
    #expect(
      Hex.encode(dek.context.aad)
        == "147472757374636f72652f64656b2d6161642f7631000774656e5f616263000a70726f64756374696f6e000370696900056b65795f"
        + "3100000003000564656b5f31da526a2d44157ec36630aaa67666b3b070e0203f4551d7590078548a955d1d63")
    let chain = try Records.chain()
    #expect(chain.count == 2)
    #expect(Hex.encode(chain.value) == "d960a55d40c96e0d9c6a0ae4b8038e74d8d470596461c0b354d94814e25ff88d")
    let head = try KeyHead(chain: chain, destroyed: ["key_9", "key_0"])
    #expect(
      Hex.encode(head.macInput)
        == "197472757374636f72652f6b65792d686561642d6d61632f76310000"
        + "d6ae5678a0e38ff228d94dc1152af8da36dc0f62d02505873bc560cab74ca05a")
    let macs = try RecordMACs([.init(root: Records.root, mac: [UInt8](repeating: 3, count: 32))])
    #expect(
      Hex.encode(SHA256.hash(data: macs.encoded)) == "0df0e5f0c9f7e1b2406d1a2b9ea6cda6b766815150af76465d9539c17ba2b02f")
  }

  @Test("what is written reads back as it was")
  func roundTrip() throws {
    for state in KeyState.allCases {
      let record = try Records.kek().with(state: state)
      #expect(try KEKRecord(decoding: record.encoded) == record)
      #expect(record.wraps.isEmpty == (state == .destroyed))
    }
    let dek = try Records.dek()
    #expect(try DEKRecord(decoding: dek.encoded) == dek)
    #expect(try DEKRecord(decoding: dek.destroyed.encoded) == dek.destroyed)
    let head = try KeyHead(chain: Records.chain(), destroyed: ["b", "a"])
    #expect(try KeyHead(decoding: head.encoded) == head)
    for codec in Codec.all {
      for seed in try codec.seeds() { #expect(try codec.read(seed).written == seed, "\(codec.name)") }
    }
  }

  @Test("any bit flipped is refused or reads as another value with another MAC input", arguments: Codec.all)
  func bitFlips(_ codec: Codec) throws {
    var tally = Tally("bit flips, \(codec.name)")
    for seed in try codec.seeds() {
      let original = try codec.read(seed)
      for bit in 0..<seed.count * 8 {
        var flipped = seed
        flipped[bit / 8] ^= 1 << UInt8(bit % 8)
        guard let read = try? codec.read(flipped) else {
          tally.expect(true, "")
          continue
        }
        tally.expect(read.written == flipped && read.mac != original.mac, "bit \(bit)")
      }
    }
    tally.report()
  }

  @Test("cut, extended or mutated, it is refused or writes again what was read (fuzz)", arguments: Codec.all)
  func fuzz(_ codec: Codec) throws {
    let seeds = try codec.seeds()
    for seed in seeds {
      for count in 0..<seed.count { #expect(throws: KeyRecordError.self) { try codec.read(Array(seed[..<count])) } }
      #expect(throws: KeyRecordError.self) { try codec.read(seed + [0]) }
    }
    let random = SeededRandom(0x7265_636F_7264)
    var accepted = 0
    for round in 0..<Fuzz.rounds {
      let input = Fuzz.mutated(seeds[round % seeds.count], random, inserting: [0, 1, 2, 4, 8, 32, 0x7F, 0xFF])
      guard let read = try? codec.read(input) else { continue }
      accepted += 1
      #expect(read.written == input, "\(codec.name) reads \(Hex.encode(input)) and writes it otherwise")
    }
    print("fuzz: \(codec.name): \(Fuzz.rounds) inputs, \(accepted) accepted and written again")
  }

  @Test("no codec reads another's bytes, and no two MAC inputs are alike")
  func domains() throws {
    for codec in Codec.all {
      for other in Codec.all where other.name != codec.name {
        for seed in try other.seeds() { #expect(throws: KeyRecordError.self) { try codec.read(seed) } }
      }
    }
    let record = try Records.kek()
    let inputs = [
      record.macInput(for: Records.root), record.macInput(for: Records.other),
      try record.with(state: .disabled).macInput(for: Records.root),
      try Records.kek(version: 4).macInput(for: Records.root), try Records.dek().macInput(for: Records.root),
      try Records.dek(revision: 8).macInput(for: Records.root), try Records.dek().destroyed.macInput(for: Records.root),
      try KeyHead(chain: Records.chain(), destroyed: []).macInput,
      try KeyHead(chain: Records.chain(), destroyed: ["key_1"]).macInput,
      try KeyHead(chain: KeyEventChain(), destroyed: []).macInput,
    ]
    #expect(Set(inputs).count == inputs.count)
    #expect(inputs.allSatisfy { $0.count <= 80 })
  }

  @Test("wraps in another order are another encoding, and refused")
  func order() throws {
    let record = try Records.kek()
    #expect(record.wraps.map(\.bytes.count) == [40, 1168])
    let bytes = record.encoded
    // The two wraps change places: kind, identifier, length and bytes.
    let token = 1 + 8 + 2 + 40
    let start = bytes.count - token - (1 + 32 + 2 + 1168)
    let swapped = bytes[..<start] + bytes[(start + token)...] + bytes[start..<start + token]
    #expect(throws: KeyRecordError.self) { try KEKRecord(decoding: Array(swapped)) }
    #expect(try Records.kek(wraps: Records.wraps().reversed()) == record)
  }

  @Test("limits of a KEK record on both sides")
  func kekLimits() throws {
    let wrap = Records.wraps()[1]
    func refused(_ make: () throws -> KEKRecord) {
      let error = #expect(throws: KeyRecordError.self) { try make() }
      #expect(error?.code == .invalid)
    }
    refused { try Records.kek(id: "") }
    refused { try Records.kek(id: "a/b") }
    refused { try Records.kek(id: String(repeating: "a", count: 65)) }
    #expect(try Records.kek(id: String(repeating: "a", count: 64)).id.count == 64)
    refused { try Records.kek(version: 0) }
    #expect(try Records.kek(version: .max).version == .max)
    refused { try Records.kek(wraps: []) }
    refused { try Records.kek(state: .destroyed) }
    refused { try Records.kek(wraps: [wrap, wrap]) }
    refused { try Records.kek(wraps: [.init(.token(Records.root), [])]) }
    refused { try Records.kek(wraps: [.init(.token(Records.root), [UInt8](repeating: 0, count: 2049))]) }
    refused { try Records.kek(wraps: [.init(.token(KeyCheckValue([1, 2, 3])), [1])]) }
    refused { try Records.kek(wraps: [.init(.recovery(fingerprint: [UInt8](repeating: 0, count: 31)), [1])]) }
    func many(_ count: UInt8) -> [KEKRecord.Wrap] {
      (0..<count).map {
        .init(.recovery(fingerprint: [UInt8](repeating: $0, count: 32)), [UInt8](repeating: 1, count: 2048))
      }
    }
    refused { try Records.kek(wraps: many(9)) }
    let name = String(repeating: "e", count: 64)
    let greatest = try KEKRecord(
      id: name, coordinates: KeyCoordinates(tenant: name, environment: name, dataClass: name), version: .max,
      state: .active, created: .max, wraps: many(8))
    #expect(try KEKRecord(decoding: greatest.encoded) == greatest)

    for (tenant, environment, dataClass) in [
      ("", "e", "c"), ("t", "", "c"), ("t", "e", ""), ("t/", "e", "c"), ("t", "E", "c"), ("t", "e", "c_"),
      (name + "x", "e", "c"), ("t", name + "x", "c"), ("t", "e", name + "x"), ("t", "-e", "c"),
    ] {
      #expect(throws: KeyRecordError.self) {
        try KeyCoordinates(tenant: tenant, environment: environment, dataClass: dataClass)
      }
    }
  }

  @Test("a token finds its wrap and its MAC")
  func lookups() throws {
    let record = try Records.kek()
    #expect(record.wrap(for: Records.root)?.bytes == [UInt8](repeating: 0xAA, count: 40))
    #expect(record.wrap(for: Records.other) == nil)
    let mac = [UInt8](repeating: 3, count: 32)
    let macs = try RecordMACs([.init(root: Records.root, mac: mac)])
    #expect(macs.mac(of: Records.root) == mac && macs.mac(of: Records.other) == nil)
    #expect(throws: KeyRecordError.self) { try RecordMACs([]) }
    #expect(throws: KeyRecordError.self) { try RecordMACs([.init(root: Records.root, mac: [1])]) }
    #expect(throws: KeyRecordError.self) { try RecordMACs([.init(root: KeyCheckValue([1]), mac: mac)]) }
    #expect(throws: KeyRecordError.self) {
      try RecordMACs([.init(root: Records.root, mac: mac), .init(root: Records.root, mac: mac)])
    }
    func several(_ count: UInt8) throws -> RecordMACs {
      try RecordMACs((0..<count).map { .init(root: KeyCheckValue([UInt8](repeating: $0, count: 8)), mac: mac) })
    }
    #expect(try RecordMACs(decoding: several(8).encoded).entries.count == 8)
    #expect(throws: KeyRecordError.self) { try several(9) }
    #expect(KeyState.allCases.map(\.encrypts) == [true, false, false, false])
    #expect(KeyState.allCases.map(\.opens) == [true, true, false, false])
  }

  @Test("a rewrap moves a data key to another version, and its additional data with it")
  func rewrap() throws {
    let record = try Records.dek()
    let sealed = try DEKRecord.Sealed(
      iv: [UInt8](repeating: 5, count: 12), ciphertext: [UInt8](repeating: 6, count: 48))
    let next = try record.rewrapped(version: 4, sealed)
    #expect(next.revision == 8 && next.context.version == 4 && next.sealed == sealed && next.id == record.id)
    #expect(next.context.aad != record.context.aad)
    #expect(throws: KeyRecordError.self) { try record.rewrapped(version: 0, sealed) }
    #expect(throws: KeyRecordError.self) { try record.destroyed.rewrapped(version: 4, sealed) }
    #expect(throws: KeyRecordError.self) { try Records.dek(revision: .max).rewrapped(version: 4, sealed) }
    for (iv, ciphertext) in [(11, 48), (13, 48), (12, 47), (12, 49), (0, 0)] {
      #expect(throws: KeyRecordError.self) {
        try DEKRecord.Sealed(
          iv: [UInt8](repeating: 0, count: iv), ciphertext: [UInt8](repeating: 0, count: ciphertext))
      }
    }
    let name = String(repeating: "e", count: 64)
    let greatest = DEKRecord(
      context: try KeyContext(
        coordinates: KeyCoordinates(tenant: name, environment: name, dataClass: name), kek: name, version: .max,
        dek: name, contextDigest: record.context.contextDigest),
      created: .max, revision: .max, sealed: sealed)
    #expect(try DEKRecord(decoding: greatest.encoded) == greatest)
    #expect(throws: KeyRecordError.self) {
      try KeyContext(coordinates: Records.coordinates(), kek: "k", version: 1, dek: "d", contextDigest: [1])
    }
  }

  @Test("no two contexts share their additional data, however their texts meet")
  func additionalData() throws {
    func aad(_ tenant: String, _ environment: String, _ dataClass: String, _ kek: String, _ dek: String) throws
      -> [UInt8]
    {
      try KeyContext(
        coordinates: KeyCoordinates(tenant: tenant, environment: environment, dataClass: dataClass), kek: kek,
        version: 1, dek: dek, contextDigest: [UInt8](repeating: 0, count: 32)
      ).aad
    }
    let all = [
      try aad("a", "b", "c", "d", "e"), try aad("ab", "b", "c", "d", "e"), try aad("a", "bb", "c", "d", "e"),
      try aad("b", "a", "c", "d", "e"), try aad("a", "c", "b", "d", "e"), try aad("a", "b", "c", "e", "d"),
      try aad("a", "b", "cd", "d", "e"), try aad("a", "b", "c", "de", "e"), try aad("a", "b", "c", "d", "ee"),
    ]
    #expect(Set(all).count == all.count)
  }
}
