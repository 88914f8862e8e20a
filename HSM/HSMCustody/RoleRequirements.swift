import KeyHierarchy
import PKCS11

extension KeyAlgorithm {
  /// How a key of this algorithm signs or authenticates; nil when it does neither.
  var scheme: SignatureScheme? {
    switch self {
    case .ecdsaP256: .ecdsaP256
    case .ecdsaP384: .ecdsaP384
    case .ed25519: .ed25519
    case .rsa2048: .rsa2048
    case .hmacSHA256: .hmacSHA256
    case .aes256Wrap: nil
    }
  }

  /// Mechanisms of which one must be there, for these uses.
  fileprivate var requirement: ([MechanismType], MechanismInfo.Uses) {
    switch self {
    case .ecdsaP256, .ecdsaP384: ([.ecdsa], .sign)
    case .ed25519: ([.eddsa], .sign)
    case .rsa2048: ([.rsaPKCS], .sign)
    case .hmacSHA256: ([.hmacSHA256], .sign)
    case .aes256Wrap: (WrappingMechanism.choices, [.wrap, .unwrap])
    }
  }
}

extension TokenRole {
  /// What the role's token must be able to do: what its keys need, and for `data` the mode of the keys that it unwraps.
  private var requirements: [([MechanismType], MechanismInfo.Uses)] {
    var result: [([MechanismType], MechanismInfo.Uses)] = []
    for key in KeyName.all where key.token == self && !key.isOptional {
      let requirement = key.algorithm.requirement
      if !result.contains(where: { $0.0 == requirement.0 }) { result.append(requirement) }
    }
    if self == .data { result.append(([.aesGCM], [.encrypt, .decrypt])) }
    return result
  }

  /// Lines of the table of missing mechanisms; none when the token fits its role.
  func missingMechanisms(
    _ lookUp: (MechanismType) throws(PKCS11Error) -> MechanismInfo.Uses?
  ) throws(PKCS11Error) -> [String] {
    var missing: [String] = []
    for (mechanisms, uses) in requirements {
      var offered: [MechanismInfo.Uses] = []
      for mechanism in mechanisms { if let found = try lookUp(mechanism) { offered.append(found) } }
      if !offered.contains(where: { $0.isSuperset(of: uses) }) {
        let names = [
          (MechanismInfo.Uses.sign, "sign"), (.wrap, "wrap"), (.unwrap, "unwrap"), (.encrypt, "encrypt"),
          (.decrypt, "decrypt"),
        ].filter { uses.contains($0.0) }.map(\.1).joined(separator: "+")
        let mechanism = mechanisms.map(\.description).joined(separator: " or ")
        missing.append("\(rawValue) | \(mechanism) | \(names) | \(offered.isEmpty ? "absent" : "not for this use")")
      }
    }
    return missing
  }
}
