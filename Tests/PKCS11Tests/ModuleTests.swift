import Foundation
import PKCS11
import TestSupport
import Testing

@Suite("PKCS#11 module and tokens")
struct ModuleTests {
  let fixture: SoftHSMFixture
  var module: Module { fixture.module }

  init() throws { fixture = try SoftHSMFixture.shared }

  @Test("One module per library, by whatever name") func oneModule() throws {
    let link = try TemporaryFolder.make() + "/library.so"
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: module.path)
    #expect(try Module.load(link) === module)
    #expect(try Module.load(module.path) === module)
  }

  @Test("What is no library") func noLibrary() throws {
    let file = try TemporaryFolder.make() + "/empty.so"
    try Data().write(to: URL(fileURLWithPath: file))
    #expect(throws: PKCS11Error(.generalError, in: "")) { try Module.load(file) }
    #expect(throws: PKCS11Error(.argumentsBad, in: "")) { try Module.load(file + "-absent") }
    #expect(throws: PKCS11Error(.argumentsBad, in: "")) { try Module.load("libsofthsm2.so") }
  }

  @Test("Tokens are found by label and serial") func find() throws {
    let token = try module.token(labelled: "log")
    #expect(token.label == "log")
    #expect(token.isInitialized)
    #expect(token.model == "SoftHSM v2")
    #expect(try module.token("pkcs11:token=log;serial=\(token.serial)").slot == token.slot)
    #expect(
      try module.token("pkcs11:serial=\(token.serial);token=log;manufacturer=SoftHSM%20project").slot == token.slot)
    #expect(try module.tokens().filter { $0.label == "log" }.count == 1)
  }

  @Test(
    "Tokens that are not there",
    arguments: ["pkcs11:token=absent", "pkcs11:token=log;serial=00", "pkcs11:token=lo", "pkcs11:token=log;model=other"])
  func absent(_ uri: String) {
    #expect(throws: PKCS11Error(.tokenNotPresent, in: "")) { try module.token(uri) }
  }

  @Test(
    "URIs that are refused",
    arguments: [
      "", "log", "pkcs11:", "pkcs11:serial=00", "pkcs11:token=log?pin-value=1234",
      "pkcs11:token=log?pin-source=/etc/pin",
      "pkcs11:token=log;unheard=of", "pkcs11:token=%zz", "pkcs11:token=",
    ])
  func refused(_ uri: String) {
    #expect(throws: PKCS11Error(.argumentsBad, in: "")) { try module.token(uri) }
  }

  @Test("The longest URI") func longest() {
    func uri(_ count: Int) -> String { "pkcs11:token=log;serial=" + String(repeating: "0", count: count - 24) }
    // A serial of this length matches nothing, but it is read.
    let read = #expect(throws: PKCS11Error.self) { try module.token(uri(1024)) }
    let refused = #expect(throws: PKCS11Error.self) { try module.token(uri(1025)) }
    #expect(refused?.code == .argumentsBad)
    #expect(read != nil)
  }

  @Test("Labels survive their URI", arguments: ["plain", "with space", "a;b/c?d%e", "ümlaut"])
  func escaping(_ label: String) {
    let error = #expect(throws: PKCS11Error.self) { try module.token(labelled: label) }
    #expect(error?.code == .tokenNotPresent)
  }

  @Test("Mechanisms") func mechanisms() throws {
    let slot = try module.token(labelled: "identity").slot
    #expect(try module.mechanism(.ecdsa, in: slot)?.uses.contains(.sign) == true)
    #expect(try module.mechanism(.eddsa, in: slot)?.uses.contains(.sign) == true)
    #expect(try module.mechanism(.aesKeyWrapPad, in: slot)?.uses.isSuperset(of: [.wrap, .unwrap]) == true)
    #expect(try module.mechanism(MechanismType(rawValue: 0xfff_fff0), in: slot) == nil)
    let all = try module.mechanisms(in: slot)
    #expect(all.contains(.hmacSHA256) && all.contains(.aesGCM))
    #expect(throws: PKCS11Error.self) { try module.mechanisms(in: SlotID(rawValue: .max)) }
  }

  @Test("After another initialisation old sessions are refused and new ones work") func reinitialise() async {
    await #expect(processExitsWith: .success) {
      let module = try SoftHSMFixture.shared.module
      let before = module.generation
      do {
        let session = try Session(module, slot: try module.token(labelled: "log").slot)
        module.finalizeIfUnused()
        #expect(module.generation == before)
        #expect(try session.findObjects([]).isEmpty == false)
        try module.reinitialize(ifStill: before)
        #expect(module.generation == before + 1)
        try module.reinitialize(ifStill: before)
        #expect(module.generation == before + 1)
        let error = #expect(throws: PKCS11Error.self) { try session.findObjects([]) }
        #expect(error?.code == .sessionHandleInvalid)
        #expect(error?.kind == .relogin)
      }
      let slot = try module.token(labelled: "log").slot
      #expect(try Session(module, slot: slot).findObjects([.objectClass(.publicKey)]).count == 1)
      // Nobody has a session now: the module goes, and comes again with the next load.
      module.finalizeIfUnused()
      let error = #expect(throws: PKCS11Error.self) { try module.tokens() }
      #expect(error?.code == .notInitialized)
      #expect(error?.kind == .reinitialise)
      _ = try Module.load(module.path)
      #expect(try module.tokens().isEmpty == false)
      #expect(module.generation == before + 2)
    }
  }
}

@Suite("PKCS#11 errors")
struct PKCS11ErrorTests {
  @Test(
    "Name and kind",
    arguments: [
      (0xa0, "CKR_PIN_INCORRECT", .caller), (0xb3, "CKR_SESSION_HANDLE_INVALID", .relogin),
      (0x101, "CKR_USER_NOT_LOGGED_IN", .relogin), (0x30, "CKR_DEVICE_ERROR", .reinitialise),
      (0x190, "CKR_CRYPTOKI_NOT_INITIALIZED", .reinitialise), (0xb1, "CKR_SESSION_COUNT", .retry),
      (0x21, "CKR_DATA_LEN_RANGE", .data), (0x5, "CKR_GENERAL_ERROR", .fatal), (0x8000_0001, "CKR_0x80000001", .fatal),
    ] as [(UInt, String, PKCS11Error.Kind)])
  func names(_ value: UInt, _ name: String, _ kind: PKCS11Error.Kind) {
    let error = PKCS11Error(.init(rawValue: value), in: "C_Sign", "advice")
    #expect(error.code.description == name)
    #expect(error.kind == kind)
    #expect(error.description == "C_Sign: \(name): advice")
    #expect(error == PKCS11Error(.init(rawValue: value), in: "C_Login"))
  }
}
