public import Wire

/// An authority of workload identity as `GET /v1/authorities` shows it.
public struct WorkloadAuthority: Sendable, Equatable {
  /// What it signs.
  public enum Kind: String, Sendable, CaseIterable {
    /// X.509-SVIDs.
    case x509
    /// JWT-SVIDs with ES256.
    case jwt
    /// JWT-SVIDs with RS256.
    case jwtRS256 = "jwt-rs256"
  }

  /// Its name.
  public let id: String
  /// What it signs.
  public let kind: Kind
  /// `requested`, `prepared`, `active`, `old`, `tainted` or `revoked`.
  public let state: String
  /// The certificate signing request, PEM, while one is open.
  public let request: String?
  /// All that the daemon says.
  public let json: JSONObject

  /// Reads one; nil for what is none, or of a kind that is not known here.
  public init?(_ json: JSONObject) {
    guard let id = json["id"]?.string, let kind = json["kind"]?.string.flatMap(Kind.init(rawValue:)),
      let state = json["state"]?.string
    else { return nil }
    (self.id, self.kind, self.state, self.json) = (id, kind, state, json)
    request = json["request"]?.string
  }

  /// Those of a status.
  public static func list(_ status: JSONObject) -> [WorkloadAuthority] {
    (status["authorities"]?.array ?? []).compactMap(\.object).compactMap(Self.init)
  }
}

/// What an officer has done to an authority, and how its end shows.
public enum WorkloadAuthorityStep: Sendable, Equatable {
  /// What is ordered of a kind.
  public enum Order: String, Sendable {
    /// The next one is made.
    case prepare
    /// Another one takes over at once.
    case rotate
    /// The prepared one takes over.
    case activate
    /// One is made whose certificate somebody else's root signs.
    case request
  }

  /// An order about a kind.
  case order(Order, WorkloadAuthority.Kind)
  /// What it signed is replaced.
  case taint(String)
  /// Nothing that it signed is trusted.
  case revoke(String)
  /// It gets the certificate that it asked for: a chain, PEM.
  case certify(String, chain: String)

  /// The route and its body.
  func command() throws(OperatorError) -> (path: String, body: JSONObject) {
    switch self {
    case .order(let order, let kind): return ("/v1/authorities/\(kind.rawValue)/\(order.rawValue)", [:])
    case .taint(let id): return ("/v1/authorities/\(try Self.checked(id))/taint", [:])
    case .revoke(let id): return ("/v1/authorities/\(try Self.checked(id))/revoke", ["confirm": .string(id)])
    case .certify(let id, let chain):
      return ("/v1/authorities/\(try Self.checked(id))/certificate", ["chain": .string(chain)])
    }
  }

  private static func checked(_ id: String) throws(OperatorError) -> String {
    guard id.isIdentifier, id.hasPrefix("aut_") else {
      throw OperatorError(.usage, "An authority's identifier begins with 'aut_': see 'trustcore ca list'.")
    }
    return id
  }

  /// The authority that shows that it is done.
  /// - Parameters:
  ///   - before: the authorities before it was ordered.
  ///   - now: those of the present moment.
  public func outcome(before: [WorkloadAuthority], now: [WorkloadAuthority]) -> WorkloadAuthority? {
    func new(_ kind: WorkloadAuthority.Kind, _ state: String) -> WorkloadAuthority? {
      now.last { one in
        one.kind == kind && one.state == state && !before.contains { $0.id == one.id && $0.state == state }
      }
    }
    switch self {
    case .order(.prepare, let kind): return new(kind, "prepared")
    case .order(.rotate, let kind), .order(.activate, let kind): return new(kind, "active")
    case .order(.request, let kind): return new(kind, "requested").flatMap { $0.request == nil ? nil : $0 }
    case .taint(let id): return now.first { $0.id == id && ["tainted", "revoked"].contains($0.state) }
    case .revoke(let id): return now.first { $0.id == id && $0.state == "revoked" }
    case .certify(let id, _): return now.first { $0.id == id && $0.state != "requested" }
    }
  }

  /// The kind that it is about.
  func kind(in authorities: [WorkloadAuthority]) -> WorkloadAuthority.Kind? {
    switch self {
    case .order(_, let kind): kind
    case .taint(let id), .revoke(let id), .certify(let id, _): authorities.first { $0.id == id }?.kind
    }
  }
}

extension OperatorClient {
  /// The authorities, the federations and how many are served.
  public func workloads() async throws(OperatorError) -> JSONObject { try await read("/v1/authorities") }

  /// At most so many looks: half a minute where there are two in a second.
  static let maximumLooks = 60
  /// After so many looks an obstacle that still stands is no passing one.
  static let obstacleLooks = 10

  /// Orders something and waits until it shows.
  /// - Parameter pause: waits half a second between two looks.
  /// - Returns: the authority as it is now, with the leaf that records the order.
  /// - Throws: ``OperatorError/Code-swift.struct/hsmFailed`` with the obstacle that stands in the way;
  ///   ``OperatorError/Code-swift.struct/notReady`` where nothing shows in time.
  public func carryOut(
    _ step: WorkloadAuthorityStep, as who: Deployment.Who, pause: () async throws -> Void
  ) async throws(OperatorError) -> JSONObject {
    let (path, body) = try step.command()
    let before = WorkloadAuthority.list(try await workloads())
    let receipt = Self.flat(try await command(path, body, as: who).json)
    for look in 1...Self.maximumLooks {
      let status = try await workloads()
      let now = WorkloadAuthority.list(status)
      if let done = step.outcome(before: before, now: now) {
        var answer = done.json
        answer["leaf_index"] = receipt["leaf_index"]
        return answer
      }
      if look >= Self.obstacleLooks, let kind = step.kind(in: now),
        let obstacle = status["obstacles"]?.object?[kind.rawValue]?.string
      {
        throw OperatorError(.hsmFailed, "It is ordered, and something stands in the way: \(Wording.visible(obstacle))")
      }
      do { try await pause() } catch { break }
    }
    if case .certify = step {
      throw OperatorError(
        .notReady, "The authority still asks for a certificate: the chain may be of another key, or lead to no root.")
    }
    throw OperatorError(.notReady, "It is ordered, and does not show yet: look with 'trustcore ca list'.")
  }
}
