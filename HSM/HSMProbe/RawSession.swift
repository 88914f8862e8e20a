internal import CP11Kit
@_spi(Benchmarks) internal import PKCS11

/// One attribute of a template: CK_BBOOL, CK_ULONG, bytes or a template of its own.
enum RawAttribute: Sendable {
  case flag(UInt, Bool)
  case number(UInt, UInt)
  case bytes(UInt, [UInt8])
  case list(UInt, [RawAttribute])
}

/// A mechanism with a parameter.
struct RawMechanism: Sendable {
  /// Structures in the layout of this machine, which PKCS#11 uses unpacked on Linux.
  enum Parameter: Sendable {
    case none
    /// CK_GCM_PARAMS without additional data; a null pointer when `iv` is empty.
    case gcm(iv: [UInt8], tagBits: UInt, Behaviour.GCMParameters)
    /// CK_RSA_PKCS_OAEP_PARAMS without a label.
    case oaep(hash: UInt, mgf: UInt)
  }

  let type: MechanismType
  var parameter = Parameter.none
}

/// Calls the library with what the typed client refuses, because the answer is what the probe is after. It remembers
/// every object that it makes, and ``destroyAll()`` destroys them.
@safe
final class RawSession {
  private let functions: CK_FUNCTION_LIST
  private let handle: CK_SESSION_HANDLE
  private var made: [CK_OBJECT_HANDLE] = []
  /// The IV's place after the last operation with CKM_AES_GCM: some tokens write theirs into it.
  private(set) var lastIV: [UInt8] = []

  /// Uses a session, which outlives this.
  init(_ session: borrowing Session) {
    unsafe functions = session.functionList.assumingMemoryBound(to: CK_FUNCTION_LIST.self).pointee
    handle = session.rawHandle
  }

  /// Destroys what was made. What the token does not find any more is gone already.
  func destroyAll() {
    while let object = made.popLast() { _ = functions.C_DestroyObject?(handle, object) }
  }

  /// Takes over an object that another session made.
  func adopt(_ object: UInt) { made.append(object) }

  // MARK: - Objects

  func generateKey(_ type: MechanismType, _ template: [RawAttribute]) throws(PKCS11Error) -> UInt {
    var key: CK_OBJECT_HANDLE = 0
    try unsafe withMechanism(RawMechanism(type: type)) { mechanism throws(PKCS11Error) in
      try unsafe withTemplate(template) { (attributes, count) throws(PKCS11Error) in
        try check(unsafe functions.C_GenerateKey?(handle, mechanism, attributes, count, &key), "C_GenerateKey")
      }
    }
    made.append(key)
    return key
  }

  func generateKeyPair(
    _ type: MechanismType, publicKey: [RawAttribute], privateKey: [RawAttribute]
  ) throws(PKCS11Error) -> (publicKey: UInt, privateKey: UInt) {
    var keys: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) = (0, 0)
    try unsafe withMechanism(RawMechanism(type: type)) { mechanism throws(PKCS11Error) in
      try unsafe withTemplate(publicKey) { (first, firstCount) throws(PKCS11Error) in
        try unsafe withTemplate(privateKey) { (second, secondCount) throws(PKCS11Error) in
          try check(
            unsafe functions.C_GenerateKeyPair?(
              handle, mechanism, first, firstCount, second, secondCount, &keys.0, &keys.1), "C_GenerateKeyPair")
        }
      }
    }
    made += [keys.0, keys.1]
    return keys
  }

  func create(_ template: [RawAttribute]) throws(PKCS11Error) -> UInt {
    var object: CK_OBJECT_HANDLE = 0
    try unsafe withTemplate(template) { (attributes, count) throws(PKCS11Error) in
      try check(unsafe functions.C_CreateObject?(handle, attributes, count, &object), "C_CreateObject")
    }
    made.append(object)
    return object
  }

  func attribute(_ type: UInt, of object: UInt) throws(PKCS11Error) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 1024)
    let count = bytes.count
    var length: UInt = 0
    let value = unsafe bytes.withUnsafeMutableBytes { buffer -> CK_RV? in
      var attribute = unsafe CK_ATTRIBUTE(type: type, pValue: buffer.baseAddress, ulValueLen: UInt(count))
      defer { length = unsafe attribute.ulValueLen }
      return unsafe functions.C_GetAttributeValue?(handle, object, &attribute, 1)
    }
    try check(value, "C_GetAttributeValue")
    guard length <= count else {
      throw PKCS11Error(.attributeTypeInvalid, in: "C_GetAttributeValue", "the module tells no usable length")
    }
    return Array(bytes.prefix(Int(length)))
  }

  func flag(_ type: UInt, of object: UInt) throws(PKCS11Error) -> Bool {
    try attribute(type, of: object).contains { $0 != 0 }
  }

  func number(_ type: UInt, of object: UInt) throws(PKCS11Error) -> UInt {
    try attribute(type, of: object).reversed().reduce(0) { $0 << 8 | UInt($1) }
  }

  // MARK: - Operations

  func wrap(_ key: UInt, with wrappingKey: UInt, _ mechanism: RawMechanism) throws(PKCS11Error) -> [UInt8] {
    try unsafe withMechanism(mechanism) { mechanism throws(PKCS11Error) in
      try unsafe output("C_WrapKey") { unsafe functions.C_WrapKey?(handle, mechanism, wrappingKey, key, $0, $1) }
    }
  }

  func unwrap(
    _ wrapped: [UInt8], with wrappingKey: UInt, _ type: MechanismType, _ template: [RawAttribute]
  ) throws(PKCS11Error) -> UInt {
    var key: CK_OBJECT_HANDLE = 0
    var bytes = wrapped
    try unsafe withMechanism(RawMechanism(type: type)) { mechanism throws(PKCS11Error) in
      try unsafe withTemplate(template) { (attributes, count) throws(PKCS11Error) in
        try check(
          unsafe functions.C_UnwrapKey?(
            handle, mechanism, wrappingKey, &bytes, UInt(bytes.count), attributes, count, &key), "C_UnwrapKey")
      }
    }
    made.append(key)
    return key
  }

  func encrypt(_ plaintext: [UInt8], with key: UInt, _ mechanism: RawMechanism) throws(PKCS11Error) -> [UInt8] {
    var input = plaintext
    return try unsafe withMechanism(mechanism) { mechanism throws(PKCS11Error) in
      try check(unsafe functions.C_EncryptInit?(handle, mechanism, key), "C_EncryptInit")
      return try unsafe output("C_Encrypt") {
        unsafe functions.C_Encrypt?(handle, &input, UInt(input.count), $0, $1)
      }
    }
  }

  func decrypt(_ ciphertext: [UInt8], with key: UInt, _ mechanism: RawMechanism) throws(PKCS11Error) -> [UInt8] {
    var input = ciphertext
    return try unsafe withMechanism(mechanism) { mechanism throws(PKCS11Error) in
      try check(unsafe functions.C_DecryptInit?(handle, mechanism, key), "C_DecryptInit")
      return try unsafe output("C_Decrypt") {
        unsafe functions.C_Decrypt?(handle, &input, UInt(input.count), $0, $1)
      }
    }
  }

  func sign(_ data: [UInt8], with key: UInt, _ type: MechanismType) throws(PKCS11Error) -> [UInt8] {
    var input = data
    return try unsafe withMechanism(RawMechanism(type: type)) { mechanism throws(PKCS11Error) in
      try check(unsafe functions.C_SignInit?(handle, mechanism, key), "C_SignInit")
      return try unsafe output("C_Sign") { unsafe functions.C_Sign?(handle, &input, UInt(input.count), $0, $1) }
    }
  }

  // MARK: - Helpers

  /// A result in a buffer with more room than any operation here needs: CKR_BUFFER_TOO_SMALL would leave it active.
  private func output(
    _ function: String, _ body: (UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt>) -> CK_RV?
  ) throws(PKCS11Error) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: 4096)
    var length = UInt(bytes.count)
    try check(unsafe body(&bytes, &length), function)
    return Array(bytes.prefix(Int(min(length, 4096))))
  }

  private func check(_ value: CK_RV?, _ function: String) throws(PKCS11Error) {
    guard let value else {
      throw PKCS11Error(.init(rawValue: CKR_FUNCTION_NOT_SUPPORTED), in: function, "the module lacks it")
    }
    guard value == CKR_OK else { throw PKCS11Error(.init(rawValue: value), in: function) }
  }

  private func withMechanism<R>(
    _ mechanism: RawMechanism, _ body: (UnsafeMutablePointer<CK_MECHANISM>) throws(PKCS11Error) -> R
  ) throws(PKCS11Error) -> R {
    // Both blocks are larger than what is said of them, should a module not look at the length.
    let iv = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
    unsafe iv.initialize(repeating: 0, count: 64)
    let words = UnsafeMutablePointer<UInt>.allocate(capacity: 8)
    unsafe words.initialize(repeating: 0, count: 8)
    defer {
      unsafe iv.deallocate()
      unsafe words.deallocate()
    }
    let values: [UInt]
    var ivLength = 0
    switch mechanism.parameter {
    case .none: values = []
    case .gcm(let bytes, let tagBits, let form):
      ivLength = bytes.count
      for (index, byte) in bytes.enumerated() { unsafe iv[index] = byte }
      let address = bytes.isEmpty ? 0 : UInt(bitPattern: iv)
      let bits = form == .bytes48 ? [UInt(ivLength) * 8] : []
      values = [address, UInt(ivLength)] + bits + [0, 0, tagBits]
    case .oaep(let hash, let mgf): values = [hash, mgf, CKZ_DATA_SPECIFIED, 0, 0]
    }
    for (index, value) in values.enumerated() { unsafe words[index] = value }
    var raw = unsafe CK_MECHANISM(
      mechanism: mechanism.type.rawValue, pParameter: values.isEmpty ? nil : UnsafeMutableRawPointer(words),
      ulParameterLen: UInt(values.count * MemoryLayout<UInt>.stride))
    defer { lastIV = (0..<ivLength).map { unsafe iv[$0] } }
    return try unsafe body(&raw)
  }

  private func withTemplate<R>(
    _ template: [RawAttribute], _ body: (UnsafeMutablePointer<CK_ATTRIBUTE>?, UInt) throws(PKCS11Error) -> R
  ) throws(PKCS11Error) -> R {
    var blocks: [UnsafeMutableRawPointer] = unsafe []
    defer { while let block = unsafe blocks.popLast() { unsafe block.deallocate() } }

    func block(_ bytes: [UInt8]) -> UnsafeMutableRawPointer {
      let block = UnsafeMutableRawPointer.allocate(byteCount: max(bytes.count, 1), alignment: 16)
      unsafe blocks.append(block)
      unsafe UnsafeMutableRawBufferPointer(start: block, count: bytes.count).copyBytes(from: bytes)
      return unsafe block
    }
    func attribute(_ type: UInt, _ bytes: [UInt8]) -> CK_ATTRIBUTE {
      unsafe CK_ATTRIBUTE(type: type, pValue: block(bytes), ulValueLen: UInt(bytes.count))
    }
    func fill(_ template: [RawAttribute]) -> [CK_ATTRIBUTE] {
      unsafe template.map {
        switch $0 {
        case .flag(let type, let value): return unsafe attribute(type, [value ? 1 : 0])
        case .number(let type, let value):
          return unsafe attribute(type, withUnsafeBytes(of: value) { unsafe Array($0) })
        case .bytes(let type, let value): return unsafe attribute(type, value)
        case .list(let type, let inner):
          return unsafe attribute(type, fill(inner).withUnsafeBytes { unsafe Array($0) })
        }
      }
    }
    var attributes = unsafe fill(template)
    let count = unsafe UInt(attributes.count)
    return try unsafe attributes.withUnsafeMutableBufferPointer { buffer throws(PKCS11Error) -> R in
      try unsafe body(buffer.baseAddress, count)
    }
  }
}

extension RawSession {
  /// CK_INFO and CK_TOKEN_INFO, in the terms of a profile.
  func describe(_ slot: SlotID) throws(PKCS11Error) -> (HSMProfile.Library, HSMProfile.Token, HSMProfile.Limits) {
    var library = CK_INFO()
    try check(unsafe functions.C_GetInfo?(&library), "C_GetInfo")
    var token = CK_TOKEN_INFO()
    try check(unsafe functions.C_GetTokenInfo?(slot.rawValue, &token), "C_GetTokenInfo")

    func text<T>(_ field: T) -> String {
      unsafe withUnsafeBytes(of: field) { bytes in
        let end = unsafe bytes.lastIndex { $0 != UInt8(ascii: " ") && $0 != 0 }.map { $0 + 1 } ?? 0
        return unsafe String(decoding: bytes[..<end], as: UTF8.self)
      }
    }
    func version(_ value: CK_VERSION) -> String { "\(value.major).\(value.minor)" }
    func limit(_ value: UInt) -> HSMProfile.Limit {
      switch value {
      case TRUSTCORE_CK_UNAVAILABLE_INFORMATION: .unknown
      // opencryptoki tells one less than the largest number.
      case CK_EFFECTIVELY_INFINITE, UInt(UInt32.max)...: .unlimited
      default: .atMost(value)
      }
    }
    return (
      .init(
        manufacturer: text(library.manufacturerID), description: text(library.libraryDescription),
        version: version(library.libraryVersion), cryptoki: version(library.cryptokiVersion)),
      .init(
        manufacturer: text(token.manufacturerID), model: text(token.model), serial: text(token.serialNumber),
        hardware: version(token.hardwareVersion), firmware: version(token.firmwareVersion)),
      .init(
        sessions: limit(token.ulMaxSessionCount), writableSessions: limit(token.ulMaxRwSessionCount),
        pinLength: (token.ulMinPinLen, token.ulMaxPinLen))
    )
  }
}
