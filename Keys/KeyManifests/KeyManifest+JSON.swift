internal import KeyHierarchy
public import Wire

extension KeyManifest {
  /// The manifest as data: durations in seconds, sizes in bytes, lists sorted. Manifests that say the same have the
  /// same canonical text, however their YAML is laid out.
  public var json: JSONValue {
    var keys = JSONObject()
    for key in self.keys { keys[key.name.label] = key.json }
    var classes = JSONObject()
    for dataClass in dataClasses { classes[dataClass.name] = dataClass.json }
    return [
      "version": 1, "environment": .string(environment), "keys": .object(keys), "data_classes": .object(classes),
    ]
  }
}

extension KeyManifest.HSMKey {
  fileprivate var json: JSONValue {
    let rotation: JSONValue =
      switch rotation {
      case .ceremony: "ceremony"
      case .every(let period): ["every": period.json]
      }
    return [
      "token": .string(name.token.rawValue), "algorithm": .string(name.algorithm.rawValue), "lifetime": lifetime.json,
      "rotation": rotation, "uses": .array(uses.map { .string($0.rawValue) }),
    ]
  }
}

extension DataClass {
  /// The class as data, as in ``KeyManifest/json``.
  public var json: JSONValue {
    let tenants: JSONValue =
      switch tenants {
      case .all: "*"
      case .these(let tenants): .array(tenants.map { .string($0) })
      }
    return [
      "algorithm": .string(algorithm.rawValue), "rotate_every": rotateEvery.json,
      "retire_after": retireAfter?.json ?? "never",
      "may_encrypt": .array(mayEncrypt.map { .string($0.description) }),
      "may_decrypt": .array(mayDecrypt.map { .string($0.description) }),
      "data_key": [
        "max_age": dataKey.age.json, "max_uses": .integer(dataKey.uses), "max_bytes": .integer(dataKey.bytes),
      ],
      "destroy_after": destroyAfter.json, "tenants": tenants,
    ]
  }
}

extension Duration {
  fileprivate var json: JSONValue { .integer(components.seconds) }
}
