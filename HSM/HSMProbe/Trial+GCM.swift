internal import CP11Kit
internal import PKCS11

extension Trial {
  func gcm() -> Behaviour.GCM {
    var result = Behaviour.GCM()
    let plaintext = [UInt8](repeating: 0x2e, count: 16)
    let iv = [UInt8](1...12)
    var form = Behaviour.GCMParameters.bytes48

    func mechanism(_ iv: [UInt8], tagBits: UInt = 128) -> RawMechanism {
      RawMechanism(type: .aesGCM, parameter: .gcm(iv: iv, tagBits: tagBits, form))
    }
    func trial<V>(_ body: (UInt) throws(PKCS11Error) -> Finding<V>) -> Finding<V> {
      with([.aesGCM], { () throws(PKCS11Error) in try aesKey([CKA_ENCRYPT, CKA_DECRYPT]) }, body)
    }

    result.parameters = trial { key throws(PKCS11Error) in
      do throws(PKCS11Error) { _ = try session.encrypt(plaintext, with: key, mechanism(iv)) } catch {
        // The shorter structure only if it must be: a module that ignores the length would read beyond it.
        form = .bytes40
        _ = try session.encrypt(plaintext, with: key, mechanism(iv))
      }
      return .found(form)
    }
    guard case .found = result.parameters else { return result.untried(after: result.parameters) }

    result.iv = trial { key throws(PKCS11Error) in
      let first = try session.encrypt(plaintext, with: key, mechanism(iv))
      guard session.lastIV == iv else { return .found(.token) }
      return .found(try session.encrypt(plaintext, with: key, mechanism(iv)) == first ? .caller : .token)
    }
    result.emptyIV = trial { key throws(PKCS11Error) in
      let first = try session.encrypt(plaintext, with: key, mechanism([]))
      for count in [12, 16] {
        let zeros = [UInt8](repeating: 0, count: count)
        if try session.encrypt(plaintext, with: key, mechanism(zeros)) == first { return .found(.zeros) }
      }
      return .found(try session.encrypt(plaintext, with: key, mechanism([])) == first ? .fixed : .made)
    }
    result.tagOf32Bits = trial { key throws(PKCS11Error) in
      let short = try session.encrypt(plaintext, with: key, mechanism(iv, tagBits: 32))
      return short.count == plaintext.count + 4 ? .found(.works) : .untried("\(short.count) bytes came")
    }
    result.badTag = trial { key throws(PKCS11Error) in
      var ciphertext = try session.encrypt(plaintext, with: key, mechanism(iv))
      let used = mechanism(session.lastIV)
      guard try session.decrypt(ciphertext, with: key, used) == plaintext else {
        return .untried("its own ciphertext does not open")
      }
      ciphertext[ciphertext.count - 1] ^= 1
      _ = try session.decrypt(ciphertext, with: key, used)
      return .found(.accepted)
    }
    result.wrap = with([.aesGCM]) { () throws(PKCS11Error) in
      (try aesKey([CKA_WRAP, CKA_UNWRAP]), try aesKey([CKA_ENCRYPT], Self.extractable))
    } _: { keys throws(PKCS11Error) in
      _ = try session.wrap(keys.1, with: keys.0, mechanism(iv))
      return .found(.works)
    }
    return result
  }
}

extension Behaviour.GCM {
  /// Nothing else can be tried when not even one encryption succeeds.
  fileprivate func untried(after finding: Finding<Behaviour.GCMParameters>) -> Self {
    var result = self
    guard finding != .absent else { return result }
    let why = "it does not encrypt"
    (result.iv, result.emptyIV, result.tagOf32Bits) = (.untried(why), .untried(why), .untried(why))
    (result.badTag, result.wrap) = (.untried(why), .untried(why))
    return result
  }
}
