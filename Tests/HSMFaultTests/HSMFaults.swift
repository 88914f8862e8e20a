import Testing

/// Faults of modules and tokens against custody. One after the other: each runs in a process of its own and keeps the
/// machine busy.
@Suite("HSM faults", .serialized)
enum HSMFaults {}
