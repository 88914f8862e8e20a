/// A JSON value as I-JSON (RFC 7493) allows it.
public enum JSONValue: Sendable, Equatable {
  /// `null`.
  case null
  /// `true` or `false`.
  case bool(Bool)
  /// A number written without fraction and exponent, within ±(2^53 − 1).
  case integer(Int64)
  /// Any other number; finite.
  case double(Double)
  /// A string; valid Unicode.
  case string(String)
  /// An array.
  case array([JSONValue])
  /// An object.
  case object(JSONObject)

  /// The string, if this is one.
  public var string: String? { if case .string(let text) = self { text } else { nil } }
  /// The integer, if this is one.
  public var integer: Int64? { if case .integer(let value) = self { value } else { nil } }
  /// The truth value, if this is one.
  public var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  /// The elements, if this is an array.
  public var array: [JSONValue]? { if case .array(let values) = self { values } else { nil } }
  /// The object, if this is one.
  public var object: JSONObject? { if case .object(let object) = self { object } else { nil } }

  /// Values are equal when their canonical texts would be alike, but an integer is never equal to a double.
  public static func == (a: JSONValue, b: JSONValue) -> Bool {
    switch (a, b) {
    case (.null, .null): true
    case (.bool(let a), .bool(let b)): a == b
    case (.integer(let a), .integer(let b)): a == b
    case (.double(let a), .double(let b)): a == b
    case (.string(let a), .string(let b)): a.isSame(as: b)
    case (.array(let a), .array(let b)): a == b
    case (.object(let a), .object(let b)): a == b
    default: false
    }
  }

  /// The greatest magnitude of ``integer(_:)``: beyond it two integers may share one IEEE 754 double.
  public static let greatestInteger: Int64 = 1 << 53 - 1
}

/// A JSON object: members in the order received, names unique.
public struct JSONObject: Sendable, Equatable, ExpressibleByDictionaryLiteral, Sequence {
  /// A name with its value.
  public struct Member: Sendable, Equatable {
    /// The name.
    public let name: String
    /// The value.
    public var value: JSONValue
  }

  /// The members, in order.
  public private(set) var members: [Member]

  /// An object of the given members; a name that is given twice keeps its first place and its last value.
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    members = []
    members.reserveCapacity(elements.count)
    for (name, value) in elements { self[name] = value }
  }

  /// An empty object.
  public init() { members = [] }

  /// An object of members whose names the caller knows to be unique.
  init(unique members: [Member]) { self.members = members }

  /// The value of a member; setting nil removes it.
  public subscript(name: String) -> JSONValue? {
    get {
      for member in members where member.name.isSame(as: name) { return member.value }
      return nil
    }
    set {
      if let index = members.firstIndex(where: { $0.name.isSame(as: name) }) {
        if let newValue { members[index].value = newValue } else { members.remove(at: index) }
      } else if let newValue {
        members.append(Member(name: name, value: newValue))
      }
    }
  }

  /// Iterates over the members, in order.
  public func makeIterator() -> IndexingIterator<[Member]> { members.makeIterator() }

  /// Objects are equal when they have the same members in any order.
  public static func == (a: JSONObject, b: JSONObject) -> Bool {
    a.members.count == b.members.count && a.members.allSatisfy { b[$0.name] == $0.value }
  }
}

extension String {
  /// True for the same code points. Swift's `==` also holds for canonical equivalents, such as U+212A for the letter K,
  /// which to JSON, to a hash and to every other reader are different texts.
  func isSame(as other: String) -> Bool {
    // Most names differ, which the first two tell at once.
    utf8.count == other.utf8.count && self == other && utf8.elementsEqual(other.utf8)
  }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral,
  ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  /// A string.
  public init(stringLiteral value: String) { self = .string(value) }
  /// An integer.
  public init(integerLiteral value: Int64) { self = .integer(value) }
  /// A truth value.
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  /// An array.
  public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  /// An object; of a name given twice the last value counts.
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    var object = JSONObject()
    for (name, value) in elements { object[name] = value }
    self = .object(object)
  }
}
