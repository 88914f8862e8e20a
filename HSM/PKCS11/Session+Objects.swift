internal import CP11Kit
public import SecretMemory

extension Session {
  /// The longest attribute value that is read.
  static let maximumAttribute: UInt = 1 << 16

  /// The objects that have every attribute of `template`.
  ///
  /// - Parameter limit: Stops there; a search costs in proportion to the token's objects.
  public func findObjects(_ template: [Attribute], limit: Int = 64) throws(PKCS11Error) -> [ObjectHandle] {
    var handles = [UInt](repeating: 0, count: limit)
    var count: UInt = 0
    try unsafe withTemplate(template) { (attributes, length) throws(PKCS11Error) in
      try call { f throws(PKCS11Error) in
        try check(unsafe f.findObjectsInit(handle, attributes, length), "C_FindObjectsInit")
        // A module may return them in several portions (PKCS#11 2.40, section 5.7.8).
        var value: CK_RV
        repeat {
          var portion: UInt = 0
          value = unsafe handles.withUnsafeMutableBufferPointer {
            unsafe f.findObjects(handle, $0.baseAddress.map { unsafe $0 + Int(count) }, UInt(limit) - count, &portion)
          }
          guard value == CKR_OK, portion > 0 else { break }
          count += portion
        } while count < limit
        let final = f.findObjectsFinal(handle)
        try check(value, "C_FindObjects")
        try check(final, "C_FindObjectsFinal")
      }
    }
    return handles.prefix(Int(count)).map(ObjectHandle.init(rawValue:))
  }

  /// An attribute's bytes.
  ///
  /// - Throws: ``PKCS11Error/Code-swift.struct/attributeSensitive`` for what the token keeps to itself.
  public func attribute(_ type: AttributeType, of object: ObjectHandle) throws(PKCS11Error) -> [UInt8] {
    try call { f throws(PKCS11Error) -> [UInt8] in
      var attribute = unsafe CK_ATTRIBUTE(type: type.rawValue, pValue: nil, ulValueLen: 0)
      try check(unsafe f.getAttributeValue(handle, object.rawValue, &attribute, 1), "C_GetAttributeValue")
      let length = unsafe attribute.ulValueLen
      guard length != TRUSTCORE_CK_UNAVAILABLE_INFORMATION, length <= Self.maximumAttribute else {
        throw PKCS11Error(.attributeTypeInvalid, in: "C_GetAttributeValue", "the module tells no usable length")
      }
      return try unsafe [UInt8](unsafeUninitializedCapacity: Int(length)) { (buffer, count) throws(PKCS11Error) in
        unsafe attribute.pValue = UnsafeMutableRawPointer(buffer.baseAddress)
        try check(unsafe f.getAttributeValue(handle, object.rawValue, &attribute, 1), "C_GetAttributeValue")
        count = unsafe Int(min(attribute.ulValueLen, length))
      }
    }
  }

  /// A CK_BBOOL.
  public func flag(_ type: AttributeType, of object: ObjectHandle) throws(PKCS11Error) -> Bool {
    let bytes = try attribute(type, of: object)
    guard bytes.count == 1 else { throw PKCS11Error(.generalError, in: "C_GetAttributeValue", "no CK_BBOOL") }
    return bytes[0] != 0
  }

  /// A CK_ULONG.
  public func number(_ type: AttributeType, of object: ObjectHandle) throws(PKCS11Error) -> UInt {
    let bytes = try attribute(type, of: object)
    guard bytes.count == MemoryLayout<UInt>.size else {
      throw PKCS11Error(.generalError, in: "C_GetAttributeValue", "no CK_ULONG")
    }
    return bytes.enumerated().reduce(0) { $0 | UInt($1.element) << (8 * UInt($1.offset)) }
  }

  /// Makes an object.
  ///
  /// - Parameter template: All that it is. A secret value belongs into ``createObject(_:secretValue:)``.
  public func createObject(_ template: [Attribute]) throws(PKCS11Error) -> ObjectHandle {
    try unsafe createObject(template, nil)
  }

  /// Makes an object with a secret for its CKA_VALUE, which the module reads where it lies, in locked memory.
  public func createObject(
    _ template: [Attribute], secretValue: borrowing SecretBytes
  ) throws(PKCS11Error) -> ObjectHandle {
    try unsafe secretValue.withUnsafeBytes { (value) throws(PKCS11Error) in try unsafe createObject(template, value) }
  }

  private func createObject(
    _ template: [Attribute], _ value: UnsafeRawBufferPointer?
  ) throws(PKCS11Error) -> ObjectHandle {
    var object: CK_OBJECT_HANDLE = 0
    try unsafe withTemplate(template, value: value) { (attributes, count) throws(PKCS11Error) in
      try callWriting(isSessionObject: template.isOfSession) { f throws(PKCS11Error) in
        try check(unsafe f.createObject(handle, attributes, count, &object), "C_CreateObject")
      }
    }
    return ObjectHandle(rawValue: object)
  }

  /// Erases an object.
  ///
  /// - Parameter isSessionObject: It is none of the token's, and needs no turn among those who write these.
  public func destroyObject(_ object: ObjectHandle, isSessionObject: Bool = false) throws(PKCS11Error) {
    try callWriting(isSessionObject: isSessionObject) { f throws(PKCS11Error) in
      try check(f.destroyObject(handle, object.rawValue), "C_DestroyObject")
    }
  }
}
