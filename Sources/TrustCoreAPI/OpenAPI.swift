import Synchronization
import Wire

/// The description of the routes (OpenAPI 3.1), made from their table.
enum OpenAPI {
  static func document(_ table: RouteTable, url: String) -> [UInt8] {
    var paths = JSONObject()
    for route in table.routes {
      let path = route.path.replacingSuffix("...}", with: "}")
      var item = paths[path]?.object ?? [:]
      item[route.method.lowercased()] = .object(operation(route))
      paths[path] = .object(item)
    }
    var schemas = JSONObject()
    for (name, schema) in Schemas.all { schemas[name] = schema }
    return JSONValue.object([
      "openapi": "3.1.0",
      "info": [
        "title": "TrustCore", "version": "1.0.0",
        "description":
          "Signed commands in, sealed effects out. Every mutating /v1 route takes an RFC 9421 signature; every refusal is a problem (RFC 9457) with a stable code.",
        "license": ["name": "Apache-2.0", "identifier": "Apache-2.0"],
      ],
      "servers": [["url": .string(url)]], "paths": .object(paths),
      "components": ["schemas": .object(schemas), "securitySchemes": securitySchemes],
    ]).canonical()
  }

  private static func operation(_ route: Route) -> JSONObject {
    var operation: JSONObject = [
      "operationId": .string(route.operation), "summary": .string(route.summary),
      "responses": .object(responses(route)),
      "tags": [.string(tag(route.path))],
    ]
    let parameters = parameters(route)
    if !parameters.isEmpty { operation["parameters"] = .array(parameters) }
    switch route.body {
    case .none: break
    case .json(let name): operation["requestBody"] = body("application/json", name)
    case .form(let name): operation["requestBody"] = body("application/x-www-form-urlencoded", name)
    }
    if ![.open, .seal, .assertion].contains(route.access) { operation["security"] = .array(security(route.access)) }
    return operation
  }

  private static func tag(_ path: String) -> String {
    let parts = path.split(separator: "/")
    switch parts.first {
    case "v1" where parts.count > 1: return String(parts[1])
    case "oauth", ".well-known": return "oauth"
    case "workload": return "workload"
    case "log": return "log"
    case "console": return "console"
    default: return "operation"
    }
  }

  private static func body(_ type: String, _ schema: String) -> JSONValue {
    ["required": true, "content": .object(JSONObject(type, ["schema": reference(schema)]))]
  }

  private static func reference(_ schema: String) -> JSONValue { ["$ref": .string("#/components/schemas/" + schema)] }

  private static func parameters(_ route: Route) -> [JSONValue] {
    var parameters: [JSONValue] = route.segments.compactMap { segment in
      switch segment {
      case .literal: return nil
      case .variable(let name):
        return ["name": .string(name), "in": "path", "required": true, "schema": ["type": "string"]]
      case .rest(let name):
        return [
          "name": .string(name), "in": "path", "required": true, "schema": ["type": "string"],
          "description": "All that remains of the path, slashes included (C2SP tlog-tiles).",
        ]
      }
    }
    func header(_ name: String, _ description: String) {
      parameters.append([
        "name": .string(name), "in": "header", "required": true, "schema": ["type": "string"],
        "description": .string(description),
      ])
    }
    switch route.access {
    case .signedCommand:
      header("Idempotency-Key", "1 to 128 characters; new for each command, the same for its repeats.")
      header("Content-Digest", "RFC 9530, with sha-256 or sha-512 of the body.")
      header(
        "Signature-Input",
        "RFC 9421: covers @method, @target-uri, content-digest, content-type, idempotency-key and authorization; with created, nonce (16 to 128 characters) and keyid (the key's RFC 7638 thumbprint); expires at most 300 s after created; tag, if any, \"trustcore\"."
      )
      header("Signature", "RFC 9421.")
    case .dpop, .clientAssertion: header("DPoP", "RFC 9449 proof, new for each request.")
    case .open, .invitation, .auditor, .seal, .assertion, .session, .caller: break
    }
    return parameters
  }

  private static func security(_ access: Access) -> [JSONValue] {
    switch access {
    case .signedCommand, .dpop: [["dpopToken": []]]
    case .invitation: [["initialAccessToken": []]]
    case .clientAssertion: [["clientAssertion": []]]
    case .auditor: [["auditorToken": []]]
    case .session: [["session": []]]
    case .caller: [["session": []], ["dpopToken": []]]
    case .open, .seal, .assertion: []
    }
  }

  private static let securitySchemes: JSONValue = [
    "dpopToken": [
      "type": "http", "scheme": "DPoP",
      "description": "An access token of /oauth/token, bound to the caller's key (RFC 9449).",
    ],
    "initialAccessToken": [
      "type": "http", "scheme": "bearer", "description": "Names the ownership record to enrol under (RFC 7591).",
    ],
    "clientAssertion": [
      "type": "http", "scheme": "private_key_jwt",
      "description": "client_assertion in the form: RFC 7523, aud is the issuer.",
    ],
    "auditorToken": ["type": "http", "scheme": "bearer", "description": "The auditor's token."],
    "session": [
      "type": "apiKey", "in": "cookie", "name": "__Host-trustcore", "description": "Set by /v1/sessions; reads only.",
    ],
  ]

  private static func responses(_ route: Route) -> JSONObject {
    var responses = JSONObject()
    let content: JSONObject =
      switch route.content {
      case .json(let name): ["application/json": ["schema": reference(name)]]
      case .text: ["text/plain": ["schema": ["type": "string"]]]
      case .bytes: ["application/octet-stream": ["schema": [:]]]
      case .media(let type): JSONObject(type, ["schema": [:]])
      case .page(let type): JSONObject(type, ["schema": ["type": "string"]])
      }
    responses[String(route.success)] = ["description": "Success.", "content": .object(content)]
    if route.operation == "authorizePayment" {
      responses["202"] = ["description": "Held for approvals, on the record.", "content": .object(content)]
    }
    if case .json("KeyResult") = route.content {
      responses["202"] = [
        "description": "On the record; it waits for its time or for the HSM.", "content": .object(content),
      ]
    }
    let problem: JSONValue = ["application/problem+json": ["schema": reference("Problem")]]
    func refused(_ status: Int, _ description: String, _ content: JSONValue? = nil) {
      responses[String(status)] = ["description": .string(description), "content": content ?? problem]
    }
    if case .none = route.body {
    } else {
      refused(400, "The request cannot be read.")
      refused(413, "The body is too large.")
      refused(415, "The body has another media type.")
    }
    switch route.access {
    case .signedCommand:
      refused(401, "The signature, its key or the access token is refused.")
      refused(403, "The signer may not do this.")
      refused(409, "The present state does not allow it.")
      refused(422, "The command breaks a rule.")
    case .dpop:
      refused(401, "The access token or its proof is refused.")
      refused(403, "The caller may not act.")
    case .invitation:
      refused(401, "The initial access token is refused.")
      refused(409, "The key is enrolled already.")
    case .clientAssertion: refused(401, "The client assertion or the DPoP proof is refused.")
    case .auditor:
      refused(401, "The auditor's token is refused.")
    case .seal:
      refused(403, "It is not sealed for this module.")
      refused(409, "The command is being carried out.")
      refused(422, "The command breaks a rule.")
    case .assertion:
      refused(401, "The assertion or its credential is refused.")
      refused(403, "The person may not do this.")
      refused(409, "The present state does not allow it, or the challenge is not a waiting one.")
      refused(422, "The command breaks a rule.")
    case .session: refused(401, "Nobody is signed in.")
    case .caller:
      refused(401, "The caller is not known.")
      refused(403, "The caller may not act.")
    case .open: break
    }
    for status in route.refusals { refused(status, furtherRefusals[status] ?? "The request is refused.") }
    if route.segments.contains(where: { if case .literal = $0 { false } else { true } }) {
      let page: JSONValue? = if case .page = route.content { .object(content) } else { nil }
      refused(404, "What the path names does not exist, or not for this caller.", page)
    }
    refused(431, "The header fields are too large.")
    refused(500, "The server failed.")
    refused(503, "Commands are not taken now.")
    return responses
  }
}

extension OpenAPI {
  private static let furtherRefusals = [
    401: "The assertion or its credential is refused.", 403: "The caller may not do this, or not from another site.",
    404: "What the body names does not exist, or not for this caller.",
    409: "The present state does not allow it, or the challenge is not a waiting one.",
    422: "The request breaks a rule.",
  ]
}

/// Holds the description, which is made after the table that serves it.
final class DescriptionHolder: Sendable {
  private let value = Mutex<[UInt8]>([])
  var bytes: [UInt8] { value.withLock { $0 } }
  func set(_ bytes: [UInt8]) { value.withLock { $0 = bytes } }
}

extension JSONObject {
  init(_ name: String, _ value: JSONValue) {
    self.init()
    self[name] = value
  }
}

extension String {
  fileprivate func replacingSuffix(_ suffix: String, with other: String) -> String {
    hasSuffix(suffix) ? dropLast(suffix.count) + other : self
  }
}
