import Wire

extension Schemas {
  private static func text(_ longest: Int64) -> JSONValue {
    ["type": "string", "minLength": 1, "maxLength": .integer(longest)]
  }

  private static let flag: JSONValue = ["type": "boolean"]
  private static let entry: JSONObject = [
    "spiffe_id": text(2048), "parent_id": text(2048), "selectors": array(of: text(4352)),
    "x509_svid_ttl": integer, "jwt_svid_ttl": integer, "dns_names": array(of: text(253)), "hint": text(1024),
    "admin": flag, "downstream": flag, "federates_with": array(of: text(255)),
    "issues": array(of: choice("x509", "jwt", "own_key")), "audiences": array(of: text(1024)),
    "jwt_algorithm": choice("ES256", "RS256"), "signatures_per_minute": integer,
  ]

  private static func registered(_ further: JSONObject) -> JSONObject {
    var properties = further
    for member in entry { properties[member.name] = member.value }
    return properties
  }

  /// Registration entries, authorities, federations and what is published of them.
  static let workloads: [(String, JSONValue)] = [
    ("NewEntry", object(entry, required: ["spiffe_id", "parent_id", "selectors"], closed: true)),
    (
      "EntryChanges",
      object(
        [
          "create": array(of: reference("NewEntry")),
          "update": array(
            of: object(["id": text, "entry": reference("NewEntry")], required: ["id", "entry"], closed: true)),
          "delete": array(of: text),
        ], required: [], closed: true)
    ),
    (
      "RegistrationEntry",
      object(
        registered(["id": text, "leaf_index": integer]),
        required: ["id", "leaf_index", "spiffe_id", "parent_id", "selectors"])
    ),
    (
      "Entries",
      object(["entries": array(of: reference("RegistrationEntry")), "next": text], required: ["entries"])
    ),
    ("AuthorityRevocation", object(["confirm": text(64)], closed: true)),
    ("AuthorityCertificate", object(["chain": text(65_536)], closed: true)),
    (
      "SVIDRevocation",
      object(["serial": text(40), "jti": text(64), "expires_in": integer], required: [], closed: true)
    ),
    (
      "Issuance",
      object([
        "kind": choice("x509", "jwt"), "id": text, "leaf_index": integer, "issuance": ["type": "object"],
        "seal": reference("SealPart"),
      ])
    ),
    (
      "Federation",
      object(
        [
          "trust_domain": text(255), "bundle_endpoint_url": text(2048),
          "bundle_endpoint_profile": choice("https_web", "https_spiffe"), "endpoint_spiffe_id": text(2048),
          "bundle": ["type": "object"],
        ], required: ["trust_domain"], closed: true)
    ),
    ("Registrar", object(["name": text(140), "key": ["type": "object"]], closed: true)),
    (
      "Registrars",
      object([
        "registrars": array(
          of: object([
            "id": text, "tenant": text, "thumbprint": text, "state": choice("active", "revoked"), "leaf_index": integer,
          ]))
      ])
    ),
    (
      "WorkloadStatus",
      object(
        [
          "trust_domain": text, "node_id": text, "issuer": text, "entries": integer, "processes": integer,
          "waiting": integer,
          "authorities": array(
            of: object(
              [
                "id": text, "kind": choice("x509", "jwt", "jwt-rs256"), "slot": choice("a", "b"),
                "state": choice("requested", "prepared", "active", "old", "tainted", "revoked"), "not_after": text,
                "request": text,
              ], required: ["id", "kind", "slot", "state", "not_after"])),
          "federations": array(of: ["type": "object"]), "obstacles": ["type": "object"],
        ],
        required: [
          "trust_domain", "node_id", "issuer", "entries", "processes", "waiting", "authorities", "federations",
        ])
    ),
    (
      "SPIFFEBundle",
      object(
        ["keys": array(of: ["type": "object"]), "spiffe_sequence": integer, "spiffe_refresh_hint": integer],
        required: ["keys"])
    ),
    (
      "OpenIDConfiguration",
      object([
        "issuer": text, "jwks_uri": text, "response_types_supported": array(of: text),
        "subject_types_supported": array(of: text), "id_token_signing_alg_values_supported": array(of: text),
      ])
    ),
    (
      "RevokedTokens",
      object(["revoked": array(of: object(["jti": text, "expires_at": integer]))])
    ),
  ]
}
