internal import CP11Kit
internal import PKCS11

extension Trial {
  /// A key of 32 bytes and its wrappings under another: RFC 3394, section 4.6, and the same with the padding of
  /// RFC 5649 and with that of PKCS#7, computed with OpenSSL. No secrets: they are in every copy of this program.
  private enum Known {
    static let wrappingKey = [UInt8](0..<32)
    static let key: [UInt8] = (0..<16).map { $0 * 17 } + [UInt8](0..<16)
    static let rfc3394: [UInt8] = [
      0x28, 0xc9, 0xf4, 0x04, 0xc4, 0xb8, 0x10, 0xf4, 0xcb, 0xcc, 0xb3, 0x5c, 0xfb, 0x87, 0xf8, 0x26, 0x3f, 0x57, 0x86,
      0xe2, 0xd8, 0x0e, 0xd3, 0x26, 0xcb, 0xc7, 0xf0, 0xe7, 0x1a, 0x99, 0xf4, 0x3b, 0xfb, 0x98, 0x8b, 0x9b, 0x7a, 0x02,
      0xdd, 0x21,
    ]
    static let rfc5649: [UInt8] = [
      0x4a, 0x80, 0x29, 0x24, 0x30, 0x27, 0x35, 0x3b, 0x06, 0x94, 0xcf, 0x1b, 0xd8, 0xfc, 0x74, 0x5b, 0xb0, 0xce, 0x8a,
      0x73, 0x9b, 0x19, 0xb1, 0x96, 0x0b, 0x12, 0x42, 0x6d, 0x4c, 0x39, 0xcf, 0xed, 0xa9, 0x26, 0xd1, 0x03, 0xab, 0x34,
      0xe9, 0xf6,
    ]
    static let pkcs7: [UInt8] = [
      0xbe, 0xdd, 0xa2, 0xae, 0x2b, 0xd4, 0xd4, 0x5a, 0x98, 0x80, 0x36, 0x80, 0x5e, 0x20, 0x31, 0x0b, 0x9a, 0xd3, 0x35,
      0xf0, 0xb4, 0xe5, 0xff, 0x49, 0x90, 0xfb, 0x04, 0x4c, 0x6f, 0x42, 0xfb, 0x1c, 0xd5, 0x48, 0x45, 0xd8, 0x01, 0xa0,
      0x44, 0xa2, 0xbb, 0xc7, 0xd8, 0x4a, 0x49, 0xd4, 0x83, 0x90,
    ]
  }

  private func importKey(_ value: [UInt8], _ uses: [UInt], _ type: UInt) throws(PKCS11Error) -> UInt {
    try session.create(
      Self.passing + Self.extractable + [
        .number(CKA_CLASS, CKO_SECRET_KEY), .number(CKA_KEY_TYPE, type), .bytes(CKA_VALUE, value),
      ] + uses.map { .flag($0, true) })
  }

  /// What a key that is to be unwrapped must be told of itself.
  private static func secret(_ type: UInt, _ shape: [RawAttribute]) -> [RawAttribute] {
    passing + [.number(CKA_CLASS, CKO_SECRET_KEY), .number(CKA_KEY_TYPE, type)] + shape
  }

  func wrap(_ type: MechanismType) -> Behaviour.Wrap {
    var result = Behaviour.Wrap()
    let mechanism = RawMechanism(type: type)

    // The wrapping has no randomness, so a key that came back whole wraps to the same bytes.
    func returns(_ key: UInt, under wrapper: UInt) throws(PKCS11Error) -> Bool {
      let wrapped = try session.wrap(key, with: wrapper, mechanism)
      let back = try session.unwrap(
        wrapped, with: wrapper, type, Self.secret(CKK_AES, Self.extractable + [.flag(CKA_ENCRYPT, true)]))
      return try session.wrap(back, with: wrapper, mechanism) == wrapped
    }

    result.roundTrip = with([type]) { () throws(PKCS11Error) in
      (try aesKey([CKA_WRAP, CKA_UNWRAP]), try aesKey([CKA_ENCRYPT], Self.extractable))
    } _: { keys throws(PKCS11Error) in
      try returns(keys.1, under: keys.0) ? .found(.works) : .untried("another key came back")
    }
    result.form = with([type]) { () throws(PKCS11Error) in
      (try importKey(Known.wrappingKey, [CKA_WRAP], CKK_AES), try importKey(Known.key, [CKA_ENCRYPT], CKK_AES))
    } _: { keys throws(PKCS11Error) in
      switch try session.wrap(keys.1, with: keys.0, mechanism) {
      case Known.rfc3394: .found(.rfc3394)
      case Known.rfc5649: .found(.rfc5649)
      case Known.pkcs7: .found(.pkcs7)
      default: .found(.other)
      }
    }
    result.oddLength = with([type]) { () throws(PKCS11Error) in
      let odd = [UInt8](repeating: 0x5a, count: 20)
      return (try aesKey([CKA_WRAP, CKA_UNWRAP]), try importKey(odd, [CKA_SIGN], CKK_GENERIC_SECRET))
    } _: { keys throws(PKCS11Error) in
      let wrapped = try session.wrap(keys.1, with: keys.0, mechanism)
      // SoftHSM does not set CKA_VALUE_LEN of what it unwraps, so the value itself tells; it is no secret here.
      let open: [RawAttribute] = [.flag(CKA_SENSITIVE, false), .flag(CKA_EXTRACTABLE, true), .flag(CKA_SIGN, true)]
      let back = try session.unwrap(wrapped, with: keys.0, type, Self.secret(CKK_GENERIC_SECRET, open))
      return .found(try session.attribute(CKA_VALUE, of: back).count == 20 ? .kept : .grown)
    }
    return result
  }

  func unwrapTemplate() -> Behaviour.UnwrapTemplate {
    var result = Behaviour.UnwrapTemplate()
    guard let type = [Probed.keyWrapKWP, Probed.keyWrapPad, Probed.keyWrap].first(where: offered.contains) else {
      return result
    }
    func wrapper() throws(PKCS11Error) -> UInt {
      try aesKey([CKA_WRAP, CKA_UNWRAP], Self.locked + [.list(CKA_UNWRAP_TEMPLATE, Self.locked)])
    }
    result.set = with([type]) {
    } _: { _ throws(PKCS11Error) in
      _ = try wrapper()
      return .found(.works)
    }
    func unwrapped(_ shape: [RawAttribute]) -> Finding<Behaviour.Unwrapped> {
      with([type]) { () throws(PKCS11Error) -> (UInt, [UInt8]) in
        let key = try wrapper()
        let target = try aesKey([CKA_ENCRYPT], Self.extractable)
        return (key, try session.wrap(target, with: key, RawMechanism(type: type)))
      } _: { made throws(PKCS11Error) in
        let key = try session.unwrap(made.1, with: made.0, type, Self.secret(CKK_AES, shape))
        let (sensitive, leaves) = (try session.flag(CKA_SENSITIVE, of: key), try session.flag(CKA_EXTRACTABLE, of: key))
        return .found(sensitive && !leaves ? .locked : .open)
      }
    }
    result.restated = unwrapped(Self.locked)
    result.unstated = unwrapped([])
    result.opposed = unwrapped([.flag(CKA_SENSITIVE, false), .flag(CKA_EXTRACTABLE, true)])
    return result
  }
}
