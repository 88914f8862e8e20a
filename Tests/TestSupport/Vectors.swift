public import Foundation
public import Testing

/// Other people's test data, found through `TRUSTCORE_VECTORS`.
public enum Vectors {
  /// The folder that holds every area.
  public static var root: URL {
    if let path = ProcessInfo.processInfo.environment["TRUSTCORE_VECTORS"] {
      return URL(fileURLWithPath: path, isDirectory: true)
    }
    let package = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent()
    return package.deletingLastPathComponent().appendingPathComponent("shared/vectors", isDirectory: true)
  }

  /// A file's bytes; `path` is relative to ``root``.
  public static func data(_ path: String) throws -> Data { try Data(contentsOf: root.appendingPathComponent(path)) }

  /// A file parsed with Foundation, so that the code under test is not its own oracle.
  public static func json(_ path: String) throws -> Any { try JSONSerialization.jsonObject(with: data(path)) }

  /// A file's JSON object.
  public static func object(_ path: String) throws -> [String: Any] {
    try #require(try json(path) as? [String: Any], "\(path) holds no JSON object")
  }

  /// The files directly inside a folder, sorted by name.
  public static func files(in folder: String) throws -> [URL] {
    try FileManager.default
      .contentsOfDirectory(at: root.appendingPathComponent(folder), includingPropertiesForKeys: nil)
      .sorted { $0.path < $1.path }
  }

  /// True where the area is present; suites are enabled by it, so that an absent folder shows as a skipped suite.
  public static func has(_ area: String) -> Bool {
    FileManager.default.fileExists(atPath: root.appendingPathComponent(area).path)
  }
}

/// Counts the cases of a suite and prints one line when it is done.
public struct Tally: ~Copyable {
  private let name: String
  private var ran = 0
  private var passed = 0
  private var leftOut: [String: Int] = [:]

  /// Starts counting for the suite called `name`.
  public init(_ name: String) { self.name = name }

  /// Counts a case that ran, and records an issue when it failed.
  public mutating func expect(
    _ holds: Bool, _ label: @autoclosure () -> String, at location: SourceLocation = #_sourceLocation
  ) {
    ran += 1
    if holds { passed += 1 }
    let text = holds ? "" : label()
    #expect(holds, "\(name): \(text)", sourceLocation: location)
  }

  /// Counts a case that is left out, with the reason.
  public mutating func leaveOut(_ reason: String) { leftOut[reason, default: 0] += 1 }

  /// Prints the line.
  public consuming func report() {
    let reasons = leftOut.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: "; ")
    print(
      "vectors: \(name): \(ran) ran, \(passed) passed, \(leftOut.values.reduce(0, +)) left out\(reasons.isEmpty ? "" : " (\(reasons))")"
    )
  }
}
