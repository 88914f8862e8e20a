internal import KeyHierarchy
internal import Wire

extension KeyManifest {
  /// Reads a manifest and refuses whatever it does not know.
  /// - Parameter bytes: plain YAML in ASCII, at most ``maximumBytes``; `Keys/Manifests/production.yaml` explains it.
  public init(yaml bytes: [UInt8]) throws(ManifestError) {
    let root = ManifestNode(node: try PlainYAML.parse(bytes, maximumBytes: Self.maximumBytes), path: "")
    let object = try root.object(["version", "environment", "keys", "data_classes"])
    _ = try object["version"].integer(in: 1...1)
    environment = try object["environment"].name()
    keys = try Self.named(object["keys"], HSMKey.init).sorted { $0.name.label < $1.name.label }
    dataClasses = try Self.named(object["data_classes"], DataClass.init).sorted { $0.name < $1.name }
  }

  /// The manifest of `trustcored serve --dev`, compiled in.
  public static func development() throws(ManifestError) -> KeyManifest { try KeyManifest(yaml: developmentText) }

  /// Its text.
  public static var developmentText: [UInt8] { PackageResources.development_yaml }

  private static func named<Value>(
    _ node: ManifestNode, _ read: (String, ManifestNode) throws(ManifestError) -> Value
  ) throws(ManifestError) -> [Value] {
    var values: [Value] = []
    for member in try node.members(limit: maximumKeys) { values.append(try read(try member.name.name(), member.value)) }
    return values
  }
}

extension KeyManifest.HSMKey {
  fileprivate init(_ label: String, _ node: ManifestNode) throws(ManifestError) {
    let object = try node.object(["token", "algorithm", "lifetime", "rotation", "uses"])
    let token: TokenRole = try object["token"].choice()
    guard let algorithm = KeyAlgorithm(rawValue: try object["algorithm"].text()) else {
      throw object["algorithm"].error(.value, "no such algorithm; write one of KeyAlgorithm's names, such as Ed25519")
    }
    name = KeyName(token, label, algorithm)
    lifetime = try object["lifetime"].duration(in: 86_400...30 * ManifestUnits.year)
    uses = try object["uses"].list(limit: KeyUse.allCases.count) { (use) throws(ManifestError) in
      try use.choice(KeyUse.self)
    }.sorted { $0.rawValue < $1.rawValue }
    let allowed = KeyUse.allowed(token, algorithm)
    if allowed.isEmpty {
      throw object["algorithm"].error(.conflict, "the \(token.rawValue) token takes no \(algorithm.rawValue) key")
    }
    if let use = uses.first(where: { !allowed.contains($0) }) {
      throw object["uses"].error(
        .conflict,
        "a \(algorithm.rawValue) key on the \(token.rawValue) token is not for \(use.rawValue), but for "
          + allowed.map(\.rawValue).joined(separator: ", "))
    }
    rotation = try Self.rotation(object["rotation"], lifetime)
    if token == .root, rotation != .ceremony {
      throw object["rotation"].error(.conflict, "the root token is logged in during ceremonies only; write ceremony")
    }
  }

  private static func rotation(
    _ node: ManifestNode, _ lifetime: Duration
  ) throws(ManifestError) -> KeyManifest.Rotation {
    guard node.isMapping else {
      guard try node.text() == "ceremony" else { throw node.error(.value, "write ceremony, or {every: 90d}") }
      return .ceremony
    }
    let every = try node.object(["every"])["every"]
    let period = try every.duration(in: 86_400...30 * ManifestUnits.year)
    guard period <= lifetime else { throw every.error(.conflict, "the key's lifetime ends first; rotate before it") }
    return .every(period)
  }
}

extension DataClass {
  fileprivate init(_ name: String, _ node: ManifestNode) throws(ManifestError) {
    let object = try node.object([
      "algorithm", "rotate_every", "retire_after", "may_encrypt", "may_decrypt", "data_key", "destroy_after", "tenants",
    ])
    self.name = name
    algorithm = try object["algorithm"].choice()
    rotateEvery = try object["rotate_every"].duration(in: 86_400...10 * ManifestUnits.year)
    retireAfter = try Self.retireAfter(object["retire_after"])
    mayEncrypt = try Self.principals(object["may_encrypt"])
    mayDecrypt = try Self.principals(object["may_decrypt"])
    dataKey = try DataKeyBounds(object["data_key"])
    destroyAfter = try object["destroy_after"].duration(in: 0...30 * 86_400)
    tenants = try Self.tenants(object["tenants"])
  }

  private static func retireAfter(_ node: ManifestNode) throws(ManifestError) -> Duration? {
    if node.scalar == "never" { return nil }
    return try node.duration(in: 86_400...100 * ManifestUnits.year)
  }

  private static func principals(_ node: ManifestNode) throws(ManifestError) -> [PrincipalSelector] {
    try node.list(limit: 64) { (element) throws(ManifestError) in
      let text = try element.text()
      if let kind = PrincipalKind(rawValue: text) { return .kind(kind) }
      guard text.hasPrefix("id:"), String(text.dropFirst(3)).isIdentifier else {
        throw element.error(
          .value,
          "write " + PrincipalKind.allCases.map(\.rawValue).joined(separator: ", ")
            + ", or id: and a principal's identifier")
      }
      return .id(String(text.dropFirst(3)))
    }.sorted { $0.description < $1.description }
  }

  private static func tenants(_ node: ManifestNode) throws(ManifestError) -> Tenants {
    if let scalar = node.scalar {
      guard scalar == "*" else { throw node.error(.value, "write \"*\" for all tenants, or a list of them") }
      return .all
    }
    let tenants = try node.list(limit: 1024) { (element) throws(ManifestError) in
      let text = try element.text()
      guard text.isIdentifier else {
        throw element.error(.value, "a tenant's identifier has 1 to 64 letters, digits and '.', '_', '-'")
      }
      return text
    }
    return .these(tenants.sorted())
  }
}

extension DataClass.DataKeyBounds {
  fileprivate init(_ node: ManifestNode) throws(ManifestError) {
    let object = try node.object(["max_age", "max_uses", "max_bytes"])
    age = try object["max_age"].duration(in: 1...86_400)
    // DESIGN, "Keys": at most 2^32 encryptions with random IVs per key.
    uses = try object["max_uses"].integer(in: 1...1 << 32)
    bytes = try object["max_bytes"].size(in: 1 << 10...1 << 50)
  }
}
