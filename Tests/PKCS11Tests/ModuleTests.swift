import Foundation
import Glibc
import PKCS11
import SecretMemory
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

  @Test("What the library and its slots say of themselves") func info() throws {
    let info = try module.info()
    #expect(info.cryptokiVersion == Version(major: 2, minor: 40))
    #expect(info.cryptokiVersion.description == "2.40")
    #expect(info.manufacturer == "SoftHSM")
    #expect(info.libraryDescription == "Implementation of PKCS11")
    #expect(info.libraryVersion.major == 2)
    #expect(Version(major: 3, minor: 0).description == "3.00")
    let token = try module.token(labelled: "log")
    let slot = try module.slotInfo(token.slot)
    #expect(slot.isTokenPresent && !slot.isHardware && !slot.isRemovable)
    #expect(slot.slotDescription.hasPrefix("SoftHSM slot"))
    #expect(slot.manufacturer == "SoftHSM project")
    #expect(throws: PKCS11Error.self) { try module.slotInfo(SlotID(rawValue: .max)) }
    #expect(token.firmwareVersion == info.libraryVersion)
  }

  @Test("What tokens say of themselves") func tokenInfo() throws {
    let token = try module.token(labelled: "log")
    #expect(token.flags.isSuperset(of: [.hasGenerator, .requiresLogin, .hasUserPIN, .isInitialized]))
    #expect(token.pinState == .usable)
    #expect(token.officerPINState == .usable)
    #expect(token.minimumPINLength == 4 && token.maximumPINLength == 255)
    #expect(token.maximumSessions == .none && token.maximumWritableSessions == .none)
    #expect(token.openSessions == nil && token.openWritableSessions == nil)
    #expect(token.publicMemory.free == nil && token.privateMemory.total == nil)
    #expect(try module.token(in: token.slot) == token)
    let blank = try #require(try module.tokens().first { !$0.isInitialized })
    #expect(blank.pinState == .unset && blank.officerPINState == .unset)
  }

  @Test("Wrong PINs show") func wrongPIN() async {
    await #expect(processExitsWith: .success) {
      let module = try SoftHSMFixture.shared.module
      let free = try #require(try module.tokens().first { !$0.isInitialized })
      let pin = try SecretBytes.random(count: 16).hexadecimal()
      try module.initToken(free.slot, soPIN: pin, label: "wrong-pin")
      let slot = try module.token(labelled: "wrong-pin").slot
      let session = try Session(module, slot: slot, writable: true)
      #expect(try module.token(in: slot).pinState == .unset)
      try session.login(.securityOfficer, pin: pin)
      try session.initPIN(pin)
      try session.logout()
      #expect(try module.token(in: slot).pinState == .usable)
      let wrong = try SecretBytes.random(count: 16).hexadecimal()
      #expect(throws: PKCS11Error(.pinIncorrect, in: "")) { try session.login(.user, pin: wrong) }
      #expect(try module.token(in: slot).pinState == .countLow)
      #expect(throws: PKCS11Error(.pinIncorrect, in: "")) { try session.login(.securityOfficer, pin: wrong) }
      #expect(try module.token(in: slot).officerPINState == .countLow)
      try session.login(.user, pin: pin)
      #expect(try module.token(in: slot).pinState == .usable)
    }
  }

  @Test("Modules by p11-kit's names") func configured() async throws {
    await #expect(processExitsWith: .success) {
      let all = try Module.configured()
      #expect(all.map(\.name) == all.map(\.name).sorted())
      let softHSM = try #require(all.first { $0.name == "softhsm2" })
      #expect(softHSM.path.hasSuffix("/libsofthsm2.so"))
      let error = #expect(throws: PKCS11Error.self) { try Module.load("unheard-of") }
      #expect(error?.code == .argumentsBad)
      #expect(error?.message.contains("softhsm2") == true)
      for name in ["", ".", "./softhsm2", "softhsm", "softhsm2.module"] {
        #expect(throws: PKCS11Error(.argumentsBad, in: "")) { try Module.load(name) }
      }
      let module = try SoftHSMFixture.shared.module
      #expect(try Module.load("softhsm2") === module)
      #expect(try Module.load(softHSM.path) === module)
      #expect(try Module.configured().map(\.name) == all.map(\.name))
      #expect(try module.token(labelled: "log").label == "log")
    }
  }

  @Test("The user's own configuration counts") func userConfiguration() async throws {
    await #expect(processExitsWith: .success) {
      let home = try TemporaryFolder.make()
      let folder = home + "/pkcs11/modules"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      let library = try #require(try Module.configured().first { $0.name == "softhsm2" }).path
      try "module: \(library)\nx-init-reserved: unused\n".write(
        toFile: folder + "/mine.module", atomically: true, encoding: .utf8)
      try "module: \(home)/absent.so\n".write(toFile: folder + "/gone.module", atomically: true, encoding: .utf8)
      unsafe setenv("XDG_CONFIG_HOME", home, 1)
      let names = try Module.configured().map(\.name)
      #expect(names.contains("mine") != names.contains("softhsm2"))
      #expect(!names.contains("gone"))
    }
  }

  @Test("A forked child is refused everything, its parent nothing") func fork() async throws {
    await #expect(processExitsWith: .success) {
      let module = try SoftHSMFixture.shared.module
      let slot = try module.token(labelled: "log").slot
      let session = try Session(module, slot: slot)
      let child = Glibc.fork()
      if child == 0 {
        func refused(_ body: () throws -> Void) -> Bool { Result { try body() }.refusal == .notInitialized }
        let all =
          refused { _ = try module.tokens() } && refused { _ = try session.findObjects([]) }
          && refused { _ = try Session(module, slot: slot) } && refused { _ = try Module.load(module.path) }
          && refused { try module.reinitialize(ifStill: module.generation) }
        _exit(all ? 7 : 1)
      }
      var status: Int32 = 0
      #expect(unsafe waitpid(child, &status, 0) == child)
      #expect(status == 7 << 8)
      #expect(try session.findObjects([]).isEmpty == false)
    }
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
      (0x101, "CKR_USER_NOT_LOGGED_IN", .relogin), (0x113, "CKR_WRAPPING_KEY_HANDLE_INVALID", .relogin),
      (0xf0, "CKR_UNWRAPPING_KEY_HANDLE_INVALID", .relogin), (0x30, "CKR_DEVICE_ERROR", .reinitialise),
      (0x190, "CKR_CRYPTOKI_NOT_INITIALIZED", .reinitialise), (0xb1, "CKR_SESSION_COUNT", .retry),
      (0x201, "CKR_TOKEN_RESOURCE_EXCEEDED", .retry), (0x202, "CKR_OPERATION_CANCEL_FAILED", .retry),
      (0x21, "CKR_DATA_LEN_RANGE", .data), (0x42, "CKR_AEAD_DECRYPT_FAILED", .data),
      (0x1b9, "CKR_PUBLIC_KEY_INVALID", .data), (0x1b, "CKR_ACTION_PROHIBITED", .caller),
      (0x1b8, "CKR_PIN_TOO_WEAK", .caller), (0x203, "CKR_KEY_EXHAUSTED", .caller),
      (0x205, "CKR_SESSION_ASYNC_NOT_SUPPORTED", .caller), (0x5, "CKR_GENERAL_ERROR", .fatal),
      (0x1b7, "CKR_LIBRARY_LOAD_FAILED", .fatal), (0x8000_0001, "CKR_0x80000001", .fatal), (0x0, "CKR_0x0", .fatal),
    ] as [(UInt, String, PKCS11Error.Kind)])
  func names(_ value: UInt, _ name: String, _ kind: PKCS11Error.Kind) {
    let error = PKCS11Error(.init(rawValue: value), in: "C_Sign", "advice")
    #expect(error.code.description == name)
    #expect(error.kind == kind)
    #expect(error.description == "C_Sign: \(name): advice")
    #expect(error == PKCS11Error(.init(rawValue: value), in: "C_Login"))
  }

  /// 93 of 2.40, and 10 that came with 3.0 to 3.2 (OASIS, pkcs11t.h).
  @Test("Every code has a name of its own") func all() {
    let all = PKCS11Error.Code.all
    #expect(all.count == 103)
    #expect(Set(all.map(\.description)).count == all.count)
    #expect(all.allSatisfy { !$0.description.hasPrefix("CKR_0x") })
    #expect(all == all.sorted { $0.rawValue < $1.rawValue })
    #expect(Set(all.map(\.kind)).count == 6)
  }
}
