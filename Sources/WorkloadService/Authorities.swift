import Crypto
import JOSE
public import KeyHierarchy
import Wire
import WorkloadIdentity

/// The authorities as they stand, with what signs: replaced as a whole when one changes.
struct Authorities: Sendable {
  /// Signs X.509-SVIDs.
  struct X509: Sendable {
    let id: String
    /// Signs leaves; its certificate is the first of the chain.
    let signer: X509Signer
    let chain: [[UInt8]]
    let notAfter: Timestamp
  }

  /// Signs JWT-SVIDs.
  struct JWT: Sendable {
    let id: String
    let algorithm: JWSAlgorithm
    let notAfter: Timestamp
    let sign: @Sendable ([UInt8]) async throws -> [UInt8]

    /// A token in JWS compact form (RFC 7515 section 7.1).
    func token(_ claims: JSONObject) async throws -> String {
      let header: JSONObject = ["alg": .string(algorithm.rawValue), "kid": .string(id), "typ": "JWT"]
      let parts = [header, claims].map { Base64.URL.encode(JSONValue.object($0).canonical()) }
      let input = parts.joined(separator: ".")
      return input + "." + Base64.URL.encode(try await sign(Array(input.utf8)))
    }
  }

  var x509: X509?
  var jwt: JWT?
  var jwtRS256: JWT?
  /// What may be trusted now: the own bundle, as it is published.
  let bundle: SPIFFEBundle

  /// Makes what the rows say.
  /// - Parameter custodian: holds the keys; it refuses to sign where a slot holds another key than its row.
  init(
    _ rows: [AuthorityRow], trustDomain: TrustDomain, custodian: any AuthorityCustodian, sequence: UInt64,
    refreshHint: Int64, at now: Timestamp
  ) throws {
    var roots: [[UInt8]] = []
    var keys: [JWK] = []
    for row in rows {
      guard row.isTrusted(at: now) else { continue }
      let name = row.slot.key(of: row.kind)
      let publicKey = CustodyPublicKey(algorithm: name.algorithm, bytes: row.publicKey)
      switch row.kind {
      case .x509:
        if !roots.contains(row.root) { roots.append(row.root) }
        if row.state == .active {
          x509 = X509(id: row.id, signer: try Self.signer(row, custodian), chain: row.chain, notAfter: row.notAfter)
        }
      case .jwt, .jwtRS256:
        let algorithm: JWSAlgorithm = row.kind == .jwt ? .es256 : .rs256
        let key = JWK(try VerificationKey(custody: publicKey), keyID: row.id, algorithm: algorithm)
        keys.append(key)
        guard row.state == .active else { continue }
        let jwt = JWT(id: row.id, algorithm: algorithm, notAfter: row.notAfter) {
          try await custodian.sign($0, with: name, expecting: publicKey)
        }
        if row.kind == .jwt { self.jwt = jwt } else { jwtRS256 = jwt }
      }
    }
    bundle = try SPIFFEBundle(
      trustDomain: trustDomain, x509Authorities: roots, jwtAuthorities: keys, sequence: sequence,
      refreshHint: refreshHint)
  }
}

extension Authorities {
  /// Signs with an authority's key, if its slot still has it.
  static func signer(_ row: AuthorityRow, _ custodian: any AuthorityCustodian) throws -> X509Signer {
    let name = row.slot.key(of: row.kind)
    let publicKey = CustodyPublicKey(algorithm: name.algorithm, bytes: row.publicKey)
    let key = try X509SigningKey(publicKey) { try await custodian.sign($0, with: name, expecting: publicKey) }
    return try X509Signer(certificate: row.chain.first ?? [], key: key)
  }
}

/// What the service needs of custody: signatures by a key that is the one it takes it for, and new keys in its slots.
public typealias AuthorityCustodian = KeyCustodian & KeyReplacer
