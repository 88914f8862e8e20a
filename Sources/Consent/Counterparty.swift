public import Wire

/// Someone whom a consent lets an agent pay, with where the money goes.
public struct Counterparty: Sendable, Equatable {
  /// 1 to 64 of the letters, digits, `.`, `_` and `-`; unique in a consent.
  public let id: String
  /// Its name as the owner reads it: 1 to 140 visible code points.
  public let name: String
  /// Where a payment by ACH goes, in the form that the rail defines; nil where none may.
  public let ach: JSONValue?
  /// The account of the ledger that a book transfer credits; nil where none may.
  public let book: String?

  /// The rails that reach it.
  public var rails: [String] { (ach == nil ? [] : ["ach"]) + (book == nil ? [] : ["book"]) }

  /// What a rail keeps here may be at most this long, as JCS.
  public static let maximumDestinationBytes = 2048

  init(_ json: JSONValue, validate: (String, JSONValue) throws(Problem) -> Void) throws {
    var reader = try ObjectReader(json, "a counterparty")
    id = try reader.identifier("id")
    name = try reader.string("name", maximumBytes: 560)
    guard name.isVisibleText else {
      throw Problem(
        422, "consent_counterparty_name",
        "Write a counterparty's name as 1 to 140 visible characters, without control or direction marks.")
    }
    ach = reader.optional("ach")
    book = reader.optional("book") == nil ? nil : try reader.identifier("book")
    try reader.finish()
    if let ach {
      guard ach.object != nil, ach.canonical().count <= Self.maximumDestinationBytes else {
        throw Problem(
          422, "consent_counterparty_destination",
          "'ach' must be an object of at most \(Self.maximumDestinationBytes) bytes.")
      }
      try validate("ach", ach)
    }
    guard !rails.isEmpty else {
      throw Problem(
        422, "consent_counterparty_without_rail", "Give the counterparty '\(id)' a rail: 'ach', 'book' or both.")
    }
  }

  var json: JSONValue {
    var members: JSONObject = ["id": .string(id), "name": .string(name)]
    members["ach"] = ach
    members["book"] = book.map { .string($0) }
    return .object(members)
  }
}

extension ObjectReader {
  /// 1 to 64 of the letters, digits, `.`, `_` and `-`.
  mutating func identifier(_ name: String) throws -> String {
    let text = try string(name, maximumBytes: 64)
    guard text.isIdentifier else {
      throw Problem(
        422, "consent_identifier", "Write '\(name)' as 1 to 64 letters, digits, '.', '_' and '-'.")
    }
    return text
  }
}
