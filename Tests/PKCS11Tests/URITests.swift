import PKCS11
import TestSupport
import Testing

@Suite("PKCS#11 URIs")
struct URITests {
  @Test(
    "Parts and back",
    arguments: [
      ("pkcs11:token=log;serial=0a1b", "log", "0a1b", nil, nil, "pkcs11:serial=0a1b;token=log"),
      ("pkcs11:", nil, nil, nil, nil, "pkcs11:"),
      ("PKCS11:token=a%20b", "a b", nil, nil, nil, "pkcs11:token=a%20b"),
      (
        "pkcs11:manufacturer=M%3bm;model=%C3%BC;token=", "", nil, "ü", "M;m",
        "pkcs11:model=%c3%bc;manufacturer=M%3bm;token="
      ),
    ] as [(String, String?, String?, String?, String?, String)])
  func token(
    _ text: String, _ label: String?, _ serial: String?, _ model: String?, _ maker: String?, _ canonical: String
  ) throws {
    let uri = try TokenURI(text)
    #expect(uri.label == label)
    #expect(uri.serial == serial)
    #expect(uri.model == model)
    #expect(uri.manufacturer == maker)
    #expect(uri.description.lowercased() == canonical.lowercased())
    #expect(try TokenURI(uri.description) == uri)
    #expect(try TokenURI(label: label, serial: serial, model: model, manufacturer: maker) == uri)
  }

  @Test(
    "Objects and back",
    arguments: [
      ("pkcs11:object=log-a", "log-a", nil, nil),
      ("pkcs11:token=log;id=%00%01%ff;type=private", nil, [0, 1, 0xff], .privateKey),
      ("pkcs11:id=a;object=x;type=public", "x", [0x61], .publicKey), ("pkcs11:type=secret-key", nil, nil, .secretKey),
      ("pkcs11:type=cert", nil, nil, .certificate), ("pkcs11:type=data;object=", "", nil, .data),
    ] as [(String, String?, [UInt8]?, ObjectClass?)])
  func object(_ text: String, _ label: String?, _ id: [UInt8]?, _ type: ObjectClass?) throws {
    let uri = try ObjectURI(text)
    #expect(uri.label == label)
    #expect(uri.id == id)
    #expect(uri.type == type)
    #expect(try ObjectURI(uri.description) == uri)
    #expect(try ObjectURI(on: uri.token, label: label, id: id, type: type) == uri)
    #expect(uri.template.count == [label != nil, id != nil, type != nil].filter(\.self).count)
  }

  @Test(
    "Refused",
    arguments: [
      "", "log", ":", "pkcs11", "http://x", "pkcs12:token=a", "pkcs11:token", "pkcs11:=a", "pkcs11:token=%zz",
      "pkcs11:token=%0", "pkcs11:token=a;", "pkcs11:;token=a", "pkcs11:token=a;;serial=1", "pkcs11:token=a;token=b",
      "pkcs11:token=a;slot-id=1", "pkcs11:token=a;library-description=x", "pkcs11:token=a;object=x",
      "pkcs11:token=a;x-vendor=1", "pkcs11:token=a?module-path=/x.so", "pkcs11:token=a?module-name=x",
      "pkcs11:token=a?", "pkcs11:token=a?x=y", "pkcs11:token=a b", "pkcs11:token=a\n", "pkcs11:token=ü",
      "pkcs11:token=%00", "pkcs11:token=a;serial=%00", "pkcs11:serial=12345678901234567",
      "pkcs11:token=123456789012345678901234567890123", "pkcs11:model=12345678901234567",
    ])
  func refused(_ uri: String) {
    #expect(throws: PKCS11Error(.argumentsBad, in: "")) { try TokenURI(uri) }
  }

  @Test(
    "PINs are refused by name and never repeated",
    arguments: [
      "?pin-value=s3cret", ";pin-value=s3cret", "?pin-source=/s3cret", ";pinfile=/s3cret", "?x=y&pin-value=s3cret",
    ])
  func pins(_ part: String) {
    for text in ["pkcs11:token=a" + part, "pkcs11:object=a" + part] {
      let token = #expect(throws: PKCS11Error.self) { try TokenURI(text) }
      let object = #expect(throws: PKCS11Error.self) { try ObjectURI(text) }
      for error in [token, object] {
        #expect(error?.code == .argumentsBad)
        #expect(error?.description.contains("s3cret") == false)
      }
    }
    #expect(throws: PKCS11Error(.argumentsBad, in: "")) { try TokenURI("pkcs11:token=a?pin-value=1") }
  }

  @Test(
    "Refused for objects",
    arguments: ["pkcs11:", "pkcs11:token=a", "pkcs11:object=a;type=key", "pkcs11:object=a;object=b", "pkcs11:type="])
  func refusedObjects(_ uri: String) {
    #expect(throws: PKCS11Error(.argumentsBad, in: "")) { try ObjectURI(uri) }
  }

  @Test("Lengths of fields and of a URI") func lengths() throws {
    let (sixteen, thirtyTwo) = (String(repeating: "s", count: 16), String(repeating: "t", count: 32))
    let uri = try TokenURI(label: thirtyTwo, serial: sixteen, model: sixteen, manufacturer: thirtyTwo)
    #expect(uri.label == thirtyTwo && uri.serial == sixteen && uri.model == sixteen && uri.manufacturer == thirtyTwo)
    #expect(throws: PKCS11Error.self) { try TokenURI(label: thirtyTwo + "t") }
    #expect(throws: PKCS11Error.self) { try TokenURI(serial: sixteen + "s") }
    #expect(throws: PKCS11Error.self) { try TokenURI(model: sixteen + "s") }
    #expect(throws: PKCS11Error.self) { try TokenURI(manufacturer: thirtyTwo + "t") }
    let prefix = "pkcs11:object="
    let most = String(repeating: "o", count: 1024 - prefix.count)
    #expect(try ObjectURI(prefix + most).label == most)
    #expect(throws: PKCS11Error(.argumentsBad, in: "")) { try ObjectURI(prefix + most + "o") }
  }

  @Test("Found on the token") func find() throws {
    let module = try SoftHSMFixture.shared.module
    let log = try module.token(labelled: "log")
    let session = try Session(module, slot: log.slot)
    let found = try session.findObjects(ObjectURI("pkcs11:token=log;object=log-a;type=private"))
    #expect(found.count == 1)
    let id = try session.attribute(.id, of: try #require(found.first))
    #expect(try session.findObjects(ObjectURI(id: id)).count == 2)
    #expect(try session.findObjects(ObjectURI(id: id), limit: 1).count == 1)
    #expect(try session.findObjects(ObjectURI(id: id, type: .privateKey)) == found)
    #expect(try session.findObjects(ObjectURI("pkcs11:object=log-a;type=secret-key")).isEmpty)
    #expect(try session.findObjects(ObjectURI("pkcs11:object=absent")).isEmpty)
    let whole = try TokenURI(
      label: log.label, serial: log.serial, model: log.model, manufacturer: log.manufacturer)
    #expect(try module.token(whole) == module.token(labelled: "log"))
    #expect(try session.findObjects(ObjectURI(on: whole, label: "log-a", type: .privateKey)) == found)
    #expect(throws: PKCS11Error(.tokenNotPresent, in: "")) {
      try session.findObjects(ObjectURI("pkcs11:token=data;object=log-a"))
    }
  }
}
