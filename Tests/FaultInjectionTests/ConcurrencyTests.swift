import Foundation
import HSMCustody
import PKCS11
import Synchronization
import TestSupport
import Testing

/// What the faulty module is for: commands from outside, in the middle of load.
@Suite("Faults under load and across processes")
struct ConcurrencyTests {
  @Test("Tokens go, logins expire and the module restarts while others call: clear answers and no crash")
  func load() async {
    await #expect(processExitsWith: .success) {
      let bench = try Bench()
      let (faults, module) = (bench.faults, bench.module)
      let load = Load()
      let pin = try bench.hsm.pin("identity")
      let ended = AsyncStream<Void>.makeStream()
      for _ in 0..<2 {
        Thread.detachNewThread {
          load.run(module)
          ended.continuation.yield()
        }
      }
      for round in 0..<60 {
        // Every command meets calls that are under way.
        let before = load.good.load(ordering: .relaxed)
        while load.good.load(ordering: .relaxed) < before + 4 { sched_yield() }
        let slot = try module.token(labelled: "identity").slot
        switch round % 3 {
        case 0:
          faults.removeToken(slot)
          faults.returnToken(slot)
        case 1:
          let session = try Session(module, slot: slot)
          try? session.login(.user, pin: pin)
          faults.expireLogins(slot)
        default:
          faults.reset(.deviceError)
          try module.reinitialize(ifStill: module.generation)
        }
      }
      load.stop.store(true, ordering: .relaxed)
      var iterator = ended.stream.makeAsyncIterator()
      for _ in 0..<2 { await iterator.next() }
      // The last: SoftHSM's free slot has another number after C_Initialize, between a search's list and its questions.
      #expect(
        load.codes.withLock { $0 }.isSubset(of: [
          .deviceRemoved, .tokenNotPresent, .sessionHandleInvalid, .deviceError, .init(rawValue: 0x3),
        ]))
      #expect(faults.callsInFlight == 0)
    }
  }

  @Test("Another process is held, and its token is taken meanwhile")
  func otherProcess() async throws {
    let faults = try FaultyModule()
    let (library, environment) = (faults.library, faults.environment)
    // Making the HSM searches for no object.
    let held = faults.hold(.findObjectsInit)
    async let child: Void = {
      await #expect(processExitsWith: .success) {
        [library = library as String, environment = environment as [String: String]] in
        for (name, value) in environment { unsafe setenv(name, value, 1) }
        _ = try DevelopmentHSM.openOrCreate(directory: try TemporaryFolder.make(), provider: library)
        ProcessEnd.skipDestructors()
        let module = try Module.load(library)
        let session = try Session(module, slot: try module.token(labelled: "identity").slot)
        #expect(code { () throws(PKCS11Error) in _ = try session.findObjects([]) } == .deviceRemoved)
      }
    }()
    try await held.waitUntilHeld()
    #expect(faults.sessions == 1)
    #expect(faults.callsInFlight == 1)
    #expect(faults.initialisations == 1)
    #expect(faults.slot(labelled: "absent") == nil)
    let slot = try #require(faults.slot(labelled: "identity"))
    #expect(faults.calls(.findObjectsInit, slot) == 1)
    faults.removeToken(slot)
    held.remove()
    await child
    #expect(faults.errors(.findObjectsInit) == 1)
  }
}

/// Calls that need no login, on sessions of their own, until it is stopped.
private final class Load: Sendable {
  let stop = Atomic(false)
  let good = Atomic(0)
  let codes = Mutex<Set<PKCS11Error.Code>>([])

  func run(_ module: Module) {
    while !stop.load(ordering: .relaxed) {
      let failure = code { () throws(PKCS11Error) in
        try drawByte(module, try module.token(labelled: "identity").slot)
      }
      if let failure {
        codes.withLock { _ = $0.insert(failure) }
      } else {
        good.wrappingAdd(1, ordering: .relaxed)
      }
    }
  }
}
