import Foundation
import PKCS11
import TestSupport
import Testing

/// A file of Wycheproof's.
struct VectorFile {
  struct Group {
    let fields: [String: Any]
    var tests: [Case] { (fields["tests"] as? [[String: Any]] ?? []).map(Case.init) }
    func number(_ name: String) -> Int? { fields[name] as? Int }
    func text(_ name: String) -> String { fields[name] as? String ?? "" }
    /// A value of the group's public key.
    func key(_ name: String) -> [UInt8] {
      hexadecimal((fields["publicKey"] as? [String: Any])?[name] as? String ?? "")
    }
  }

  struct Case {
    let fields: [String: Any]
    var result: String { fields["result"] as? String ?? "" }
    var isValid: Bool { result == "valid" }
    var label: String { "case \(fields["tcId"] ?? "?") (\(fields["comment"] ?? "")), \(result)" }
    func bytes(_ name: String) -> [UInt8] { hexadecimal(fields[name] as? String ?? "") }
  }

  let groups: [Group]

  init(_ name: String) throws {
    groups = try #require(try Vectors.object("wycheproof/\(name)_test.json")["testGroups"] as? [[String: Any]])
      .map(Group.init)
  }
}

private func hexadecimal(_ text: String) -> [UInt8] {
  var bytes: [UInt8] = []
  bytes.reserveCapacity(text.utf8.count / 2)
  var rest = Substring(text)
  while let byte = UInt8(rest.prefix(2), radix: 16) {
    bytes.append(byte)
    rest = rest.dropFirst(2)
  }
  return bytes
}

extension Result {
  /// The code of a PKCS#11 error.
  var refusal: PKCS11Error.Code? {
    guard case .failure(let error) = self else { return nil }
    return (error as? PKCS11Error)?.code
  }
}
