extension Problem {
  /// Runs a reader and tells what it throws as a problem: 400 where the form of the document is wrong.
  public static func reading<Value>(_ body: () throws -> Value) throws(Problem) -> Value {
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
  package var isIdentifier: Bool {
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
