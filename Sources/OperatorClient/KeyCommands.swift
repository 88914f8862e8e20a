public import Wire

/// How far the data keys of a key are wrapped anew.
public struct RewrapProgress: Sendable, Equatable, CustomStringConvertible {
  /// Data keys done.
  public let done: UInt64
  /// Data keys in all.
  public let total: UInt64
  /// Data keys a second; 0 where it is not known.
  public let rate: UInt64
  /// Seconds left; nil where it is not known.
  public let secondsLeft: UInt64?
  /// Data keys that were left out, since they did not open.
  public let refused: UInt64

  /// Reads the member `rewrap` of a key; nil where there is none, so that nothing is under way.
  public init?(_ key: JSONObject) {
    guard let object = key["rewrap"]?.object else { return nil }
    func count(_ name: String) -> UInt64? { object[name]?.integer.flatMap(UInt64.init(exactly:)) }
    guard let done = count("rewrapped"), let total = count("total"), total < 1 << 53 else { return nil }
    self.done = done
    self.total = total
    rate = count("rate") ?? 0
    secondsLeft = count("seconds_left")
    refused = count("refused") ?? 0
  }

  /// `rewrapped 1,200 of 5,000, 830/s, 5 s left`
  public var description: String {
    var text = "rewrapped \(Wording.number(done)) of \(Wording.number(total))"
    if rate > 0 { text += ", \(Wording.number(rate))/s" }
    if done < total, let secondsLeft { text += ", \(Wording.seconds(secondsLeft)) left" }
    if refused > 0 { text += ", \(Wording.number(refused)) refused" }
    return text
  }

  /// Whether a rewrap is under way, or ordered, by the tasks of a key.
  public static func isPending(_ key: JSONObject) -> Bool {
    (key["tasks"]?.array ?? []).contains { $0.object?["kind"]?.string == "rewrap" }
  }
}

extension OperatorClient {
  /// What can be done to a key that exists.
  public enum KeyVerb: String, Sendable {
    /// A new version takes over.
    case rotate
    /// Data keys are wrapped by the newest version.
    case rewrap
    /// Nothing is encrypted or opened until ``enable``.
    case disable
    /// The reverse of ``disable``.
    case enable
    /// The key ends for good.
    case destroy
  }

  /// The deployment's state.
  public func status() async throws(OperatorError) -> JSONObject { try await read("/v1/status") }

  /// The state of the tokens.
  public func tokens() async throws(OperatorError) -> JSONObject { try await read("/v1/hsm") }

  /// All keys.
  public func keys() async throws(OperatorError) -> JSONObject { try await read("/v1/keys") }

  /// A key.
  public func key(_ id: String) async throws(OperatorError) -> JSONObject {
    try await read("/v1/keys/" + Self.checked(id))
  }

  /// Makes the key of a data class.
  public func createKey(class name: String, as who: Deployment.Who) async throws(OperatorError) -> JSONObject {
    Self.flat(try await command("/v1/keys", ["class": .string(name)], as: who).json)
  }

  /// Does something to a key.
  public func key(
    _ id: String, _ verb: KeyVerb, as who: Deployment.Who
  ) async throws(OperatorError) -> JSONObject {
    // Destroying is asked for by name twice, so that one wrong path does not do it.
    let body: JSONObject = verb == .destroy ? ["confirm": .string(id)] : [:]
    return Self.flat(try await command("/v1/keys/\(Self.checked(id))/\(verb.rawValue)", body, as: who).json)
  }

  /// Looks at a key until its data keys are wrapped anew.
  /// - Parameters:
  ///   - pause: waits between two looks.
  ///   - tell: takes each state while it is under way.
  /// - Returns: the key.
  public func awaitRewrap(
    _ id: String, pause: () async throws -> Void, tell: (RewrapProgress) -> Void
  ) async throws(OperatorError) -> JSONObject {
    var refused: UInt64 = 0
    while true {
      let key = try await key(id)
      if let progress = RewrapProgress(key) {
        tell(progress)
        refused = progress.refused
      }
      if !RewrapProgress.isPending(key) {
        guard refused == 0 else {
          throw OperatorError(
            .notReady, "\(Wording.count(refused, "data key")) could not be rewrapped: 'trustcore status' tells why.")
        }
        return key
      }
      do { try await pause() } catch {
        throw OperatorError(
          .notReady, "The rewrap goes on without this program: look with 'trustcore keys show \(id)'.")
      }
    }
  }

  /// An identifier that may stand in a path.
  static func checked(_ id: String) throws(OperatorError) -> String {
    guard id.isIdentifier, id != ".", id != ".." else {
      throw OperatorError(
        .usage, "'\(Wording.visible(String(id.prefix(64))))' is no identifier: see 'trustcore keys list'.")
    }
    return id
  }

  /// What a command came to: its result, the key as it is now, and the leaf that records the decision, side by side.
  static func flat(_ answer: JSONObject) -> JSONObject {
    var flat = answer
    for name in ["result", "key"] {
      guard let inner = answer[name]?.object else { continue }
      flat[name] = nil
      for member in inner where member.name != "leaf_index" || flat["leaf_index"] == nil {
        flat[member.name] = member.value
      }
    }
    return flat
  }
}
