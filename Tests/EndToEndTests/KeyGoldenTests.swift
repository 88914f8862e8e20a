import DemoClient
import Foundation
import Testing
import Wire

extension EndToEndTests {
  /// What the commands of keys print for people, word for word.
  @Suite(.serialized) struct KeyGoldens {
    private static let golden = """
      $ trustcore keys list
      No keys yet: make one with 'trustcore keys create --class NAME'.

      $ trustcore keys create --class files
      key_KKKKKKKKKKKKKKKKKKKKKK is made, version 1 (leaf N).

      $ trustcore keys list
      Key                         Tenant                      Class  Version  State
      key_KKKKKKKKKKKKKKKKKKKKKK  ten_TTTTTTTTTTTTTTTTTTTTTT  files        1  active

      $ trustcore keys show key_KKKKKKKKKKKKKKKKKKKKKK
      Class        files
      Environment  development
      Key          key_KKKKKKKKKKKKKKKKKKKKKK
      Leaf index   N
      State        active
      Tenant       ten_TTTTTTTTTTTTTTTTTTTTTT
      Version      1

      Created at                Data keys  Leaf index  State   Version  Wrapped to
      2026-01-01T00:00:00.000Z          0          24  active        1  token:0123456789abcdef, recovery:<fingerprint>

      $ trustcore keys rotate key_KKKKKKKKKKKKKKKKKKKKKK
      key_KKKKKKKKKKKKKKKKKKKKKK is rotated, version 2 (leaf N).

      $ trustcore keys disable key_KKKKKKKKKKKKKKKKKKKKKK
      key_KKKKKKKKKKKKKKKKKKKKKK is disabled, version 2 (leaf N).

      $ trustcore keys enable key_KKKKKKKKKKKKKKKKKKKKKK
      key_KKKKKKKKKKKKKKKKKKKKKK is enabled, version 2 (leaf N).

      $ trustcore keys show key_KKKKKKKKKKKKKKKKKKKKKK
      Class        files
      Environment  development
      Key          key_KKKKKKKKKKKKKKKKKKKKKK
      Leaf index   N
      State        active
      Tenant       ten_TTTTTTTTTTTTTTTTTTTTTT
      Version      2

      Created at                Data keys  Leaf index  State    Version  Wrapped to
      2026-01-01T00:00:00.000Z          0          36  retired        1  token:0123456789abcdef, recovery:<fingerprint>
      2026-01-01T00:00:00.000Z          0          36  active         2  token:0123456789abcdef, recovery:<fingerprint>

      $ trustcore hsm status
      HSM             developmentHSM, N operations
      Hostile unwrap  refused by the token (tried at start)

      Role      Member  Label     State  Used  Reason
      log            0  log       ready  yes   -
      identity       0  identity  ready  yes   -
      data           0  data      ready  yes   -

      $ trustcore status
      Mode            running
      Environment     development
      Trust domain    tc-0123456789ab.dev.invalid
      Log             tc-0123456789ab.dev.invalid/log, N leaves
      HSM             developmentHSM, N operations
      Hostile unwrap  refused by the token (tried at start)
      Keys            1 active
      Data-key cache  0 of 1,024 held
      Waiting         nothing

      Role      Member  Label     State  Used  Reason
      log            0  log       ready  yes   -
      identity       0  identity  ready  yes   -
      data           0  data      ready  yes   -

      $ trustcore keys destroy key_KKKKKKKKKKKKKKKKKKKKKK --yes
      key_KKKKKKKKKKKKKKKKKKKKKK is destroyed (leaf N): 2 versions, 0 data keys.
      Dropped by: <node>.
      What backups can still reach:
        Copies of the database made from 2026-01-01T00:00:00.000Z to 2026-01-01T00:00:00.000Z
        still hold the key, wrapped. It opens with any one of:
          - token:0123456789abcdef
          - recovery:<fingerprint>
        TrustCore replays this destruction before it serves from such a copy.
        To put the key out of everybody's reach, destroy those copies or those keys.
      The receipt is that of command CCCCCCCCCCCCCCCCCCCCCC.

      $ trustcore keys show key_KKKKKKKKKKKKKKKKKKKKKK
      Class        files
      Environment  development
      Key          key_KKKKKKKKKKKKKKKKKKKKKK
      Leaf index   N
      State        destroyed
      Tenant       ten_TTTTTTTTTTTTTTTTTTTTTT
      Version      2

      Created at                Data keys  Leaf index  State      Version  Wrapped to
      2026-01-01T00:00:00.000Z          0          40  destroyed        1
      2026-01-01T00:00:00.000Z          0          40  destroyed        2
      """

    /// What differs from one deployment to the next is replaced by what is as long, so that columns stay.
    private static func plain(_ text: String) -> String {
      text.replacing(/key_[A-Za-z0-9_-]{22}/, with: "key_" + String(repeating: "K", count: 22))
        .replacing(/ten_[A-Za-z0-9_-]{22}/, with: "ten_" + String(repeating: "T", count: 22))
        .replacing(/tc-[0-9a-f]{12}/, with: "tc-0123456789ab")
        .replacing(/\d{4}-\d\d-\d\dT[0-9:.]{12}Z/, with: "2026-01-01T00:00:00.000Z")
        .replacing(/token:[0-9a-f]{16}/, with: "token:0123456789abcdef")
        .replacing(/recovery:[0-9a-f]{64}/, with: "recovery:<fingerprint>")
        .replacing(/command [A-Za-z0-9_-]{22}/, with: "command " + String(repeating: "C", count: 22))
        .replacing(/\d+ operations/, with: "N operations")
        // A revocation list is signed, and recorded, a moment after the start.
        .replacing(/leaf \d+/, with: "leaf N").replacing(/\d+ leaves/, with: "N leaves")
        .replacing(/Leaf index   \d+/, with: "Leaf index   N")
        .replacing("Dropped by: \(ProcessInfo.processInfo.hostName).", with: "Dropped by: <node>.")
    }

    @Test func outputsAreAsPeopleReadThem() async throws {
      let office = try KeyOffice("golden")
      let running = try await office.start()
      // A moment after the start a revocation list is signed, and recorded: what follows has the same leaves each time.
      try await Built.eventually("the list") { try await running.client.get("/workload/crl").status == 200 }
      var told: [String] = []
      func run(_ line: String) async throws {
        let outcome = try await office.tool(line.split(separator: " ").map(String.init))
        #expect(outcome.status == 0 && outcome.complaint.isEmpty, "\(line): \(outcome.complaint)")
        told.append("$ trustcore \(line)\n\(outcome.text)")
      }
      try await run("keys list")
      try await run("keys create --class files")
      let key = try #require(try await office.json(["keys", "list"])["keys"]?.array?.first?.object?["key"]?.string)
      for line in ["list", "show \(key)", "rotate \(key)", "disable \(key)", "enable \(key)", "show \(key)"] {
        try await run("keys " + line)
      }
      try await run("hsm status")
      try await run("status")
      try await run("keys destroy \(key) --yes")
      try await run("keys show \(key)")
      // Line by line, so that the first that differs shows.
      let (found, wanted) = (Self.plain(told.joined(separator: "\n")), Self.golden + "\n")
      for (line, golden) in zip(found.split(separator: "\n"), wanted.split(separator: "\n")) where line != golden {
        Issue.record("\(line)\nis not\n\(golden)")
        break
      }
      #expect(found.count == wanted.count)
      #expect(!found.contains(" \n"))
      try await office.stop(running)
    }
  }
}
