import Foundation
import Wire

extension WorkloadService.Parts {
  /// Whether an audience is, or is below, the issuer of access tokens, however it is spelt.
  ///
  /// What has the issuer's scheme and, up to the path, characters beyond ASCII or an encoded delimiter is taken for it
  /// too: which host that is depends on who reads it (UTS #46).
  func reserves(_ audience: String) -> Bool {
    let text = PlainURL.folded(audience)
    let (asked, own) = (PlainURL(text), PlainURL(PlainURL.folded(reservedAudience)))
    guard asked.scheme == own.scheme else {
      // Wide letters, or a wide colon.
      return PlainURL(text.precomposedStringWithCompatibilityMapping).scheme == own.scheme
    }
    guard asked.authority.allSatisfy({ $0 < 0x80 && $0 != UInt8(ascii: "%") }) else { return true }
    guard asked.host == own.host, asked.port == own.port, asked.below.starts(with: own.below) else { return false }
    return asked.below.dropFirst(own.below.count).first.map { "/?#".utf8.contains($0) } ?? true
  }
}

/// A URL's parts without what some readers pass over.
private struct PlainURL {
  /// Empty where there is none.
  var scheme: [UInt8] = []
  /// With the user, and with the port as it is written.
  var authority: ArraySlice<UInt8> = []
  /// Without dots behind it.
  var host: ArraySlice<UInt8> = []
  /// The usual one where none is written.
  var port: Int?
  /// Path, query and fragment, without slashes at the end.
  var below: ArraySlice<UInt8> = []

  init(_ folded: String) {
    let bytes = folded.utf8.map { $0 == UInt8(ascii: "\\") ? UInt8(ascii: "/") : $0 }
    guard let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else { return }
    scheme = Array(bytes[..<colon])
    let place = bytes[colon...].dropFirst().drop { $0 == UInt8(ascii: "/") }
    let end = place.firstIndex { "/?#".utf8.contains($0) } ?? place.endIndex
    (authority, below) = (place[..<end], place[end...])
    while below.last == UInt8(ascii: "/") { below.removeLast() }
    host = authority.split(separator: UInt8(ascii: "@"), omittingEmptySubsequences: false).last ?? []
    port = scheme.elementsEqual("http".utf8) ? 80 : 443
    // The colons of an IPv6 address are within brackets.
    if let last = host.lastIndex(of: UInt8(ascii: ":")), !host[last...].contains(UInt8(ascii: "]")) {
      let digits = String(decoding: host[last...].dropFirst(), as: UTF8.self)
      if !digits.isEmpty { port = Int(digits) }
      host = host[..<last]
    }
    while host.last == UInt8(ascii: ".") { host.removeLast() }
  }

  /// Lower case without percent-encoding, white space and what is not seen; encoded delimiters are left encoded, for they
  /// are none to some.
  static func folded(_ text: String) -> String {
    var bytes: [UInt8] = []
    var rest = Array(text.utf8)[...]
    while let byte = rest.popFirst() {
      if byte == UInt8(ascii: "%"),
        let decoded = Hex.decode(String(decoding: rest.prefix(2), as: UTF8.self).lowercased())?.first,
        !#"/\?#@"#.utf8.contains(decoded)
      {
        bytes.append(decoded)
        rest = rest.dropFirst(2)
      } else {
        bytes.append(byte)
      }
    }
    return String(
      String(decoding: bytes, as: UTF8.self).lowercased().unicodeScalars.filter {
        $0.value > 0x20 && $0.value != 0x7F && !$0.properties.isDefaultIgnorableCodePoint
      })
  }
}
