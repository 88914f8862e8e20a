@testable import AgentIdentity

/// HTTP/1.1 messages from their text, for tests.
enum RawMessage {
  /// Parses a message; `scheme` is what the server would know.
  static func parse(_ text: String, scheme: String = "https") -> (message: HTTPMessage, body: [UInt8]) {
    var lines = text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    let start = lines.removeFirst()
    var headers: [HTTPMessage.Field] = []
    while let line = lines.first {
      lines.removeFirst()
      if line.isEmpty { break }
      if line.hasPrefix(" "), let last = headers.popLast() {
        headers.append(HTTPMessage.Field(last.name, last.value + "\r\n" + line))
        continue
      }
      let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      headers.append(HTTPMessage.Field(String(parts[0]), String(parts[1])))
    }
    let words = start.split(separator: " ").map(String.init)
    let body = Array(lines.joined(separator: "\n").utf8)
    if words[0].hasPrefix("HTTP/") {
      return (HTTPMessage(status: Int(words[1]) ?? 0, headers: headers), body)
    }
    let host = headers.first { $0.name == "Host" }?.value.trimmed ?? "www.example.com"
    var target = words[1]
    if target.hasPrefix("https://") { target = "/" + target.split(separator: "/").dropFirst(2).joined(separator: "/") }
    let pieces = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
    return (
      HTTPMessage(
        HTTPMessage.Target(
          method: words[0], scheme: scheme, authority: host, path: pieces[0], query: pieces.count > 1 ? pieces[1] : nil,
          requestTarget: words[1]), headers: headers), body
    )
  }
}

extension String {
  fileprivate var trimmed: String { String(drop { $0 == " " }) }
}
