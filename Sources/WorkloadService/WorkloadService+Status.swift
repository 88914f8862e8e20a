public import Wire
public import WorkloadIdentity

extension WorkloadService {
  /// The own bundle as it is published for federation (SPIFFE Trust Domain and Bundle section 4).
  public func publishedBundle() throws -> SPIFFEBundle {
    guard let bundle = authorities?.bundle else {
      throw Problem(503, "no_authority", "The authorities are not loaded yet; try again shortly.")
    }
    return bundle
  }

  /// The tokens that are revoked before their time: `jti` with the second at which they end anyway.
  public func revokedTokens(at now: Timestamp) -> JSONObject {
    [
      "revoked": .array(
        revokedTokens.filter { now < $0.value }.sorted { $0.key < $1.key }.map { id, expires in
          ["jti": .string(id), "expires_at": .integer(expires.seconds)]
        })
    ]
  }

  /// How the service does: authorities, entries, who is served.
  public func status() -> JSONObject {
    let authorities = authorityRows.map { row -> JSONValue in
      var object: JSONObject = [
        "id": .string(row.id), "kind": .string(row.kind.rawValue), "slot": .string(row.slot.rawValue),
        "state": .string(row.state.rawValue), "not_after": .string(row.notAfter.description),
      ]
      if row.state == .requested { object["request"] = .string(PEMText.encode(row.request, "CERTIFICATE REQUEST")) }
      return .object(object)
    }
    var object: JSONObject = [
      "trust_domain": .string(parts.trustDomain.name), "node_id": .string(parts.node.description),
      "issuer": .string(parts.issuer), "entries": .integer(Int64(index.count)),
      "processes": .integer(Int64(served.count)), "waiting": .integer(Int64(urgent.count + routine.count)),
      "authorities": .array(authorities),
      "federations": .array(
        federations.compactMap { row in
          guard var terms = try? JSONValue(parsing: row.terms).object else { return nil }
          terms["has_bundle"] = .bool(!row.bundle.isEmpty)
          return .object(terms)
        }),
    ]
    if !obstacles.isEmpty {
      var reasons = JSONObject()
      for (kind, reason) in obstacles { reasons[kind.rawValue] = .string(reason) }
      object["obstacles"] = .object(reasons)
    }
    return object
  }
}
