public import Wire

/// `ready.json`: where everything is that a running daemon offers. Paths are absolute.
public struct ReadyFile: Sendable, Equatable {
  /// Text members, by name.
  public var texts: [String: String]
  /// The log's verifier keys (C2SP signed-note vkeys).
  public var logKeys: [String]
  /// Token label to PIN file.
  public var pins: [String: String]
  /// The serving process.
  public var pid: Int32

  /// Collects the members.
  public init(texts: [String: String], logKeys: [String], pins: [String: String], pid: Int32) {
    self.texts = texts
    self.logKeys = logKeys
    self.pins = pins
    self.pid = pid
  }

  /// The text member of a name.
  public subscript(_ name: String) -> String? { texts[name] }

  /// The file's text.
  public var encoded: [UInt8] {
    var object = JSONObject()
    for (name, text) in texts { object[name] = .string(text) }
    object["log_keys"] = .array(logKeys.map { .string($0) })
    var pinFiles = JSONObject()
    for (label, path) in pins { pinFiles[label] = .string(path) }
    object["pkcs11_pins"] = .object(pinFiles)
    object["pid"] = .integer(Int64(pid))
    return JSONValue.object(object).canonical() + [UInt8(ascii: "\n")]
  }

  /// Reads the file's text.
  public init(decoding bytes: [UInt8]) throws(JSONError) {
    let object = try JSONValue(parsing: bytes).object ?? [:]
    texts = [:]
    for member in object { if let text = member.value.string { texts[member.name] = text } }
    logKeys = object["log_keys"]?.array?.compactMap(\.string) ?? []
    pins = [:]
    for member in object["pkcs11_pins"]?.object ?? [:] { pins[member.name] = member.value.string }
    pid = Int32(truncatingIfNeeded: object["pid"]?.integer ?? 0)
  }
}
