import Wire

/// Reads the members of an entry; whatever is wrong becomes ``SPIFFEError/Code-swift.struct/entry`` with the member's
/// name.
struct EntryReader {
  private var reader: ObjectReader

  init(_ value: JSONValue) throws(SPIFFEError) {
    reader = try Self.telling { () throws(JSONError) in try ObjectReader(value, "the entry") }
  }

  private static func telling<Value>(_ body: () throws(JSONError) -> Value) throws(SPIFFEError) -> Value {
    do { return try body() } catch { throw SPIFFEError(.entry, error.description) }
  }

  /// Says in which member a text is wrong.
  static func naming<Value>(
    _ name: String, _ body: () throws(SPIFFEError) -> Value
  ) throws(SPIFFEError) -> Value {
    do { return try body() } catch { throw SPIFFEError(.entry, "'\(name)': \(error.message)") }
  }

  mutating func id(_ name: String, in trustDomain: TrustDomain) throws(SPIFFEError) -> SPIFFEID {
    let text = try Self.telling { () throws(JSONError) in
      try reader.string(name, maximumBytes: SPIFFEID.maximumBytes)
    }
    let id = try Self.naming(name) { () throws(SPIFFEError) in try SPIFFEID(text) }
    guard id.trustDomain == trustDomain else {
      throw SPIFFEError(.entry, "'\(name)' is of another trust domain than '\(trustDomain)'")
    }
    return id
  }

  mutating func integer(_ name: String, _ range: ClosedRange<Int64>) throws(SPIFFEError) -> Int64? {
    try Self.telling { () throws(JSONError) in try reader.optionalInteger(name, in: range) }
  }

  mutating func bool(_ name: String) throws(SPIFFEError) -> Bool {
    guard let value = reader.optional(name) else { return false }
    guard let flag = value.bool else { throw SPIFFEError(.entry, "'\(name)' must be true or false") }
    return flag
  }

  /// A text without control characters, empty where the member is absent.
  mutating func text(_ name: String, bytes: Int) throws(SPIFFEError) -> String {
    guard let value = reader.optional(name) else { return "" }
    guard let text = value.string, text.utf8.count <= bytes, Self.isPlain(text) else {
      throw SPIFFEError(.entry, "'\(name)' must be a text of at most \(bytes) bytes without control characters")
    }
    return text
  }

  /// Texts of at least one byte, none twice, without control characters; none where the member is absent.
  mutating func texts(_ name: String, _ count: ClosedRange<Int>, bytes: Int) throws(SPIFFEError) -> [String] {
    let values = reader.optional(name).map { $0.array ?? [.null] } ?? []
    let texts = values.compactMap(\.string)
    // Swift's equality of texts would fold canonical equivalents.
    guard count.contains(values.count), texts.count == values.count,
      Set(texts.map { Array($0.utf8) }).count == texts.count,
      texts.allSatisfy({ (1...bytes).contains($0.utf8.count) && Self.isPlain($0) })
    else {
      throw SPIFFEError(
        .entry,
        "'\(name)' must be an array of \(count.lowerBound) to \(count.upperBound) different texts of 1 to \(bytes) bytes "
          + "without control characters")
    }
    return texts
  }

  mutating func issues() throws(SPIFFEError) -> Set<RegistrationEntry.Issue> {
    let all = RegistrationEntry.Issue.allCases
    guard reader.optional("issues") != nil else { return RegistrationEntry.defaultIssues }
    let issues = try texts("issues", 1...all.count, bytes: 16).compactMap(RegistrationEntry.Issue.init(rawValue:))
    guard reader.optional("issues")?.array?.count == issues.count else {
      throw SPIFFEError(.entry, "'issues' may name \(all.map(\.rawValue).joined(separator: ", ")) and nothing else")
    }
    return Set(issues)
  }

  func finish() throws(SPIFFEError) {
    try Self.telling { () throws(JSONError) in try reader.finish() }
  }

  private static func isPlain(_ text: String) -> Bool {
    text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
  }
}
