import Foundation
import Rails
import TestSupport
import Testing

@Suite("ACH reader on bad input")
struct ACHRobustnessTests {
  /// The records and the outcome of reading in chunks.
  static func read(_ bytes: [UInt8], by size: Int) -> (records: [ACHRecord], error: String) {
    var reader = ACHReader()
    var records: [ACHRecord] = []
    do {
      for start in stride(from: 0, to: bytes.count, by: size) {
        try reader.read(bytes[start..<min(start + size, bytes.count)]) { (record) throws(ACHError) in
          records.append(record)
        }
      }
      try reader.finish { (record) throws(ACHError) in records.append(record) }
      return (records, "-")
    } catch { return (records, "\(error)") }
  }

  @Test("the size of the chunks makes no difference")
  func chunks() throws {
    let base = try Fixtures.base()
    var broken = base
    broken.set(9, 30, "0000000002")
    for file in [base.bytes(), base.bytes("\r\n"), base.bytes(""), base.bytes(last: false), broken.bytes()] {
      let whole = Self.read(file, by: file.count)
      for size in [1, 2, 7, 93, 94, 95, 96, 97, 1000] {
        let parts = Self.read(file, by: size)
        #expect(parts.records == whole.records && parts.error == whole.error, "\(size)")
      }
    }
  }

  @Test("what the visitor throws comes out")
  func visitor() throws {
    let bytes = try Fixtures.base().bytes()
    var reader = ACHReader()
    #expect(throws: ACHError(.init("stop"), "")) {
      try reader.read(bytes) { (record) throws(ACHError) in
        if record.line == 3 { throw ACHError(.init("stop"), "enough") }
      }
    }
  }

  @Test("seeded mutations are refused or written back as they came")
  func mutations() throws {
    var bases = [try Fixtures.base().bytes()]
    for path in ["ach-iat-read/iat-credit.ach", "ach-adv-read/adv-read.ach", "ach-cor-read/cor-read.ach"]
    where Vectors.has("nacha") {
      bases.append(Array(try Vectors.data("nacha/test/" + path)))
    }
    if Vectors.has("nacha") { bases.append(Array(try Vectors.data("nacha/examples/testdata/contested-return.ach"))) }
    var tally = Tally("ACH mutations")
    var accepted = 0
    for seed in 0..<4000 as Range<UInt64> {
      var random = Seeded(seed)
      var bytes = bases[Int(seed) % bases.count]
      for _ in 0..<Int.random(in: 1...4, using: &random) { Self.mutate(&bytes, &random) }
      do {
        let file = try ACHFile(parsing: bytes, Bool.random(using: &random) ? .received : .originated)
        accepted += 1
        let entries = file.entries
        tally.expect(file.bytes == bytes && file.returns.count <= entries.count, "seed \(seed): written back otherwise")
      } catch {
        tally.expect((error.line ?? 0) > 0 && error.message.hasSuffix("."), "seed \(seed): \(error)")
      }
    }
    #expect(accepted > 50, "mutations that change nothing of weight must pass; \(accepted) did")
    tally.report()
  }

  private static func mutate(_ bytes: inout [UInt8], _ random: inout Seeded) {
    guard bytes.count > 200 else { return }
    let at = Int.random(in: 0..<bytes.count - 100, using: &random)
    switch Int.random(in: 0..<7, using: &random) {
    case 0: bytes[at] = .random(in: 0...255, using: &random)
    case 1: bytes[at] = .random(in: 0x20...0x7E, using: &random)
    case 2: bytes[at] = .random(in: 0x30...0x39, using: &random)
    case 3: bytes.remove(at: at)
    case 4: bytes.insert(.random(in: 0...255, using: &random), at: at)
    case 5:
      let line = at / 95 * 95
      let copy = Array(bytes[line..<min(line + 95, bytes.count)])
      bytes.insert(contentsOf: copy, at: Int.random(in: 0...bytes.count / 95, using: &random) * 95)
    default:
      let line = at / 95 * 95
      bytes.removeSubrange(line..<min(line + 95 * Int.random(in: 1...3, using: &random), bytes.count))
    }
  }
}
