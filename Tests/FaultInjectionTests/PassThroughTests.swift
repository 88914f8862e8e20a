import CP11Kit
import Glibc
@_spi(Benchmarks) import PKCS11
import TestSupport
import Testing

@Suite("The faulty module without a fault")
struct PassThroughTests {
  @Test("Both languages number the functions alike")
  func numbers() {
    #expect(PKCS11Function.allCases.count == 68)
    for function in PKCS11Function.allCases {
      let name = String(describing: function)
      #expect(function.name == name.prefix(1).uppercased() + name.dropFirst())
    }
  }

  @Test("The same answers as the real library")
  func same() async {
    await #expect(processExitsWith: .success) {
      let bench = try Bench()
      #expect(Self.exports(bench.faults.library) == ["C_GetFunctionList"])
      let provider = try #require(bench.faults.environment["FAULT_PKCS11_MODULE"])
      guard let real = unsafe Self.list(of: provider) else { throw FaultyModule.Failure(provider) }

      // An HMAC has one answer.
      let mac = try bench.session.generateKey(.generic(bytes: 32), Bench.template)
      let tag = try bench.authenticate(with: mac)
      let direct = unsafe Self.hmac(real.pointee, bench.session.rawHandle, mac.rawValue)
      #expect(direct == tag)
      #expect(try bench.module.tokens().map(\.label).sorted() == ["", "data", "identity", "log", "root"])
      #expect(bench.faults.errors(.sign) == 0)
      #expect(bench.faults.callsInFlight == 0)
    }
  }

  @Test("A library that lacks its real one, or its control file")
  func noEnvironment() async {
    await #expect(processExitsWith: .success) {
      let faults = try FaultyModule()
      unsafe setenv("FAULT_PKCS11_MODULE", "/nonexistent.so", 1)
      #expect(throws: PKCS11Error.self) { try Module.load(faults.library) }
    }
    await #expect(processExitsWith: .success) {
      let faults = try FaultyModule(wrapping: "/proc/self/exe")
      faults.activate()
      #expect(throws: PKCS11Error.self) { try Module.load(faults.library) }
    }
    await #expect(processExitsWith: .success) {
      let faults = try FaultyModule()
      faults.activate()
      unsafe setenv("FAULT_PKCS11_CONTROL", faults.library, 1)
      #expect(throws: PKCS11Error.self) { try Module.load(faults.library) }
    }
  }

  private static func list(of library: String) -> UnsafeMutablePointer<CK_FUNCTION_LIST>? {
    guard let handle = unsafe dlopen(library, RTLD_NOW), let symbol = unsafe dlsym(handle, "C_GetFunctionList") else {
      return nil
    }
    let get = unsafe unsafeBitCast(symbol, to: CK_C_GetFunctionList.self)
    var list: UnsafeMutablePointer<CK_FUNCTION_LIST>?
    return unsafe get(&list) == CKR_OK ? list : nil
  }

  /// The symbols of the library that could clash with another's. `dlsym` asks its dependencies too, and p11-kit has
  /// C_GetFunctionList alone.
  private static func exports(_ path: String) -> [String] {
    let names = PKCS11Function.allCases.map { "C_" + $0.name } + ["fault_enter", "fault_create", "fault_real"]
    guard let library = unsafe dlopen(path, RTLD_NOW) else { return [] }
    return names.filter { unsafe dlsym(library, $0) != nil }
  }

  private static func hmac(_ list: CK_FUNCTION_LIST, _ session: UInt, _ key: UInt) -> [UInt8] {
    var mechanism = unsafe CK_MECHANISM(mechanism: CKM_SHA256_HMAC, pParameter: nil, ulParameterLen: 0)
    var (data, tag, length) = (Bench.digest, [UInt8](repeating: 0, count: 64), UInt(64))
    guard unsafe list.C_SignInit?(session, &mechanism, key) == CKR_OK,
      unsafe list.C_Sign?(session, &data, 32, &tag, &length) == CKR_OK
    else { return [] }
    return Array(tag.prefix(Int(length)))
  }
}
