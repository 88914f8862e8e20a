public import KeyHierarchy
internal import PKCS11
internal import SecretMemory

extension PKCS11Custodian {
  /// Opens tokens and logs in, one token per role.
  ///
  /// - Parameters: As ``open(provider:tokens:roles:requiring:limits:tolerating:expecting:clock:)``.
  /// - Throws: Likewise.
  public static func open(
    provider: String, tokens: [TokenRole: TokenLocation], roles: Set<TokenRole>,
    requiring required: [KeyName] = KeyName.required, limits: Limits = Limits(),
    tolerating tolerated: Set<TokenRole> = [],
    expecting pinned: [KeyName: KeyIdentity] = [:], clock: any CustodyClock = MonotonicClock()
  ) throws(CustodyError) -> PKCS11Custodian {
    try open(
      provider: provider, tokens: tokens.mapValues { [$0] }, roles: roles, requiring: required, limits: limits,
      tolerating: tolerated, expecting: pinned, clock: clock)
  }

  /// Opens tokens and logs in.
  ///
  /// - Parameters:
  ///   - provider: The PKCS#11 library: its absolute path, or its name in p11-kit's configuration.
  ///   - tokens: Where each role's tokens are: one, or the members of a vendor's cluster, which have the same keys, in
  ///     order of preference.
  ///   - roles: The roles to log in to; keys of others are `hsm_unavailable`. `root` only during a ceremony.
  ///   - required: Keys that must be there, as far as they belong to `roles`. Which of the others are not, ``absentKeys``
  ///     tells.
  ///   - limits: Bounds.
  ///   - tolerated: Roles that may be without a token: absent, full, without an answer or with a refused PIN. Their
  ///     operations are refused with the reason; all but a refused PIN are tried again.
  ///   - pinned: What keys must be, from ``identity(_:)`` of an earlier opening. Those not named are what they are on the
  ///     first member that opens.
  ///   - clock: What deadlines and pauses go by.
  /// - Throws: ``KeyHierarchy/CustodyError`` with `mechanism_missing` and a table, `wrong_pin`, `key_not_found` with a
  ///   list, `key_changed`, `hostile_unwrap`, `hsm_full`, `hsm_timeout` or `hsm_unavailable`. Nothing stays logged in
  ///   then.
  @_disfavoredOverload
  public static func open(
    provider: String, tokens: [TokenRole: [TokenLocation]], roles: Set<TokenRole>,
    requiring required: [KeyName] = KeyName.required, limits: Limits = Limits(),
    tolerating tolerated: Set<TokenRole> = [],
    expecting pinned: [KeyName: KeyIdentity] = [:], clock: any CustodyClock = MonotonicClock()
  ) throws(CustodyError) -> PKCS11Custodian {
    let module: Module
    do throws(PKCS11Error) { module = try Module.load(provider) } catch { throw CustodyError(error, "the module") }
    var clusters: [TokenRole: TokenCluster] = [:]
    for role in TokenRole.allCases where roles.contains(role) {
      guard let locations = tokens[role], !locations.isEmpty else {
        throw CustodyError(.unavailable, "no token is configured for \(role.rawValue): give its URI and PIN")
      }
      let known = KnownKeys(pinned.filter { $0.key.token == role })
      var members: [TokenConnection] = []
      for (index, location) in locations.enumerated() {
        members.append(
          TokenConnection(
            role, member: index, uri: location.uri, module: module, known: known, clock: clock, limits: limits))
      }
      clusters[role] = TokenCluster(role, members, known, clock, limits.deadline)
    }
    let custodian = PKCS11Custodian(module, clusters, limits)
    do throws(CustodyError) {
      try custodian.checkMechanisms(tolerated)
      try custodian.readPINs(tokens)
      for role in TokenRole.allCases { try custodian.logIn(role, required, isTolerated: tolerated.contains(role)) }
    } catch {
      for cluster in clusters.values { cluster.close() }
      throw error
    }
    return custodian
  }

  /// Every role's lacks in one table, before any PIN is used.
  private func checkMechanisms(_ tolerated: Set<TokenRole>) throws(CustodyError) {
    var missing: [String] = []
    for role in TokenRole.allCases {
      guard let cluster = clusters[role] else { continue }
      var reason: CustodyError?
      var lacks: [[String]] = []
      for member in cluster.members {
        switch member.runBlocking(
          by: cluster.nextDeadline,
          { (token, operation) throws(TokenFailure) in try token.missingMechanisms(operation) })
        {
        case .success(let lines): lacks.append(lines)
        case .failure(let failure): reason = reason ?? failure.error
        }
      }
      // A member that is away may come back; one that cannot serve must not be configured.
      if let lines = lacks.first(where: { !$0.isEmpty }) { missing += lines }
      if lacks.isEmpty, let reason, !tolerated.contains(role) { throw reason }
    }
    guard missing.isEmpty else {
      let table = (["token | mechanism | for | finding"] + missing).joined(separator: "\n")
      throw CustodyError(.mechanismMissing, "a token cannot serve its role; use another one:\n\(table)")
    }
  }

  private func readPINs(_ tokens: [TokenRole: [TokenLocation]]) throws(CustodyError) {
    for role in TokenRole.allCases {
      guard let cluster = clusters[role], let locations = tokens[role] else { continue }
      for (member, location) in zip(cluster.members, locations) {
        do throws(SecretMemoryError) { member.setPIN(SharedSecret(try location.pin())) } catch {
          throw CustodyError(error, "token \(role.rawValue)")
        }
      }
    }
  }

  private func logIn(_ role: TokenRole, _ required: [KeyName], isTolerated: Bool) throws(CustodyError) {
    guard let cluster = clusters[role] else { return }
    let names = required.filter { $0.token == role }
    let looked = names + KeyName.replaceable.filter { $0.token == role && !names.contains($0) }
    var missing: [KeyName]?
    var reason: CustodyError?
    for member in cluster.members {
      let result = member.runBlocking(by: cluster.nextDeadline) {
        (token, operation) throws(TokenFailure) -> [KeyName] in
        try token.ensureOpen(operation)
        return try token.absent(looked, operation).filter(names.contains)
      }
      switch result {
      case .success(let absent): missing = missing ?? absent
      case .failure(let failure):
        // A token that hands keys out is nobody's token, and one whose keys are wrong is noticed before it is needed.
        if failure.error.code == .hostileUnwrap { throw failure.error }
        reason = reason ?? failure.error
      }
    }
    if let missing, !missing.isEmpty {
      let list = missing.map(\.description).joined(separator: ", ")
      throw CustodyError(.keyNotFound, "not on their tokens: \(list); run the ceremony that generates them")
    }
    let tolerable: [CustodyError.Code] = [.unavailable, .timedOut, .full, .wrongPIN]
    if missing == nil, let reason, !(isTolerated && tolerable.contains(reason.code)) { throw reason }
  }
}

extension TokenConnection {
  var isClosed: Bool { monitor.read { state in if case .closed = state.status { true } else { false } } }

  fileprivate func setPIN(_ pin: SharedSecret) { monitor.update { $0.pin = pin } }

  /// Finds the keys, and tells which are not there.
  fileprivate func absent(_ names: [KeyName], _ operation: Operation) throws(TokenFailure) -> [KeyName] {
    var absent: [KeyName] = []
    for name in names {
      do throws(TokenFailure) { try use(name, operation) { (_, _) in } } catch {
        guard error.error.code == .keyNotFound else { throw error }
        absent.append(name)
      }
    }
    return absent
  }
}
