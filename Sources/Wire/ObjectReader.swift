/// Reads the members of an object one by one and refuses what is missing, of the wrong type, or left over: what a
/// reader does not know it must not ignore when the text is signed.
public struct ObjectReader: Sendable {
  private let object: JSONObject
  private let context: String
  private var read: [String] = []

  /// Reads an object; `context` names it in messages, as in "the transfer".
  public init(_ value: JSONValue, _ context: String) throws(JSONError) {
    guard let object = value.object else { throw JSONError(.member, "\(context) must be a JSON object") }
    self.init(object, context)
  }

  /// Reads an object.
  public init(_ object: JSONObject, _ context: String) {
    self.object = object
    self.context = context
  }

  /// A member's value, or nil where it is absent.
  public mutating func optional(_ name: String) -> JSONValue? {
    read.append(name)
    return object[name]
  }

  /// A member's value.
  public mutating func value(_ name: String) throws(JSONError) -> JSONValue {
    guard let value = optional(name) else { throw JSONError(.member, "\(context) lacks the member '\(name)'") }
    return value
  }

  /// A string of `1...maximumBytes` bytes in UTF-8.
  public mutating func string(_ name: String, maximumBytes: Int = 1024) throws(JSONError) -> String {
    guard let text = try value(name).string, !text.isEmpty, text.utf8.count <= maximumBytes else {
      throw JSONError(.member, "'\(name)' in \(context) must be a string of 1 to \(maximumBytes) bytes")
    }
    return text
  }

  /// A string, or nil where the member is absent.
  public mutating func optionalString(_ name: String, maximumBytes: Int = 1024) throws(JSONError) -> String? {
    guard optional(name) != nil else { return nil }
    return try string(name, maximumBytes: maximumBytes)
  }

  /// An integer within a range.
  public mutating func integer(_ name: String, in range: ClosedRange<Int64>) throws(JSONError) -> Int64 {
    guard let number = try value(name).integer, range.contains(number) else {
      throw JSONError(
        .member,
        "'\(name)' in \(context) must be an integer from \(range.lowerBound) to \(range.upperBound), "
          + "without fraction and exponent")
    }
    return number
  }

  /// An integer, or nil where the member is absent.
  public mutating func optionalInteger(_ name: String, in range: ClosedRange<Int64>) throws(JSONError) -> Int64? {
    guard optional(name) != nil else { return nil }
    return try integer(name, in: range)
  }

  /// An array of at most `limit` elements.
  public mutating func array(_ name: String, limit: Int) throws(JSONError) -> [JSONValue] {
    guard let values = try value(name).array, values.count <= limit else {
      throw JSONError(.member, "'\(name)' in \(context) must be an array of at most \(limit) elements")
    }
    return values
  }

  /// Unpadded base64url (RFC 4648 section 5) of exactly `count` bytes, or of at most 64 KiB where no count is given.
  public mutating func base64URL(_ name: String, count: Int? = nil) throws(JSONError) -> [UInt8] {
    guard let bytes = try? Base64.URL.decode(try string(name, maximumBytes: 90_000)),
      count.map({ $0 == bytes.count }) ?? true
    else {
      throw JSONError(
        .member, "'\(name)' in \(context) must be base64url" + (count.map { " of \($0) bytes" } ?? ""))
    }
    return bytes
  }

  /// Refuses members that nobody read.
  public func finish() throws(JSONError) {
    for member in object where !read.contains(where: { $0.isSame(as: member.name) }) {
      throw JSONError(.member, "\(context) has a member '\(member.name.prefix(64))' that is not known")
    }
  }
}
