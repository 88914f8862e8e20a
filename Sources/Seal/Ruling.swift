public import Wire

/// What a module's checks come to when they do not refuse a command.
public struct Ruling: Sendable {
  /// Whether the command may be carried out.
  public enum Disposition: Sendable {
    /// It may, once it is sealed.
    case allow
    /// It waits for approvals until a moment; the answer says what was held.
    case hold(until: Timestamp, JSONObject)
  }

  /// Whether the command may be carried out.
  public let disposition: Disposition
  /// The earlier leaves that the decision rests on; they enter the command's evidence.
  public let references: [CommandEvidence.Reference]

  /// Makes a ruling.
  public init(_ disposition: Disposition, references: [CommandEvidence.Reference] = []) {
    self.disposition = disposition
    self.references = references
  }

  /// Nothing stands against the command, and it rests on no earlier leaf.
  public static let allow = Ruling(.allow)
}
