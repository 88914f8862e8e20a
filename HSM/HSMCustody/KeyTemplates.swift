import KeyHierarchy
import PKCS11

/// What keys that are made here are: good for one thing, and not to be had or changed.
struct KeyTemplates {
  let publicHalf: [Attribute]
  let privateHalf: [Attribute]
  let secret: [Attribute]

  init(_ key: KeyName, id: [UInt8]) {
    let names: [Attribute] = [.flag(.token, true), .label(key.label), .bytes(.id, id)]
    let locked: [Attribute] = [
      .flag(.private, true), .flag(.sensitive, true), .flag(.extractable, false), .flag(.modifiable, false),
      .flag(.copyable, false), .flag(.derive, false),
    ]
    func uses(_ granted: [AttributeType], of all: [AttributeType]) -> [Attribute] {
      all.map { .flag($0, granted.contains($0)) }
    }
    publicHalf =
      names + [.flag(.private, false), .flag(.modifiable, false)] + uses([.verify], of: [.encrypt, .verify, .wrap])
    privateHalf = names + locked + uses([.sign], of: [.decrypt, .sign, .unwrap])
    let wraps = key.algorithm == .aes256Wrap
    // What a wrapping key unwraps stays in the token.
    let unwrapped: [Attribute] = [.flag(.sensitive, true), .flag(.extractable, false)]
    secret =
      names + locked
      + uses(wraps ? [.wrap, .unwrap] : [.sign, .verify], of: [.encrypt, .decrypt, .sign, .verify, .wrap, .unwrap])
      + (wraps ? [.list(.unwrapTemplate, unwrapped)] : [])
  }
}

extension Session {
  /// Generates a key on the token; the session is writable.
  ///
  /// - Returns: Its CKA_ID, 16 random bytes.
  func generate(_ key: KeyName) throws(PKCS11Error) -> [UInt8] {
    var id = [UInt8](repeating: 0, count: 16)
    var failure: PKCS11Error?
    unsafe id.withUnsafeMutableBytes { target in
      do throws(PKCS11Error) { try unsafe generateRandom(into: target) } catch { failure = error }
    }
    if let failure { throw failure }
    let templates = KeyTemplates(key, id: id)
    if let kind = key.algorithm.pairKind {
      _ = try generateKeyPair(kind, publicKey: templates.publicHalf, privateKey: templates.privateHalf)
    } else {
      _ = try generateKey(key.algorithm == .aes256Wrap ? .aes256 : .generic(bytes: 32), templates.secret)
    }
    return id
  }
}
