import Dispatch
import Foundation
@testable import PKCS11
import Synchronization
import TestSupport
import Testing

/// A thread that is inside something until it is let go.
private final class Held: Sendable {
  private let entered = DispatchSemaphore(value: 0)
  private let letGo = DispatchSemaphore(value: 0)
  private let left = DispatchSemaphore(value: 0)

  /// Returns once `enter` has called what it is given.
  init(_ enter: @escaping @Sendable (() -> Void) -> Void) {
    Thread.detachNewThread { [entered, letGo, left] in
      enter {
        entered.signal()
        letGo.wait()
      }
      left.signal()
    }
    entered.wait()
  }

  func release() {
    letGo.signal()
    left.wait()
  }
}

@Suite("PKCS#11: exclusion")
struct ExclusionTests {
  @Test("Readers share, a writer is alone, and nobody waits for ever") func lock() {
    let lock = ReadWriteLock()
    #expect(lock.reading(within: .zero) { 1 } == 1)
    #expect(lock.writing(within: .zero, turn: .zero) { 1 } == 1)
    let reader = Held { hold in _ = lock.reading(within: .zero) { hold() } }
    #expect(lock.writing(within: .zero, turn: .zero) { 1 } == nil)
    #expect(lock.writing(within: .milliseconds(1), turn: .milliseconds(1)) { 1 } == nil)
    #expect(lock.writing(within: .seconds(-1), turn: .seconds(-1)) { 1 } == nil)
    // The writer that gave up holds nobody up.
    #expect(lock.reading(within: .zero) { 1 } == 1)
    reader.release()
    #expect(lock.writing(within: .zero, turn: .zero) { 1 } == 1)
    let writer = Held { hold in _ = lock.writing(within: .zero, turn: .zero) { hold() } }
    #expect(lock.reading(within: .zero) { 1 } == nil)
    #expect(lock.reading(within: .milliseconds(1)) { 1 } == nil)
    #expect(lock.writing(within: .zero, turn: .zero) { 1 } == nil)
    #expect(lock.writing(within: .seconds(60), turn: .zero) { 1 } == nil)
    writer.release()
    #expect(lock.reading(within: .zero) { 1 } == 1)
  }

  @Test("Readers behind a writer that waits in vain get in when it gives up") func behindWriter() {
    let lock = ReadWriteLock()
    let reader = Held { hold in _ = lock.reading(within: .zero) { hold() } }
    let ran = Atomic<Int>(0)
    DispatchQueue.concurrentPerform(iterations: 8) { index in
      if index % 4 == 0 {
        if lock.writing(within: .milliseconds(50), turn: .seconds(60), { 1 }) != nil {
          ran.wrappingAdd(100, ordering: .relaxed)
        }
      } else if lock.reading(within: .seconds(60), { 1 }) != nil {
        ran.wrappingAdd(1, ordering: .relaxed)
      }
    }
    #expect(ran.load(ordering: .relaxed) == 6)
    reader.release()
    #expect(lock.writing(within: .zero, turn: .zero) { 1 } == 1)
  }

  @Test("Errors leave the lock free") func throwing() {
    let lock = ReadWriteLock()
    let failure = PKCS11Error(.deviceError, in: "")
    #expect(throws: failure) {
      try lock.writing(within: .zero, turn: .zero) { () throws(PKCS11Error) -> Int in throw failure }
    }
    #expect(throws: failure) { try lock.reading(within: .zero) { () throws(PKCS11Error) -> Int in throw failure } }
    #expect(lock.writing(within: .zero, turn: .zero) { 1 } == 1)
  }

  @Test("A mutex is waited for until a time") func mutex() {
    let mutex = TimedMutex()
    #expect(mutex.withLock(until: Deadline(after: .zero)) { 1 } == 1)
    let holder = Held { hold in _ = mutex.withLock(until: Deadline(after: .zero)) { hold() } }
    #expect(mutex.withLock(until: Deadline(after: .zero)) { 1 } == nil)
    #expect(mutex.withLock(until: Deadline(after: .milliseconds(1))) { 1 } == nil)
    holder.release()
    #expect(mutex.withLock(until: Deadline(after: .zero)) { 1 } == 1)
  }

  @Test(
    "Times after now",
    arguments: [.zero, .nanoseconds(999_999_999), .seconds(1), .milliseconds(1999), .seconds(Int64.max)] as [Duration])
  func times(_ duration: Duration) {
    let (before, after) = (Deadline(after: .zero), Deadline(after: duration))
    #expect((0..<1_000_000_000).contains(after.nanoseconds))
    #expect((after.seconds, after.nanoseconds) >= (before.seconds, before.nanoseconds))
    #expect(Deadline(after: .seconds(-5)).seconds - before.seconds <= 1)
  }

  @Test("A call that does not come back stops neither calls nor, for long, a re-initialisation") func stuckCall() async
  {
    await #expect(processExitsWith: .success) {
      let module = try SoftHSMFixture.shared.module
      let before = module.generation
      let slot = try module.token(labelled: "log").slot
      let stuck = Held { hold in try? module.call { _ in hold() } }
      let error = #expect(throws: PKCS11Error.self) { try module.reinitialize(ifStill: before, within: .zero) }
      #expect(error?.code == .deviceError)
      #expect(error?.message == "calls are still inside the module")
      module.finalizeIfUnused(within: .zero)
      #expect(module.generation == before)
      // Everything else works, a second load included.
      #expect(try Session(module, slot: slot).findObjects([]).isEmpty == false)
      #expect(try Module.load(module.path) === module)
      // A generation that is gone needs no waiting.
      try module.reinitialize(ifStill: before - 1, within: .zero)
      stuck.release()
      try module.reinitialize(ifStill: before, within: .seconds(60))
      #expect(module.generation == before + 1)
    }
  }

  @Test("A write that does not come back stops its own token's alone") func stuckWrite() throws {
    let module = try SoftHSMFixture.shared.module
    let log = try module.token(labelled: "log").slot
    let identity = try module.token(labelled: "identity").slot
    let stuck = Held { hold in try? module.callWriting(log, nil) { _ in hold() } }
    let session = try Session(module, slot: identity)
    let key = try session.createObject([.objectClass(.data), .flag(.token, false), .flag(.private, false)])
    try session.destroyObject(key)
    #expect(try module.token(in: log).label.hasPrefix("log"))
    stuck.release()
    let other = try Session(module, slot: log)
    _ = try other.createObject([.objectClass(.data), .flag(.token, false), .flag(.private, false)])
  }
}
