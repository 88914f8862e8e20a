import Wire

extension ObjectReader {
  /// 1 to 64 of the letters, digits, `.`, `_` and `-`.
  mutating func identifier(_ name: String) throws -> String {
    let text = try string(name, maximumBytes: 64)
    guard text.isIdentifier else {
      throw Problem(422, "policy_identifier", "Write '\(name)' as 1 to 64 letters, digits, '.', '_' and '-'.")
    }
    return text
  }

  /// A set of texts, not empty, that all pass a test.
  mutating func set(_ name: String, limit: Int, _ holds: (String) -> Bool) throws -> Set<String> {
    let values = try array(name, limit: limit)
    let texts = Set(values.compactMap(\.string).filter(holds))
    guard !values.isEmpty, texts.count == values.count else {
      throw Problem(
        422, "policy_set", "'\(name)' must name 1 to \(limit) of what is known, each once.")
    }
    return texts
  }
}
