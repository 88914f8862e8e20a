// Structured Field Values for HTTP (RFC 9651). A parser of our own, because a signature's header must be read strictly
// and once: it tells where a key was given twice (the RFC lets the last win), decodes byte sequences canonically,
// bounds its input, and reads bytes in place on the path of every signed request.

/// The data model of RFC 9651 section 3.
public enum StructuredField {
  /// A value without parameters (section 3.3).
  public enum BareItem: Sendable, Equatable {
    /// An integer of at most 15 digits.
    case integer(Int64)
    /// A decimal, counted in thousandths.
    case decimal(thousandths: Int64)
    /// A string of printable ASCII.
    case string(String)
    /// A token.
    case token(String)
    /// A byte sequence.
    case bytes([UInt8])
    /// A boolean.
    case boolean(Bool)
    /// Seconds since 1970.
    case date(Int64)
    /// A string of Unicode.
    case displayString(String)
  }

  /// A key with its value.
  public struct Parameter: Sendable, Equatable {
    /// The key.
    public let key: String
    /// The value.
    public internal(set) var value: BareItem
  }

  /// Parameters in order (section 3.1.2), keys unique.
  public struct Parameters: Sendable, Equatable {
    /// The parameters.
    public internal(set) var list: [Parameter] = []

    /// Parameters in the given order.
    public init(_ list: [(String, BareItem)] = []) { for (key, value) in list { set(key, value) } }

    /// A parameter's value.
    public subscript(key: String) -> BareItem? {
      for parameter in list where parameter.key == key { return parameter.value }
      return nil
    }

    /// Sets a value and tells whether the key was new.
    @discardableResult
    mutating func set(_ key: String, _ value: BareItem) -> Bool {
      for index in list.indices where list[index].key == key {
        list[index].value = value
        return false
      }
      list.append(Parameter(key: key, value: value))
      return true
    }
  }

  /// A value with parameters (section 3.3).
  public struct Item: Sendable, Equatable {
    /// The value.
    public let value: BareItem
    /// Its parameters.
    public let parameters: Parameters

    /// Makes an item.
    public init(_ value: BareItem, _ parameters: Parameters = Parameters()) {
      self.value = value
      self.parameters = parameters
    }
  }

  /// Items in parentheses, with parameters (section 3.1.1).
  public struct InnerList: Sendable, Equatable {
    /// The items.
    public let items: [Item]
    /// The parameters of the list.
    public let parameters: Parameters

    /// Makes an inner list.
    public init(_ items: [Item], _ parameters: Parameters = Parameters()) {
      self.items = items
      self.parameters = parameters
    }
  }

  /// A member of a list or a dictionary.
  public enum Member: Sendable, Equatable {
    /// An item.
    case item(Item)
    /// An inner list.
    case innerList(InnerList)
  }

  /// A dictionary (section 3.2): members in order, keys unique.
  public struct Dictionary: Sendable, Equatable {
    /// A key with its value.
    public struct Entry: Sendable, Equatable {
      /// The key.
      public let key: String
      /// The value.
      public internal(set) var value: Member
    }

    /// The members.
    public internal(set) var entries: [Entry] = []
    /// True where the text gave a key, or a parameter's key, twice. RFC 9651 lets the last one win; a reader of
    /// signatures refuses.
    public internal(set) var hasDuplicates = false

    /// The value of a key.
    public subscript(key: String) -> Member? {
      for entry in entries where entry.key == key { return entry.value }
      return nil
    }
  }

  /// What kind of structure a field holds, which its definition says and its text does not.
  public enum Kind: Sendable {
    /// One item.
    case item
    /// A list.
    case list
    /// A dictionary.
    case dictionary
  }

  /// The text is not a structured field of the kind expected.
  public struct Invalid: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was wrong.
    public let reason: String
    /// The reason in a sentence.
    public var description: String { "not a structured field (RFC 9651): \(reason)" }
  }

  /// The longest field that is read, in bytes.
  public static let maximumBytes = 65_536

  /// Reads a field whose value is one item.
  public static func item(_ text: some StringProtocol) throws(Invalid) -> Item {
    var parser = try StructuredFieldParser(Array(text.utf8))
    return try parser.whole { (parser) throws(Invalid) in try parser.item() }
  }

  /// Reads a field whose value is a list.
  public static func list(_ text: some StringProtocol) throws(Invalid) -> [Member] {
    var parser = try StructuredFieldParser(Array(text.utf8))
    return try parser.whole { (parser) throws(Invalid) in try parser.list() }
  }

  /// Reads a field whose value is a dictionary.
  public static func dictionary(_ text: some StringProtocol) throws(Invalid) -> Dictionary {
    var parser = try StructuredFieldParser(Array(text.utf8))
    return try parser.whole { (parser) throws(Invalid) in try parser.dictionary() }
  }
}
