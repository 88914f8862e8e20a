public import KeyHierarchy

extension KeyManifest {
  /// Where a manifest and the software disagree about a key.
  public enum Difference: Sendable, Hashable, CustomStringConvertible {
    /// The software uses a key that the manifest does not declare.
    case missing(KeyName)
    /// The manifest declares a key that the software does not use.
    case extra(KeyName)
    /// Both name the label, but another token or algorithm.
    case differs(declared: KeyName, used: KeyName)

    /// What to do.
    public var description: String {
      switch self {
      case .missing(let key): "keys.\(key.label) is missing: add it (\(Self.words(key)))"
      case .extra(let key): "keys.\(key.label) is not used by this version: remove it"
      case .differs(let declared, let used):
        "keys.\(used.label) is declared as \(Self.words(declared)): make it \(Self.words(used))"
      }
    }

    private static func words(_ key: KeyName) -> String {
      "token \(key.token.rawValue), algorithm \(key.algorithm.rawValue)"
    }
  }

  /// What differs between the declared keys and those that the software uses, sorted by label; empty where they agree.
  /// A declared `-b` key is no difference where its `-a` key is used with the same token and algorithm: it is the next
  /// one, prepared. Nor is an optional key that is not declared.
  public func differences(from used: [KeyName] = KeyName.all + KeyName.prepared) -> [Difference] {
    let declared = Dictionary(keys.map { ($0.name.label, $0.name) }) { first, _ in first }
    let expected = Dictionary(used.map { ($0.label, $0) }) { first, _ in first }
    return Set(declared.keys).union(expected.keys).sorted().compactMap { label in
      switch (declared[label], expected[label]) {
      case (let key?, let other?): key == other ? nil : .differs(declared: key, used: other)
      case (nil, let key?): key.isOptional ? nil : .missing(key)
      case (let key?, nil): Self.isNext(key, of: expected) ? nil : .extra(key)
      case (nil, nil): nil
      }
    }
  }

  private static func isNext(_ key: KeyName, of used: [String: KeyName]) -> Bool {
    guard key.label.hasSuffix("-b"), let first = used[key.label.dropLast(2) + "-a"] else { return false }
    return first.token == key.token && first.algorithm == key.algorithm
  }
}
