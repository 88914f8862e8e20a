import Foundation

/// The package as `swift package describe` shows it.
struct PackageDescription: Sendable {
  struct Target: Decodable, Sendable {
    let name: String
    let type: String
    let moduleType: String
    let path: String
    let sources: [String]
    let dependencies: Set<String>

    private enum CodingKeys: String, CodingKey {
      case name, type, path, sources
      case moduleType = "module_type"
      case dependencies = "target_dependencies"
    }

    init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      name = try container.decode(String.self, forKey: .name)
      type = try container.decode(String.self, forKey: .type)
      moduleType = try container.decode(String.self, forKey: .moduleType)
      path = try container.decode(String.self, forKey: .path)
      sources = try container.decode([String].self, forKey: .sources)
      dependencies = try container.decodeIfPresent(Set<String>.self, forKey: .dependencies) ?? []
    }

    var isTrustedBase: Bool { ArrowsTests.trustedFolders.contains { path.hasPrefix($0) } }
  }

  struct Failure: Error, CustomStringConvertible {
    let description: String
  }

  private struct Document: Decodable { let targets: [Target] }

  /// The description of this package, asked for once.
  static let shared = Task { try describe() }

  let root: URL
  let targets: [Target]

  subscript(_ name: String) -> Target? { targets.first { $0.name == name } }

  /// Every target of the package that `name` depends on, directly or not.
  func reach(of name: String) -> Set<String> {
    var reached: Set<String> = []
    var open = self[name]?.dependencies ?? []
    while let next = open.popFirst() {
      if reached.insert(next).inserted { open.formUnion(self[next]?.dependencies ?? []) }
    }
    return reached
  }

  private static func describe() throws -> PackageDescription {
    var root = URL(fileURLWithPath: #filePath)
    for _ in 0..<3 { root.deleteLastPathComponent() }
    let output = Pipe()
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    // `swift test` holds the package's lock while this runs, and without the option both would wait for ever.
    process.arguments = [
      "swift", "package", "--ignore-lock", "--package-path", root.path, "describe", "--type", "json",
    ]
    process.standardOutput = output
    try process.run()
    let data = try output.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    guard process.terminationStatus == 0 else {
      throw Failure(description: "'swift package describe' ended with \(process.terminationStatus)")
    }
    return PackageDescription(root: root, targets: try JSONDecoder().decode(Document.self, from: data).targets)
  }
}
