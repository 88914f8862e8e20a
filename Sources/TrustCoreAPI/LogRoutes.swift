import CommandGate
import Payments
import TransparencyLog
import Wire

/// The log as C2SP tlog-tiles serves it. Nothing is shown that the published checkpoint does not cover.
struct LogRoutes<Store: UnitStore>: Sendable where Store.Unit: PaymentStore {
  let gate: Gate<Store>
  let store: Store
  let authenticator: Authenticator<Store>

  var routes: [Route] {
    [
      Route("GET", "/log/checkpoint", "logCheckpoint", "The newest signed checkpoint.", access: .open, content: .text) {
        _ in
        APIResponse(
          200, contentType: "text/plain; charset=utf-8", body: Array(try note().utf8),
          headers: [("cache-control", "no-cache")])
      },
      Route(
        "GET", "/log/tile/entries/{path...}", "logEntries", "An entry bundle (C2SP tlog-tiles).", access: .auditor,
        content: .bytes, handle: entries),
      Route(
        "GET", "/log/tile/{path...}", "logTile", "A tile of hashes (C2SP tlog-tiles).", access: .open, content: .bytes,
        handle: tile),
    ]
  }

  private func note() throws(Problem) -> String {
    guard let note = gate.published.note else {
      throw Problem(503, "log_not_published", "The log has no signed checkpoint yet; ask again shortly.")
    }
    return note
  }

  private static var notFound: Problem {
    Problem(
      404, "tile_not_found", "The log has no such tile under its newest checkpoint; see C2SP tlog-tiles for paths.")
  }

  private func published() throws -> UInt64 { try UnverifiedCheckpoint(try note()).claimed.size }

  private func tile(_ request: APIRequest) async throws -> APIResponse {
    guard let path = TilePath("tile/" + (request.parameters["path"] ?? "")), case .hashes(let level) = path.content,
      try covers(path, published() >> (8 * UInt64(level)))
    else { throw Self.notFound }
    let bytes = try await store.read { unit in try unit.tile(level: level, index: path.index, width: path.width) }
    return Self.immutable(bytes)
  }

  private func entries(_ request: APIRequest) async throws -> APIResponse {
    try authenticator.auditor(request)
    guard let path = TilePath("tile/entries/" + (request.parameters["path"] ?? "")), case .entries = path.content,
      try covers(path, published())
    else { throw Self.notFound }
    let first = path.index << 8
    let entries = try await store.read { unit in try unit.entries(in: first..<first + UInt64(path.width)) }
    return Self.immutable(try EntryBundle.encode(entries), shared: false)
  }

  /// Whether a tile lies within so many hashes of its level.
  private func covers(_ path: TilePath, _ count: UInt64) throws -> Bool {
    let (start, overflow) = path.index.multipliedReportingOverflow(by: UInt64(Tile.fullWidth))
    return !overflow && start <= count && UInt64(path.width) <= count - start
  }

  private static func immutable(_ bytes: [UInt8], shared: Bool = true) -> APIResponse {
    APIResponse(
      200, contentType: "application/octet-stream", body: bytes,
      headers: [("cache-control", "\(shared ? "public" : "private"), max-age=31536000, immutable")])
  }
}
