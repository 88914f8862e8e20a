public import KeyHierarchy
internal import PKCS11

/// Whether a token can serve a role.
public struct RoleJudgement: Sendable, Hashable {
  /// The role.
  public let role: TokenRole
  /// What the token lacks, a line each; none when it can serve.
  public let missing: [String]
  /// Whether nothing is missing.
  public var serves: Bool { missing.isEmpty }
}

/// A mechanism, or one of several that do the same, with the uses that a role makes of it.
private struct Requirement: Equatable {
  let anyOf: [MechanismType]
  let uses: MechanismInfo.Uses

  static func one(_ mechanism: MechanismType, _ uses: MechanismInfo.Uses) -> Requirement {
    Requirement(anyOf: [mechanism], uses: uses)
  }

  /// What is missing of it; nil when it is met.
  func lack(in mechanisms: [HSMProfile.Mechanism]) -> String? {
    let offered = mechanisms.filter { anyOf.contains($0.type) }
    if offered.contains(where: { $0.uses.isSuperset(of: uses) }) { return nil }
    let names = anyOf.map(MechanismNames.name).joined(separator: " or ")
    return "\(names) for \(uses.names.joined(separator: " and ")), \(offered.isEmpty ? "absent" : "not for this use")"
  }
}

extension KeyAlgorithm {
  /// How the token generates such a key, and how it is used.
  fileprivate var requirements: [Requirement] {
    switch self {
    case .ecdsaP256, .ecdsaP384: [.one(.ecKeyPairGeneration, Probed.generatesPairs), .one(.ecdsa, .sign)]
    case .ed25519: [.one(.edwardsKeyPairGeneration, Probed.generatesPairs), .one(.eddsa, .sign)]
    case .rsa2048: [.one(.rsaKeyPairGeneration, Probed.generatesPairs), .one(.rsaPKCS, .sign)]
    case .hmacSHA256: [.one(.genericSecretGeneration, Probed.generates), .one(.hmacSHA256, .sign)]
    case .aes256Wrap:
      [
        .one(.aesKeyGeneration, Probed.generates),
        Requirement(anyOf: [Probed.keyWrap, Probed.keyWrapPad, Probed.keyWrapKWP], uses: [.wrap, .unwrap]),
      ]
    }
  }
}

extension TokenRole {
  /// What the role's keys need, and for `data` the mode of the keys that it unwraps.
  fileprivate var requirements: [Requirement] {
    var result: [Requirement] = []
    for key in KeyName.all where key.token == self && !key.isOptional {
      for requirement in key.algorithm.requirements where !result.contains(requirement) { result.append(requirement) }
    }
    if self == .data { result.append(.one(.aesGCM, [.encrypt, .decrypt])) }
    return result
  }
}

extension HSMProfile {
  /// Whether the token can serve each role, in the order of `TokenRole`. What was not tried counts neither way.
  public var roles: [RoleJudgement] {
    TokenRole.allCases.map { role in
      let lacks = role.requirements.compactMap { $0.lack(in: mechanisms) }
      return RoleJudgement(role: role, missing: lacks + behaviour.failings(of: role))
    }
  }
}

extension Behaviour {
  /// What a token announces and does not do, or does as a role cannot bear.
  fileprivate func failings(of role: TokenRole) -> [String] {
    func failing<V>(_ what: String, _ finding: Finding<V>) -> [String] {
      if case .refused(let name) = finding { ["\(what), refused with \(name)"] } else { [] }
    }
    var failings: [String] = []
    switch role {
    case .root, .identity: failings += failing("ECDSA signatures", ecdsa.digest)
    case .log:
      failings += failing("Ed25519 key pairs", eddsa.oid) + failing("Ed25519 signatures", eddsa.signature)
    case .data:
      // KEKs are session objects (DESIGN, "Keys"), and whoever asks for an extractable one must not get it.
      failings += failing("session objects", sessionObjects) + failing("random bytes", random)
      if sessionObjects.value == .stored { failings.append("session objects, stored on the token") }
      failings += failing("CKA_UNWRAP_TEMPLATE", unwrapTemplate.set)
      failings += failing("unwrapping with CKA_UNWRAP_TEMPLATE restated", unwrapTemplate.restated)
      if unwrapTemplate.opposed.value == .open { failings.append("CKA_UNWRAP_TEMPLATE, not enforced") }
      if gcm.iv.value == .token { failings.append("CKM_AES_GCM with the caller's IV, the token makes its own") }
      if unwrapTemplate.restated.value == .open { failings.append("CKA_UNWRAP_TEMPLATE, without effect") }
      if gcm.badTag.value == .accepted { failings.append("CKM_AES_GCM tags, not checked") }
      failings += failing("CKM_AES_GCM", gcm.parameters)
      let wraps = [keyWrap, keyWrapPad, keyWrapKWP].map(\.roundTrip)
      if !wraps.contains(where: { $0.value == .works }) { failings += wraps.flatMap { failing("AES key wrap", $0) } }
    }
    return failings
  }
}
