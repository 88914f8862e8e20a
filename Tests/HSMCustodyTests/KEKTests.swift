import Crypto
@testable import HSMCustody
import KeyHierarchy
@_spi(Testing) import PKCS11
import SecretMemory
import TestSupport
import Testing

@Suite("Key-encryption keys")
struct KEKTests {
  let fixture: SoftHSMFixture
  let tokens: [TokenRole: PKCS11Custodian.TokenLocation]
  private let iv = [UInt8](repeating: 7, count: 12)
  private let context = Array("tenant a, class files".utf8)

  init() throws {
    fixture = try SoftHSMFixture.shared
    tokens = try fixture.makeTokens(.data)
  }

  private func open(_ limits: PKCS11Custodian.Limits = .init()) throws(CustodyError) -> PKCS11Custodian {
    try PKCS11Custodian.open(provider: fixture.hsm.provider, tokens: tokens, roles: [.data], limits: limits)
  }

  private func slot() throws -> SlotID { try fixture.module.token(#require(tokens[.data]).uri).slot }

  /// Session objects that any session of the process sees, and whether each could leave.
  private func objects() throws -> [ObjectHandle] {
    try Session(fixture.module, slot: slot()).findObjects(
      [.flag(.token, false), .objectClass(.secretKey)], limit: 1000)
  }

  private func makeKEK(_ custodian: PKCS11Custodian) async throws -> WrappedKey {
    try await custodian.wrap(custodian.randomSecret(count: 32))
  }

  private func makeKEKs(_ count: Int, _ custodian: PKCS11Custodian) async throws -> [WrappedKey] {
    var keks: [WrappedKey] = []
    for _ in 0..<count { keks.append(try await makeKEK(custodian)) }
    return keks
  }

  private func bytes(_ secret: SecretMemory.SharedSecret) -> [UInt8] {
    unsafe secret.secret.withUnsafeBytes { (bytes: UnsafeRawBufferPointer) -> [UInt8] in unsafe Array(bytes) }
  }

  private func secret(_ bytes: [UInt8]) throws -> SecretMemory.SharedSecret {
    SecretMemory.SharedSecret(try unsafe SecretBytes(copying: bytes.span.bytes))
  }

  @Test("Round trip, as AES-256-GCM in software has it") func roundTrip() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let kek = try await custodian.randomSecret(count: 32)
    let wrapped = try await custodian.wrap(kek)
    #expect(wrapped.bytes.count == 40)
    for count in [1, 31, 32, 64] {
      let key = try await custodian.randomSecret(count: count)
      let ciphertext = try await custodian.encrypt(key, iv: iv, context: context, under: wrapped)
      #expect(ciphertext.count == count + 16)
      let box = try AES.GCM.SealedBox(combined: iv + ciphertext)
      #expect(
        try Array(AES.GCM.open(box, using: SymmetricKey(data: bytes(kek)), authenticating: context)) == bytes(key))
      let opened = try await custodian.decrypt(ciphertext, iv: iv, context: context, under: wrapped)
      #expect(bytes(opened) == bytes(key))
    }
  }

  @Test("Whatever is changed is refused") func tampered() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let kek = try await makeKEK(custodian)
    let other = try await makeKEK(custodian)
    let ciphertext = try await custodian.encrypt(secret([1, 2, 3]), iv: iv, context: context, under: kek)
    func code(_ c: [UInt8], _ i: [UInt8], _ a: [UInt8], _ k: WrappedKey) async -> CustodyError.Code? {
      await custodyCode { _ = try await custodian.decrypt(c, iv: i, context: a, under: k) }
    }
    #expect(await code(ciphertext, iv, context, kek) == nil)
    for index in ciphertext.indices {
      var bad = ciphertext
      bad[index] ^= 1 << UInt8(index % 8)
      #expect(await code(bad, iv, context, kek) == .notAuthentic)
    }
    #expect(await code(ciphertext, [1] + iv.dropFirst(), context, kek) == .notAuthentic)
    #expect(await code(ciphertext, iv, context + [0], kek) == .notAuthentic)
    #expect(await code(ciphertext, iv, context, other) == .notAuthentic)
    #expect(await code(Array(ciphertext.dropLast()), iv, context, kek) == .notAuthentic)
    for index in kek.bytes.indices {
      var bad = kek.bytes
      bad[index] ^= 0x80
      #expect(await code(ciphertext, iv, context, WrappedKey(bad)) == .notAuthentic)
    }
    #expect(await code(ciphertext, iv, context, kek) == nil)
    // What did not open is not kept.
    #expect(try objects().count == 2)
  }

  @Test("Both sides of each limit") func limits() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let kek = try await makeKEK(custodian)
    func code(_ count: Int, _ i: Int, _ a: Int, _ k: Int) async -> CustodyError.Code? {
      await custodyCode {
        _ = try await custodian.encrypt(
          secret([UInt8](repeating: 1, count: count)), iv: [UInt8](repeating: 1, count: i),
          context: [UInt8](repeating: 1, count: a), under: WrappedKey(Array((kek.bytes + [0, 0]).prefix(k))))
      }
    }
    #expect(await code(1, 12, 1, 40) == nil)
    #expect(await code(64, 12, 1 << 20, 40) == nil)
    #expect(await code(65, 12, 1, 40) == .notPermitted)
    for i in [0, 11, 13, 16] { #expect(await code(1, i, 1, 40) == .notPermitted) }
    #expect(await code(1, 12, 0, 40) == .notPermitted)
    #expect(await code(1, 12, 1 << 20 + 1, 40) == .notPermitted)
    for k in [0, 32, 39, 41] { #expect(await code(1, 12, 1, k) == .notPermitted) }
    for count in [16, 31, 33, 64] {
      #expect(
        await custodyCode { _ = try await custodian.wrap(secret([UInt8](repeating: 1, count: count))) } == .notPermitted
      )
    }
    for count in [-1, 0, SecretBytes.maximumCount + 1] {
      #expect(await custodyCode { _ = try await custodian.randomSecret(count: count) } == .notPermitted)
    }
    #expect(try await custodian.randomSecret(count: SecretBytes.maximumCount).secret.count == SecretBytes.maximumCount)
    for count in [16, 81] {
      #expect(
        await custodyCode {
          _ = try await custodian.decrypt([UInt8](repeating: 1, count: count), iv: iv, context: context, under: kek)
        } == .notAuthentic)
    }
  }

  @Test("In the HSM they cannot leave and only encrypt; what was wrapped is gone") func attributes() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let kek = try await makeKEK(custodian)
    #expect(try objects().isEmpty)
    _ = try await custodian.encrypt(secret([1]), iv: iv, context: context, under: kek)
    let session = try Session(fixture.module, slot: slot())
    let handle = try #require(try objects().first)
    #expect(try objects().count == 1)
    for type in [AttributeType.sensitive, .private, .encrypt, .decrypt] { #expect(try session.flag(type, of: handle)) }
    for type in [AttributeType.extractable, .token, .wrap, .unwrap, .sign, .verify, .derive] {
      #expect(try !session.flag(type, of: handle))
    }
    #expect(throws: PKCS11Error(.attributeSensitive, in: "")) { try session.attribute(.value, of: handle) }
    #expect(custodian.hostileUnwrap == .refused)
  }

  @Test("So many at once, the one unused for longest goes") func bounded() async throws {
    var limits = PKCS11Custodian.Limits()
    limits.loadedKeys = 2
    let custodian = try open(limits)
    defer { custodian.close() }
    let keks = try await makeKEKs(5, custodian)
    for round in 0..<3 {
      for kek in keks {
        _ = try await custodian.encrypt(secret([UInt8(round)]), iv: iv, context: context, under: kek)
        #expect(try objects().count <= 2)
      }
    }
    // Many more at once than may be there.
    try await withThrowingTaskGroup { group in
      for task in 0..<60 {
        group.addTask { _ = try await custodian.encrypt(secret([1]), iv: iv, context: context, under: keks[task % 5]) }
      }
      try await group.waitForAll()
    }
    #expect(try objects().count == 2)
  }

  @Test("Loaded once when many ask at once") func loadedOnce() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let kek = try await makeKEK(custodian)
    try await withThrowingTaskGroup { group in
      for task in 0..<100 {
        group.addTask {
          let text = try await custodian.encrypt(secret([UInt8(task)]), iv: iv, context: context, under: kek)
          let key = try await custodian.decrypt(text, iv: iv, context: context, under: kek)
          guard bytes(key) == [UInt8(task)] else { throw CustodyError(.failed, "\(task)") }
        }
      }
      try await group.waitForAll()
    }
    #expect(try objects().count == 1)
  }

  @Test("Gone with the login, and back by themselves") func relogin() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let kek = try await makeKEK(custodian)
    for round in 0..<5 {
      let text = try await custodian.encrypt(secret([9]), iv: iv, context: context, under: kek)
      if round % 2 == 0 {
        try await fixture.module.resetToken(slot())
      } else {
        try Session(fixture.module, slot: slot()).logout()
      }
      #expect(bytes(try await custodian.decrypt(text, iv: iv, context: context, under: kek)) == [9])
      #expect(try objects().count == 1)
    }
  }

  @Test("Sessions closed under load") func underLoad() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let keks = try await makeKEKs(4, custodian)
    for _ in 0..<5 {
      try await withThrowingTaskGroup { group in
        for task in 0..<40 {
          group.addTask {
            let text = try await custodian.encrypt(secret([1]), iv: iv, context: context, under: keks[task % 4])
            guard text.count == 17 else { throw CustodyError(.failed, "\(task)") }
          }
        }
        group.addTask { try await fixture.module.resetToken(slot()) }
        try await group.waitForAll()
      }
      _ = try await custodian.encrypt(secret([1]), iv: iv, context: context, under: keks[0])
    }
  }

  @Test("Forgotten, and loaded again when wanted") func forgets() async throws {
    let custodian = try open()
    defer { custodian.close() }
    let kek = try await makeKEK(custodian)
    let other = try await makeKEK(custodian)
    try await custodian.forget(kek)
    for key in [kek, other] { _ = try await custodian.encrypt(secret([1]), iv: iv, context: context, under: key) }
    #expect(try objects().count == 2)
    try await custodian.forget(kek)
    #expect(try objects().count == 1)
    try await custodian.forget(kek)
    _ = try await custodian.encrypt(secret([1]), iv: iv, context: context, under: kek)
    #expect(try objects().count == 2)
    try await withThrowingTaskGroup { group in
      for task in 0..<60 {
        group.addTask {
          if task % 10 == 9 { return try await custodian.forget(kek) }
          _ = try await custodian.encrypt(secret([1]), iv: iv, context: context, under: kek)
        }
      }
      try await group.waitForAll()
    }
    try await custodian.forget(kek)
    #expect(try objects().count == 1)
    try await fixture.module.resetToken(slot())
    try await custodian.forget(other)
    #expect(try objects().isEmpty)
  }

  @Test("Check values") func checkValues() async throws {
    let custodian = try open()
    let root = try await custodian.rootCheckValue()
    let record = try await custodian.checkValue(of: .recordMAC)
    #expect(root.bytes.count == 8)
    #expect(root != record)
    #expect(try await custodian.authenticate(record: Array("trustcore/kcv/v1".utf8)).prefix(8) == record.bytes[...])
    #expect(await custodyCode { _ = try await custodian.checkValue(of: .oauthA) } == .notPermitted)
    custodian.close()
    #expect(await custodyCode { _ = try await custodian.rootCheckValue() } == .unavailable)
    let again = try open()
    defer { again.close() }
    #expect(try await again.rootCheckValue() == root)
    #expect(try await again.checkValue(of: .recordMAC) == record)
    let elsewhere = try fixture.makeCustodian(.data)
    defer { elsewhere.close() }
    #expect(try await elsewhere.rootCheckValue() != root)
  }

  @Test("A further token: each opens its own wrapping, and one may go") func furtherToken() async throws {
    let first = try open()
    let further = try fixture.makeCustodian(.data)
    defer { further.close() }
    let kek = try await first.randomSecret(count: 32)
    let (a, b) = (try await first.wrap(kek), try await further.wrap(kek))
    let text = try await first.encrypt(secret([5]), iv: iv, context: context, under: a)
    #expect(
      await custodyCode { _ = try await further.decrypt(text, iv: iv, context: context, under: a) } == .notAuthentic)
    first.close()
    #expect(await custodyCode { _ = try await first.decrypt(text, iv: iv, context: context, under: a) } == .unavailable)
    #expect(bytes(try await further.decrypt(text, iv: iv, context: context, under: b)) == [5])
  }

  @Test("A root key that lets keys out stops the opening") func hostile() throws {
    do {
      let session = try Session(fixture.module, slot: slot(), writable: true)
      try session.login(.user, pin: try #require(tokens[.data]).pin())
      for handle in try session.findObjects([.label("root-kek")]) { try session.destroyObject(handle) }
      _ = try session.generateKey(
        .aes256,
        [
          .flag(.token, true), .label("root-kek"), .bytes(.id, [1]), .flag(.private, true), .flag(.sensitive, true),
          .flag(.extractable, false), .flag(.wrap, true), .flag(.unwrap, true),
        ])
      try session.logout()
    }
    #expect(throws: CustodyError(.hostileUnwrap, "")) { try open() }
    // Neither does tolerance help.
    #expect(throws: CustodyError(.hostileUnwrap, "")) {
      try PKCS11Custodian.open(
        provider: fixture.hsm.provider, tokens: tokens, roles: [.data], tolerating: [.data])
    }
    #expect(try objects().isEmpty)
    // Who asks for no keys learns it at the first use.
    let custodian = try PKCS11Custodian.open(
      provider: fixture.hsm.provider, tokens: tokens, roles: [.data], requiring: [])
    defer { custodian.close() }
    #expect(throws: CustodyError(.hostileUnwrap, "")) { try custodian.identity(.rootKEK) }
    #expect(throws: CustodyError(.hostileUnwrap, "")) { try custodian.randomBytes(1) }
    #expect(custodian.health().map(\.state) == [.latched])
  }

  @Test("Without a data token, and without a root key") func missing() async throws {
    let custodian = try fixture.makeCustodian(.identity)
    defer { custodian.close() }
    #expect(await custodyCode { _ = try await custodian.randomSecret(count: 1) } == .unavailable)
    #expect(await custodyCode { _ = try await custodian.rootCheckValue() } == .unavailable)
    #expect(await custodyCode { try await custodian.forget(WrappedKey([])) } == .unavailable)
    #expect(custodian.hostileUnwrap == nil)
  }
}

@Suite("The table of loaded keys")
struct KEKTableTests {
  private func key(_ number: UInt8) -> WrappedKey { WrappedKey([number]) }
  private func handle(_ number: UInt) -> ObjectHandle { ObjectHandle(rawValue: number) }

  private func load(_ number: UInt8, _ table: inout KEKTable) -> KEKTable.Answer {
    let answer = table.acquire(key(number))
    if case .load = answer { table.loaded(key(number), handle(UInt(number))) }
    return answer
  }

  @Test("Loads once, then uses") func once() {
    var table = KEKTable(limit: 4)
    #expect(table.acquire(key(1)) == .load(evicting: nil))
    #expect(table.acquire(key(1)) == .wait)
    table.failed(key(1))
    #expect(table.acquire(key(1)) == .load(evicting: nil))
    table.loaded(key(1), handle(1))
    #expect(table.acquire(key(1)) == .use(handle(1)))
    #expect(table.count == 1)
  }

  @Test("Evicts the one unused for longest, never one in use") func eviction() {
    var table = KEKTable(limit: 2)
    _ = load(1, &table)
    _ = load(2, &table)
    #expect(table.acquire(key(3)) == .wait)
    table.release(key(2))
    #expect(load(3, &table) == .load(evicting: handle(2)))
    table.release(key(1))
    table.release(key(3))
    #expect(table.acquire(key(1)) == .use(handle(1)))
    table.release(key(1))
    #expect(load(4, &table) == .load(evicting: handle(3)))
    #expect(table.count == 2)
    table.removeAll()
    #expect(table.count == 0)
  }

  @Test("What is being loaded is not evicted") func loading() {
    var table = KEKTable(limit: 1)
    #expect(table.acquire(key(1)) == .load(evicting: nil))
    #expect(table.acquire(key(2)) == .wait)
    table.loaded(key(1), handle(1))
    table.release(key(1))
    #expect(table.acquire(key(2)) == .load(evicting: handle(1)))
    #expect(KEKTable(limit: 0).count == 0)
  }

  @Test("Removal waits for users and lets no more in") func removal() {
    var table = KEKTable(limit: 2)
    #expect(table.remove(key(1)) == nil)
    _ = load(1, &table)
    #expect(table.remove(key(1)) == .wait)
    #expect(table.acquire(key(1)) == .wait)
    table.release(key(1))
    #expect(table.remove(key(1)) == .use(handle(1)))
    #expect(table.acquire(key(1)) == .load(evicting: nil))
    #expect(table.remove(key(1)) == .wait)
    table.loaded(key(1), handle(2))
    #expect(table.acquire(key(1)) == .wait)
    table.release(key(1))
    #expect(table.remove(key(1)) == .use(handle(2)))
  }

  @Test("Room on a full token: what nobody uses goes") func room() {
    var table = KEKTable(limit: 4)
    for number in 1...3 { _ = load(UInt8(number), &table) }
    table.release(key(1))
    table.release(key(3))
    #expect(Set(table.removeUnused()) == [handle(1), handle(3)])
    #expect(table.contains(key(2)) && !table.contains(key(1)))
  }
}
