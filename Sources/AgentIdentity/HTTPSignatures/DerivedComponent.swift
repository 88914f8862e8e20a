// The derived components of RFC 9421 section 2.2.

enum DerivedComponent {
  static func write(
    _ component: SignatureComponent, of message: HTTPMessage, to out: inout [UInt8]
  ) throws(ProofError) {
    if component.name == "@status" {
      guard !component.flags.request, case .response(let status, _) = message.control, (100...999).contains(status)
      else { throw ProofError(.signatureCoverage, "only a response has @status") }
      out.append(contentsOf: String(status).utf8)
      return
    }
    guard let target = message.target else {
      throw ProofError(.signatureCoverage, "a response has no \(component.name.prefix(64)); add 'req'")
    }
    switch component.name {
    case "@method": out.append(contentsOf: target.method.utf8)
    case "@target-uri":
      out.append(contentsOf: target.scheme.utf8)
      out.append(contentsOf: "://".utf8)
      out.append(contentsOf: target.authority.utf8)
      out.append(contentsOf: target.path.utf8)
      if let query = target.query {
        out.append(UInt8(ascii: "?"))
        out.append(contentsOf: query.utf8)
      }
    case "@authority": out.append(contentsOf: target.authority.utf8)
    case "@scheme": out.append(contentsOf: target.scheme.utf8)
    case "@request-target": out.append(contentsOf: target.requestTarget.utf8)
    case "@path": out.append(contentsOf: target.path.utf8)
    case "@query":
      out.append(UInt8(ascii: "?"))
      out.append(contentsOf: (target.query ?? "").utf8)
    case "@query-param": try writeQueryParameter(component.flags.queryName ?? "", target.query ?? "", to: &out)
    default:
      // Also @signature-params, which section 2.3 forbids among the covered components.
      throw ProofError(.signatureMalformed, "the component \(component.name.prefix(64)) is not defined")
    }
  }

  /// Section 2.2.8: the query is read as a form, and name and value are encoded anew before they are compared.
  private static func writeQueryParameter(
    _ name: String, _ query: String, to out: inout [UInt8]
  ) throws(ProofError) {
    var value: [UInt8]?
    for pair in Array(query.utf8).split(separator: UInt8(ascii: "&")) {
      let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      guard recoded(parts[0]).elementsEqual(name.utf8) else { continue }
      guard value == nil else {
        throw ProofError(.signatureCoverage, "a covered query parameter occurs twice; cover @query instead")
      }
      value = parts.count == 2 ? recoded(parts[1]) : []
    }
    guard let value else { throw ProofError(.signatureCoverage, "a covered query parameter is not there") }
    out.append(contentsOf: value)
  }

  private static let hex = Array("0123456789ABCDEF".utf8)

  /// Decodes `application/x-www-form-urlencoded` and percent-encodes with that set, a space as `%20`.
  private static func recoded(_ text: ArraySlice<UInt8>) -> [UInt8] {
    var decoded: [UInt8] = []
    var at = text.startIndex
    while at < text.endIndex {
      let byte = text[at]
      at += 1
      if byte == UInt8(ascii: "%"), at + 1 < text.endIndex, let high = nibble(text[at]), let low = nibble(text[at + 1])
      {
        decoded.append(high << 4 | low)
        at += 2
      } else {
        decoded.append(byte == UInt8(ascii: "+") ? 0x20 : byte)
      }
    }
    // The URL standard decodes as UTF-8 with replacement.
    var out: [UInt8] = []
    for byte in String(decoding: decoded, as: UTF8.self).utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "*"), UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "_"):
        out.append(byte)
      default: out.append(contentsOf: [UInt8(ascii: "%"), hex[Int(byte >> 4)], hex[Int(byte & 15)]])
      }
    }
    return out
  }

  static func nibble(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
    default: nil
    }
  }
}
