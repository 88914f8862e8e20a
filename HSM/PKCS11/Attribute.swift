internal import CP11Kit

/// An attribute and its value, as searches and templates take them.
public struct Attribute: Sendable {
  enum Value: Sendable {
    case flag(Bool)
    case number(UInt)
    case bytes([UInt8])
    case list([Attribute])
  }

  let type: AttributeType
  let value: Value

  /// A CK_BBOOL.
  public static func flag(_ type: AttributeType, _ value: Bool) -> Attribute {
    Attribute(type: type, value: .flag(value))
  }
  /// A CK_ULONG.
  public static func number(_ type: AttributeType, _ value: UInt) -> Attribute {
    Attribute(type: type, value: .number(value))
  }
  /// Bytes.
  public static func bytes(_ type: AttributeType, _ value: [UInt8]) -> Attribute {
    Attribute(type: type, value: .bytes(value))
  }
  /// CKA_LABEL, in UTF-8.
  public static func label(_ text: String) -> Attribute { .bytes(.label, Array(text.utf8)) }
  /// CKA_CLASS.
  public static func objectClass(_ value: ObjectClass) -> Attribute { .number(.objectClass, value.rawValue) }
  /// CKA_KEY_TYPE.
  public static func keyType(_ value: KeyType) -> Attribute { .number(.keyType, value.rawValue) }
  /// A template inside a template.
  public static func list(_ type: AttributeType, _ value: [Attribute]) -> Attribute {
    Attribute(type: type, value: .list(value))
  }
}

extension [Attribute] {
  /// True when the template says that its object goes with the session.
  var isOfSession: Bool {
    contains { attribute in
      if attribute.type == .token, case .flag(false) = attribute.value { true } else { false }
    }
  }
}

/// Lends a template to C. Every value lies in a block of its own until `body` returns: a `CK_ATTRIBUTE` made with
/// `pValue: &x` would dangle.
///
/// - Parameter secret: The CKA_VALUE, not copied.
func withTemplate<R>(
  _ attributes: [Attribute], value secret: UnsafeRawBufferPointer? = nil,
  _ body: (UnsafeMutablePointer<CK_ATTRIBUTE>?, UInt) throws(PKCS11Error) -> R
) throws(PKCS11Error) -> R {
  var blocks: [UnsafeMutableRawPointer] = unsafe []
  defer { while let block = unsafe blocks.popLast() { unsafe block.deallocate() } }

  func block(_ count: Int) -> UnsafeMutableRawPointer {
    let block = UnsafeMutableRawPointer.allocate(byteCount: max(count, 1), alignment: 16)
    unsafe blocks.append(block)
    return unsafe block
  }
  func fill(_ attributes: [Attribute], spare: Int = 0) -> UnsafeMutablePointer<CK_ATTRIBUTE>? {
    let capacity = attributes.count + spare
    guard capacity > 0 else { return nil }
    let array = unsafe block(capacity * MemoryLayout<CK_ATTRIBUTE>.stride)
      .bindMemory(to: CK_ATTRIBUTE.self, capacity: capacity)
    for (index, attribute) in attributes.enumerated() {
      let value: UnsafeMutableRawPointer?
      let length: Int
      switch attribute.value {
      case .flag(let flag):
        length = MemoryLayout<CK_BBOOL>.size
        unsafe value = unsafe block(length)
        unsafe value?.storeBytes(of: flag ? 1 : 0, as: CK_BBOOL.self)
      case .number(let number):
        length = MemoryLayout<CK_ULONG>.size
        unsafe value = unsafe block(length)
        unsafe value?.storeBytes(of: number, as: CK_ULONG.self)
      case .bytes(let bytes):
        length = bytes.count
        unsafe value = unsafe block(length)
        unsafe UnsafeMutableRawBufferPointer(start: value, count: length).copyBytes(from: bytes)
      case .list(let list):
        length = unsafe list.count * MemoryLayout<CK_ATTRIBUTE>.stride
        unsafe value = unsafe fill(list).map { UnsafeMutableRawPointer($0) }
      }
      unsafe (array + index).initialize(
        to: CK_ATTRIBUTE(type: attribute.type.rawValue, pValue: value, ulValueLen: UInt(length)))
    }
    return unsafe array
  }
  guard let secret = unsafe secret else { return try unsafe body(fill(attributes), UInt(attributes.count)) }
  let array = unsafe fill(attributes, spare: 1)
  unsafe array?[attributes.count] = CK_ATTRIBUTE(
    type: CKA_VALUE, pValue: UnsafeMutableRawPointer(mutating: secret.baseAddress), ulValueLen: UInt(secret.count))
  return try unsafe body(array, UInt(attributes.count + 1))
}
