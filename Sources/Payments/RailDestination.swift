import Rails
public import Wire

/// Judges where a consent lets money go, by the rules of the rail.
public enum RailDestination {
  /// Checks a counterparty's destination.
  /// - Throws: the rail's own problem, such as `ach_routing_number`.
  @Sendable public static func validate(_ rail: String, _ destination: JSONValue) throws(Problem) {
    guard rail == "ach" else { return }
    do { _ = try ACHAccount(json: destination) } catch { throw error.problem }
  }
}
