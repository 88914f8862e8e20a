internal import KeyHierarchy
internal import PKCS11

extension HSMProfile {
  /// The profile as a YAML 1.2 document, always with the same keys in the same order.
  ///
  /// - Parameter comments: Lines for the top, without their `#`.
  public func yaml(comments: [String] = []) -> String {
    var lines = comments.map { $0.isEmpty ? "#" : "# \($0)" }
    lines.append("tested: true")
    lines += Self.block(
      "library",
      [
        ("manufacturer", library.manufacturer), ("description", library.description), ("version", library.version),
        ("cryptoki", library.cryptoki),
      ])
    lines += Self.block(
      "token",
      [
        ("manufacturer", token.manufacturer), ("model", token.model), ("serial", token.serial),
        ("hardware", token.hardware), ("firmware", token.firmware),
      ])
    lines.append("limits:")
    lines.append("  sessions: \(limits.sessions.text)")
    lines.append("  writable_sessions: \(limits.writableSessions.text)")
    lines.append("  pin_length: [\(limits.pinLength.least), \(limits.pinLength.most)]")
    lines.append("roles:")
    for judgement in roles {
      lines.append("  \(judgement.role.rawValue):")
      lines.append("    serves: \(judgement.serves)")
      lines.append("    missing:\(judgement.missing.isEmpty ? " []" : "")")
      lines += judgement.missing.map { "      - \(Self.scalar($0))" }
    }
    lines += behaviour.lines
    lines.append("mechanisms:\(mechanisms.isEmpty ? " {}" : "")")
    for mechanism in mechanisms {
      let number = "0x" + String(mechanism.type.rawValue, radix: 16)
      let uses = mechanism.uses.names.joined(separator: ", ")
      let sizes = "[\(mechanism.leastKey), \(mechanism.mostKey)]"
      lines.append(
        "  \(MechanismNames.name(mechanism.type)): {number: \(number), uses: [\(uses)], key_sizes: \(sizes)}")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func block(_ name: String, _ entries: [(String, String)]) -> [String] {
    ["\(name):"] + entries.map { "  \($0.0): \(scalar($0.1))" }
  }

  /// A string as a YAML scalar: plain where it can be nothing else, quoted with JSON's escapes otherwise (YAML 1.2,
  /// section 7.3). What a token says of itself is foreign text.
  static func scalar(_ text: String) -> String {
    func isPlain(_ scalar: Unicode.Scalar) -> Bool {
      switch scalar {
      case "a"..."z", "A"..."Z", "0"..."9", " ", "_", "-", "+", ".", ",", "/", "(", ")": true
      default: false
      }
    }
    // Words that some reader of YAML takes for something else than a string.
    let reserved: Set = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "unknown"]
    if let first = text.unicodeScalars.first, first.properties.isAlphabetic, text.unicodeScalars.allSatisfy(isPlain),
      !text.hasSuffix(" "), !reserved.contains(text.lowercased())
    {
      return text
    }
    var quoted = "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\": quoted += "\\\(scalar)"
      case " "..."~": quoted.unicodeScalars.append(scalar)
      default:
        let digits = String(scalar.value, radix: 16)
        let (letter, width) = scalar.value > 0xffff ? ("U", 8) : ("u", 4)
        quoted += "\\\(letter)" + String(repeating: "0", count: width - digits.count) + digits
      }
    }
    return quoted + "\""
  }
}

extension HSMProfile.Limit {
  fileprivate var text: String {
    switch self {
    case .atMost(let count): "\(count)"
    case .unlimited: "unlimited"
    case .unknown: "unknown"
    }
  }
}

extension Behaviour {
  fileprivate var lines: [String] {
    func line<V>(_ name: String, _ finding: Finding<V>, _ indent: String = "  ") -> String {
      // An answer is YAML's own boolean.
      let isAnswer = finding.value is Answer
      return "\(indent)\(name): \(isAnswer ? finding.text : HSMProfile.scalar(finding.text))"
    }
    func inner<V>(_ name: String, _ finding: Finding<V>) -> String { line(name, finding, "    ") }
    func wrap(_ name: String, _ wrap: Wrap) -> [String] {
      [
        "  \(name):", inner("round_trip", wrap.roundTrip), inner("form", wrap.form),
        inner("odd_length", wrap.oddLength),
      ]
    }
    var lines = [
      "behaviour:", line("random", random), line("session_objects", sessionObjects),
      line("shared_among_sessions", sharedAmongSessions), line("outlives_its_session", outlivesItsSession),
      line("second_login", secondLogin),
    ]
    lines += wrap("CKM_AES_KEY_WRAP", keyWrap)
    lines += wrap("CKM_AES_KEY_WRAP_PAD", keyWrapPad)
    lines += wrap("CKM_AES_KEY_WRAP_KWP", keyWrapKWP)
    lines += [
      "  CKA_UNWRAP_TEMPLATE:", inner("set", unwrapTemplate.set), inner("restated", unwrapTemplate.restated),
      inner("unstated", unwrapTemplate.unstated), inner("opposed", unwrapTemplate.opposed),
      "  CKM_AES_GCM:", inner("parameters", gcm.parameters), inner("iv", gcm.iv), inner("empty_iv", gcm.emptyIV),
      inner("tag_of_32_bits", gcm.tagOf32Bits), inner("bad_tag", gcm.badTag), inner("wrap", gcm.wrap),
      "  CKM_ECDSA:", inner("digest", ecdsa.digest), inner("long_digest", ecdsa.longDigest),
      inner("hashing", ecdsa.hashing), inner("point", ecdsa.point),
      "  CKM_EDDSA:", inner("oid", eddsa.oid), inner("name", eddsa.name), inner("point", eddsa.point),
      inner("signature", eddsa.signature),
      "  CKM_RSA_PKCS_OAEP:", inner("sha1", oaep.sha1), inner("sha256", oaep.sha256), inner("sha384", oaep.sha384),
      inner("sha512", oaep.sha512),
    ]
    return lines
  }
}
