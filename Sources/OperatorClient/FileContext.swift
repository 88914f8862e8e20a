public import Wire

/// What a ciphertext is for, in names and values that must be given again to open it. Never empty.
public struct FileContext: Sendable, Equatable {
  /// The members.
  public let json: JSONObject

  /// At most so many members.
  public static let maximumMembers = 16
  /// The longest name, in bytes.
  public static let maximumName = 64
  /// The longest value, in bytes of UTF-8.
  public static let maximumValue = 256

  /// Reads `name=value` texts.
  /// - Throws: ``OperatorError/Code-swift.struct/usage`` where there is none, one is malformed, or a name comes twice.
  public init(_ texts: [String]) throws(OperatorError) {
    guard (1...Self.maximumMembers).contains(texts.count) else {
      throw OperatorError(
        .usage, "Say what the file is for with 1 to \(Self.maximumMembers) times --context name=value.")
    }
    var object = JSONObject()
    for text in texts {
      guard let equals = text.firstIndex(of: "=") else {
        throw OperatorError(.usage, "'\(Wording.visible(text))' is no context: write it as name=value.")
      }
      let (name, value) = (String(text[..<equals]), String(text[text.index(after: equals)...]))
      guard (1...Self.maximumName).contains(name.utf8.count), value.utf8.count <= Self.maximumValue else {
        throw OperatorError(
          .usage,
          "A context's name has 1 to \(Self.maximumName) bytes, its value at most \(Self.maximumValue).")
      }
      guard object[name] == nil else {
        throw OperatorError(.usage, "The context '\(Wording.visible(name))' is given twice.")
      }
      object[name] = .string(value)
    }
    json = object
  }

  /// The canonical text (JCS, RFC 8785) that ciphertexts are bound to.
  public var canonical: [UInt8] { JSONValue.object(json).canonical() }
}
