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
  /// True for the same code points, which `==` is not: it takes U+212A for the letter K.
  func isExactly(_ other: String) -> Bool { utf8.elementsEqual(other.utf8) }

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

  /// True for 1 to 140 code points that can be seen, without space at either end: no controls, none of the marks that
  /// turn the direction of writing, nothing that is drawn as nothing. An owner signs what the eye reads.
  var isVisibleText: Bool {
    guard (1...140).contains(unicodeScalars.count), let first = unicodeScalars.first, let last = unicodeScalars.last,
      !first.properties.isWhitespace, !last.properties.isWhitespace
    else { return false }
    return unicodeScalars.allSatisfy { scalar in
      switch scalar.properties.generalCategory {
      case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
      default: !scalar.properties.isDefaultIgnorableCodePoint
      }
    }
  }
}
