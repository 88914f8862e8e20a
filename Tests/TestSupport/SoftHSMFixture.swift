import Glibc
@_spi(Testing) public import HSMCustody
public import KeyHierarchy
@_spi(Testing) public import PKCS11
import Synchronization

/// One SoftHSM per test process: SoftHSM reads its configuration once, and a second `C_Initialize` is refused, so every
/// suite shares the module. Its four tokens, with every key of `KeyName.all`, are made at the first use.
///
/// `custodian` has all four tokens logged in. Its log key signs for one origin per process, so whoever signs checkpoints
/// takes a ``makeCustodian(_:)``. A suite that closes sessions, logs out or opens custodians itself takes tokens from ``makeTokens(_:)``. What re-initialises the module belongs into an exit test.
public final class SoftHSMFixture: Sendable {
  private static let made = Result { try SoftHSMFixture() }

  /// The fixture of this process.
  public static var shared: SoftHSMFixture { get throws { try made.get() } }

  /// The HSM.
  public let hsm: DevelopmentHSM
  /// The module.
  public let module: Module
  /// All four tokens, logged in.
  public let custodian: PKCS11Custodian
  private let further = Atomic<Int>(0)

  private init() throws {
    let directory = try TemporaryFolder.make()
    hsm = try DevelopmentHSM.openOrCreate(directory: directory)
    module = try Module.load(hsm.provider)
    custodian = try hsm.openCustodian(roles: Set(TokenRole.allCases))
    ProcessEnd.skipDestructors()
  }

  /// A custodian with tokens and keys of its own; the caller closes it.
  public func makeCustodian(_ roles: TokenRole...) throws -> PKCS11Custodian {
    var locations: [TokenRole: PKCS11Custodian.TokenLocation] = [:]
    for role in roles { locations.merge(try makeTokens(role)) { $1 } }
    return try PKCS11Custodian.open(provider: hsm.provider, tokens: locations, roles: Set(roles))
  }

  /// Further tokens for these roles, with the roles' keys, for the caller alone.
  public func makeTokens(_ roles: TokenRole...) throws -> [TokenRole: PKCS11Custodian.TokenLocation] {
    var locations: [TokenRole: PKCS11Custodian.TokenLocation] = [:]
    for role in roles {
      let number = further.wrappingAdd(1, ordering: .relaxed).newValue
      locations[role] = try hsm.makeToken(for: role, label: "\(role.rawValue)-\(number)")
    }
    return locations
  }
}

extension Module {
  /// Closes every session with a token, once nobody else is inside the module: in turns, as whoever waits for that holds
  /// up all others, and on a slow machine one of them may stay for longer than the module's patience.
  public func resetToken(_ slot: SlotID) async throws {
    for _ in 0..<100 {
      do { return try closeAllSessions(slot) } catch {
        guard error.message.contains("still inside the module") else { throw error }
      }
      try await Task.sleep(for: .milliseconds(100))
    }
    try closeAllSessions(slot)
  }
}

/// Folders for tests, removed when the process ends.
public enum TemporaryFolder {
  private static let folders = Mutex<[String]>([])
  private static let registered: Void = {
    ProcessEnd.add {
      for folder in TemporaryFolder.folders.withLock({ $0 }) { TemporaryFolder.remove(folder) }
    }
  }()

  /// An empty folder of mode 0700.
  public static func make() throws -> String {
    _ = registered
    let base = unsafe getenv("TMPDIR").map { unsafe String(cString: $0) } ?? "/tmp"
    var template = Array("\(base)/trustcore-test-XXXXXX".utf8CString)
    guard let made = unsafe mkdtemp(&template) else { throw Failure(reason: errno) }
    let path = unsafe String(cString: made)
    folders.withLock { $0.append(path) }
    return path
  }

  /// Why there is no folder.
  public struct Failure: Error {
    let reason: Int32
  }

  private static func remove(_ path: String) {
    if unsafe Glibc.remove(path) == 0 { return }
    if let folder = unsafe opendir(path) {
      while let entry = unsafe readdir(folder) {
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { tuple in
          unsafe tuple.withMemoryRebound(to: CChar.self, capacity: 256) { unsafe String(cString: $0) }
        }
        if name != ".", name != ".." { remove(path + "/" + name) }
      }
      unsafe closedir(folder)
    }
    _ = unsafe Glibc.remove(path)
  }
}
