import Crypto
import DemoClient
import Foundation
import HSMCustody
import KeyHierarchy
import StorageSQLite
import SwiftASN1
import Wire
import WorkloadAttestation
import WorkloadIdentity
import WorkloadService
import X509

/// What the service does without gRPC, in the process of ``ServeWorkloads``: identities issued, and callers matched.
extension WorkloadBench {
  private static let rounds = 7
  private static let signers = 8
  private static let callers = 64

  /// Certificates issued: from the template by the HSM, beside its bare signatures; and all that the service does.
  /// - Parameter count: how many in all.
  func issueRates(_ count: Int) async throws -> JSONObject {
    guard let row = try await store.read({ unit in try unit.authorities(.x509) }).last, let own = row.chain.first else {
      throw BenchmarkError("no authority is active")
    }
    let (custodian, publicKey) = (custodian, try custodian.publicKey(.x509IssuingA))
    let sign: @Sendable ([UInt8]) async throws -> [UInt8] = {
      try await custodian.sign($0, with: .x509IssuingA, expecting: publicKey)
    }
    let template = try X509LeafTemplate(
      issuer: try X509Signer(certificate: own, key: try X509SigningKey(publicKey, sign: sign)),
      id: try SPIFFEID(domain, path: "/workload/1"))
    let key = P256.Signing.PrivateKey()
    let (spki, time, random) = (Array(key.publicKey.derRepresentation), WallClock(), KernelRandom())
    let now = time.now()
    let tbs = template.tbs(
      serial: X509SerialNumber(from: random), notBefore: now, notAfter: now.adding(seconds: 3600), spki: spki)
    var (raw, leaf): ([Double], [Double]) = ([], [])
    for _ in 0..<Self.rounds {
      let each = max(1, count / Self.rounds)
      raw.append(try await Timing.rate(each, callers: Self.signers) { _ in _ = try await sign(tbs) })
      leaf.append(
        try await Timing.rate(each, callers: Self.signers) { _ in
          _ = try await template.issue(spki: spki, now: time.now(), lifetime: 3600, random: random)
        })
    }
    var answer: JSONObject = ["raw": .double(Timing.median(raw)), "leaf": .double(Timing.median(leaf))]

    let connections = try peers(min(count, 4000)).map { service.connect($0) }
    try await measure("whole", &answer, connections.count) { _ = try await connections[$0].snapshot() }
    let request = try CertificateSigningRequest(
      version: .v1, subject: try DistinguishedName {}, privateKey: .init(key), attributes: .init())
    var serializer = DER.Serializer()
    try serializer.serialize(request)
    let csr = serializer.serializedBytes
    try await measure("own_key", &answer, connections.count) {
      _ = try await connections[$0].x509SVID(request: csr, id: nil)
    }
    for connection in connections { connection.close() }
    return answer
  }

  /// JWT-SVIDs: each for another audience, and all for the same.
  func tokenRates(_ count: Int) async throws -> JSONObject {
    let (custodian, publicKey) = (custodian, try custodian.publicKey(.svidJWTA))
    let message = [UInt8](repeating: 0x5A, count: 400)
    let raw = try await Timing.rate(count, callers: Self.signers) { _ in
      _ = try await custodian.sign(message, with: .svidJWTA, expecting: publicKey)
    }
    var answer: JSONObject = ["raw": .double(raw)]
    let connection = service.connect(try peers(1)[0])
    try await measure("minted", &answer, count) {
      _ = try await connection.jwtSVIDs(audiences: ["https://service-\($0).example.org"], id: nil)
    }
    try await measure("cached", &answer, 4 * count) { _ in
      _ = try await connection.jwtSVIDs(audiences: ["https://service-0.example.org"], id: nil)
    }
    connection.close()
    return answer
  }

  /// Puts the rate of some work, and the HSM operations that each took, into an answer.
  private func measure(
    _ name: String, _ answer: inout JSONObject, _ count: Int,
    _ body: @escaping @Sendable (Int) async throws -> Void
  ) async throws {
    let before = custodian.operationCount
    answer[name] = .double(try await Timing.rate(count, callers: Self.callers, body))
    answer[name + "_operations"] = .double(Double(custodian.operationCount - before) / Double(count))
  }

  /// This process, as the peer of so many connections.
  private func peers(_ count: Int) throws -> [PeerProcess] {
    var pair: [Int32] = [-1, -1]
    guard unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0 else {
      throw BenchmarkError("no socket pair")
    }
    defer { for descriptor in pair { close(descriptor) } }
    return try (0..<count).map { _ in try PeerProcess.pin(socket: pair[0]) }
  }

  /// How long it takes to find the entries of a caller with a dozen selectors among those of ``fill(_:)``, in microseconds.
  /// - Parameter entries: how many there are.
  func matching(_ entries: Int) async throws -> JSONObject {
    let loaded = try await store.read { unit in
      var rows: [(id: EntryID, selectors: [SelectorDigest])] = []
      try unit.eachEntry { id, selectors in rows.append((try EntryID(id), SelectorDigest.decode(selectors) ?? [])) }
      return rows
    }
    let index = EntryIndex(loading: loaded)
    let callers = try (0..<10_000).map { number in
      let own = Self.selectors(inCrowd: number * 7919 % entries)
      let others = (0..<9).map { "unix:supplementary_gid:\($0)" }
      return Set(try (own + others).map { SelectorDigest(try Selector($0)) })
    }
    var times: [Double] = []
    times.reserveCapacity(callers.count)
    for caller in callers {
      var count = 0
      times.append(Timing.seconds { count = index.matches(caller).count } * 1e6)
      guard count == 1 else { throw BenchmarkError("a caller matches \(count) entries") }
    }
    times.sort()
    return ["p50": .double(times[times.count / 2]), "p99": .double(times[times.count * 99 / 100])]
  }
}
