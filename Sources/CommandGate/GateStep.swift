/// The steps between a submitted command and its answer, in their order. Crash tests stop the process after each.
public enum GateStep: String, Sendable, CaseIterable {
  /// The first transaction is durable.
  case t1 = "T1"
  /// The signer's head file is durable.
  case file
  /// The HSM has signed.
  case sign
  /// The checkpoint is public.
  case publish
  /// The second transaction is durable.
  case t2 = "T2"
}
