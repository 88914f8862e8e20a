/// Why a client of the daemon cannot go on.
public struct DemoError: Error, Sendable, CustomStringConvertible {
  /// What went wrong.
  public let description: String

  /// Makes an error.
  public init(_ description: String) { self.description = description }
}
