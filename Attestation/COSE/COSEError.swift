/// Why bytes are no acceptable CBOR, or CBOR no acceptable key. Equality is by code.
public struct COSEError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// The bytes end early or hold a reserved encoding.
    public static let malformed = Code("cbor_malformed")
    /// An integer or a length is written longer than need be.
    public static let notMinimal = Code("cbor_not_minimal")
    /// A string, array or map has no length of its own.
    public static let indefinite = Code("cbor_indefinite")
    /// A map holds a key twice.
    public static let duplicateKey = Code("cbor_duplicate_key")
    /// Bytes follow the item.
    public static let trailing = Code("cbor_trailing")
    /// Arrays and maps are nested too deeply.
    public static let tooDeep = Code("cbor_too_deep")
    /// The item is longer, or holds more items, than allowed.
    public static let tooLarge = Code("cbor_too_large")
    /// A text is not well-formed UTF-8.
    public static let invalidUTF8 = Code("cbor_invalid_utf8")
    /// Well-formed, but not of the subset that is read here: tags, floats and most simple values.
    public static let unsupported = Code("cbor_unsupported")
    /// A key lacks a member, or one is of the wrong type or length.
    public static let keyMalformed = Code("cose_key_malformed")
    /// A key carries private or symmetric material.
    public static let keyPrivate = Code("cose_key_private")
    /// A key is well-formed but of a type, curve, size or use that is not accepted here.
    public static let keyUnsupported = Code("cose_key_unsupported")
    /// A key's algorithm is absent, unknown, or of another key type or curve.
    public static let keyAlgorithm = Code("cose_key_algorithm")
  }

  /// The reason.
  public let code: Code
  /// What is wrong and what to do about it.
  public let message: String
  /// Byte offset in the CBOR, where there is one.
  public let offset: Int?

  init(_ code: Code, _ message: String, at offset: Int? = nil) {
    self.code = code
    self.message = message
    self.offset = offset
  }

  /// The code, the message and the offset.
  public var description: String { "\(code): \(message)" + (offset.map { " (at byte \($0))" } ?? "") }

  /// Errors are equal when their codes are.
  public static func == (a: COSEError, b: COSEError) -> Bool { a.code == b.code }
}
