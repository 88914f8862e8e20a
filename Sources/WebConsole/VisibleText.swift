/// How a text is shown so that two texts which differ look different and no character moves its neighbours: controls,
/// invisible characters, odd blanks and stray combining marks are named instead of drawn, and runs of a right-to-left
/// script are isolated (UAX #9 section 2.7), so that a name in such a script cannot turn an amount around.
enum VisibleText {
  enum Piece: Equatable {
    /// Drawn as it is.
    case plain(String)
    /// Drawn as it is, in an isolate of its own.
    case rightToLeft(String)
    /// Named, as in `U+202E`.
    case codePoint(Unicode.Scalar)
  }

  /// Combining marks that may follow a letter; more of them would run into the lines above and below.
  static let marksPerLetter = 3

  static func pieces(of text: String) -> [Piece] {
    var pieces: [Piece] = []
    var run = ""
    var runIsRightToLeft = false
    func close() {
      if !run.isEmpty { pieces.append(runIsRightToLeft ? .rightToLeft(run) : .plain(run)) }
      run = ""
    }
    let scalars = Array(text.unicodeScalars)
    var marksLeft = 0
    for (index, scalar) in scalars.enumerated() {
      let isMark = combines(scalar)
      if isMark ? marksLeft == 0 : isHidden(scalar) {
        close()
        pieces.append(.codePoint(scalar))
        marksLeft = 0
        continue
      }
      marksLeft = isMark ? marksLeft - 1 : scalar.properties.isAlphabetic ? marksPerLetter : 0
      // A blank between two words of a right-to-left name belongs to the name, or its words would change places.
      let joins = scalar == " " && index + 1 < scalars.count && isRightToLeft(scalars[index + 1])
      let turns = isMark || joins ? runIsRightToLeft && !run.isEmpty : isRightToLeft(scalar)
      if turns != runIsRightToLeft {
        close()
        runIsRightToLeft = turns
      }
      run.unicodeScalars.append(scalar)
    }
    close()
    return pieces
  }

  /// The notation of the Unicode standard, appendix A.
  static func name(of scalar: Unicode.Scalar) -> String {
    let digits = String(scalar.value, radix: 16, uppercase: true)
    return "U+" + String(repeating: "0", count: max(0, 4 - digits.count)) + digits
  }

  private static func combines(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .nonspacingMark, .spacingMark: !scalar.properties.isDefaultIgnorableCodePoint
    default: false
    }
  }

  private static func isHidden(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator, .enclosingMark:
      true
    case .spaceSeparator: scalar != " "
    // The empty braille pattern is the one blank that Unicode lists among the symbols.
    default: scalar.properties.isDefaultIgnorableCodePoint || scalar == "\u{2800}"
    }
  }

  /// The blocks whose characters are right-to-left unless stated otherwise (DerivedBidiClass.txt).
  private static func isRightToLeft(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 0x0590...0x08FF, 0xFB1D...0xFDFF, 0xFE70...0xFEFF, 0x10800...0x10FFF, 0x1E800...0x1EFFF: true
    default: false
    }
  }
}
