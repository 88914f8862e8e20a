import Testing

/// Tests against the built daemon, through what it serves and the files it names. One after the other: several compare
/// balances and the size of the one shared daemon's log, and two cores serve one daemon better than five.
@Suite(.serialized) enum EndToEndTests {}
