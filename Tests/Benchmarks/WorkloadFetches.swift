import NIOCore
import NIOPosix

/// A closed loop of fetches: a stream is opened, its first message read, and the stream ended.
struct WorkloadFetches {
  let socket: String
  /// How many connections there are at any moment.
  let connections: Int
  /// How many fetches each has under way.
  let inFlight: Int
  /// After how many fetches a connection makes room for the next one. NIO's HTTP/2 drops a peer that resets more than 200
  /// streams in 30 s, and resetting is how a client ends a stream of snapshots.
  let perConnection: Int

  /// - Returns: what the run gave, and how many bytes a message has in the mean: signatures in DER differ in length.
  /// - Throws: where an answer is a refusal.
  func run(for seconds: Double) async throws -> (result: LoadGenerator.Result, bytes: Int) {
    let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
    let loop = group.next()
    let finished = loop.makePromise(of: (result: LoadGenerator.Result, bytes: Int).self)
    loop.execute { FetchRun(self, .nanoseconds(Int64(seconds * 1e9)), on: loop, finished).start() }
    do {
      let result = try await finished.futureResult.get()
      try await group.shutdownGracefully()
      return result
    } catch {
      try? await group.shutdownGracefully()
      throw error
    }
  }
}

/// A run, on its one event loop.
private final class FetchRun {
  private let fetches: WorkloadFetches
  private let duration: TimeAmount
  private let loop: any EventLoop
  private let finished: EventLoopPromise<(result: LoadGenerator.Result, bytes: Int)>
  private var started = NIODeadline.now()
  private var live = 0
  private var isDone = false
  private var latencies: [Double] = []
  private var bytes = 0

  init(
    _ fetches: WorkloadFetches, _ duration: TimeAmount, on loop: any EventLoop,
    _ finished: EventLoopPromise<(result: LoadGenerator.Result, bytes: Int)>
  ) {
    self.fetches = fetches
    self.duration = duration
    self.loop = loop
    self.finished = finished
    latencies.reserveCapacity(1 << 17)
  }

  func start() {
    for _ in 0..<fetches.connections { connect() }
  }

  private var isOver: Bool { isDone || .now() - started >= duration }

  private func connect() {
    live += 1
    WorkloadPeer.connect(fetches.socket, on: loop) { [self] in handle($0, $1) }
      .assumeIsolated().whenFailure { [self] in fail($0) }
  }

  private func handle(_ peer: WorkloadPeer, _ event: WorkloadPeer.Event) {
    switch event {
    case .ready:
      for _ in 0..<fetches.inFlight { begin(peer) }
      peer.flush()
      leaveIfIdle(peer)
    case .message(let stream, let since, let bytes):
      self.bytes += bytes
      latencies.append(Double((.now() - since).nanoseconds) * 1e-6)
      peer.cancel(stream)
      begin(peer)
      leaveIfIdle(peer)
    case .ended(let why): fail(BenchmarkError(why))
    }
  }

  private func begin(_ peer: WorkloadPeer) {
    if !isOver, peer.opened < fetches.perConnection { peer.open() }
  }

  private func leaveIfIdle(_ peer: WorkloadPeer) {
    guard peer.isIdle else { return }
    peer.flush()
    peer.close()
    live -= 1
    guard isOver else { return connect() }
    guard live == 0, !isDone else { return }
    isDone = true
    let seconds = Double((.now() - started).nanoseconds) * 1e-9
    finished.succeed(
      (.init(count: latencies.count, seconds: seconds, latencies: latencies.sorted()), bytes / max(1, latencies.count)))
  }

  private func fail(_ error: any Error) {
    guard !isDone else { return }
    isDone = true
    finished.fail(error)
  }
}
