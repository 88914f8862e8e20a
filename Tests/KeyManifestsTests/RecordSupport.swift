import Testing
import KeyHierarchy
import KeyManifests
import TestSupport
import Wire

/// Values as the tests use them.
enum Records {
  static let root = KeyCheckValue((0..<8).map { $0 })
  static let other = KeyCheckValue([UInt8](repeating: 0xEE, count: 8))

  static func coordinates() throws -> KeyCoordinates {
    try KeyCoordinates(tenant: "ten_abc", environment: "production", dataClass: "pii")
  }

  static func wraps() -> [KEKRecord.Wrap] {
    [
      .init(.recovery(fingerprint: [UInt8](repeating: 0x55, count: 32)), [UInt8](repeating: 0xBB, count: 1168)),
      .init(.token(root), [UInt8](repeating: 0xAA, count: 40)),
    ]
  }

  static func kek(
    id: String = "key_1", version: UInt32 = 3, state: KeyState = .active, wraps: [KEKRecord.Wrap]? = nil
  ) throws -> KEKRecord {
    try KEKRecord(
      id: id, coordinates: coordinates(), version: version, state: state, created: 1_800_000_000_123,
      wraps: wraps ?? Self.wraps())
  }

  static func context() throws -> EncryptionContext {
    try EncryptionContext(pairs: ["owner=own_1", "file=a.pdf"])
  }

  static func dek(id: String = "dek_1", revision: UInt32 = 7) throws -> DEKRecord {
    DEKRecord(
      context: try KeyContext(
        coordinates: coordinates(), kek: "key_1", version: 3, dek: id, contextDigest: context().digest),
      created: 1_800_000_000_123, revision: revision,
      sealed: try .init(iv: [UInt8](repeating: 1, count: 12), ciphertext: [UInt8](repeating: 2, count: 48)))
  }

  static func chain() throws -> KeyEventChain {
    var chain = KeyEventChain()
    chain.append(try KeyEvent(kek(), leafIndex: 41))
    chain.append(try KeyEvent(dek(), leafIndex: 42))
    return chain
  }
}

/// A codec with good encodings. `read` gives what the value writes again and what a MAC covers.
struct Codec: Sendable, CustomTestStringConvertible {
  let name: String
  let seeds: @Sendable () throws -> [[UInt8]]
  let read: @Sendable ([UInt8]) throws -> (written: [UInt8], mac: [UInt8])

  var testDescription: String { name }

  static let all: [Codec] = [
    Codec(name: "KEK record") {
      let many = (0..<8).map {
        KEKRecord.Wrap(.recovery(fingerprint: [UInt8](repeating: $0, count: 32)), [$0])
      }
      return [
        try Records.kek().encoded, try Records.kek().with(state: .destroyed).encoded,
        try Records.kek(state: .retired, wraps: many).encoded,
      ]
    } read: { bytes in
      let record = try KEKRecord(decoding: bytes)
      return (record.encoded, record.macInput(for: Records.root))
    },
    Codec(name: "DEK record") {
      [try Records.dek().encoded, try Records.dek().destroyed.encoded]
    } read: { bytes in
      let record = try DEKRecord(decoding: bytes)
      return (record.encoded, record.macInput(for: Records.root))
    },
    Codec(name: "record MACs") {
      [
        try RecordMACs([
          .init(root: Records.other, mac: [UInt8](repeating: 4, count: 32)),
          .init(root: Records.root, mac: [UInt8](repeating: 3, count: 32)),
        ]).encoded
      ]
    } read: { bytes in
      let macs = try RecordMACs(decoding: bytes)
      return (macs.encoded, macs.encoded)
    },
    Codec(name: "key event") {
      [
        try KeyEvent(Records.kek(), leafIndex: 41).encoded,
        try KeyEvent(Records.dek().destroyed, leafIndex: .max).encoded,
      ]
    } read: { bytes in
      let event = try KeyEvent(decoding: bytes)
      return (event.encoded, KeyEventChain.value(after: [UInt8](repeating: 0, count: 32), event))
    },
    Codec(name: "key head") {
      [
        try KeyHead(chain: Records.chain(), destroyed: ["key_9", "key_0"]).encoded,
        try KeyHead(chain: KeyEventChain(), destroyed: []).encoded,
      ]
    } read: { bytes in
      let head = try KeyHead(decoding: bytes)
      return (head.encoded, head.macInput)
    },
  ]
}
