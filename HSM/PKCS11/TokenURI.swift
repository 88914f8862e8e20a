internal import CP11Kit
internal import Glibc

/// A token, by an RFC 7512 URI: `pkcs11:token=log;serial=1f2e3d4c5b6a7988`. Equality is by its canonical text.
public struct TokenURI: Hashable, Sendable, CustomStringConvertible {
  /// The token's label (`token`); nil for any.
  public let label: String?
  /// Its serial number (`serial`).
  public let serial: String?
  /// Its model (`model`).
  public let model: String?
  /// Who made it (`manufacturer`).
  public let manufacturer: String?
  /// The URI, as p11-kit writes it.
  public let description: String

  static let attributes: Set<Substring> = ["token", "serial", "model", "manufacturer"]

  /// Parses a URI of at most 1,024 bytes, with the attributes above and no others, each once.
  ///
  /// - Throws: ``PKCS11Error/Code-swift.struct/argumentsBad``, for a PIN in it above all: URIs end up in logs.
  public init(_ uri: String) throws(PKCS11Error) {
    self = try unsafe URIText.parse(uri, Self.attributes) { parsed throws(PKCS11Error) in try unsafe TokenURI(parsed) }
  }

  /// Names a token.
  ///
  /// - Throws: ``PKCS11Error/Code-swift.struct/argumentsBad`` for what no token can be called: 32 bytes of UTF-8 for label
  ///   and manufacturer, 16 for serial number and model, no NUL.
  public init(
    label: String? = nil, serial: String? = nil, model: String? = nil, manufacturer: String? = nil
  ) throws(PKCS11Error) {
    let parts = [("model", model), ("manufacturer", manufacturer), ("serial", serial), ("token", label)]
    try self.init(
      "pkcs11:"
        + parts.compactMap { name, value in value.map { "\(name)=\(URIText.encode($0.utf8))" } }.joined(separator: ";"))
  }

  init(_ parsed: OpaquePointer) throws(PKCS11Error) {
    guard let info = unsafe p11_kit_uri_get_token_info(parsed)?.pointee else { throw URIText.unfit("no memory") }
    // Unset is zeros, empty is blanks.
    label = info.label.0 == 0 ? nil : text(info.label)
    serial = info.serialNumber.0 == 0 ? nil : text(info.serialNumber)
    model = info.model.0 == 0 ? nil : text(info.model)
    manufacturer = info.manufacturerID.0 == 0 ? nil : text(info.manufacturerID)
    description = try unsafe URIText.format(parsed, P11_KIT_URI_FOR_TOKEN)
  }

  /// Whether a token is the one, as p11-kit decides it.
  func matches(_ info: CK_TOKEN_INFO) throws(PKCS11Error) -> Bool {
    try unsafe URIText.parse(description, Self.attributes) { parsed in
      var info = info
      return unsafe p11_kit_uri_match_token_info(parsed, &info) == 1
    }
  }
}

/// Objects, by an RFC 7512 URI: `pkcs11:token=log;object=log-a;type=private`. Equality is by its canonical text.
public struct ObjectURI: Hashable, Sendable, CustomStringConvertible {
  /// The token that they are on; it matches any when it names nothing.
  public let token: TokenURI
  /// CKA_LABEL (`object`); nil for any.
  public let label: String?
  /// CKA_ID (`id`).
  public let id: [UInt8]?
  /// CKA_CLASS (`type`).
  public let type: ObjectClass?
  /// The URI, as p11-kit writes it.
  public let description: String

  private static let attributes = TokenURI.attributes.union(["object", "id", "type"])

  /// Parses a URI of at most 1,024 bytes, with a token's attributes and those above, each once.
  ///
  /// - Throws: ``PKCS11Error/Code-swift.struct/argumentsBad``, also for one that names no attribute of an object.
  public init(_ uri: String) throws(PKCS11Error) {
    self = try unsafe URIText.parse(uri, Self.attributes) { parsed throws(PKCS11Error) in try unsafe ObjectURI(parsed) }
  }

  /// Names objects on a token.
  ///
  /// - Throws: As ``init(_:)``.
  public init(
    on token: TokenURI? = nil, label: String? = nil, id: [UInt8]? = nil, type: ObjectClass? = nil
  ) throws(PKCS11Error) {
    let parts = [
      id.map { "id=" + URIText.encode($0) }, label.map { "object=" + URIText.encode($0.utf8) },
      type.map { "type=" + $0.uriName },
    ]
    let prefix = token.map { $0.description == "pkcs11:" ? $0.description : $0.description + ";" } ?? "pkcs11:"
    try self.init(prefix + parts.compactMap(\.self).joined(separator: ";"))
  }

  private init(_ parsed: OpaquePointer) throws(PKCS11Error) {
    func value(_ type: UInt) -> [UInt8]? {
      guard let attribute = unsafe p11_kit_uri_get_attribute(parsed, type)?.pointee else { return nil }
      return unsafe [UInt8](UnsafeRawBufferPointer(start: attribute.pValue, count: Int(attribute.ulValueLen)))
    }
    token = try unsafe TokenURI(parsed)
    label = value(CKA_LABEL).map { String(decoding: $0, as: UTF8.self) }
    id = value(CKA_ID)
    let number = value(CKA_CLASS).map { $0.reversed().reduce(UInt(0)) { $0 << 8 | UInt($1) } }
    type = ObjectClass.allCases.first { $0.rawValue == number }
    guard label != nil || id != nil || type != nil else {
      throw URIText.unfit("an object URI names the object: pkcs11:token=LABEL;object=LABEL;type=private")
    }
    description = try unsafe URIText.format(parsed, P11_KIT_URI_FOR_OBJECT_ON_TOKEN)
  }

  /// What a search for them asks for.
  public var template: [Attribute] {
    [label.map(Attribute.label), id.map { .bytes(.id, $0) }, type.map(Attribute.objectClass)].compactMap(\.self)
  }
}

extension Session {
  /// The objects that a URI names.
  ///
  /// - Parameter limit: Stops there.
  /// - Throws: ``PKCS11Error/Code-swift.struct/tokenNotPresent`` when the URI names another token than the session's.
  public func findObjects(_ uri: ObjectURI, limit: Int = 64) throws(PKCS11Error) -> [ObjectHandle] {
    guard try uri.token.matches(module.info(slot)) else {
      throw PKCS11Error(.tokenNotPresent, in: "C_GetTokenInfo", "the session is with another token than \(uri)")
    }
    return try findObjects(uri.template, limit: limit)
  }
}

extension ObjectClass {
  /// The `type` of RFC 7512, section 2.3.
  fileprivate var uriName: String {
    switch self {
    case .publicKey: "public"
    case .privateKey: "private"
    case .secretKey: "secret-key"
    case .certificate: "cert"
    case .data: "data"
    }
  }
}

/// What p11-kit does with a URI, behind checks that it does not make: it takes a NUL in a field for a field that is not
/// set, the last of two values for the one, and a PIN for welcome.
enum URIText {
  static func unfit(_ reason: String) -> PKCS11Error { PKCS11Error(.argumentsBad, in: "p11_kit_uri_parse", reason) }

  static func parse<R>(
    _ uri: String, _ known: Set<Substring>, _ read: (OpaquePointer) throws(PKCS11Error) -> R
  ) throws(PKCS11Error) -> R {
    guard uri.utf8.count <= 1024, uri.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
      throw unfit("a PKCS#11 URI has at most 1024 characters of ASCII, no blanks")
    }
    let parts = uri.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let attributes = parts.dropFirst().first.map { $0.split(omittingEmptySubsequences: false) { ";?&".contains($0) } }
    var seen: Set<Substring> = []
    for attribute in attributes ?? [] where attributes != [""] {
      let name = attribute.prefix { $0 != "=" }
      guard !name.hasPrefix("pin") else { throw unfit("a URI must not carry a PIN: give the PIN file beside it") }
      guard known.contains(name) else { throw unfit("unknown attribute \(name.prefix(32)) in a PKCS#11 URI") }
      guard !TokenURI.attributes.contains(name) || !attribute.contains("%00") else { throw unfit("NUL in \(name)") }
      guard seen.insert(name).inserted else { throw unfit("a PKCS#11 URI has \(name) twice") }
    }
    guard let parsed = unsafe p11_kit_uri_new() else { throw unfit("no memory for a URI") }
    defer { unsafe p11_kit_uri_free(parsed) }
    guard unsafe p11_kit_uri_parse(uri, P11_KIT_URI_FOR_OBJECT_ON_TOKEN, parsed) == 0,
      unsafe p11_kit_uri_any_unrecognized(parsed) == 0
    else { throw unfit("no RFC 7512 URI, or a value is too long") }
    return try unsafe read(parsed)
  }

  static func format(_ parsed: OpaquePointer, _ type: P11KitUriType) throws(PKCS11Error) -> String {
    var text: UnsafeMutablePointer<CChar>?
    guard unsafe p11_kit_uri_format(parsed, type, &text) == 0, let text = unsafe text else {
      throw unfit("no memory for a URI")
    }
    defer { unsafe free(text) }
    return unsafe String(cString: text)
  }

  /// Encodes what is not unreserved (RFC 3986, section 2.1).
  static func encode(_ bytes: some Sequence<UInt8>) -> String {
    bytes.map { byte in
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."):
        String(UnicodeScalar(byte))
      default: "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
      }
    }.joined()
  }
}
