/// The signature base (RFC 9421 section 2.5): the one text that signer and verifier each build from the message.
public enum SignatureBase {
  /// Fields whose structure is known, for `sf` and `key` (section 2.1.1), by name.
  public static let knownFields: [String: StructuredField.Kind] = [
    "content-digest": .dictionary, "repr-digest": .dictionary, "want-content-digest": .dictionary,
    "want-repr-digest": .dictionary, "signature": .dictionary, "signature-input": .dictionary,
    "accept-signature": .dictionary, "priority": .dictionary, "cache-status": .list, "proxy-status": .list,
    "client-cert": .item, "client-cert-chain": .list, "idempotency-key": .item,
  ]

  /// Builds the base.
  /// - Parameters:
  ///   - message: the message.
  ///   - input: the covered components with the signature's parameters, in the order received.
  ///   - fields: fields whose structure is known.
  /// - Throws: `signature_malformed` for components that RFC 9421 does not define or that occur twice, and
  ///   `signature_coverage` for those that the message lacks.
  public static func build(
    _ message: HTTPMessage, _ input: SignatureInput, fields: [String: StructuredField.Kind] = knownFields
  ) throws(ProofError) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(1536)
    for component in input.components {
      component.write(to: &out)
      out.append(contentsOf: ": ".utf8)
      let start = out.count
      try write(component, of: message, fields, to: &out)
      // Section 2.5: a line that a value could end would let one message stand for another.
      guard out[start...].allSatisfy({ ($0 >= 0x20 && $0 < 0x7F) || $0 == 0x09 }) else {
        throw ProofError(
          .signatureMalformed, "\(component.name.prefix(64)) holds more than printable ASCII; cover it with 'bs'")
      }
      out.append(0x0A)
    }
    out.append(contentsOf: "\"@signature-params\": ".utf8)
    input.write(to: &out)
    return out
  }

  private static func write(
    _ component: SignatureComponent, of message: HTTPMessage, _ fields: [String: StructuredField.Kind],
    to out: inout [UInt8]
  ) throws(ProofError) {
    var message = message
    if component.flags.request {
      // Section 2.4: only a response can point back at its request.
      guard case .response(_, let request?) = message.control else {
        throw ProofError(.signatureCoverage, "'req' is for responses whose request is known")
      }
      message = request
    }
    if component.name.utf8.first == UInt8(ascii: "@") {
      try DerivedComponent.write(component, of: message, to: &out)
    } else {
      try writeField(component, of: message, fields, to: &out)
    }
  }

  private static func writeField(
    _ component: SignatureComponent, of message: HTTPMessage, _ fields: [String: StructuredField.Kind],
    to out: inout [UInt8]
  ) throws(ProofError) {
    let values = HTTPMessage.values(component.name, in: component.flags.trailer ? message.trailers : message.headers)
    guard !values.isEmpty else {
      throw ProofError(.signatureCoverage, "the message has no field '\(component.name.prefix(64))', yet it is covered")
    }
    if component.flags.binary {
      // Section 2.1.3: each line is wrapped by itself.
      for (index, value) in values.enumerated() {
        if index > 0 { out.append(contentsOf: ", ".utf8) }
        var line: [UInt8] = []
        appendLine(value, to: &line)
        StructuredField.write(.bytes(line), to: &out)
      }
    } else if component.flags.strict || component.flags.key != nil {
      out.append(contentsOf: try structured(component, values, fields).utf8)
    } else {
      for (index, value) in values.enumerated() {
        if index > 0 { out.append(contentsOf: ", ".utf8) }
        appendLine(value, to: &out)
      }
    }
  }

  /// Section 2.1: white space around a value is stripped and obsolete folding becomes one space.
  static func appendLine(_ value: String, to out: inout [UInt8]) {
    let bytes = Array(value.utf8)
    var start = 0
    var end = bytes.count
    while start < end, isWhitespace(bytes[start]) { start += 1 }
    while end > start, isWhitespace(bytes[end - 1]) { end -= 1 }
    guard bytes.contains(0x0A) else {
      out.append(contentsOf: bytes[start..<end])
      return
    }
    var at = start
    while at < end {
      let fold = bytes[at] == 0x0D && at + 1 < end && bytes[at + 1] == 0x0A ? 2 : bytes[at] == 0x0A ? 1 : 0
      if fold > 0, at + fold < end, bytes[at + fold] == 0x20 || bytes[at + fold] == 0x09 {
        while out.last == 0x20 || out.last == 0x09 { out.removeLast() }
        at += fold
        while at < end, isWhitespace(bytes[at]) { at += 1 }
        out.append(0x20)
      } else {
        out.append(bytes[at])
        at += 1
      }
    }
  }

  private static func isWhitespace(_ byte: UInt8) -> Bool {
    byte == 0x20 || byte == 0x09 || byte == 0x0D || byte == 0x0A
  }

  private static func structured(
    _ component: SignatureComponent, _ values: [String], _ fields: [String: StructuredField.Kind]
  ) throws(ProofError) -> String {
    guard let kind = fields[component.name] else {
      throw ProofError(
        .signatureMalformed, "the structure of '\(component.name.prefix(64))' is not known here; cover it without 'sf'")
    }
    let text = values.joined(separator: ", ")
    do {
      switch (kind, component.flags.key) {
      case (.dictionary, nil): return StructuredField.serialize(try StructuredField.dictionary(text))
      case (.list, nil): return StructuredField.serialize(try StructuredField.list(text))
      case (.item, nil): return StructuredField.serialize(try StructuredField.item(text))
      case (.dictionary, let key?):
        // Section 2.1.2.
        if let member = try StructuredField.dictionary(text)[key] { return StructuredField.serialize([member]) }
      default: break
      }
    } catch {
      throw ProofError(.signatureMalformed, "'\(component.name.prefix(64))' is \(error)")
    }
    throw ProofError(.signatureCoverage, "'\(component.name.prefix(64))' has no member of that key")
  }
}
