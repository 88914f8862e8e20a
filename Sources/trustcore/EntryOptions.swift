import ArgumentParser
import Wire

/// The members of an entry as a command line says them.
struct EntryOptions: ParsableArguments {
  @Option(name: .customLong("spiffe-id"), help: "The identity, as in spiffe://example.org/web.")
  var spiffeID: String?

  @Option(
    name: .customLong("parent-id"),
    help: "The identity of the node that the workload runs on; this one's unless stated.")
  var parentID: String?

  @Option(help: "What the workload must have, as in unix:uid:1000; may be given 32 times, and all must hold.")
  var selector: [String] = []

  @Option(name: .customLong("x509-ttl"), help: "How long X.509-SVIDs live: seconds, or as in 90s, 5m, 1h and 2d.")
  var x509TTL: EntryTime?

  @Option(name: .customLong("jwt-ttl"), help: "How long JWT-SVIDs live.")
  var jwtTTL: EntryTime?

  @Option(help: "A DNS name in the certificate; may be given 32 times.")
  var dns: [String] = []

  @Option(help: "What tells a workload its identities apart.")
  var hint: String?

  @Flag(inversion: .prefixedNo, help: "Only officers may change the entry; grants nothing yet.")
  var admin: Bool?

  @Flag(inversion: .prefixedNo, help: "Likewise; grants nothing yet.")
  var downstream: Bool?

  @Option(name: .customLong("federates-with"), help: "A trust domain whose bundle the workload gets; may be repeated.")
  var federatesWith: [String] = []

  @Option(help: "What the workload may ask for: x509, jwt, own_key; may be repeated.")
  var issues: [String] = []

  @Option(help: "An audience that its JWT-SVIDs may name; may be repeated; any unless stated.")
  var audience: [String] = []

  @Option(name: .customLong("jwt-algorithm"), help: "ES256 or RS256.")
  var jwtAlgorithm: String?

  @Option(name: .customLong("signatures-per-minute"), help: "How many signatures the entry may cost in a minute.")
  var signaturesPerMinute: EntryNumber?

  /// Whether nothing is said.
  var isEmpty: Bool { changing([:]).members.isEmpty && clears.isEmpty }

  private var lists: [(name: String, texts: [String])] {
    [
      ("selectors", selector), ("dns_names", dns), ("federates_with", federatesWith), ("issues", issues),
      ("audiences", audience),
    ]
  }

  private var texts: [(name: String, text: String?)] {
    [("spiffe_id", spiffeID), ("parent_id", parentID), ("hint", hint), ("jwt_algorithm", jwtAlgorithm)]
  }

  private var numbers: [(name: String, number: EntryNumber?)] {
    [
      ("x509_svid_ttl", x509TTL?.number), ("jwt_svid_ttl", jwtTTL?.number),
      ("signatures_per_minute", signaturesPerMinute),
    ]
  }

  /// Members that get their default back.
  private var clears: [String] {
    lists.filter { $0.texts == [""] }.map(\.name) + texts.filter { $0.text == "" }.map(\.name)
      + numbers.filter { $0.number == .unstated }.map(\.name)
  }

  /// An entry with what is said in place of what it had.
  func changing(_ entry: JSONObject) -> JSONObject {
    var entry = entry
    for (name, texts) in lists where !texts.isEmpty { entry[name] = .array(texts.map(JSONValue.string)) }
    for (name, text) in texts { if let text { entry[name] = .string(text) } }
    for (name, number) in numbers { if case .value(let value)? = number { entry[name] = .integer(value) } }
    for (name, flag) in [("admin", admin), ("downstream", downstream)] { if let flag { entry[name] = .bool(flag) } }
    for name in clears { entry[name] = nil }
    return entry
  }
}

/// A number, or the word `default`.
enum EntryNumber: ExpressibleByArgument, Equatable {
  case value(Int64)
  case unstated

  init?(argument: String) {
    if argument == "default" {
      self = .unstated
    } else {
      guard let value = Int64(argument), value >= 0 else { return nil }
      self = .value(value)
    }
  }
}

/// A span of time: seconds, or numbers with their units as in `1h30m`; or the word `default`.
struct EntryTime: ExpressibleByArgument, Equatable {
  let number: EntryNumber

  private static let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400]

  init?(argument: String) {
    if let number = EntryNumber(argument: argument) {
      self.number = number
      return
    }
    var total: Int64 = 0
    var digits = ""
    for character in argument {
      if character.isASCII, character.isNumber {
        digits.append(character)
        continue
      }
      guard let unit = Self.units[character], let count = Int64(digits),
        count <= Int64.max / 1_000_000
      else { return nil }
      let (sum, isTooLong) = total.addingReportingOverflow(count * unit)
      guard !isTooLong else { return nil }
      (total, digits) = (sum, "")
    }
    guard digits.isEmpty, !argument.isEmpty else { return nil }
    number = .value(total)
  }
}
