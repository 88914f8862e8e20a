@testable import HSMCustody
import KeyHierarchy
import PKCS11
import Testing

@Suite("Custody's parts")
struct PartsTests {
  @Test("A bounded queue: full it refuses, drained it takes") func executorLimit() async throws {
    let executor = try CustodyExecutor(threads: 1, limit: 2)
    let gate = Monitor(false)
    let started = Monitor(0)
    func job() -> Task<Bool, Never> {
      Task {
        do throws(CustodyError) {
          try await executor.run { () throws(CustodyError) in
            started.update { $0 += 1 }
            gate.wait { $0 ? () : nil }
          }
          return true
        } catch {
          return error.code != .unavailable
        }
      }
    }
    let first = job()
    while started.read({ $0 }) == 0 { await Task.yield() }
    let second = job()
    let third = job()
    while executor.waiting < 2 { await Task.yield() }
    #expect(await job().value == false)
    gate.update { $0 = true }
    #expect(await first.value)
    #expect(await second.value)
    #expect(await third.value)
    #expect(await job().value)
    executor.stop()
    #expect(await job().value == false)
  }

  @Test("What a stopped executor holds still runs") func executorStop() async throws {
    let executor = try CustodyExecutor(threads: 2, limit: 1000)
    let results = await withTaskGroup { group in
      for number in 0..<500 {
        group.addTask {
          do throws(CustodyError) {
            return try await executor.run { () throws(CustodyError) in number } == number
          } catch {
            return error.code == .unavailable
          }
        }
      }
      group.addTask {
        executor.stop()
        return true
      }
      return await group.reduce(into: []) { $0.append($1) }
    }
    #expect(results.count == 501)
    #expect(results.allSatisfy { $0 })
  }

  private static let complete: [MechanismType: MechanismInfo.Uses] = [
    .ecdsa: .sign, .eddsa: .sign, .hmacSHA256: .sign, .aesKeyWrapPad: [.wrap, .unwrap], .aesGCM: [.encrypt, .decrypt],
  ]

  private func missing(_ role: TokenRole, _ has: [MechanismType: MechanismInfo.Uses]) throws -> [String] {
    try role.missingMechanisms { has[$0] }
  }

  @Test("A token with every mechanism fits every role", arguments: TokenRole.allCases)
  func fits(_ role: TokenRole) throws {
    #expect(try missing(role, Self.complete).isEmpty)
    #expect(try !missing(role, [:]).isEmpty)
  }

  @Test("The table names role, mechanism, use and finding") func table() throws {
    #expect(try missing(.log, [.ecdsa: .sign]) == ["log | CKM_EDDSA | sign | absent"])
    var partial = Self.complete
    partial[.aesKeyWrapPad] = .wrap
    partial[.aesGCM] = nil
    #expect(
      try missing(.data, partial) == [
        "data | CKM_AES_KEY_WRAP_PAD | wrap+unwrap | not for this use",
        "data | CKM_AES_GCM | encrypt+decrypt | absent",
      ])
  }

  @Test(
    "Public points, bare and in an OCTET STRING",
    arguments: [
      (.ecdsaP256, 65), (.ecdsaP384, 97), (.ed25519, 32),
    ] as [(KeyAlgorithm, Int)])
  func points(_ algorithm: KeyAlgorithm, _ length: Int) {
    let point = [4] + [UInt8](repeating: 9, count: length - 1)
    #expect(algorithm.point(point) == point)
    #expect(algorithm.point([4, UInt8(length)] + point) == point)
    for wrong in [
      [], Array(point.dropLast()), point + [0], [3, UInt8(length)] + point, [4, UInt8(length - 1)] + point,
    ] {
      #expect(algorithm.point(wrong) == nil)
    }
    if algorithm != .ed25519 {
      #expect(algorithm.point([2] + point.dropFirst()) == nil, "a compressed point")
    }
  }

  @Test(
    "Module errors in custody's terms",
    arguments: [
      (.pinIncorrect, .wrongPIN), (.pinLocked, .wrongPIN), (.mechanismInvalid, .mechanismMissing),
      (.keyFunctionNotPermitted, .notPermitted), (.userAlreadyLoggedIn, .unavailable), (.tokenNotPresent, .unavailable),
      (.sessionHandleInvalid, .unavailable), (.generalError, .failed), (.dataLengthRange, .failed),
    ] as [(PKCS11Error.Code, CustodyError.Code)])
  func errors(_ code: PKCS11Error.Code, _ expected: CustodyError.Code) {
    #expect(CustodyError(PKCS11Error(code, in: "C_Sign"), "key").code == expected)
  }
}
