import Crypto
import Foundation
@testable import HSMCustody
import KeyHierarchy
import TestSupport
import Testing

private let emptyRoot = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
private let rootA = Data(repeating: 0xaa, count: 32).base64EncodedString()
private let rootB = Data(repeating: 0xbb, count: 32).base64EncodedString()

@Suite("Checkpoints")
struct CheckpointTests {
  @Test(
    "Accepted",
    arguments: [
      "example.dev.invalid/log\n0\n\(emptyRoot)\n", "example.dev.invalid/log\n1\n\(rootA)\n",
      "o\n18446744073709551615\n\(rootB)\n", "name with spaces\n10\n\(rootA)\n", "ümlaut\n10\n\(rootA)\n",
      String(repeating: "o", count: 512 - 48) + "\n1\n\(rootA)\n",
    ])
  func accepted(_ body: String) throws {
    let parsed = try CheckpointBody(parsing: Array(body.utf8))
    let lines = body.split(separator: "\n")
    #expect(parsed.origin == lines[0])
    #expect(String(parsed.size) == lines[1])
    #expect(Data(parsed.root).base64EncodedString() == lines[2])
  }

  private static let underscores = String(repeating: "_", count: 43)

  static let unfit: [String] = [
    "", "\n", "\n\n\n", "o\n1\n\(rootA)", "o\n1\n\(rootA)\n\n", "o\n1\n\(rootA)\nextension\n", "o\n1\n",
    "\n1\n\(rootA)\n",
    "o\n\n\(rootA)\n", "o\n01\n\(rootA)\n", "o\n00\n\(rootA)\n", "o\n+1\n\(rootA)\n", "o\n-1\n\(rootA)\n",
    "o\n 1\n\(rootA)\n",
    "o\n1 \n\(rootA)\n", "o\n0x1\n\(rootA)\n", "o\n1.0\n\(rootA)\n", "o\n18446744073709551616\n\(rootA)\n",
    "o\n١\n\(rootA)\n", "o\n1\n\n", "o\n1\n\(rootA.dropLast())\n", "o\n1\n\(rootA)=\n", "o\n1\n=\(rootA.dropFirst())\n",
    "o\n1\n\(Data(repeating: 1, count: 31).base64EncodedString())\n",
    "o\n1\n\(Data(repeating: 1, count: 33).base64EncodedString())\n",
    // The last two bits are not zero; the URL alphabet; a blank inside.
    "o\n1\n\(rootA.dropLast(2))r=\n", "o\n1\n\(underscores)=\n", "o\n1\n\(rootA.prefix(20)) \(rootA.dropFirst(21))\n",
    "o\n0\n\(rootA)\n", "o\u{1}\n1\n\(rootA)\n", "o\u{7f}\n1\n\(rootA)\n", "o\r\n1\r\n\(rootA)\r\n",
    "o\t\n1\n\(rootA)\n",
    "\(String(repeating: "o", count: 513 - 48))\n1\n\(rootA)\n",
  ]

  @Test("Refused", arguments: unfit)
  func refused(_ body: String) {
    #expect(throws: CustodyError(.notPermitted, "")) { try CheckpointBody(parsing: Array(body.utf8)) }
  }

  @Test("No UTF-8") func encoding() {
    #expect(throws: CustodyError(.notPermitted, "")) {
      try CheckpointBody(parsing: [0xff] + Array("\n1\n\(rootA)\n".utf8))
    }
  }

  @Test("A log grows, has one history and one name") func sequence() async throws {
    let fixture = try SoftHSMFixture.shared
    let tokens = try fixture.makeTokens(.log)
    func open() throws -> PKCS11Custodian {
      try PKCS11Custodian.open(provider: fixture.hsm.provider, tokens: tokens, roles: [.log])
    }
    let custodian = try open()
    let publicKey = try custodian.publicKey(.logA)
    func sign(_ origin: String, _ size: Int, _ root: String) async -> CustodyError.Code? {
      await custodyCode {
        let body = Array("\(origin)\n\(size)\n\(root)\n".utf8)
        let signature = try await custodian.signCheckpoint(body, with: .logA)
        #expect(try verifies(signature, body, publicKey))
      }
    }
    #expect(await sign("a/log", 0, emptyRoot) == nil)
    #expect(await sign("a/log", 5, rootA) == nil)
    #expect(await sign("a/log", 5, rootA) == nil)
    #expect(await sign("a/log", 5, rootB) == .notPermitted)
    #expect(await sign("a/log", 4, rootB) == .notPermitted)
    #expect(await sign("a/log", 0, emptyRoot) == .notPermitted)
    #expect(await sign("b/log", 6, rootB) == .notPermitted)
    #expect(await sign("a/log", 6, "no root") == .notPermitted)
    // None of the refusals moved the mark.
    #expect(await sign("a/log", 5, rootA) == nil)
    #expect(await sign("a/log", 6, rootB) == nil)
    // Sealing and unsealing forgets nothing.
    custodian.close()
    let next = try open()
    defer { next.close() }
    for body in ["b/log\n7\n\(rootA)\n", "a/log\n5\n\(rootA)\n", "a/log\n6\n\(rootA)\n"] {
      #expect(await custodyCode { _ = try await next.signCheckpoint(Array(body.utf8), with: .logA) } == .notPermitted)
    }
    #expect(try await next.signCheckpoint(Array("a/log\n7\n\(rootA)\n".utf8), with: .logA).count == 64)
  }

  @Test("Of many with one size, one root wins") func race() async throws {
    let fixture = try SoftHSMFixture.shared
    let custodian = try fixture.makeCustodian(.log)
    defer { custodian.close() }
    let signed = await withTaskGroup { group in
      for byte in 0..<20 {
        group.addTask {
          let root = Data(repeating: UInt8(byte), count: 32).base64EncodedString()
          return await custodyCode {
            _ = try await custodian.signCheckpoint(Array("race/log\n7\n\(root)\n".utf8), with: .logA)
          }
        }
      }
      return await group.reduce(0) { $0 + ($1 == nil ? 1 : 0) }
    }
    #expect(signed == 1)
  }
}
