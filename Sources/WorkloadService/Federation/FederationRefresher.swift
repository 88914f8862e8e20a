public import Wire
public import WorkloadIdentity

/// Where the bundles of other trust domains are kept.
public protocol FederationBundles: Sendable {
  /// The federations whose bundle is fetched from an endpoint, with the bundle that is at hand.
  func endpoints() async -> [(terms: FederationTerms, bundle: SPIFFEBundle?)]
  /// The bundle at hand of any trust domain: the own one, and those without an endpoint too, since an endpoint's identity
  /// may be of any.
  func bundle(of trustDomain: TrustDomain) async -> SPIFFEBundle?
  /// The leaf that wrote each federation last: another one after each `set` and after each bundle that was taken.
  func leaves() async -> [TrustDomain: UInt64]
  /// Takes a document that was fetched, in place of the bundle at hand, or throws and leaves that one as it is: for what
  /// is no bundle, and for an older one.
  /// - Returns: whether it is another bundle than the one at hand.
  func take(_ document: [UInt8], of trustDomain: TrustDomain) async throws -> Bool
}

/// Keeps the bundles of other trust domains fresh: a few fetches at once, never two of one trust domain. What fails
/// leaves the bundle at hand as it is.
public actor FederationRefresher {
  /// Fetches a document from an endpoint, as ``BundleEndpointClient/fetch(_:endpoint:now:)`` does.
  public typealias Fetch =
    @Sendable (_ terms: FederationTerms, _ endpoint: SPIFFEBundle?, _ now: Timestamp) async throws -> [UInt8]

  private let bundles: any FederationBundles
  private let random: any RandomSource
  private let limit: Int
  private let fetch: Fetch
  private var schedule = RefreshSchedule()
  private var fetches: [TrustDomain: Task<Void, Never>] = [:]
  private var isClosed = false

  /// Makes a refresher, which does nothing until its first ``tick(_:)``.
  /// - Parameters:
  ///   - random: draws out each wait.
  ///   - limit: at most so many fetches at once.
  public init(
    _ bundles: any FederationBundles, random: any RandomSource, limit: Int = 4, fetch: @escaping Fetch
  ) {
    self.bundles = bundles
    self.random = random
    self.limit = limit
    self.fetch = fetch
  }

  /// Starts the fetches whose time has come, and returns without waiting for them. To be called every second or so.
  public func tick(_ now: Timestamp) async {
    let leaves = await bundles.leaves()
    let endpoints = await bundles.endpoints().map { terms, bundle in
      (terms: terms, leaf: leaves[terms.trustDomain] ?? 0, hint: bundle?.refreshHint)
    }
    guard !isClosed else { return }
    for terms in schedule.start(endpoints, limit: limit, at: now) {
      fetches[terms.trustDomain] = Task { await refresh(terms, at: now) }
    }
  }

  private func refresh(_ terms: FederationTerms, at now: Timestamp) async {
    let outcome: Result<(hint: Int64?, leaf: UInt64), FederationFailure>
    let started = schedule.running[terms.trustDomain]
    do {
      var endpoint: SPIFFEBundle?
      if case .spiffe(let id) = terms.profile { endpoint = await bundles.bundle(of: id.trustDomain) }
      let document = try await fetch(terms, endpoint, now)
      guard !isClosed, await bundles.leaves()[terms.trustDomain] == started else {
        throw FederationError(.overtaken, "the federation has changed while its bundle was fetched")
      }
      _ = try await bundles.take(document, of: terms.trustDomain)
      outcome = .success(
        (await bundles.bundle(of: terms.trustDomain)?.refreshHint, await bundles.leaves()[terms.trustDomain] ?? 0))
    } catch {
      outcome = .failure(FederationFailure(error))
    }
    schedule.finish(terms, outcome, at: now, fraction: random.bytes(1)[0])
    fetches[terms.trustDomain] = nil
  }

  /// Waits until no fetch is under way.
  func settle() async {
    while let fetch = fetches.values.first { await fetch.value }
  }

  /// Ends the fetches that are under way and starts no more.
  public func close() async {
    isClosed = true
    for fetch in fetches.values { fetch.cancel() }
    await settle()
  }

  /// Each federation that is refreshed, by trust domain: when its bundle was fetched last, why not since, and when next.
  public func status() -> [JSONObject] {
    schedule.items.values.sorted { $0.terms.trustDomain < $1.terms.trustDomain }.map { item in
      var object = item.terms.json
      object["last_success"] = item.lastSuccess.map { .string($0.description) }
      object["failures"] = .integer(Int64(item.failures))
      if let (at, reason) = item.lastFailure {
        object["last_error"] = ["at": .string(at.description), "reason": .string(reason)]
      }
      if schedule.running[item.terms.trustDomain] != nil {
        object["refreshing"] = true
      } else {
        object["next"] = .string(item.due.description)
      }
      return object
    }
  }
}
