internal import Yams

/// A node of a manifest with the path that leads to it.
struct ManifestNode {
  let node: Node
  let path: String

  var line: Int { node.mark?.line ?? 0 }

  /// The text as it stands, where this is a scalar.
  var scalar: String? { if case .scalar(let scalar) = node { scalar.string } else { nil } }

  var isMapping: Bool { if case .mapping = node { true } else { false } }

  func error(_ code: ManifestError.Code, _ message: String) -> ManifestError {
    ManifestError(code, line: line, member: path, message)
  }

  /// A text: a quoted word, or a plain one that other readers of YAML take for a text as well (not `no`, `1.0`, `~`).
  func text() throws(ManifestError) -> String {
    guard case .scalar(let scalar) = node, !scalar.string.isEmpty else { throw error(.shape, "write a text here") }
    guard scalar.style != .plain || Resolver.default.resolveTag(of: node) == .str else {
      throw error(.shape, "other readers take '\(scalar.string.prefix(64))' for no text; put it in quotes or rename it")
    }
    return scalar.string
  }

  /// A plain decimal integer without sign, leading zeros, fraction or exponent.
  func integer(in range: ClosedRange<Int64>) throws(ManifestError) -> Int64 {
    guard case .scalar(let scalar) = node, scalar.style == .plain else { throw error(.shape, "write a number here") }
    guard let value = ManifestUnits.integer(scalar.string[...]), range.contains(value) else {
      throw error(.value, "write digits alone, from \(range.lowerBound) to \(range.upperBound)")
    }
    return value
  }

  /// A name: 1 to 64 of `a-z`, `0-9` and `-`, not `-` first.
  func name() throws(ManifestError) -> String {
    let text = try text()
    guard text.isManifestName else {
      throw error(.value, "a name has 1 to 64 of a-z, 0-9 and '-', and '-' never first; rename it")
    }
    return text
  }

  /// One of an enumeration's texts.
  func choice<Value: RawRepresentable & CaseIterable>(_: Value.Type = Value.self) throws(ManifestError) -> Value
  where Value.RawValue == String {
    guard let value = Value(rawValue: try text()) else {
      throw error(.value, "write one of: " + Value.allCases.map(\.rawValue).joined(separator: ", "))
    }
    return value
  }

  /// The elements of a list of `1...limit` texts, none twice.
  func list<Element: Hashable>(
    limit: Int, _ read: (ManifestNode) throws(ManifestError) -> Element
  ) throws(ManifestError) -> [Element] {
    guard case .sequence(let sequence) = node else { throw error(.shape, "write a list here, such as [a, b]") }
    guard !sequence.isEmpty else { throw error(.value, "the list is empty; name at least one") }
    guard sequence.count <= limit else {
      throw error(.tooMany, "\(sequence.count) elements stand here; at most \(limit) are allowed")
    }
    var seen: Set<Element> = []
    var elements: [Element] = []
    for (index, element) in sequence.enumerated() {
      let element = ManifestNode(node: element, path: "\(path)[\(index)]")
      let value = try read(element)
      guard seen.insert(value).inserted else { throw element.error(.duplicate, "this stands twice; keep one") }
      elements.append(value)
    }
    return elements
  }

  /// The named members of a mapping, at most `limit`.
  func members(limit: Int) throws(ManifestError) -> [(name: ManifestNode, value: ManifestNode)] {
    guard case .mapping(let mapping) = node else { throw error(.shape, "write members here, as 'name: value'") }
    guard mapping.count <= limit else {
      throw error(.tooMany, "\(mapping.count) members stand here; at most \(limit) are allowed")
    }
    // Yams refuses names that stand twice. It takes `on` and "on" for two, but no reader below takes a plain `on`.
    var members: [(ManifestNode, ManifestNode)] = []
    for (key, value) in mapping {
      guard case .scalar(let scalar) = key else {
        throw ManifestNode(node: key, path: path).error(.shape, "a member's name is one word")
      }
      let memberPath = child(String(scalar.string.prefix(64)))
      members.append((ManifestNode(node: key, path: memberPath), ManifestNode(node: value, path: memberPath)))
    }
    return members
  }

  /// The members of a mapping that has exactly these.
  func object(_ names: [String]) throws(ManifestError) -> ManifestObject {
    var values: [String: ManifestNode] = [:]
    for member in try members(limit: 64) {
      guard let name = member.name.scalar, names.contains(name) else {
        throw member.name.error(
          .unknownMember, "manifests have no such member; here stand " + names.joined(separator: ", "))
      }
      values[name] = member.value
    }
    if let missing = names.first(where: { values[$0] == nil }) {
      throw ManifestError(
        .missingMember, line: line, member: child(missing), "this member is missing; add it")
    }
    return ManifestObject(parent: self, values: values)
  }

  private func child(_ name: String) -> String { path.isEmpty ? name : "\(path).\(name)" }
}

/// Members that are known to be there.
struct ManifestObject {
  let parent: ManifestNode
  let values: [String: ManifestNode]

  subscript(name: String) -> ManifestNode { values[name] ?? parent }
}

extension String {
  /// True for 1 to 64 of `a-z`, `0-9` and `-`, where `-` is not first: a name must not look like an option.
  var isManifestName: Bool {
    (1...64).contains(utf8.count) && utf8.first != UInt8(ascii: "-")
      && utf8.allSatisfy {
        switch $0 {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"): true
        default: false
        }
      }
  }
}
