import Foundation
import HSMCustody
import KeyHierarchy
import PKCS11
import SecretMemory
import TestSupport
import Testing

@Suite("Development HSM")
struct DevelopmentHSMTests {
  private static func mode(_ path: String) throws -> Int {
    try #require(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
  }

  @Test("Keys cannot leave, and do one thing", arguments: KeyName.all)
  func attributes(_ key: KeyName) throws {
    let module = try SoftHSMFixture.shared.module
    let session = try Session(module, slot: try module.token(labelled: key.token.rawValue).slot)
    let isPair = try session.findObjects([.objectClass(.privateKey), .label(key.label)]).count == 1
    let handle = try #require(
      try session.findObjects([.objectClass(isPair ? .privateKey : .secretKey), .label(key.label)]).first)
    for type in [AttributeType.token, .private, .sensitive, .alwaysSensitive, .neverExtractable, .local] {
      #expect(try session.flag(type, of: handle), "\(type)")
    }
    for type in [AttributeType.extractable, .modifiable, .copyable, .derive] {
      #expect(try !session.flag(type, of: handle), "\(type)")
    }
    let granted: Set<AttributeType> =
      switch key.algorithm {
      case .ecdsaP256, .ecdsaP384, .ed25519, .rsa2048: [.sign]
      case .aes256Wrap: [.wrap, .unwrap]
      case .hmacSHA256: [.sign, .verify]
      }
    let all: [AttributeType] =
      isPair ? [.sign, .decrypt, .unwrap] : [.sign, .verify, .encrypt, .decrypt, .wrap, .unwrap]
    for type in all { #expect(try session.flag(type, of: handle) == granted.contains(type), "\(type)") }
    #expect(try session.attribute(.id, of: handle).count == 16)
    // CKA_PRIVATE_EXPONENT of RSA.
    let secret = key.algorithm == .rsa2048 ? AttributeType(rawValue: 0x123) : .value
    #expect(throws: PKCS11Error(.attributeSensitive, in: "")) { try session.attribute(secret, of: handle) }
  }

  @Test("The tokens hold these keys and no others") func inventory() throws {
    let module = try SoftHSMFixture.shared.module
    for role in TokenRole.allCases {
      let session = try Session(module, slot: try module.token(labelled: role.rawValue).slot)
      let labels = try
        (session.findObjects([.objectClass(.privateKey), .flag(.token, true)])
        + session.findObjects([.objectClass(.secretKey), .flag(.token, true)]))
        .map { String(decoding: try session.attribute(.label, of: $0), as: UTF8.self) }
        .filter { !$0.hasPrefix("writes-") }  // PKCS11Tests make and destroy these meanwhile.
      #expect(labels.sorted() == KeyName.all.filter { $0.token == role }.map(\.label).sorted())
    }
  }

  @Test("An initialised token is not erased") func keepsTokens() throws {
    let module = try SoftHSMFixture.shared.module
    let token = try module.token(labelled: "log")
    let pin = try SecretBytes.random(count: 8).hexadecimal()
    func code(_ body: () throws(PKCS11Error) -> Void) -> PKCS11Error.Code? {
      do { try body() } catch { return error.code }
      return nil
    }
    #expect(
      code { () throws(PKCS11Error) in try module.initToken(token.slot, soPIN: pin, label: "x") } == .argumentsBad)
    for label in ["", String(repeating: "x", count: 33)] {
      #expect(
        code { () throws(PKCS11Error) in try module.initToken(token.slot, soPIN: pin, label: label) } == .argumentsBad)
    }
    #expect(try module.token(labelled: "log").serial == token.serial)
  }

  @Test("Folders and PIN files are ours alone") func rights() throws {
    let hsm = try SoftHSMFixture.shared.hsm
    for folder in ["", "/tokens", "/pins"] { #expect(try Self.mode(hsm.directory + folder) == 0o700) }
    for file in ["/softhsm2.conf", "/tokens.json"] { #expect(try Self.mode(hsm.directory + file) == 0o600) }
    var pins: Set<Data> = []
    for role in TokenRole.allCases {
      let path = try #require(hsm.pinFiles[role])
      for file in [path, path.replacingOccurrences(of: ".pin", with: "-so.pin")] {
        #expect(try Self.mode(file) == 0o600)
        let pin = try Data(contentsOf: URL(fileURLWithPath: file))
        #expect(pin.count == 32)
        #expect(pin.allSatisfy { "0123456789abcdef".utf8.contains($0) })
        pins.insert(pin)
      }
    }
    #expect(pins.count == 8)
    let marker = try Data(contentsOf: URL(fileURLWithPath: hsm.directory + "/tokens.json"))
    let object = try #require(try JSONSerialization.jsonObject(with: marker) as? [String: Any])
    #expect(object["developmentHSM"] as? Bool == true)
    #expect((object["serials"] as? [String: String])?.count == 4)
  }

  @Test("One that exists is opened as it is") func existing() async {
    await #expect(processExitsWith: .success) {
      let directory = try TemporaryFolder.make()
      let first = try DevelopmentHSM.openOrCreate(directory: directory)
      ProcessEnd.skipDestructors()
      let custodian = try first.openCustodian(roles: [.identity, .log])
      let keys = try [KeyName.oauthA, .logA].map { try custodian.publicKey($0) }
      custodian.close()
      let second = try DevelopmentHSM.openOrCreate(directory: directory)
      #expect(second.configurationFile == first.configurationFile)
      let again = try second.openCustodian(roles: [.identity, .log])
      #expect(try [KeyName.oauthA, .logA].map { try again.publicKey($0) } == keys)
      again.close()
    }
  }

  @Test("One that was half made is made anew") func halfMade() async {
    await #expect(processExitsWith: .success) {
      let directory = try TemporaryFolder.make()
      let files = FileManager.default
      try Data().write(to: URL(fileURLWithPath: directory + "/unfinished"))
      try files.createDirectory(atPath: directory + "/tokens/1/2", withIntermediateDirectories: true)
      try Data([1]).write(to: URL(fileURLWithPath: directory + "/tokens/1/2/token.object"))
      try Data([1]).write(to: URL(fileURLWithPath: directory + "/softhsm2.conf"))
      let hsm = try DevelopmentHSM.openOrCreate(directory: directory)
      ProcessEnd.skipDestructors()
      #expect(!files.fileExists(atPath: directory + "/unfinished"))
      #expect(!files.fileExists(atPath: directory + "/tokens/1"))
      let custodian = try hsm.openCustodian(roles: [.log])
      #expect(try custodian.publicKey(.logA).bytes.count == 32)
      custodian.close()
    }
  }

  @Test("A folder that holds something else, or that others may enter, is left alone") func foreign() throws {
    let files = FileManager.default
    let directory = try TemporaryFolder.make()
    let other = directory + "/other"
    try Data([1]).write(to: URL(fileURLWithPath: other))
    #expect(throws: CustodyError(.unavailable, "")) { try DevelopmentHSM.openOrCreate(directory: directory) }
    #expect(try files.contentsOfDirectory(atPath: directory) == ["other"])
    let open = try TemporaryFolder.make()
    try files.setAttributes([.posixPermissions: 0o755], ofItemAtPath: open)
    for unfit in [open, other, "relative", directory + "/absent/deeper", directory + "/new\nline"] {
      #expect(throws: CustodyError(.unavailable, "")) { try DevelopmentHSM.openOrCreate(directory: unfit) }
    }
    let link = directory + "-link"
    try files.createSymbolicLink(atPath: link, withDestinationPath: open)
    defer { try? files.removeItem(atPath: link) }
    #expect(throws: CustodyError(.unavailable, "")) { try DevelopmentHSM.openOrCreate(directory: link) }
  }
}
