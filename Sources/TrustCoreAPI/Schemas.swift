import Wire

/// The schemas of requests and answers (JSON Schema 2020-12).
enum Schemas {
  static let text: JSONValue = ["type": "string"]
  static let integer: JSONValue = ["type": "integer"]
  static func amount(from least: Int64) -> JSONValue {
    [
      "oneOf": [
        ["type": "string", "pattern": "^(0|[1-9][0-9]*)(\\.[0-9]+)?$", "maxLength": 24],
        ["type": "integer", "minimum": .integer(least), "maximum": 1_000_000_000_000_000],
      ],
      "description": .string(
        "Major units as a decimal string, or minor units as an integer; "
          + (least > 0 ? "greater than zero." : "not negative.")),
    ]
  }
  static let amount = amount(from: 1)
  static let account: JSONValue = ["type": "string", "minLength": 1, "maxLength": 64]

  static func object(
    _ properties: JSONObject, required: [String]? = nil, closed: Bool = false
  ) -> JSONValue {
    var schema: JSONObject = ["type": "object", "properties": .object(properties)]
    let names = required ?? properties.map(\.name)
    if !names.isEmpty { schema["required"] = .array(names.map { .string($0) }) }
    if closed { schema["additionalProperties"] = false }
    return .object(schema)
  }

  static func reference(_ name: String) -> JSONValue { ["$ref": .string("#/components/schemas/" + name)] }

  static func choice(_ values: String...) -> JSONValue {
    ["type": "string", "enum": .array(values.map { .string($0) })]
  }

  static func array(of schema: JSONValue) -> JSONValue { ["type": "array", "items": schema] }

  static let currency: JSONValue = ["type": "string", "pattern": "^[A-Z]{3}$", "description": "ISO 4217."]
  private static let entries: JSONValue = [
    "type": "array", "items": ["$ref": "#/components/schemas/Entry"], "minItems": 2, "maxItems": 256,
    "description": "Debits and credits are equal in each currency; each account occurs once.",
  ]
  static let memo: JSONValue = ["type": "string", "maxLength": 140]
  static let base64url: JSONValue = ["type": "string", "pattern": "^[A-Za-z0-9_-]*$"]
  private static let part = object(
    [
      "leaf": base64url, "salt": base64url, "content": base64url,
      "proof": ["type": "string", "description": "C2SP tlog-proof, with its signed checkpoint."],
    ], closed: true)

  static let all: [(String, JSONValue)] = requests + answers + people + money + keys + workloads

  private static let requests: [(String, JSONValue)] = [
    (
      "Entry",
      object(
        ["account": text, "side": choice("debit", "credit"), "amount": amount, "currency": currency], closed: true)
    ),
    (
      "AgentApproval",
      object(
        [
          "thumbprint": [
            "type": "string", "pattern": "^[A-Za-z0-9_-]{43}$", "description": "RFC 7638, SHA-256, base64url.",
          ]
        ], closed: true)
    ),
    ("AgentRevocation", object(["reason": memo], required: [], closed: true)),
    (
      "AccountOpening",
      object(
        ["currency": currency, "kind": choice("customer", "external"), "overdraft_limit": amount(from: 0)],
        required: ["currency"], closed: true)
    ),
    ("Transfer", object(["entries": entries, "memo": memo], required: ["entries"], closed: true)),
    (
      "HoldAuthorization",
      object(
        [
          "entries": entries, "memo": memo,
          "expires_in": ["type": "integer", "minimum": 1, "maximum": 2_678_400, "description": "Seconds."],
        ], required: ["entries", "expires_in"], closed: true)
    ),
    ("Capture", object(["amount": amount], required: [], closed: true)),
    ("Void", object([:], closed: true)),
    ("Empty", object([:], closed: true)),
    (
      "Seal",
      object(
        [
          "sealed": reference("SealPart"), "enrolment": reference("SealPart"),
          "chain": ["type": "array", "items": reference("SealPart"), "maxItems": 256],
        ], required: ["sealed"], closed: true)
    ),
    ("SealPart", part),
    (
      "ClientRegistration",
      object(
        [
          "client_name": ["type": "string", "maxLength": 256],
          "jwks": object(["keys": ["type": "array", "minItems": 1, "maxItems": 1]]),
          "token_endpoint_auth_method": choice("private_key_jwt"),
          "grant_types": array(of: choice("client_credentials")),
        ], required: ["jwks"])
    ),
    (
      "TokenRequest",
      object(
        [
          "grant_type": choice("client_credentials"),
          "client_assertion_type": choice("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
          "client_assertion": text, "client_id": text, "scope": text,
        ], required: ["grant_type", "client_assertion_type", "client_assertion"])
    ),
  ]

  private static let answers: [(String, JSONValue)] = [
    (
      "Problem",
      object(
        [
          "type": text, "title": text, "status": integer, "code": text, "detail": text, "request_id": text,
          "command_id": text, "leaf_index": integer, "error": text, "error_description": text,
        ], required: ["type", "title", "status", "code", "detail", "request_id"])
    ),
    (
      "CommandResult",
      object(
        [
          "command_id": text, "status": choice("done", "held"), "leaf_index": integer, "outcome_leaf_index": integer,
          "receipt": object([
            "leaf": base64url, "salt": base64url,
            "proof": ["type": "string", "description": "C2SP tlog-proof, with its signed checkpoint."],
          ]), "result": ["type": "object"],
        ], required: ["command_id", "status", "leaf_index", "receipt", "result"])
    ),
    (
      "ReceiptBundle",
      object(
        [
          "command_id": text, "status": choice("authorized", "done", "failed", "expired", "denied", "held"),
          "leaf_index": integer, "seal": reference("Seal"), "outcome_leaf_index": integer,
          "outcome": reference("SealPart"), "result": ["type": "object"],
          "references": array(of: reference("Reference")), "payment": reference("Payment"),
        ], required: ["command_id", "status", "leaf_index", "seal"])
    ),
    (
      "SealedCommand",
      object(["command_id": text, "status": text, "leaf_index": integer, "result": ["type": "object"]])
    ),
    (
      "Agent",
      object([
        "id": text, "owner": text, "tenant": text, "thumbprint": text, "status": choice("pending", "active", "revoked"),
      ])
    ),
    (
      "Account",
      object([
        "id": text, "currency": currency, "kind": choice("customer", "external"), "balance": text, "available": text,
        "overdraft_limit": text, "debits_posted": text, "credits_posted": text, "debits_pending": text,
        "credits_pending": text,
      ])
    ),
    ("Accounts", object(["accounts": array(of: reference("Account"))])),
    (
      "Hold",
      object([
        "id": text, "expires_at": text, "entries": array(of: reference("Entry")),
        "state": choice("reserved", "held", "capturing", "voiding", "captured", "voided", "expired"),
      ])
    ),
    (
      "AuthorizationServerMetadata",
      object([
        "issuer": text, "token_endpoint": text, "registration_endpoint": text, "jwks_uri": text,
        "grant_types_supported": array(of: text), "response_types_supported": array(of: text),
        "token_endpoint_auth_methods_supported": array(of: text),
        "token_endpoint_auth_signing_alg_values_supported": array(of: text),
        "dpop_signing_alg_values_supported": array(of: text), "scopes_supported": array(of: text),
      ])
    ),
    ("JWKSet", object(["keys": array(of: ["type": "object"])])),
    (
      "ClientInformation",
      object(
        [
          "client_id": text, "client_id_issued_at": integer, "client_name": text, "token_endpoint_auth_method": text,
          "grant_types": array(of: text), "jwks": ["type": "object"], "status": choice("pending"), "thumbprint": text,
          "owner": text, "tenant": text,
        ], required: ["client_id", "client_id_issued_at", "status", "thumbprint"])
    ),
    (
      "TokenResponse",
      object(["access_token": text, "token_type": choice("DPoP"), "expires_in": integer, "scope": text])
    ),
    ("Health", object(["status": text])),
    (
      "Status",
      object(
        [
          "mode": choice("running", "read_only", "stopped"), "environment": text, "trust_domain": text,
          "log_origin": text, "log_size": integer, "hsm": text, "hsm_operations": integer, "software_sha256": text,
          "tokens": array(of: reference("Token")), "keys_mode": choice("open", "waiting", "refused"),
          "keys_reason": text,
          "keys": ["type": "object"], "tasks": array(of: reference("KeyTask")), "data_key_cache": ["type": "object"],
          "hostile_unwrap": choice("refused", "locked", "not tried yet"), "manifest_digest": text, "recovery_key": text,
        ],
        required: [
          "mode", "environment", "trust_domain", "log_origin", "log_size", "hsm", "hsm_operations", "software_sha256",
          "tokens", "keys_mode", "keys", "tasks", "data_key_cache", "hostile_unwrap", "recovery_key",
        ])
    ),
    ("OpenAPI", ["type": "object"]),
  ]
}
