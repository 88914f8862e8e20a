import Foundation
import TrustCoreAPI

extension ReadyFile {
  /// Where everything is, for the person who started it.
  func summary(state: String) -> String {
    let rows: [(String, String?)] = [
      ("API", self["api"]), ("CA certificate", self["ca"]), ("trust domain", self["trust_domain"]),
      ("log key", logKeys.first), ("enrol agents with", self["registration_token_file"]),
      ("audit with", self["auditor_token_file"]), ("owner's key", self["owner_key_file"]),
      ("officer's key", self["officer_key_file"]), ("all of it", state + "/ready.json"),
    ]
    let lines = rows.map { label, value in
      "  " + label.padding(toLength: 19, withPad: " ", startingAt: 0) + (value ?? "")
    }
    return """
      trustcored serves a development deployment: SoftHSM tokens, loopback only, keys of owner and officer in files.
      \(lines.joined(separator: "\n"))
      Stop it with Control-C.

      """
  }
}
