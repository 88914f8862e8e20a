import Crypto
import Synchronization
public import Wire

/// Remembers proofs until they expire, so that each counts once. Bounded; when it is full nothing is accepted, since
/// what cannot be remembered could be replayed. It forgets with its process: whoever restarts within a proof's life
/// must refuse proofs made before the start, or keep what they protect idempotent.
public final class ReplayCache: Sendable {
  /// The name of a proof: SHA-256 over its parts, each with its length, so that no two lists of parts are one text.
  public struct Key: Hashable, Sendable {
    private let words: SIMD4<UInt64>

    /// Names a proof.
    /// - Parameters:
    ///   - scope: what kind of proof it is, as `dpop`.
    ///   - thumbprint: the key that made it.
    ///   - context: what it was made for, as `htu`.
    ///   - id: `jti` or `nonce`.
    public init(scope: String, thumbprint: String, context: String, id: String) {
      var hash = SHA256()
      for part in [scope, thumbprint, context, id] {
        var bytes = Array(part.utf8)
        let count = UInt32(truncatingIfNeeded: bytes.count)
        bytes.append(contentsOf: (0..<4).map { UInt8(truncatingIfNeeded: count >> (8 * $0)) })
        hash.update(data: bytes)
      }
      var words = SIMD4<UInt64>()
      for (index, byte) in hash.finalize().enumerated() { words[index / 8] = words[index / 8] << 8 | UInt64(byte) }
      self.words = words
    }
  }

  private struct State {
    var known: Set<Key> = []
    /// The keys by the second in which they expire: what has expired goes a bucket at a time.
    var buckets: [Int64: [Key]] = [:]
    var swept = Int64.min
  }

  private let capacity: Int
  private let state = Mutex(State())

  /// A cache of at most `capacity` proofs; each takes about 100 bytes.
  public init(capacity: Int = 1 << 18) { self.capacity = capacity }

  /// Remembers a proof.
  /// - Parameters:
  ///   - key: the proof's name.
  ///   - expires: the moment from which on its verifier refuses it for its age.
  ///   - now: the present moment.
  /// - Returns: false where it is known already: a replay.
  /// - Throws: `replay_cache_full`.
  public func insert(_ key: Key, expires: Timestamp, now: Timestamp) throws(ProofError) -> Bool {
    let second = now.seconds
    let inserted: Bool? = state.withLock { state in
      if second > state.swept {
        for bucket in state.buckets.keys where bucket < second {
          for old in state.buckets.removeValue(forKey: bucket) ?? [] { state.known.remove(old) }
        }
        state.swept = second
      }
      if state.known.contains(key) { return false }
      guard state.known.count < capacity else { return nil }
      state.known.insert(key)
      state.buckets[max(expires.seconds, second), default: []].append(key)
      return true
    }
    guard let inserted else {
      throw ProofError(.replayCacheFull, "too many proofs are being remembered; try again in a minute")
    }
    return inserted
  }

  /// How many proofs are remembered.
  public var count: Int { state.withLock { $0.known.count } }
}

extension VerifiedDPoPProof {
  /// The name under which the proof counts once: its key, its URI and its `jti`.
  public var replayKey: ReplayCache.Key {
    ReplayCache.Key(scope: "dpop", thumbprint: thumbprint, context: uri.description, id: id)
  }
}

extension VerifiedSignedRequest {
  /// The name under which the signature counts once: its key and its nonce, whatever it was made for.
  public var replayKey: ReplayCache.Key {
    ReplayCache.Key(scope: "http-signature", thumbprint: keyThumbprint, context: "", id: nonce)
  }
}
