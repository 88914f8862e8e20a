import Wire

extension Schemas {
  private static let name: JSONValue = ["type": "string", "minLength": 1, "maxLength": 64]
  private static let state = choice("pending", "active", "disabled", "destroying", "destroyed")
  private static let task = object(
    [
      "task": text, "key": text, "kind": choice("create", "rotate", "rewrap", "disable", "enable", "destroy", "retire"),
      "state": choice("pending", "done", "cancelled"), "not_before": text,
      "obstacle": ["type": "string", "description": "Why the last attempt failed; it is tried again."],
    ], required: ["task", "key", "kind", "state", "not_before"])
  private static let summary: JSONObject = [
    "key": text, "tenant": text, "class": text, "state": state, "version": integer, "leaf_index": integer,
  ]

  private static func summary(and further: JSONObject, required: [String] = []) -> JSONValue {
    var properties = summary
    for member in further { properties[member.name] = member.value }
    return object(properties, required: summary.map(\.name) + required)
  }

  private static let details: JSONObject = [
    "environment": text,
    "versions": array(
      of: object(
        [
          "version": integer, "state": choice("active", "retired", "disabled", "destroyed", "unknown"),
          "data_keys": integer, "leaf_index": integer, "created_at": text, "wrapped_to": array(of: text),
        ], required: ["version", "state", "data_keys", "leaf_index"])), "tasks": array(of: reference("KeyTask")),
    "rewrap": object(
      [
        "rewrapped": integer, "total": integer, "refused": integer, "rate": integer, "seconds_left": integer,
      ], required: ["rewrapped", "total", "refused", "rate"]),
  ]

  private static var outcome: JSONObject {
    var properties = details
    properties["task_state"] = choice("pending", "done", "cancelled")
    properties["task_leaf_index"] = integer
    properties["destruction"] = reference("SealPart")
    return properties
  }

  /// Keys, data keys and the tokens behind them.
  static let keys: [(String, JSONValue)] = [
    ("KeyCreation", object(["class": name], closed: true)),
    ("KeyDestruction", object(["confirm": name], closed: true)),
    (
      "KeyManifestPublication",
      object(
        ["manifest": ["type": "string", "minLength": 1, "maxLength": 65_536, "description": "YAML."]], closed: true)
    ),
    (
      "DataKeyRequest",
      object(
        [
          "context": [
            "type": "object", "minProperties": 1, "maxProperties": 16,
            "propertyNames": ["minLength": 1, "maxLength": 64],
            "additionalProperties": ["type": "string", "maxLength": 256],
          ],
          "recipient": [
            "type": "string", "pattern": "^[A-Za-z0-9_-]{1622}$", "description": "An X-Wing public key, 1216 bytes.",
          ],
        ], closed: true)
    ),
    (
      "DataKey",
      object(
        [
          "data_key": text, "key": text, "version": integer, "leaf_index": integer,
          "sealed": [
            "type": "string", "pattern": "^[A-Za-z0-9_-]+$",
            "description":
              "The 32 bytes under HPKE (X-Wing, HKDF-SHA-256, AES-256-GCM): encapsulated key and ciphertext.",
          ],
        ], required: ["data_key", "key", "version", "sealed"])
    ),
    ("Keys", object(["keys": array(of: summary(and: [:]))])),
    ("Key", summary(and: details, required: ["versions", "tasks"])),
    (
      "KeyResult",
      object(
        [
          "command_id": text, "status": choice("done"), "leaf_index": integer, "outcome_leaf_index": integer,
          "receipt": object(["leaf": base64url, "salt": base64url, "proof": text]), "result": ["type": "object"],
          "key": summary(and: outcome, required: ["task_state"]),
        ], required: ["command_id", "status", "leaf_index", "receipt", "result"])
    ),
    (
      "Token",
      object([
        "role": choice("root", "log", "identity", "data"), "member": integer, "label": text, "serial": text,
        "state": choice("ready", "recovering", "down", "unresponsive", "full", "latched", "closed"),
        "in_use": ["type": "boolean"], "reason": text, "logins": integer, "sessions": integer, "lent": integer,
      ])
    ),
    ("KeyTask", task),
    (
      "HSM",
      object([
        "hsm": text, "hsm_operations": integer, "tokens": array(of: reference("Token")),
        "hostile_unwrap": choice("refused", "locked", "not tried yet"),
      ])
    ),
  ]
}
