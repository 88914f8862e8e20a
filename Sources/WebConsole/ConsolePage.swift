/// What a browser gets: everything that the answer to a `GET` under `/console` consists of.
public struct ConsolePage: Sendable {
  /// The HTTP status.
  public let status: Int
  /// The value of `Content-Type`.
  public let contentType: String
  /// All further header fields, in lower case, each once.
  public let headers: [(name: String, value: String)]
  /// The body's bytes, UTF-8.
  public let body: [UInt8]

  /// A page. Nothing may be loaded but our two assets, nothing may frame it, and no form may leave it (CSP Level 3).
  init(status: Int = 200, _ html: HTML) {
    self.status = status
    contentType = "text/html; charset=utf-8"
    headers =
      [
        (
          "content-security-policy",
          "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; frame-ancestors 'none'; "
            + "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
        ),
        ("cache-control", "no-store"),
        ("permissions-policy", "publickey-credentials-get=(self), publickey-credentials-create=(self)"),
      ] + Self.common
    body = Array(html.source.utf8)
  }

  /// An asset, which a browser keeps but asks about each time, so that a new release takes effect at once.
  init(asset: [UInt8], contentType: String) {
    status = 200
    self.contentType = contentType
    headers = [("cache-control", "no-cache")] + Self.common
    body = asset
  }

  private static let common = [
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
  ]
}
