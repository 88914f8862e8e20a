/// HTML in which a text of runtime can only stand escaped.
///
/// It is written as a literal: what stands in the source is markup, what is interpolated is text, or is `HTML` itself.
/// Both literals are `StaticString`, so no initialiser takes markup that was made while the program runs.
struct HTML: ExpressibleByStringInterpolation, Sendable {
  private(set) var source: String

  init(stringLiteral markup: StaticString) { source = markup.description }
  init(stringInterpolation parts: StringInterpolation) { source = parts.source }

  /// The parts one after the other.
  init(joining parts: some Sequence<HTML>) { source = parts.map(\.source).joined() }

  struct StringInterpolation: StringInterpolationProtocol {
    fileprivate var source = ""

    init(literalCapacity: Int, interpolationCount: Int) { source.reserveCapacity(literalCapacity * 2) }

    mutating func appendLiteral(_ markup: StaticString) { source += markup.description }

    mutating func appendInterpolation(_ part: HTML) { source += part.source }

    mutating func appendInterpolation(_ number: Int) { source += String(number) }

    /// A text on one line, as ``VisibleText`` shows it.
    mutating func appendInterpolation(_ text: String) {
      for piece in VisibleText.pieces(of: text) {
        switch piece {
        case .plain(let text): source += escaped(text)
        case .rightToLeft(let text): source += "<bdi>" + escaped(text) + "</bdi>"
        case .codePoint(let scalar): source += "<mark>" + VisibleText.name(of: scalar) + "</mark>"
        }
      }
    }

    /// The value of a quoted attribute, which a script reads back unchanged.
    mutating func appendInterpolation(attribute value: String) { source += escaped(value) }

    /// One segment of a path (RFC 3986 section 3.3): all but unreserved characters in percent-encoding.
    mutating func appendInterpolation(segment value: String) {
      for byte in value.utf8 {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
          UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
          UInt8(ascii: "~"):
          source.unicodeScalars.append(Unicode.Scalar(byte))
        default:
          source += (byte < 16 ? "%0" : "%") + String(byte, radix: 16, uppercase: true)
        }
      }
    }

    /// The characters that could end a text or a quoted attribute, and those that a parser of HTML would change.
    private func escaped(_ text: String) -> String {
      var out = ""
      for scalar in text.unicodeScalars {
        switch scalar {
        case "&": out += "&amp;"
        case "<": out += "&lt;"
        case ">": out += "&gt;"
        case "\"": out += "&quot;"
        case "'": out += "&#39;"
        case "\0": out += "\u{FFFD}"
        case "\r": out += "&#13;"
        default: out.unicodeScalars.append(scalar)
        }
      }
      return out
    }
  }
}
