import DemoClient
import Synchronization
import Testing
import Wire

/// `/openapi.json` as a reader of its own: which operations there are, and whether an answer is one that it allows.
final class APIDescription: Sendable {
  /// One operation.
  struct Operation: Sendable {
    let id: String
    let method: String
    let path: String
    let object: JSONObject

    /// The one success that is described.
    var success: Int { statuses.first { $0 < 300 } ?? 0 }
    var statuses: [Int] { (object["responses"]?.object ?? [:]).compactMap { Int($0.name) }.sorted() }
    /// The media type of the body, where there is one.
    var bodyType: String? { object["requestBody"]?.object?["content"]?.object?.members.first?.name }
    var bodySchema: JSONValue? {
      object["requestBody"]?.object?["content"]?.object?.members.first?.value.object?["schema"]
    }
    /// The names of the security schemes, each of which will do; none for open operations and for those whose body is
    /// the proof.
    var schemes: [String] { (object["security"]?.array ?? []).compactMap { $0.object?.members.first?.name } }
    /// The scheme that these tests use: a client's where there are several.
    var security: String? { schemes.last }
    /// The media type of an answer with a status.
    func contentType(_ status: Int) -> String? {
      object["responses"]?.object?[String(status)]?.object?["content"]?.object?.members.first?.name
    }
    /// Whether a request is signed (RFC 9421).
    var isSigned: Bool {
      (object["parameters"]?.array ?? []).contains { $0.object?["name"] == "Signature" }
    }
    /// The last segment takes all that remains of a path.
    var takesRest: Bool { path.hasSuffix("{path}") }
  }

  let document: JSONValue
  let operations: [Operation]
  let schemas: SchemaSet
  /// Statuses seen, by operation.
  private let seen = Mutex<[String: Set<Int>]>([:])

  init(_ answer: Answer) throws {
    document = try JSONValue(parsing: answer.body)
    let root = try #require(document.object)
    schemas = SchemaSet(root["components"]?.object?["schemas"]?.object ?? [:])
    var operations: [Operation] = []
    for path in try #require(root["paths"]?.object) {
      for item in path.value.object ?? [:] {
        let object = try #require(item.value.object)
        let id = try #require(object["operationId"]?.string)
        operations.append(Operation(id: id, method: item.name.uppercased(), path: path.name, object: object))
      }
    }
    self.operations = operations
  }

  /// What has been seen of an operation.
  func seen(_ id: String) -> Set<Int> { seen.withLock { $0[id] ?? [] } }

  /// The operation of an id.
  func operation(_ id: String) throws -> Operation {
    try #require(operations.first { $0.id == id }, "no operation \(id)")
  }

  /// The operations at the path of a request; of several templates the most literal one counts.
  func operations(at target: String) -> [Operation] {
    let parts = target.prefix { $0 != "?" }.split(separator: "/", omittingEmptySubsequences: false)
    func fits(_ operation: Operation) -> Bool {
      let template = operation.path.split(separator: "/", omittingEmptySubsequences: false)
      guard operation.takesRest ? parts.count >= template.count : parts.count == template.count else { return false }
      return zip(template, parts).allSatisfy { $0 == $1 || ($0.hasPrefix("{") && !$1.isEmpty) || $0 == "{path}" }
    }
    let fitting = operations.filter(fits)
    let most = fitting.map { $0.path.split(separator: "/").filter { !$0.hasPrefix("{") }.count }.max()
    return fitting.filter { $0.path.split(separator: "/").filter { !$0.hasPrefix("{") }.count == most }
  }

  /// Holds an answer to the description.
  func check(_ request: OutgoingRequest, _ answer: Answer, at location: SourceLocation) {
    let what = "\(request.method) \(request.path.prefix(120)) gave \(answer.summary)"
    #expect(answer.header("x-request-id") != nil, "\(what): no x-request-id", sourceLocation: location)
    let present = operations(at: request.path)
    let method = request.method == "HEAD" ? "GET" : request.method
    guard let operation = present.first(where: { $0.method == method }) else {
      // Not an operation: the document speaks of it in no place, so it is 404, or 405 where another method is.
      #expect(answer.status == (present.isEmpty ? 404 : 405), "\(what)", sourceLocation: location)
      if request.method != "HEAD" { Self.problem(answer, what, schemas, at: location) }
      return
    }
    seen.withLock { _ = $0[operation.id, default: []].insert(answer.status) }
    #expect(
      operation.statuses.contains(answer.status), "\(what), which \(operation.id) does not declare",
      sourceLocation: location)
    #expect(answer.status != 500, "\(what): \(answer.text)", sourceLocation: location)
    let type = (answer.header("content-type") ?? "").prefix { $0 != ";" }
    // A page says what is wrong to a person.
    if answer.status >= 300, operation.contentType(answer.status) == "text/html" {
      #expect(type == "text/html", "\(what): \(type)", sourceLocation: location)
      return
    }
    guard answer.status < 300 else {
      if request.method != "HEAD" { Self.problem(answer, what, schemas, at: location) }
      return
    }
    let content = operation.object["responses"]?.object?[String(answer.status)]?.object?["content"]?.object
    #expect(content?.members.first?.name == String(type), "\(what): \(type)", sourceLocation: location)
    guard request.method != "HEAD", type == "application/json",
      let schema = content?.members.first?.value.object?["schema"]
    else { return }
    guard let json = answer.json else {
      Issue.record("\(what): no strict JSON", sourceLocation: location)
      return
    }
    let faults = schemas.faults(of: json, in: schema, closed: true)
    #expect(faults.isEmpty, "\(what): \(faults)", sourceLocation: location)
  }

  /// A problem is RFC 9457's, with a code, a sentence and the request's id.
  static func problem(_ answer: Answer, _ what: String, _ schemas: SchemaSet, at location: SourceLocation) {
    #expect(answer.header("content-type") == "application/problem+json", "\(what)", sourceLocation: location)
    guard let json = answer.json else {
      Issue.record("\(what): a problem without JSON: \(answer.text.prefix(200))", sourceLocation: location)
      return
    }
    let faults = schemas.faults(of: json, in: ["$ref": "#/components/schemas/Problem"], closed: true)
    #expect(faults.isEmpty, "\(what): \(faults)", sourceLocation: location)
    #expect(json.object?["status"]?.integer == Int64(answer.status), "\(what)", sourceLocation: location)
    #expect(json.object?["request_id"]?.string == answer.header("x-request-id"), "\(what)", sourceLocation: location)
    let code = json.object?["code"]?.string ?? ""
    #expect(code.wholeMatch(of: /[a-z][a-z0-9_]*/) != nil, "\(what): code '\(code)'", sourceLocation: location)
    let detail = json.object?["detail"]?.string ?? ""
    #expect(detail.contains(" "), "\(what): detail is no sentence", sourceLocation: location)
  }
}

/// The part of JSON Schema 2020-12 that the description uses. A keyword that it does not know is a fault, so that the
/// description cannot grow past it unnoticed.
struct SchemaSet: Sendable {
  let named: JSONObject

  init(_ named: JSONObject) { self.named = named }

  private static let known: Set<String> = [
    "$ref", "type", "enum", "properties", "required", "additionalProperties", "items", "minItems", "maxItems", "oneOf",
    "pattern", "minLength", "maxLength", "minimum", "maximum", "description", "minProperties", "maxProperties",
    "propertyNames",
  ]

  /// What of a value a schema does not allow.
  /// - Parameter closed: whether members without a schema of their own are a fault in any object that lists members.
  func faults(of value: JSONValue, in schema: JSONValue, closed: Bool = false, at place: String = "$") -> [String] {
    guard let schema = schema.object else { return ["\(place): the schema is no object"] }
    if let name = schema["$ref"]?.string?.split(separator: "/").last.map(String.init) {
      guard let target = named[name] else { return ["\(place): no schema \(name)"] }
      return faults(of: value, in: target, closed: closed, at: place)
    }
    var faults: [String] = []
    for keyword in schema where !Self.known.contains(keyword.name) {
      faults.append("\(place): unknown keyword \(keyword.name)")
    }
    if let type = schema["type"]?.string, !Self.has(value, type) { return faults + ["\(place) is no \(type)"] }
    if let choices = schema["enum"]?.array, !choices.contains(value) { faults.append("\(place) is none of \(choices)") }
    if let options = schema["oneOf"]?.array {
      let fitting = options.filter { self.faults(of: value, in: $0, closed: closed, at: place).isEmpty }
      if fitting.count != 1 { faults.append("\(place) fits \(fitting.count) of oneOf") }
    }
    switch value {
    case .string(let text):
      if let pattern = schema["pattern"]?.string {
        let found = try? Regex(pattern).firstMatch(in: text)
        if found == nil { faults.append("\(place) does not match \(pattern)") }
      }
      let length = Int64(text.unicodeScalars.count)
      if let most = schema["maxLength"]?.integer, length > most { faults.append("\(place) is longer than \(most)") }
      if let least = schema["minLength"]?.integer, length < least { faults.append("\(place) is shorter than \(least)") }
    case .integer(let number):
      if let most = schema["maximum"]?.integer, number > most { faults.append("\(place) is above \(most)") }
      if let least = schema["minimum"]?.integer, number < least { faults.append("\(place) is below \(least)") }
    case .array(let values):
      if let most = schema["maxItems"]?.integer, values.count > most { faults.append("\(place) has more than \(most)") }
      if let least = schema["minItems"]?.integer, values.count < least {
        faults.append("\(place) has fewer than \(least)")
      }
      if let items = schema["items"] {
        for (index, item) in values.enumerated() {
          faults += self.faults(of: item, in: items, closed: closed, at: "\(place)[\(index)]")
        }
      }
    case .object(let object):
      let properties = schema["properties"]?.object
      if let most = schema["maxProperties"]?.integer, object.members.count > most {
        faults.append("\(place) has more than \(most) members")
      }
      if let least = schema["minProperties"]?.integer, object.members.count < least {
        faults.append("\(place) has fewer than \(least) members")
      }
      for name in schema["required"]?.array ?? [] where name.string.flatMap({ object[$0] }) == nil {
        faults.append("\(place) lacks \(name)")
      }
      for member in object {
        if let names = schema["propertyNames"] {
          faults += self.faults(of: .string(member.name), in: names, at: "\(place)'s name \(member.name)")
        }
        if let schema = properties?[member.name] ?? schema["additionalProperties"]?.object.map({ .object($0) }) {
          faults += self.faults(of: member.value, in: schema, closed: closed, at: "\(place).\(member.name)")
        } else if schema["additionalProperties"] == false || (closed && properties != nil) {
          faults.append("\(place) has the undescribed member \(member.name)")
        }
      }
    default: break
    }
    return faults
  }

  private static func has(_ value: JSONValue, _ type: String) -> Bool {
    switch (type, value) {
    case ("object", .object), ("array", .array), ("string", .string), ("integer", .integer), ("boolean", .bool),
      ("number", .integer), ("number", .double), ("null", .null):
      true
    default: false
    }
  }
}
