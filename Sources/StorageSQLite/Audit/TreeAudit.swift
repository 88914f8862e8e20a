import GRDB
import Seal
import TransparencyLog

/// Grows the tree again from the entries, and holds tiles, checkpoints and head to it.
struct TreeAudit {
  /// What the modules' verifiers made of the newest checkpoint.
  struct Accepted {
    let size: UInt64
    let checkpoints: [String: AcceptedCheckpoint]
  }

  private(set) var tree = MerkleTree()
  private(set) var accepted: Accepted?
  private let verifiers: [SealVerifier]
  private var next: (size: UInt64, note: String)?
  private var edges: [Int: Tile] = [:]
  private var tileCount = 0
  private var checkpointCount = 0

  /// - Parameter verifiers: those of the modules, which must accept every checkpoint.
  init(verifiers: [SealVerifier], in unit: SQLiteUnit, _ report: inout AuditReport) {
    self.verifiers = verifiers
    advance(in: unit, &report)
  }

  /// Appends an entry; true where a checkpoint of the new size was accepted.
  mutating func append(_ entry: [UInt8], in unit: SQLiteUnit, _ report: inout AuditReport) -> Bool {
    tree.append(.leaf(entry))
    if tree.size % UInt64(Tile.fullWidth) == 0 { compareTiles(in: unit, &report) }
    var isSealed = false
    while let checkpoint = next, checkpoint.size <= tree.size {
      checkpointCount += 1
      do {
        try accept(checkpoint, in: unit)
        report.checkpoints += 1
        isSealed = true
      } catch {
        report.add("checkpoint of \(checkpoint.size) leaves", "\(error)")
      }
      advance(in: unit, &report)
    }
    return isSealed
  }

  /// Compares what is left once every entry was read.
  mutating func finish(head: TreeHead, in unit: SQLiteUnit, _ report: inout AuditReport) {
    compareTiles(in: unit, &report)
    for tile in edges.values.sorted(by: { $0.level < $1.level }) { compare(tile, in: unit, &report) }
    report.audit("table log_head") { _ throws in
      try demand(
        head == tree.head,
        "it claims \(head.size) leaves and a root that the \(tree.size) leaves of the log do not have.")
    }
    if let next { report.add("checkpoint of \(next.size) leaves", "it claims more leaves than the log has.") }
    report.count("log_tile", tileCount, in: unit)
    report.count("log_checkpoint", checkpointCount + (next == nil ? 0 : 1), in: unit)
    report.unsealed = tree.size - (accepted?.size ?? 0)
  }

  // MARK: - Checkpoints

  private mutating func advance(in unit: SQLiteUnit, _ report: inout AuditReport) {
    let after = next.map { Int64(clamping: $0.size) } ?? -1
    next = nil
    do {
      next = try unit.first("SELECT size, note FROM log_checkpoint WHERE size > ? ORDER BY size LIMIT 1", [after]) {
        row in
        (try unsigned(row[0], "size"), row[1])
      }
    } catch {
      report.add("table log_checkpoint", "\(error)")
    }
  }

  private mutating func accept(_ checkpoint: (size: UInt64, note: String), in unit: SQLiteUnit) throws {
    let note = try UnverifiedCheckpoint(checkpoint.note)
    try demand(
      note.note.rendered == checkpoint.note && note.claimed.size == checkpoint.size,
      "its note is altered or is that of another size.")
    try demand(note.claimed.head == tree.head, "its root is not that of the first \(checkpoint.size) leaves.")
    let proof = try tree.consistencyProof(from: accepted?.size ?? 0, to: checkpoint.size, from: unit)
    var checkpoints: [String: AcceptedCheckpoint] = [:]
    for verifier in verifiers { checkpoints[verifier.audience] = try verifier.advance(to: note, consistency: proof) }
    accepted = Accepted(size: checkpoint.size, checkpoints: checkpoints)
  }

  // MARK: - Tiles

  private mutating func compareTiles(in unit: SQLiteUnit, _ report: inout AuditReport) {
    for tile in tree.drainChangedTiles() {
      if tile.width == Tile.fullWidth {
        if edges[tile.level]?.index == tile.index { edges[tile.level] = nil }
        compare(tile, in: unit, &report)
      } else {
        edges[tile.level] = tile
      }
    }
  }

  private mutating func compare(_ tile: Tile, in unit: SQLiteUnit, _ report: inout AuditReport) {
    tileCount += 1
    report.tiles += 1
    report.audit("tile \(tile.level)/\(tile.index)") { _ throws in
      guard let stored = try unit.tile(level: tile.level, index: tile.index) else { throw Mismatch("it is missing.") }
      if stored == tile.bytes { return }
      let size = MerkleHash.byteCount
      guard stored.count == tile.bytes.count, let at = stored.indices.first(where: { stored[$0] != tile.bytes[$0] })
      else {
        throw Mismatch("it holds \(stored.count) bytes instead of \(tile.bytes.count).")
      }
      let hash = tile.index * UInt64(Tile.fullWidth) + UInt64(at / size)
      throw Mismatch(
        tile.level == 0
          ? "its hash of leaf \(hash) is not that of the leaf."
          : "its hash \(at / size) is not that of the tiles below.")
    }
  }
}

extension AuditReport {
  /// Runs a step; what it throws becomes a finding.
  mutating func audit(_ place: @autoclosure () -> String, _ step: (inout AuditReport) throws -> Void) {
    do { try step(&self) } catch { add(place(), "\(error)") }
  }

  /// Compares the number of rows of a table with what the log accounts for.
  mutating func count(_ table: String, _ expected: Int, in unit: SQLiteUnit) {
    audit("table \(table)") { _ throws in
      let rows = try unit.count(table)
      try demand(rows == expected, "it has \(rows) rows where the log accounts for \(expected).")
    }
  }
}
