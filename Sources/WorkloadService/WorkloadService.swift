import Crypto
import KeyHierarchy
import Synchronization
public import Wire
public import WorkloadAttestation
public import WorkloadIdentity

/// Gives workloads their identities: it follows the registration entries and the authorities, issues what each attested
/// process is entitled to, on the record, and puts every change out to the streams that it concerns.
public actor WorkloadService<Recorder: WorkloadRecorder> {
  /// What the service stands on.
  public struct Parts: Sendable {
    /// The trust domain that is served.
    public var trustDomain: TrustDomain
    /// The node's own identity; entries below it are served here.
    public var node: SPIFFEID
    /// The `iss` of JWT-SVIDs, where their keys are published.
    public var issuer: String
    /// The issuer of OAuth access tokens, which no JWT-SVID may name as its audience.
    public var reservedAudience: String
    /// Where the list of revoked certificates is published; named in certificates. Nil names none.
    public var crlURL: String?
    /// The identity token's keys.
    public var custodian: any AuthorityCustodian
    /// The certificates of authorities.
    public var profile: CertificateAuthorityProfile
    /// What certifies new issuing authorities.
    public var root: any RootAuthority
    /// Says what a process is.
    public var attestor: any WorkloadAttestor
    /// Gate and storage.
    public var recorder: Recorder
    /// The clock.
    public var time: any TimeSource
    /// Random bytes.
    public var random: any RandomSource
    /// At most so many private keys of workloads in locked memory.
    public var keyCapacity = 20_480
    /// Signatures a minute for everybody, for the processes of one user, and for one process.
    public var signaturesPerMinute = (all: 180_000, user: 60_000, caller: 1200)
    /// Lets so many milliseconds pass: how renewals wait for the budget.
    public var sleep: @Sendable (Int64) async throws -> Void = { try await Task.sleep(for: .milliseconds($0)) }

    /// Collects the parts.
    public init(
      trustDomain: TrustDomain, node: SPIFFEID, issuer: String, reservedAudience: String, crlURL: String?,
      custodian: any AuthorityCustodian, profile: CertificateAuthorityProfile, root: any RootAuthority,
      attestor: any WorkloadAttestor, recorder: Recorder,
      time: any TimeSource, random: any RandomSource
    ) {
      self.trustDomain = trustDomain
      self.node = node
      self.issuer = issuer
      self.reservedAudience = reservedAudience
      self.crlURL = crlURL
      self.custodian = custodian
      self.profile = profile
      self.root = root
      self.attestor = attestor
      self.recorder = recorder
      self.time = time
      self.random = random
    }
  }

  /// An entry with what is needed of its row.
  struct Registration: Sendable {
    let entry: RegistrationEntry
    let leafIndex: UInt64
    let created: UInt64
  }

  /// What a group has for an entry.
  struct Issued: Sendable {
    let svid: WorkloadX509SVID
    /// In lower-case hexadecimal, as a revocation names it.
    let serial: String
    let authority: String
    /// The leaf of the entry that it was issued under: a changed entry is issued anew.
    let entryIndex: UInt64
    let renewal: Timestamp
  }

  /// A group with what it is served.
  struct Served {
    let group: WorkloadGroup
    var registrations: [Registration] = []
    var issued: [EntryID: Issued] = [:]
    /// What was put out last, without the private keys, to tell whether something has changed.
    var last: WorkloadSnapshot?
    var refreshing: Task<Void, any Error>?
    var isDirty = true
    var isQueued = false
    var renewal: Timestamp?
  }

  let parts: Parts
  let log: IssuanceLog<Recorder>
  let budget: IssuanceBudget
  let keys: SVIDKeyStore
  var index = EntryIndex()
  /// The newest change of an entry that ``index`` has.
  var entrySequence: UInt64 = 0
  /// Entries that were read, by identifier.
  var registrations: [EntryID: Registration] = [:]
  var served: [[UInt8]: Served] = [:]
  /// Groups by each of their selectors, so that a changed entry finds those that it concerns.
  var groupsBySelector: [SelectorDigest: Set<[UInt8]>] = [:]
  /// How many groups each user has.
  var groupsByUser: [UInt32: Int] = [:]
  /// Groups by entry that they are served.
  var groupsByEntry: [EntryID: Set<[UInt8]>] = [:]
  var authorities: Authorities?
  var authorityRows: [AuthorityRow] = []
  /// When they were read last.
  var loadedAt = Timestamp(milliseconds: 0)
  var federations: [FederationRow] = []
  var federatedBundles: [TrustDomain: SPIFFEBundle] = [:]
  var crls: [[UInt8]] = []
  var revokedTokens: [String: Timestamp] = [:]
  var revokedSerials: Set<String> = []
  /// Tokens that are given again, by what they say.
  var tokens: [TokenKey: CachedToken] = [:]
  var minting: [TokenKey: Task<WorkloadJWTSVID, any Error>] = [:]
  var version: UInt64 = 0
  /// Groups that wait to be refreshed: those that a change concerns, then those whose time has come.
  var urgent: [[UInt8]] = []
  var routine: [[UInt8]] = []
  var workers = 0
  var following: Task<Void, any Error>?
  var followAgain = false
  var preparing: Set<AuthorityKind> = []
  /// Until when no authority of a kind is prepared, after how long a pause, because of what.
  var pauses: [AuthorityKind: (until: Timestamp, seconds: Int64, reason: any Error)] = [:]
  /// Up to which leaf the newest revocation list of an issuer has everything; a list of an earlier run is not known.
  var listed: [String: UInt64] = [:]
  /// Why what was ordered of an authority could not be done at the last attempt.
  var obstacles: [AuthorityKind: String] = [:]
  var isClosed = false

  /// At most so many refreshes at once.
  static var workerLimit: Int { 16 }
  /// At most so many entries kept in memory beside the index.
  static var registrationLimit: Int { 65_536 }
  /// At most so many processes served at once.
  static var groupLimit: Int { 65_536 }
  /// At most so many of one user, who must not be in everybody's way.
  static var groupLimitOfUser: Int { 16_384 }
  /// How long who has no entry is kept once he is gone, in milliseconds.
  static var strangerTime: Int64 { 1000 }
  /// How long what nobody holds is kept, in milliseconds.
  static var idleTime: Int64 { 60_000 }

  /// Makes a service; ``open()`` must come first.
  public init(_ parts: Parts) {
    self.parts = parts
    log = IssuanceLog(parts.recorder, trustDomain: parts.trustDomain, time: parts.time)
    var limits = IssuanceBudget.Limits()
    let rates = parts.signaturesPerMinute
    (limits.global, limits.perUser, limits.perCaller) = (rates.all, rates.user, rates.caller)
    budget = IssuanceBudget(limits, at: parts.time.now())
    // A quarter is what one user leaves to the others.
    keys = SVIDKeyStore(capacity: parts.keyCapacity, limitOfOwner: max(1, parts.keyCapacity / 4 * 3))
  }

  /// Loads entries and authorities.
  public func open() async throws {
    var loaded: [(id: EntryID, selectors: [SelectorDigest])] = []
    (loaded, entrySequence) = try await parts.recorder.read { unit in
      var rows: [(id: EntryID, selectors: [SelectorDigest])] = []
      rows.reserveCapacity(try unit.entryCount())
      try unit.eachEntry { id, selectors in
        guard let name = try? EntryID(id), let digests = SelectorDigest.decode(selectors) else {
          throw Problem(503, "entry_damaged", "The entry '\(id)' cannot be read; restore the database.")
        }
        rows.append((name, digests))
      }
      return (rows, try unit.lastEntrySequence())
    }
    index = EntryIndex(loading: loaded)
    try await loadAuthorities()
  }

  /// Ends every stream.
  public func close() {
    isClosed = true
    for served in served.values { served.group.channel.close() }
  }

  /// A connection of a process.
  public nonisolated func connect(_ peer: PeerProcess) -> any WorkloadConnection {
    ProcessConnection(peer, service: self, attestor: parts.attestor, time: parts.time)
  }

  // MARK: - Groups

  /// Joins the group of a process.
  func join(_ attested: AttestedProcess) throws -> Membership {
    guard !isClosed else { throw Self.stopping }
    let group = WorkloadGroup(attested)
    if let known = served[group.id] { return Membership(known.group) }
    let ofUser = groupsByUser[attested.uid, default: 0]
    guard served.count < Self.groupLimit, ofUser < Self.groupLimitOfUser else {
      throw WorkloadRefusal(.unavailable, "processes_many", "Too many processes are served.", retryAfter: 10_000)
    }
    served[group.id] = Served(group: group)
    groupsByUser[attested.uid] = ofUser + 1
    for selector in group.selectors { groupsBySelector[selector, default: []].insert(group.id) }
    return Membership(group)
  }

  static var stopping: WorkloadRefusal {
    WorkloadRefusal(.unavailable, "stopping", "The daemon is stopping; connect again shortly.", retryAfter: 1000)
  }

  /// Says to a process what it might be registered by: nothing but what it is itself.
  static func noIdentity(_ group: WorkloadGroup) -> WorkloadRefusal {
    var selectors = ""
    // A long one is left out, not those behind it.
    for selector in group.attested.selectors.map(\.description)
    where selectors.utf8.count + selector.utf8.count <= 1000 {
      selectors += (selectors.isEmpty ? "" : ", ") + selector
    }
    return WorkloadRefusal(
      .permissionDenied, "no_identity",
      "No registration entry matches this process; register it, or ask who does. Its selectors: \(selectors)")
  }

  /// Forgets groups that nobody has held for a while.
  func sweep(at now: Timestamp) {
    for (id, item) in served where item.refreshing == nil {
      let patience = item.registrations.isEmpty ? Self.strangerTime : Self.idleTime
      guard item.group.isIdle(for: patience, at: now.milliseconds) else { continue }
      served[id] = nil
      let user = item.group.attested.uid
      groupsByUser[user] = groupsByUser[user].flatMap { $0 > 1 ? $0 - 1 : nil }
      for selector in item.group.selectors {
        groupsBySelector[selector]?.remove(id)
        if groupsBySelector[selector]?.isEmpty == true { groupsBySelector[selector] = nil }
      }
      unlink(item)
    }
    tokens = tokens.filter { now < $0.value.renewal }
    revokedTokens = revokedTokens.filter { now < $0.value }
  }

  func unlink(_ item: Served) {
    for registration in item.registrations {
      groupsByEntry[registration.entry.id]?.remove(item.group.id)
      if groupsByEntry[registration.entry.id]?.isEmpty == true { groupsByEntry[registration.entry.id] = nil }
    }
  }

  // MARK: - Following

  /// Takes up what has changed in the storage; called after each command, and every second in case one was missed.
  public func follow() async throws {
    if let under = following {
      // What is under way may have read before the caller's change.
      followAgain = true
      return try await under.value
    }
    let task = Task {
      defer { following = nil }
      repeat {
        followAgain = false
        try await followEntries()
        try await loadAuthorities()
      } while followAgain
    }
    following = task
    try await task.value
  }

  private func followEntries() async throws {
    while true {
      let sequence = entrySequence
      let rows = try await parts.recorder.read { unit in try unit.entries(changedAfter: sequence, limit: 1024) }
      guard let last = rows.last else { return }
      var concerned: Set<[UInt8]> = []
      var changed: Set<EntryID> = []
      for row in rows {
        guard let id = try? EntryID(row.id) else { continue }
        changed.insert(id)
        index.remove(id)
        registrations[id] = nil
        concerned.formUnion(groupsByEntry[id] ?? [])
        guard row.fingerprint != nil, let selectors = SelectorDigest.decode(row.selectors) else { continue }
        index.insert(id, selectors: selectors)
        concerned.formUnion(groups(with: selectors))
      }
      entrySequence = last.sequence
      // A token may say what an entry no longer allows.
      tokens = tokens.filter { !changed.contains($0.key.entry) }
      refresh(concerned, urgently: true)
    }
  }

  /// The groups that have all of these selectors.
  private func groups(with selectors: [SelectorDigest]) -> Set<[UInt8]> {
    let candidates = selectors.map { groupsBySelector[$0] ?? [] }.min { $0.count < $1.count } ?? []
    return candidates.filter { served[$0]?.group.selectors.isSuperset(of: selectors) == true }
  }

  /// The entries that a group matches, as they stand now: the default first, which is the oldest.
  func registrations(of group: WorkloadGroup) async throws -> [Registration] {
    var ids = index.matches(group.selectors)
    while true {
      let missing = ids.filter { registrations[$0] == nil }
      guard !missing.isEmpty else { break }
      let (domain, sequence) = (parts.trustDomain, entrySequence)
      let read = try await parts.recorder.read { unit in
        try missing.compactMap { id -> Registration? in
          guard let row = try unit.entry(id.description), row.fingerprint != nil else { return nil }
          let entry = try RegistrationEntry(id: id, reading: try JSONValue(parsing: row.document), trustDomain: domain)
          return Registration(entry: entry, leafIndex: row.leafIndex, created: row.created)
        }
      }
      // What was read may be older than a change that was followed meanwhile, and would be kept from then on.
      guard sequence == entrySequence else {
        ids = index.matches(group.selectors)
        continue
      }
      if registrations.count > Self.registrationLimit { registrations = registrations.filter { ids.contains($0.key) } }
      for registration in read { registrations[registration.entry.id] = registration }
      break
    }
    let selectors = Set(group.attested.selectors)
    return ids.compactMap { registrations[$0] }
      // The index knows digests; the texts decide.
      .filter { $0.entry.parentID == parts.node && selectors.isSuperset(of: $0.entry.selectors) }
      .sorted { $0.created < $1.created }
  }

  // MARK: - Refreshing

  /// Has groups served anew: at once, or in an order and at a pace that spare the HSM.
  func refresh(_ ids: some Collection<[UInt8]>, urgently: Bool) {
    // Whoever waits at the end of a mass rotation is another one each time.
    for id in ids.shuffled() where served[id] != nil {
      served[id]?.isDirty = true
      if urgently { urgent.append(id) } else if served[id]?.isQueued == false { routine.append(id) }
      served[id]?.isQueued = true
    }
    while workers < min(Self.workerLimit, urgent.count + routine.count) {
      workers += 1
      Task { await work() }
    }
  }

  private func work() async {
    while let id = urgent.popLast() ?? routine.popLast() {
      guard !isClosed, let group = served[id]?.group else { continue }
      served[id]?.isQueued = false
      do { try await serve(group, waiting: true) } catch is WorkloadRefusal {
        // It keeps what it has; the next tending tries again.
        served[id]?.renewal = parts.time.now().adding(seconds: 1)
      } catch {
        served[id]?.renewal = parts.time.now().adding(seconds: 5)
      }
    }
    workers -= 1
  }

  /// Brings a group's snapshot up to date; calls that come meanwhile share the work.
  /// - Parameter waiting: whether signatures above the budget are waited for; else they are refused.
  func serve(_ group: WorkloadGroup, waiting: Bool = false) async throws {
    if let under = served[group.id]?.refreshing { return try await under.value }
    guard served[group.id]?.isDirty == true else { return }
    let task = Task {
      defer { served[group.id]?.refreshing = nil }
      while served[group.id]?.isDirty == true, !isClosed {
        served[group.id]?.isDirty = false
        do { try await issue(for: group, waiting: waiting) } catch {
          served[group.id]?.isDirty = true
          // Entry or authority have changed since: with that taken up it is done again.
          guard error is Overtaken else { throw error }
          try await follow()
        }
      }
    }
    served[group.id]?.refreshing = task
    try await task.value
  }
}
