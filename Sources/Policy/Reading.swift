import Wire

extension Problem {
  /// Runs a reader and tells what it throws as a problem: 400 where the form of the document is wrong.
  static func reading<Value>(_ body: () throws -> Value) throws(Problem) -> Value {
    do {
      return try body()
    } catch let problem as Problem {
      throw problem
    } catch let error as JSONError {
      throw Problem(400, error.code.description, error.description)
    } catch {
      throw Problem(400, "malformed", "The document cannot be read.")
    }
  }
}

extension String {
  /// True for 1 to 64 of the letters, digits, `.`, `_` and `-` of ASCII.
  var isIdentifier: Bool {
    (1...64).contains(utf8.count)
      && utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
          true
        default: false
        }
      }
  }
}

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
