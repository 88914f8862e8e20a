import TransparencyLog
import Wire

/// What callers are told when nothing can be recorded.
extension Gate {
  var refusal: Problem? {
    switch mode {
    case .running: nil
    case .readOnly(let why):
      Problem(503, "log_read_only", "Nothing can be recorded: \(why). Open a new origin in a ceremony.")
    case .stopped: Self.stopping
    }
  }

  static var stopping: Problem {
    Problem(503, "stopping", "The server is stopping; send the request again shortly.")
  }

  static var outcomeUnknown: Problem {
    Problem(
      503, "outcome_unknown",
      "The command may be recorded; after the restart, send the same request with the same Idempotency-Key for its outcome."
    )
  }

  static var sealDelayed: Problem {
    Problem(
      503, "seal_delayed",
      "The command is recorded and not done yet: the HSM does not sign the log. Send the same request later for its outcome.",
      headers: ["Retry-After": "10"])
  }

  static var logUnsigned: Problem {
    Problem(
      503, "log_unsigned", "Nothing was recorded: the HSM does not sign the log. Send the request again later.",
      headers: ["Retry-After": "10"])
  }

  static var storageFailed: Problem {
    Problem(503, "storage_failed", "Nothing was recorded: the storage refuses to write. Send the request again later.")
  }

  static func sentence(_ reason: Sequencer.HaltReason) -> String {
    switch reason {
    case .databaseBehind: "the database holds less than the signer has signed for, so it was rolled back"
    case .forked: "the database holds another history than the signer has signed"
    case .signerBehind: "the signer's head file is older than the published checkpoint, so it was rolled back"
    case .unknownOutcome(let step): "the outcome of the step '\(step)' is unknown; restart the server"
    case .unexpectedInput: "the sequencer was told of a step that it had not ordered; restart the server"
    }
  }
}
