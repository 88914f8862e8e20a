import HummingbirdCore
import HTTPTypes
import Logging
import NIOCore

/// Runs each connection's tasks on the connection's own event loop. Between the loop and Swift's thread pool every
/// request would cross threads several times, which costs more than most requests do.
struct EventLoopChannel<Base: HTTPChannelHandler>: HTTPChannelHandler {
  let base: Base

  var responder: Responder { base.responder }

  func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Base.Value> {
    base.setup(channel: channel, logger: logger)
  }

  func handle(value: Base.Value, logger: Logger) async {
    await withTaskExecutorPreference(EventLoopTaskExecutor(value.channel.eventLoop)) {
      await base.handle(value: value, logger: logger)
    }
  }
}

/// An event loop as Swift's concurrency sees it.
private final class EventLoopTaskExecutor: TaskExecutor {
  private let eventLoop: any EventLoop

  init(_ eventLoop: any EventLoop) { self.eventLoop = eventLoop }

  func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    eventLoop.execute { unsafe job.runSynchronously(on: self.asUnownedTaskExecutor()) }
  }
}
