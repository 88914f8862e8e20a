import NIOCore

/// An `https` URL that a bundle is fetched from (SPIFFE Federation sections 5.2.1.1 and 5.2.2.1: no user in it).
struct EndpointURL: Sendable, Equatable, CustomStringConvertible {
  /// A DNS name, an IPv4 address, or an IPv6 address without its brackets.
  let host: String
  let port: Int
  /// Path and query as they are asked for.
  let target: String

  static let maximumBytes = 2048
  private static let scheme = "https://"

  /// Reads a URL. A fragment is refused: it would say nothing to the endpoint.
  init(_ text: String) throws(FederationError) {
    guard text.utf8.count <= Self.maximumBytes, text.lowercased().hasPrefix(Self.scheme),
      text.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "#") })
    else {
      throw FederationError(
        .url, "the URL is https, of at most \(Self.maximumBytes) bytes of printable ASCII, without fragment")
    }
    let rest = text.dropFirst(Self.scheme.count)
    let authority = rest.prefix { $0 != "/" && $0 != "?" }
    let target = rest[authority.endIndex...]
    self.target = target.hasPrefix("/") ? String(target) : "/" + target
    // A port follows the last colon, which in an IPv6 address stands before the closing bracket.
    let colon = authority.lastIndex(of: ":").flatMap { authority[$0...].contains("]") ? nil : $0 }
    let host = authority[..<(colon ?? authority.endIndex)].lowercased()
    let digits = colon.map { authority[authority.index(after: $0)...] } ?? "443"
    guard digits.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
      let port = Int(digits), (1...65_535).contains(port), let name = Self.name(host)
    else {
      throw FederationError(.url, "the URL needs a DNS name or an address, no user, and a port from 1 to 65535 if any")
    }
    (self.host, self.port) = (name, port)
  }

  private static func name(_ host: String) -> String? {
    if host.hasPrefix("["), host.hasSuffix("]") {
      let address = String(host.dropFirst().dropLast())
      return address.contains(":") && !address.contains("%") && isAddress(address) ? address : nil
    }
    let labels = host.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    let isName =
      host.utf8.count <= 253
      && labels.allSatisfy { label in
        (1...63).contains(label.count)
          && label.allSatisfy {
            switch $0 {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"),
              UInt8(ascii: "_"):
              true
            default: false
            }
          }
      }
    return isName ? host : nil
  }

  private static func isAddress(_ host: String) -> Bool { (try? SocketAddress(ipAddress: host, port: 0)) != nil }

  /// The name for TLS; nil for an address, which is verified as one and not sent (RFC 6066 section 3).
  var serverName: String? { Self.isAddress(host) ? nil : host }

  /// The `Host` field (RFC 9110 section 7.2).
  var authority: String {
    (host.contains(":") ? "[\(host)]" : host) + (port == 443 ? "" : ":\(port)")
  }

  var description: String { Self.scheme + authority + target }

  /// Where a redirect leads: an `https` URL, or an absolute path at the same endpoint.
  func following(_ location: String) throws(FederationError) -> EndpointURL {
    do {
      return try EndpointURL(
        location.hasPrefix("/") && !location.hasPrefix("//") ? Self.scheme + authority + location : location)
    } catch {
      throw FederationError(.redirect, "'\(authority)' redirects to no URL of a bundle endpoint: \(error.message)")
    }
  }
}
