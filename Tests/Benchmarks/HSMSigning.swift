import CPKCS11Loop
import HSMCustody
import KeyHierarchy
@_spi(Benchmarks) import PKCS11
import SecretMemory

/// The PKCS#11 client against the same loop in C, on one session and one key.
enum HSMSigning {
  static func measure(_ hsm: DevelopmentHSM) throws -> [Row] {
    let module = try Module.load(hsm.provider)
    return try [
      row(module, hsm, .identity, "oauth-a", .ecdsaP256, "P-256", operations: 1500),
      row(module, hsm, .log, "log-a", .ed25519, "Ed25519", operations: 1500),
    ]
  }

  private static func row(
    _ module: Module, _ hsm: DevelopmentHSM, _ role: TokenRole, _ label: String, _ scheme: SignatureScheme,
    _ name: String, operations: Int
  ) throws -> Row {
    let session = try Session(module, slot: try module.token(labelled: role.rawValue).slot)
    try session.login(.user, pin: try SecretBytes(contentsOfFile: hsm.pinFiles[role] ?? "", droppingNewline: true))
    guard let key = try session.findObjects([.objectClass(.privateKey), .label(label)]).first else {
      throw BenchmarkError("the token '\(role.rawValue)' lacks the key '\(label)'")
    }
    let data = [UInt8](repeating: 0x5A, count: scheme.digestLength ?? 32)
    let functions = unsafe session.functionList
    let handle = session.rawHandle
    let rates = try Timing.rates(
      rounds: 15, operations: operations,
      [
        { count in
          try Timing.seconds { for _ in 0..<count { _ = try session.sign(data.span, with: key, as: scheme) } }
        },
        { count in
          let seconds = unsafe data.withUnsafeBufferPointer { data in
            unsafe trustcore_c_sign_loop(
              functions, handle, key.rawValue, scheme.mechanism.rawValue, data.baseAddress!, data.count, count)
          }
          guard seconds > 0 else { throw BenchmarkError("the loop in C failed with \(-seconds)") }
          return seconds
        },
      ])
    return Row("PKCS#11 signing, \(name)", rates[0], "/s", beside: "the same loop in C", rates[1], atLeast: 0.95)
  }
}

/// Why a measurement cannot be made.
struct BenchmarkError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}
