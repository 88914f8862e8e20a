internal import Wire

/// A signature line of a note.
public struct NoteSignature: Hashable, Sendable {
  /// The name of the key that is said to have signed.
  public let keyName: String
  /// That key's id.
  public let keyID: UInt32
  /// The signature itself, in its type's form.
  public let signature: [UInt8]

  /// Makes a line.
  ///
  /// - Throws: ``LogError/Code-swift.struct/malformed`` for a bad key name or an empty signature.
  public init(keyName: String, keyID: UInt32, signature: [UInt8]) throws(LogError) {
    guard NoteText.isKeyName(keyName), !signature.isEmpty else {
      throw LogError(.malformed, "a signature line needs a key name without spaces and a signature")
    }
    self.keyName = keyName
    self.keyID = keyID
    self.signature = signature
  }

  /// Makes the line of a signature by `key`.
  public init(by key: NoteVerifierKey, signature: [UInt8]) throws(LogError) {
    try self.init(keyName: key.name, keyID: key.id, signature: signature)
  }

  /// The line, with its newline.
  public var line: String { "— \(keyName) \(Base64.encode(NoteText.bigEndian(keyID) + signature))\n" }

  /// Parses a line that has lost its newline.
  fileprivate init(line: ArraySlice<UInt8>) throws(LogError) {
    let dash = Array("— ".utf8)
    let rest = line.dropFirst(dash.count)
    guard line.starts(with: dash), let space = rest.firstIndex(of: UInt8(ascii: " ")),
      let bytes = try? Base64.decode(String(decoding: rest[(space + 1)...], as: UTF8.self)), bytes.count > 4
    else { throw LogError(.malformed, "a signature line is an em dash, a key name and a base64 signature") }
    try self.init(
      keyName: String(decoding: rest[..<space], as: UTF8.self),
      keyID: bytes.prefix(4).reduce(0) { $0 << 8 | UInt32($1) }, signature: Array(bytes.dropFirst(4)))
  }
}

/// A text with signatures (C2SP signed-note). Nothing here is verified; ``verify(with:)`` does that.
public struct SignedNote: Sendable {
  /// The most bytes in a note that carries a checkpoint.
  public static let maximumSize = 16 * 1024
  /// The most signature lines.
  public static let maximumSignatures = 16

  /// The signed text, with its final newline.
  public let text: String
  /// The signatures, known and unknown.
  public let signatures: [NoteSignature]
  /// The note, which parses to the same. Kept, since every receipt of a batch carries it.
  public let rendered: String

  /// Puts a note together.
  ///
  /// - Throws: ``LogError/Code-swift.struct/malformed`` or ``LogError/Code-swift.struct/tooLarge`` when the parts make
  ///   no note that would parse.
  public init(text: String, signatures: [NoteSignature]) throws(LogError) {
    guard text.utf8.last == NoteText.newline, NoteText.isNoteText(text), !signatures.isEmpty else {
      throw LogError(.malformed, "a note is text that ends in a newline, without control characters, and is signed")
    }
    guard signatures.count <= Self.maximumSignatures else {
      throw LogError(.tooLarge, "a note has at most \(Self.maximumSignatures) signatures")
    }
    self.text = text
    self.signatures = signatures
    rendered = Self.render(text, signatures)
    guard rendered.utf8.count <= Self.maximumSize else {
      throw LogError(.tooLarge, "a note has at most \(Self.maximumSize) bytes")
    }
  }

  /// Parses a note.
  ///
  /// - Throws: ``LogError/Code-swift.struct/malformed`` or ``LogError/Code-swift.struct/tooLarge``.
  public init(parsing bytes: some Collection<UInt8>) throws(LogError) {
    guard bytes.count <= Self.maximumSize else {
      throw LogError(.tooLarge, "a note has at most \(Self.maximumSize) bytes, this has \(bytes.count)")
    }
    guard let note = String(validating: bytes, as: UTF8.self), NoteText.isNoteText(note),
      note.utf8.last == NoteText.newline
    else { throw LogError(.malformed, "a note is UTF-8 without control characters and ends in a newline") }
    // The last empty line separates text and signatures.
    let utf8 = Array(note.utf8)
    let split = utf8.indices.dropLast().last { utf8[$0] == NoteText.newline && utf8[$0 + 1] == NoteText.newline }
    guard let split else {
      throw LogError(.malformed, "a note has an empty line between its text and its signatures")
    }
    let signatures = utf8[(split + 2)...].dropLast()
      .split(separator: NoteText.newline, maxSplits: Self.maximumSignatures, omittingEmptySubsequences: false)
    guard signatures.count <= Self.maximumSignatures else {
      throw LogError(.tooLarge, "a note has at most \(Self.maximumSignatures) signatures")
    }
    var lines: [NoteSignature] = []
    for line in signatures { lines.append(try NoteSignature(line: line)) }
    text = String(decoding: utf8[...split], as: UTF8.self)
    self.signatures = lines
    rendered = Self.render(text, lines)
  }

  private static func render(_ text: String, _ signatures: [NoteSignature]) -> String {
    text + "\n" + signatures.map(\.line).joined()
  }

  /// A signature that was verified.
  public struct Verified: Hashable, Sendable {
    /// The key that signed.
    public let key: NoteVerifierKey
    /// When a cosigner says that it signed, in seconds since 1970; nil for other signatures.
    public let time: UInt64?
  }

  /// Verifies every signature that is by one of `keys` and ignores the others.
  ///
  /// - Returns: what verified; never empty.
  /// - Throws: ``LogError/Code-swift.struct/signatureInvalid`` when one of them does not verify,
  ///   ``LogError/Code-swift.struct/notSigned`` when there is none.
  public func verify(with keys: [NoteVerifierKey]) throws(LogError) -> [Verified] {
    var verified: [Verified] = []
    for signature in signatures {
      for key in keys where key.isNamed(by: signature) {
        verified.append(Verified(key: key, time: try key.verify(signature.signature, over: text)))
      }
    }
    guard !verified.isEmpty else {
      throw LogError(.notSigned, "the note bears no signature by a known key: check the verifier keys")
    }
    return verified
  }
}

/// The lexical rules of notes.
enum NoteText {
  static let newline = UInt8(ascii: "\n")

  /// Not empty, no white space (which takes in line ends), plus sign or control character.
  static func isKeyName(_ name: String) -> Bool {
    !name.isEmpty && name.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0 != "+" && !$0.properties.isWhitespace }
  }

  /// No control character below U+0020 but newline.
  static func isNoteText(_ text: String) -> Bool { text.utf8.allSatisfy { $0 >= 0x20 || $0 == newline } }

  /// One line that is not empty.
  static func isLine(_ text: some StringProtocol) -> Bool { !text.utf8.isEmpty && text.utf8.allSatisfy { $0 >= 0x20 } }

  /// An unsigned number in ASCII digits without leading zeros, at most 2^63 − 1.
  static func number(_ text: some StringProtocol) -> UInt64? {
    let digits = text.utf8
    guard (1...19).contains(digits.count), digits.first != UInt8(ascii: "0") || digits.count == 1,
      digits.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), let number = UInt64(String(text)),
      number <= TreeHead.maximumSize
    else { return nil }
    return number
  }

  static func bigEndian(_ number: UInt32) -> [UInt8] {
    [UInt8(number >> 24), UInt8(number >> 16 & 0xFF), UInt8(number >> 8 & 0xFF), UInt8(number & 0xFF)]
  }
}
