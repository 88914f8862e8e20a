import Foundation
import HSMCustody
import KeyHierarchy
import PKCS11
import TestSupport
import Testing

extension HSMFaults {
  /// A module in a process of its own: SoftHSM behind `p11-kit server`, which p11-kit's client module talks to over the
  /// socket that P11_KIT_SERVER_ADDRESS names (`unix:path=…`). The client of 0.24.1 passes few mechanisms: ECDSA and HMAC,
  /// no EdDSA, GCM or key wrap, so that the identity token alone can be had in this way.
  @Suite("Faults: the module's process")
  struct RemoteModuleTests {
    @Test("Killed under load and started again, again and again")
    func killed() async throws {
      guard let client = RemoteModule.client else {
        let reason = "p11-kit-client.so is not installed: apt install p11-kit p11-kit-modules"
        print("HSM faults: the module's process is not killed: \(reason)")
        if ProcessInfo.processInfo.environment["CI"] == "true" { Issue.record("\(reason)") }
        return
      }
      await #expect(processExitsWith: .success) { [client = client as String] in
        FaultBench.watch()
        // p11-kit's client writes to the dead server's socket; NIO has the daemon ignore the signal.
        signal(SIGPIPE, SIG_IGN)
        let hsm = try DevelopmentHSM.openOrCreate(directory: try TemporaryFolder.make())
        ProcessEnd.skipDestructors()
        var server = try RemoteModule(try TemporaryFolder.make() + "/socket", provider: hsm.provider)
        defer { server.kill() }
        unsafe setenv("P11_KIT_SERVER_ADDRESS", "unix:path=\(server.socket)", 1)
        let clock = ManualCustodyClock()
        var limits = PKCS11Custodian.Limits()
        limits.deadline = .seconds(10_000_000)
        // Of two threads in calls when the server dies, the client of 0.24.1 never lets the second one go.
        limits.threads = 1
        let custodian = try PKCS11Custodian.open(
          provider: client, tokens: hsm.tokens, roles: [.identity], limits: limits, clock: clock)
        let load = RemoteLoad(custodian, key: try custodian.publicKey(.oauthA))
        await load.works(clock)
        for round in 0..<5 {
          server.kill()
          await load.fails()
          #expect(custodian.health().first?.state != .ready)
          // A longer outage each time: attempts become rare, but do not end.
          for _ in 0..<(round * 20) {
            clock.advance(by: .seconds(1))
            await Task.yield()
          }
          server = try RemoteModule(server.socket, provider: hsm.provider)
          await load.works(clock)
          #expect(custodian.health().map(\.state) == [.ready])
        }
        // Killed and back before anybody looks.
        for _ in 0..<3 {
          server.kill()
          server = try RemoteModule(server.socket, provider: hsm.provider)
          await load.works(clock)
        }
        await load.stop()
        #expect(load.wrong == 0)
        #expect(load.codes.isSubset(of: [.unavailable]))
      }
    }
  }
}
