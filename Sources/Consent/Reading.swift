import Wire

extension String {
  /// True for the same code points, which `==` is not: it takes U+212A for the letter K.
  func isExactly(_ other: String) -> Bool { utf8.elementsEqual(other.utf8) }

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
