import TrustCoreAPI
public import Wire
import WorkloadIdentity

extension Deployment {
  /// The socket of the Workload API; nil where the daemon has none.
  public var workloadSocket: String? { ready["workload_socket"] }
}

extension OperatorClient {
  // MARK: - Entries

  /// All registration entries, as the daemon lists them, page after page.
  public func entries() async throws(OperatorError) -> [JSONObject] {
    var entries: [JSONObject] = []
    var page = try await read("/v1/entries")
    var last = ""
    while true {
      entries += (page["entries"]?.array ?? []).compactMap(\.object)
      guard let next = page["next"]?.string else { return entries }
      guard let id = try? EntryID(next), last.utf8.lexicographicallyPrecedes(next.utf8) else {
        throw OperatorError(
          .unexpectedAnswer, "The pages of entries do not go on: the daemon may not fit this program.")
      }
      last = next
      page = try await read("/v1/entries/after/\(id)")
    }
  }

  /// A registration entry.
  public func entry(_ id: String) async throws(OperatorError) -> JSONObject {
    try await read("/v1/entries/\(Self.entryID(id))")
  }

  /// Makes, changes and ends entries: all of them or none.
  /// - Parameter changes: `create`, `update` and `delete`, at most ``WorkloadEntryPlan/maximumChanges`` together.
  public func changeEntries(_ changes: JSONObject, as who: Deployment.Who) async throws(OperatorError) -> JSONObject {
    Self.flat(try await command("/v1/entries", changes, as: who).json)
  }

  /// An entry's identifier as a command line names it.
  public static func entryID(_ text: String) throws(OperatorError) -> String {
    guard let id = try? EntryID(text) else {
      throw OperatorError(
        .usage, "'\(Wording.visible(String(text.prefix(64))))' is no entry's identifier: see 'trustcore entry list'.")
    }
    return id.description
  }

  // MARK: - Federation

  /// Trusts another trust domain's bundle.
  /// - Parameter terms: `trust_domain`, `bundle_endpoint_url`, `bundle_endpoint_profile`, `endpoint_spiffe_id`, `bundle`.
  public func federate(_ terms: JSONObject, as who: Deployment.Who) async throws(OperatorError) -> JSONObject {
    Self.flat(try await command("/v1/federations", terms, as: who).json)
  }

  /// Ends a federation.
  public func unfederate(_ domain: String, as who: Deployment.Who) async throws(OperatorError) -> JSONObject {
    guard let domain = try? TrustDomain(domain), ![".", ".."].contains(domain.name) else {
      throw OperatorError(.usage, "That is no trust domain's name: see 'trustcore federation list'.")
    }
    return Self.flat(try await command("/v1/federations/\(domain)/delete", [:], as: who).json)
  }

  // MARK: - Registrars

  /// Whose keys may change registration entries beside officers'.
  public func registrars() async throws(OperatorError) -> JSONObject { try await read("/v1/registrars") }

  /// Lets a key change registration entries.
  /// - Parameter key: a public JWK.
  public func enrolRegistrar(
    _ name: String, key: JSONValue, as who: Deployment.Who
  ) async throws(OperatorError) -> JSONObject {
    Self.flat(try await command("/v1/registrars", ["name": .string(name), "key": key], as: who).json)
  }

  /// Ends what a registrar may do.
  public func revokeRegistrar(_ id: String, as who: Deployment.Who) async throws(OperatorError) -> JSONObject {
    guard id.isIdentifier, id.hasPrefix("reg_") else {
      throw OperatorError(.usage, "A registrar's identifier begins with 'reg_': 'registrar enrol' printed it.")
    }
    return Self.flat(try await command("/v1/people/\(id)/revoke", [:], as: who).json)
  }

  // MARK: - SVIDs

  /// What names an SVID.
  public enum SVIDName: Sendable, Equatable {
    /// A certificate's serial number in hexadecimal.
    case serial(String)
    /// A token's `jti`.
    case token(String)
  }

  /// Who got an SVID, with the proof that it is on the record.
  /// - Returns: `kind`, `id`, `leaf_index`, `issuance` and `seal`; nil where no such SVID is on the record.
  public func issuance(_ name: SVIDName) async throws(OperatorError) -> JSONObject? {
    let (kind, id) =
      switch name {
      case .serial(let text): ("x509", Self.serial(text))
      case .token(let id): ("jwt", id)
      }
    guard id.isIdentifier else {
      throw OperatorError(.usage, "That is no serial number in hexadecimal and no 'jti'.")
    }
    do throws(OperatorError) { return try await read("/v1/svids/\(kind)/\(id)") } catch {
      guard error.code.description == "svid_not_found" else { throw error }
      return nil
    }
  }

  /// A serial number as the daemon writes it: tools print it in capitals and with colons.
  public static func serial(_ text: String) -> String { text.lowercased().filter { $0 != ":" } }

  /// Revokes one SVID before its time.
  /// - Parameter seconds: how long it would have lived at most; nil for the longest that the daemon issues.
  public func revokeSVID(
    _ name: SVIDName, seconds: Int64?, as who: Deployment.Who
  ) async throws(OperatorError) -> JSONObject {
    var body: JSONObject =
      switch name {
      case .serial(let text): ["serial": .string(Self.serial(text))]
      case .token(let id): ["jti": .string(id)]
      }
    body["expires_in"] = seconds.map(JSONValue.integer)
    return Self.flat(try await command("/v1/svids/revoke", body, as: who).json)
  }
}
