import Glibc
public import JOSE
import SecretMemory
public import TrustCoreAPI
import Wire

/// A running deployment as the files of its state folder describe it.
public struct Deployment: Sendable {
  /// Whose key signs.
  public enum Who: Sendable, Equatable {
    /// The security officer of the development roster.
    case officer
    /// The owner of the development roster.
    case owner
    /// The holder of a private JWK in a file, with its client id.
    case file(path: String, id: String)
  }

  /// What the daemon wrote.
  public let ready: ReadyFile
  /// The state folder.
  public let state: String
  /// The base URL.
  public let api: String
  /// The PEM file of the only CA that is trusted.
  public let authority: String

  /// A file of a daemon's state is small.
  private static let maximumBytes = 1 << 16

  /// Reads `ready.json`.
  /// - Parameter state: the state folder.
  /// - Throws: ``OperatorError/Code-swift.struct/noInput`` where there is no such folder, and
  ///   ``OperatorError/Code-swift.struct/unreachable`` where no daemon serves from it.
  public init(state: String) throws(OperatorError) {
    var status = stat()
    guard unsafe stat(state, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
      throw OperatorError(.noInput, "\(state) is no folder: name the deployment's state folder with --state.")
    }
    guard let bytes = try Self.read(state + "/ready.json") else {
      throw OperatorError(.unreachable, Self.advice("No daemon serves \(state)", state))
    }
    guard let ready = try? ReadyFile(decoding: bytes), let api = ready["api"], api.hasPrefix("https://"),
      let authority = ready["ca"]
    else { throw OperatorError(.malformed, "\(state)/ready.json names no https 'api' and 'ca': restart the daemon.") }
    self.ready = ready
    self.state = state
    self.api = api.hasSuffix("/") ? String(api.dropLast()) : api
    self.authority = authority
  }

  /// What to do when nothing answers.
  static func advice(_ what: String, _ state: String) -> String {
    "\(what): start it with 'trustcored serve --dev --state \(state)', or look into its log if it should be running."
  }

  /// The auditor's token.
  public func auditorToken() throws(OperatorError) -> String {
    guard let path = ready["auditor_token_file"], let bytes = try Self.read(path) else {
      throw OperatorError(.noInput, "ready.json names no readable 'auditor_token_file': run this as the daemon's user.")
    }
    return String(decoding: bytes.prefix { $0 > 0x20 }, as: UTF8.self)
  }

  /// The client id and key of whoever signs.
  /// - Throws: ``OperatorError/Code-swift.struct/exposed`` where others may read the file.
  public func credentials(of who: Who) throws(OperatorError) -> (id: String, key: SigningKey) {
    switch who {
    case .officer: try rosterCredentials("officer")
    case .owner: try rosterCredentials("owner")
    case .file(let path, let id): (id, try Self.key(inFile: path))
    }
  }

  private func rosterCredentials(_ name: String) throws(OperatorError) -> (id: String, key: SigningKey) {
    guard let id = ready[name + "_id"], let path = ready[name + "_key_file"] else {
      throw OperatorError(
        .noInput, "This deployment keeps no key of its \(name) here: name yours with --as FILE --id CLIENT.")
    }
    return (id, try Self.key(inFile: path))
  }

  /// The private key of a JWK file of mode 0600. The text passes through the heap, since SigningKey's parser does.
  static func key(inFile path: String) throws(OperatorError) -> SigningKey {
    var text: [UInt8]
    do {
      let secret = try SecretBytes(contentsOfFile: path)
      text = unsafe secret.withUnsafeBytes { unsafe Array($0) }
    } catch {
      throw OperatorError(error.code == .exposed ? .exposed : .noInput, "The key cannot be used: \(error.message).")
    }
    defer { for index in text.indices { text[index] = 0 } }
    do {
      var jwk = try JSONValue(parsing: text).object ?? [:]
      jwk["kid"] = nil
      return try SigningKey(privateJWK: .object(jwk))
    } catch {
      throw OperatorError(.malformed, "\(path) holds no private JWK of P-256 or Ed25519 (with 'd' in base64url).")
    }
  }

  /// A small file; nil where it does not exist or cannot be read.
  private static func read(_ path: String) throws(OperatorError) -> [UInt8]? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: maximumBytes + 1)
    let count = try Descriptor(descriptor).read(into: &bytes)
    guard count <= maximumBytes else { throw OperatorError(.malformed, "\(path) has more than \(maximumBytes) bytes.") }
    return Array(bytes.prefix(count))
  }
}
