import Foundation
import Testing
import WorkloadIdentity

@testable import WorkloadAttestation

@Suite struct ParserTests {
  @Test func everyShapeOfControlGroups() throws {
    for shape in Shape.all {
      let memberships = try #require(ControlGroups.parse(Array(shape.text.utf8)), "\(shape.name)")
      let reading = ControlGroups.read(memberships)
      #expect(
        reading == .init(container: shape.container, unit: shape.unit, failure: shape.failure),
        "\(shape.name) (\(shape.source))")
    }
    print("control group shapes: \(Shape.all.count) ran, none left out")
  }

  /// What is made inside a container, under whichever name, makes it no other one.
  @Test func whatAContainerMakesInside() throws {
    let single = Shape.all.filter { $0.text.hasPrefix("0::/") && $0.text.utf8.count { $0 == 0x0A } == 1 }
    var (same, refused) = (0, 0)
    for outer in single where outer.container != nil {
      for inner in single {
        let text = outer.text.dropLast() + inner.text.dropFirst(3)
        let reading = ControlGroups.read(try #require(ControlGroups.parse(Array(text.utf8))))
        if reading.failure == nil {
          same += 1
          #expect(reading == .init(container: outer.container, unit: outer.unit), "\(text)")
        } else {
          refused += 1
          #expect(reading == .init(failure: reading.failure), "\(text)")
        }
      }
    }
    print("groups made inside containers: \(same) told nothing else, \(refused) nothing at all")
  }

  @Test(arguments: [
    "", "0:/\n", "0::\n", "x::/\n", "::/\n", "0::a\n", "0:a\n", "0::/a\u{1}\n", "0::/\n0\n", "-1::/\n",
  ]) func malformedControlGroups(text: String) {
    #expect(ControlGroups.parse(Array(text.utf8)) == nil)
  }

  @Test func limitsOfControlGroups() {
    let path = "0::/" + String(repeating: "a", count: ControlGroups.limit - 4)
    #expect(ControlGroups.parse(Array(path.utf8)) != nil)
    #expect(ControlGroups.parse(Array((path + "a").utf8)) == nil)
    #expect(ControlGroups.parse(Array("0::/".utf8) + [0xFF]) == nil)
  }

  static func status(groups: String = "4 2000", pid: String = "7") -> [UInt8] {
    Array("Name:\tx\nTgid:\t\(pid)\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\nGroups:\t\(groups) \nThreads:\t1\n".utf8)
  }

  @Test func status() throws {
    let status = try #require(ProcText.status(Self.status(groups: "2000 4 4"), pid: 7))
    #expect(
      status.credentials
        == Credentials(
          uid: 1, effectiveUID: 2, savedUID: 3, fileUID: 4, gid: 5, effectiveGID: 6, savedGID: 7, fileGID: 8))
    #expect(status.groups == [4, 2000])
    #expect(ProcText.status(Self.status(groups: ""), pid: 7)?.groups == [])
    let most = (0..<ProcText.maximumGroups).map(String.init).joined(separator: " ")
    #expect(ProcText.status(Self.status(groups: most), pid: 7)?.groups.count == ProcText.maximumGroups)
    #expect(ProcText.status(Self.status(groups: most + " 70000"), pid: 7) == nil)
    #expect(ProcText.status(Self.status(), pid: 8) == nil)
    for bad in ["-1", "+1", "x", "4294967296", "99999999999999999999999", "1,2"] {
      #expect(ProcText.status(Self.status(groups: bad), pid: 7) == nil)
    }
    #expect(ProcText.status(Self.status() + Self.status(), pid: 7) == nil, "each line once")
    #expect(ProcText.status(Array("Tgid:\t7\nUid:\t1\t2\t3\nGid:\t5\t6\t7\t8\nGroups:\n".utf8), pid: 7) == nil)
  }

  @Test func startTime() {
    let rest = " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21\n"
    #expect(ProcText.startTime(Array(("7 (x)" + rest).utf8)) == 987654)
    #expect(
      ProcText.startTime(Array(("7 (a) S 1 (b\n) c)" + rest).utf8)) == 987654, "a name of a program may be anything")
    #expect(ProcText.startTime(Array("7 (x) S 1 2".utf8)) == nil)
    #expect(ProcText.startTime(Array(rest.utf8)) == nil)
    #expect(ProcText.startTime([]) == nil)
  }

  @Test func namespaces() {
    #expect(ProcText.namespace(Array("mnt:[4026531840]".utf8), kind: "mnt") == 4_026_531_840)
    for bad in ["mnt:[]", "mnt:[x]", "net:[1]", "mnt:1", "mnt:[1", "", "mnt:[18446744073709551616]"] {
      #expect(ProcText.namespace(Array(bad.utf8), kind: "mnt") == nil)
    }
  }

  @Test func names() {
    let text = Array(
      "root:x:0:0:r:/root:/bin/sh\nfirst:x:7:7::/:\nsecond:x:7:7::/:\nbad\n:x:8:8:::\nx:x:+9:9:::\n+::::::\n".utf8)
    #expect(ProcText.names(text, of: [0, 7, 8, 9, 10]) == [0: "root", 7: "first"])
    #expect(ProcText.names(Array("wheel:x:10:a,b\nbad\u{1}:x:11:\n".utf8), of: [10, 11]) == [10: "wheel"])
    #expect(ProcText.names([0xFF, 0x3A, 0x3A, 0x31, 0x3A], of: [1]) == [:])
  }

  @Test func idMaps() {
    #expect(ProcText.mapsEveryID(Array("         0          0 4294967295\n".utf8)))
    #expect(!ProcText.mapsEveryID(Array("         0       1000          1\n".utf8)))
    #expect(!ProcText.mapsEveryID(Array("0 0 1\n1 1 4294967294\n".utf8)))
  }

  @Test func fileSystems() {
    let text = Array(
      "22 1 0:21 / / rw,relatime shared:1 - ext4 /dev/sda rw\n36 22 0:40 / /m rw master:1 x:2 - fuse.sshfs a:b rw\n37 1\n"
        .utf8)
    #expect(Mounts.fileSystem(of: "22", in: text) == "ext4")
    #expect(Mounts.fileSystem(of: "36", in: text) == "fuse.sshfs")
    #expect(Mounts.fileSystem(of: "37", in: text) == nil)
    #expect(Mounts.fileSystem(of: "2", in: text) == nil)
  }

  /// Changed texts neither trap nor give what no selector can hold.
  @Test func fuzz() {
    var random = Seeded(state: 5)
    let seeds =
      Shape.all.map { Array($0.text.utf8) } + [
        Self.status(), Array("7 (x) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 987654 20 21\n".utf8),
        Array("root:x:0:0:r:/root:/bin/sh\n".utf8), Array("22 1 0:21 / / rw - ext4 /dev/sda rw\n".utf8),
        Array("mnt:[4026531840]".utf8),
      ]
    var told = 0
    let rounds = 20_000
    for _ in 0..<rounds {
      var text = seeds.randomElement(using: &random) ?? []
      for _ in 0..<Int.random(in: 1...4, using: &random) where !text.isEmpty {
        let at = Int.random(in: 0..<text.count, using: &random)
        switch Int.random(in: 0..<5, using: &random) {
        case 0: text[at] = UInt8.random(in: 0...255, using: &random)
        case 1: text.remove(at: at)
        case 2: text.insert(Array("/:-_.@()0 \n[]".utf8).randomElement(using: &random) ?? 0, at: at)
        case 3: text.removeSubrange(at..<min(text.count, at + 8))
        default:
          let other = seeds.randomElement(using: &random) ?? []
          text.insert(contentsOf: other.suffix(Int.random(in: 0...other.count, using: &random)), at: at)
        }
      }
      _ = ProcText.status(text, pid: 7)
      _ = ProcText.startTime(text)
      _ = ProcText.namespace(text, kind: "mnt")
      _ = ProcText.names(text, of: [0])
      _ = Mounts.fileSystem(of: "22", in: text)
      guard let memberships = ControlGroups.parse(text) else { continue }
      let reading = ControlGroups.read(memberships)
      if let unit = reading.unit {
        told += 1
        #expect((try? Selector("systemd:id:" + unit)) != nil)
      }
      if let container = reading.container {
        told += 1
        #expect(container.id.utf8.count == 64)
        #expect(text.count >= 64 && String(decoding: text, as: UTF8.self).contains(container.id))
      }
    }
    print("attestation parsers: \(rounds) changed texts, \(told) facts told")
  }
}
