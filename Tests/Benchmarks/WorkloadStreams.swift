import NIOCore
import NIOPosix

/// Streams that are opened and stay so, and the moments at which messages come.
final class WorkloadStreams {
  private let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
  private let state: NIOLoopBound<StreamState>

  /// Opens connections, a few at a time, and waits until each stream has its first message.
  /// - Parameter counts: how many streams each connection has; the first connection is the first that the server sees.
  static func open(_ socket: String, _ counts: [Int]) async throws -> WorkloadStreams {
    let streams = try await WorkloadStreams(socket, counts)
    do {
      try await streams.ready()
      return streams
    } catch {
      try? await streams.abandon()
      throw error
    }
  }

  private init(_ socket: String, _ counts: [Int]) async throws {
    let loop = group.next()
    state = try await loop.submit { NIOLoopBound(StreamState(socket, counts, on: loop), eventLoop: loop) }.get()
  }

  private func ready() async throws {
    try await loop.flatSubmit { [state] in state.value.start() }.get()
  }

  private var loop: any EventLoop { group.next() }

  /// Forgets the messages that have come.
  func forget() async throws { try await loop.submit { [state] in state.value.arrivals = [] }.get() }

  /// Waits until so many messages have come that were not forgotten, and says when each came.
  func arrivals(_ count: Int) async throws -> [NIODeadline] {
    try await loop.flatSubmit { [state] in state.value.wait(for: count) }.get()
  }

  /// Closes every connection, with the streams on it as they are.
  func abandon() async throws {
    try await loop.submit { [state] in state.value.abandon() }.get()
    try await group.shutdownGracefully()
  }
}

/// The state of ``WorkloadStreams``, on its one event loop.
private final class StreamState {
  /// How many connections are being opened at once.
  private static let dialling = 64
  private static let patience = TimeAmount.seconds(60)

  private let socket: String
  private let loop: any EventLoop
  private let opened: EventLoopPromise<Void>
  /// What is yet to be opened, the next one last.
  private var counts: [Int]
  private var peers: [WorkloadPeer] = []
  /// First messages that have yet to come.
  private var missing: Int
  private var waiting: [ObjectIdentifier: Int] = [:]
  private var expectation: (count: Int, promise: EventLoopPromise<[NIODeadline]>)?
  private var failure: (any Error)?
  var arrivals: [NIODeadline] = []

  init(_ socket: String, _ counts: [Int], on loop: any EventLoop) {
    self.socket = socket
    self.loop = loop
    self.counts = counts.reversed()
    missing = counts.reduce(0, +)
    opened = loop.makePromise()
  }

  func start() -> EventLoopFuture<Void> {
    // The first one alone, so that it is the first for the server too.
    dial()
    limit(opened)
    return opened.futureResult
  }

  private func limit<Value>(_ promise: EventLoopPromise<Value>) {
    let late = loop.scheduleTask(in: Self.patience) { promise.fail(BenchmarkError("messages do not come")) }
    promise.futureResult.whenComplete { _ in late.cancel() }
  }

  private func dial() {
    guard let count = counts.popLast() else { return }
    WorkloadPeer.connect(socket, on: loop) { [self] in handle($0, $1, streams: count) }
      .assumeIsolated().whenFailure { [self] in fail($0) }
  }

  private func handle(_ peer: WorkloadPeer, _ event: WorkloadPeer.Event, streams: Int) {
    let id = ObjectIdentifier(peer)
    switch event {
    case .ready:
      peers.append(peer)
      waiting[id] = streams
      for _ in 0..<streams { peer.open() }
      peer.flush()
    case .message:
      guard let left = waiting[id] else {
        arrivals.append(.now())
        return tellIfThere()
      }
      missing -= 1
      waiting[id] = left == 1 ? nil : left - 1
      guard left == 1 else { return }
      for _ in 0..<(peers.count == 1 ? Self.dialling : 1) { dial() }
      if missing == 0 { opened.succeed() }
    case .ended(let why): fail(BenchmarkError(why))
    }
  }

  func wait(for count: Int) -> EventLoopFuture<[NIODeadline]> {
    let promise = loop.makePromise(of: [NIODeadline].self)
    limit(promise)
    expectation = (count, promise)
    if let failure { promise.fail(failure) }
    tellIfThere()
    return promise.futureResult
  }

  private func tellIfThere() {
    guard let (count, promise) = expectation, arrivals.count >= count else { return }
    expectation = nil
    promise.succeed(arrivals)
  }

  private func fail(_ error: any Error) {
    failure = error
    opened.fail(error)
    expectation?.promise.fail(error)
    expectation = nil
  }

  func abandon() {
    for peer in peers { peer.close() }
    peers = []
  }
}
