import Foundation
import Testing

/// Which module may depend on which: DESIGN's arrows, held against the package as SwiftPM describes it and against the
/// imports in the sources.
@Suite("Arrows between the modules")
struct ArrowsTests {
  /// A module of the product with the modules that it may depend on. Rows stand from the ground up: a module may name
  /// only rows above its own, so nothing looks upward and nothing goes round in a circle.
  struct Row: Sendable {
    let name: String
    let mayUse: Set<String>

    init(_ name: String, _ mayUse: Set<String> = []) {
      self.name = name
      self.mayUse = mayUse
    }
  }

  /// DESIGN, "The house". What lies below a permitted module is permitted where MemberImportVisibility asks for it.
  static let rows: [Row] = {
    let judged: Set = ["Wire", "KeyHierarchy", "JOSE", "TransparencyLog", "AgentIdentity"]
    let carried = judged.union(["Seal", "Cosign"])
    let domains = carried.union([
      "CommandGate", "Policy", "Ledger", "Consent", "Rails", "Payments", "KeyService", "WorkloadIdentity",
      "WorkloadService",
    ])
    return [
      Row("Wire"), Row("CP11Kit"), Row("CSecureMemory"),
      Row("SecretMemory", ["CSecureMemory"]),
      Row("PKCS11", ["CP11Kit", "SecretMemory"]),
      Row("KeyHierarchy", ["SecretMemory"]),
      Row("HSMCustody", ["PKCS11", "KeyHierarchy", "SecretMemory"]),
      Row("HSMProbe", ["CP11Kit", "PKCS11", "KeyHierarchy", "SecretMemory"]),
      Row("KeyManifests", ["Wire", "KeyHierarchy"]),
      Row("Envelope", ["SecretMemory"]),
      Row("COSE"),
      Row("JOSE", ["Wire", "KeyHierarchy"]),
      Row("TransparencyLog", ["Wire", "KeyHierarchy"]),
      Row("AgentIdentity", ["Wire", "JOSE", "KeyHierarchy"]),
      Row("Policy", ["Wire"]),
      Row("Cosign", ["Wire", "COSE", "JOSE"]),
      Row("Seal", judged.union(["Cosign"])),
      Row("CommandGate", carried.union(["Policy"])),
      // Modules that carry commands out never import the gate; the daemon composes them.
      Row("Ledger", carried),
      Row("Consent", carried),
      Row("Rails", ["Wire"]),
      // What officers order about keys is a command; the records and their secrets are the trusted base's.
      Row("KeyService", carried.union(["KeyManifests", "Envelope", "SecretMemory"])),
      // The one command that touches consent, ledger and rail together, and the policy that it is decided by.
      Row("Payments", carried.union(["Policy", "Ledger", "Consent", "Rails"])),
      Row("WorkloadIdentity", ["Wire", "JOSE", "KeyHierarchy", "SecretMemory"]),
      // What a process is, and what it is served, knows nothing of gRPC; the daemon composes them.
      Row("WorkloadAttestation", ["Wire", "WorkloadIdentity"]),
      Row(
        "WorkloadService", carried.union(["SecretMemory", "WorkloadIdentity", "WorkloadAttestation"])),
      Row("WorkloadProtocol"),
      Row(
        "WorkloadAPI", ["Wire", "SecretMemory", "WorkloadIdentity", "WorkloadAttestation", "WorkloadProtocol"]),
      Row("StorageSQLite", domains),
      Row("WebConsole", ["Wire"]),
      Row("TrustCoreAPI", domains.union(["WebConsole", "KeyManifests", "Envelope"])),
      Row(
        "TrustCoreDaemon",
        domains.union([
          "StorageSQLite", "TrustCoreAPI", "HSMCustody", "HSMProbe", "PKCS11", "SecretMemory", "KeyManifests",
          "Envelope", "WorkloadAttestation", "WorkloadAPI",
        ])),
      Row("trustcored", ["TrustCoreDaemon", "SecretMemory", "Wire"]),
      // `log verify` reads a database offline, hence the storage and what judges a leaf; never gate or daemon.
      // `approvals show` renders what approvers read from the record itself, apart from the daemon.
      // A token is looked at and probed without the daemon, hence PKCS#11 and the probe.
      Row(
        "OperatorClient",
        ["TrustCoreAPI", "JOSE", "AgentIdentity", "Envelope", "SecretMemory", "WorkloadIdentity", "Wire"]),
      Row(
        "trustcore",
        [
          "TrustCoreAPI", "StorageSQLite", "Payments", "Ledger", "Seal", "TransparencyLog", "Wire", "OperatorClient",
          "HSMCustody", "HSMProbe", "PKCS11", "KeyHierarchy", "SecretMemory", "WorkloadIdentity", "WorkloadAPI",
        ]),
    ]
  }()

  /// The top folders of what an auditor reads first.
  static let trustedFolders = ["HSM/", "Attestation/", "Keys/", "Ceremonies/"]

  /// The demo comes through the public surfaces alone, so it may hold no key to a back door.
  static let closedToDemo: Set = ["TrustCoreDaemon", "StorageSQLite", "HSMCustody"]

  let package: PackageDescription

  init() async throws { package = try await PackageDescription.shared.value }

  @Test("no row of the table looks upward")
  func tableIsLayered() {
    var below: Set<String> = []
    for row in Self.rows {
      #expect(row.mayUse.isSubset(of: below), "\(row.name) looks up at \(row.mayUse.subtracting(below).sorted())")
      #expect(below.insert(row.name).inserted, "\(row.name) stands twice in the table")
    }
  }

  @Test("every target of the product depends on what DESIGN allows and on nothing else")
  func dependenciesAreAllowed() {
    let product = package.targets.filter { !$0.path.hasPrefix("Tests/") }
    #expect(Set(product.map(\.name)) == Set(Self.rows.map(\.name)), "the table and Package.swift name other targets")
    for target in product {
      let allowed = Self.rows.first { $0.name == target.name }?.mayUse ?? []
      let extra = target.dependencies.subtracting(allowed)
      #expect(extra.isEmpty, "\(target.name) may not depend on \(extra.sorted())")
    }
  }

  @Test("the trusted base reaches nothing under Sources/ but Wire")
  func trustedBaseStandsAlone() {
    let trusted = package.targets.filter(\.isTrustedBase)
    #expect(!trusted.isEmpty)
    for target in trusted {
      for reached in package.reach(of: target.name) where reached != "Wire" {
        #expect(package[reached]?.isTrustedBase == true, "\(target.name) reaches \(reached), outside the trusted base")
      }
    }
  }

  @Test("nothing that ships depends on what lies under Tests/, and the demo on no back door")
  func testsStayOutside() {
    for target in package.targets {
      let tests = target.dependencies.filter { package[$0]?.path.hasPrefix("Tests/") == true }
      #expect(target.path.hasPrefix("Tests/") || tests.isEmpty, "\(target.name) depends on \(tests.sorted())")
    }
    let doors = package.reach(of: "DemoDriver").intersection(Self.closedToDemo)
    #expect(doors.isEmpty, "DemoDriver reaches \(doors.sorted())")
  }

  @Test("no target reaches itself")
  func noCycles() {
    for target in package.targets { #expect(!package.reach(of: target.name).contains(target.name), "\(target.name)") }
  }

  @Test("every target has its folder, and the folder has sources")
  func foldersExist() throws {
    for target in package.targets {
      let files = try FileManager.default.contentsOfDirectory(
        atPath: package.root.appendingPathComponent(target.path).path)
      #expect(!files.isEmpty, "\(target.path) is empty")
      #expect(target.type == "system-target" || !target.sources.isEmpty, "\(target.path) has no sources")
    }
  }

  @Test("every module has its one sentence in Sources/README.md")
  func modulesAreDescribed() throws {
    let text = try String(contentsOf: package.root.appendingPathComponent("Sources/README.md"), encoding: .utf8)
    var sentences: [String: [String]] = [:]
    for line in text.split(separator: "\n") where line.hasPrefix("| `") {
      let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
      guard cells.count == 2 else { continue }
      sentences[cells[0].trimmingCharacters(in: ["`"]), default: []].append(cells[1])
    }
    for target in package.targets where target.type != "test" {
      let lines = sentences[target.name] ?? []
      #expect(lines.count == 1, "\(target.name) has \(lines.count) lines in Sources/README.md and needs one")
      #expect(lines.allSatisfy { $0.hasSuffix(".") && $0.count > 10 }, "\(target.name): \(lines) is no sentence")
    }
    let gone = Set(sentences.keys).subtracting(package.targets.map(\.name))
    #expect(gone.isEmpty, "Sources/README.md describes what is no target: \(gone.sorted())")
  }

  @Test("sources import the modules of ours that their target declares, and a shipped target declares no others")
  func importsMatch() throws {
    let ours = Set(package.targets.map(\.name))
    for target in package.targets where target.moduleType == "SwiftTarget" {
      var imported: Set<String> = []
      for source in target.sources {
        let file = package.root.appendingPathComponent(target.path).appendingPathComponent(source)
        for module in Self.imports(of: try String(contentsOf: file, encoding: .utf8)) where ours.contains(module) {
          imported.insert(module)
          #expect(target.dependencies.contains(module), "\(target.path)/\(source) imports \(module), undeclared")
        }
      }
      guard !target.path.hasPrefix("Tests/") else { continue }
      let idle = target.dependencies.subtracting(imported)
      #expect(idle.isEmpty, "\(target.name) declares \(idle.sorted()) and imports none of them")
    }
  }

  @Test(
    "imports are found whatever stands before and after the word",
    arguments: [
      ("import Wire", ["Wire"]), ("public import Wire", ["Wire"]), ("@_spi(Testing) public import PKCS11", ["PKCS11"]),
      ("@testable import Seal  // why", ["Seal"]), ("internal import struct Wire.Problem", ["Wire"]),
      ("/// import Wire", []), ("// import Wire", []), ("let important = Wire", []),
      ("  import Wire\nimport Seal", ["Wire", "Seal"]),
    ])
  func findsImports(text: String, modules: [String]) { #expect(Self.imports(of: text) == modules) }

  /// The modules that a source imports, in order.
  static func imports(of source: String) -> [String] {
    let kinds: Set = ["struct", "class", "enum", "protocol", "typealias", "func", "let", "var", "actor"]
    return source.split(separator: "\n").compactMap { line in
      var words = line.split { $0 == " " || $0 == "\t" }[...]
      while let word = words.first,
        word.hasPrefix("@") || ["public", "package", "internal", "private", "fileprivate"].contains(word)
      {
        words.removeFirst()
      }
      guard words.popFirst() == "import" else { return nil }
      if let word = words.first, kinds.contains(String(word)) { words.removeFirst() }
      return words.first?.split(whereSeparator: { $0 == "." || $0 == ";" }).first.map { String($0) }
    }
  }
}
