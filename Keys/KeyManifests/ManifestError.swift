/// Why a key manifest is refused, and where. Equality is by code.
public struct ManifestError: Error, Sendable, Equatable, CustomStringConvertible {
  /// An open set of reasons.
  public struct Code: Hashable, Sendable, CustomStringConvertible {
    /// The code's stable text.
    public let description: String
    /// Makes a code.
    public init(_ text: String) { description = text }
    /// The file is longer than ``KeyManifest/maximumBytes``.
    public static let tooLong = Code("manifest_too_long")
    /// A character that manifests do not use, or a feature of YAML that it starts: an anchor, an alias, a tag.
    public static let character = Code("manifest_character")
    /// Lists and members are nested too deeply.
    public static let tooDeep = Code("manifest_too_deep")
    /// The text is no YAML.
    public static let syntax = Code("manifest_syntax")
    /// More than one document, or none.
    public static let documents = Code("manifest_documents")
    /// A name stands twice in one place.
    public static let duplicate = Code("manifest_duplicate")
    /// A member that manifests do not have.
    public static let unknownMember = Code("manifest_unknown_member")
    /// A member that must be there is not.
    public static let missingMember = Code("manifest_missing_member")
    /// Another shape was expected: a text, a number, a list, members.
    public static let shape = Code("manifest_shape")
    /// A value outside what is allowed.
    public static let value = Code("manifest_value")
    /// More elements than are allowed.
    public static let tooMany = Code("manifest_too_many")
    /// Two members contradict each other.
    public static let conflict = Code("manifest_conflict")
  }

  /// The reason.
  public let code: Code
  /// The line of the manifest, from 1; 0 where the file as a whole is meant.
  public let line: Int
  /// The member, as a path such as `data_classes.files.rotate_every`; empty outside of members.
  public let member: String
  /// What is wrong and what to do about it.
  public let message: String

  init(_ code: Code, line: Int, member: String = "", _ message: String) {
    self.code = code
    self.line = line
    self.member = member
    self.message = message
  }

  /// Line, member and message.
  public var description: String {
    (line > 0 ? "line \(line): " : "") + (member.isEmpty ? "" : "\(member): ") + message
  }

  /// Errors are equal when their codes are.
  public static func == (a: ManifestError, b: ManifestError) -> Bool { a.code == b.code }
}
