internal import Glibc
public import KeyHierarchy
internal import PKCS11
internal import SecretMemory

/// Four SoftHSM tokens in a folder: keys that are files, with the PINs beside them. For development and tests, never
/// for anything of worth; its name is to be shown wherever it is in use.
///
/// SoftHSM reads where its tokens are from the environment, once: a process has one development HSM, opened before
/// anything else loads SoftHSM and before threads read the environment.
public struct DevelopmentHSM: Sendable {
  /// The folder, as a real path.
  public let directory: String
  /// The PKCS#11 library.
  public let provider: String
  /// `softhsm2.conf`, for SOFTHSM2_CONF of other programs.
  public let configurationFile: String
  /// The file with each token's user PIN.
  public let pinFiles: [TokenRole: String]

  private static let marker = "tokens.json"
  private static let unfinished = "unfinished"
  private static let ours = ["tokens", "pins", "softhsm2.conf"]

  /// Opens the HSM in `directory`, which is made with its tokens, PINs and keys when it is empty or not there. One that
  /// was interrupted while it was made has never been used, and is made anew.
  ///
  /// - Parameters:
  ///   - directory: An absolute path; its parent exists.
  ///   - provider: The SoftHSM library; looked for where Debian and Fedora put it when nil.
  /// - Throws: ``KeyHierarchy/CustodyError`` `hsm_unavailable` when SoftHSM is not installed, or the folder holds
  ///   something else; what the module refused.
  public static func openOrCreate(directory: String, provider: String? = nil) throws(CustodyError) -> DevelopmentHSM {
    let library = if let provider { provider } else { try findProvider() }
    let folder = try PrivateFolder(directory)
    let hsm = DevelopmentHSM(folder, library)
    if folder.has(marker) {
      hsm.setEnvironment()
      return hsm
    }
    let isFresh = try folder.isEmpty()
    guard isFresh || folder.has(unfinished) else {
      throw CustodyError(
        .unavailable, "\(folder.path) holds no development HSM and is not empty: choose an empty folder")
    }
    // The first thing made and the last thing removed, so that what is half made is known to be ours.
    try unsafe folder.write([UInt8]().span.bytes, to: unfinished)
    for name in ours { try folder.remove(name) }
    try hsm.create(in: folder)
    try folder.remove(unfinished)
    return hsm
  }

  private init(_ folder: PrivateFolder, _ provider: String) {
    directory = folder.path
    self.provider = provider
    configurationFile = folder.path + "/softhsm2.conf"
    pinFiles = Dictionary(
      uniqueKeysWithValues: TokenRole.allCases.map { ($0, "\(folder.path)/pins/\($0.rawValue).pin") })
  }

  /// Where each token is.
  public var tokens: [TokenRole: PKCS11Custodian.TokenLocation] {
    pinFiles.reduce(into: [:]) { result, entry in
      result[entry.key] = .init(uri: Module.uri(label: entry.key.rawValue), pinFile: entry.value)
    }
  }

  /// Logs in to the tokens of `roles`; those of `tolerated` may be away.
  public func openCustodian(
    roles: Set<TokenRole>, limits: PKCS11Custodian.Limits = .init(), tolerating tolerated: Set<TokenRole> = []
  ) throws(CustodyError) -> PKCS11Custodian {
    try PKCS11Custodian.open(provider: provider, tokens: tokens, roles: roles, limits: limits, tolerating: tolerated)
  }

  /// Logs in to the root token for as long as `body` takes, beside the custodian of the other tokens: an unattended
  /// ceremony, which there is in development alone.
  public func withRootCustodian<R>(_ body: (PKCS11Custodian) async throws -> R) async throws -> R {
    let custodian = try openCustodian(roles: [.root])
    defer { custodian.close() }
    return try await body(custodian)
  }

  /// Makes a role's token anew, with new keys and PINs, where the token is gone.
  ///
  /// - Returns: False where the token is there.
  public func replaceLostToken(_ role: TokenRole) throws(CustodyError) -> Bool {
    let module: Module
    do throws(PKCS11Error) { module = try Module.load(provider) } catch { throw CustodyError(error, "SoftHSM") }
    do throws(PKCS11Error) {
      _ = try module.token(labelled: role.rawValue)
      return false
    } catch {
      guard error.code == .tokenNotPresent else { throw CustodyError(error, "token \(role.rawValue)") }
    }
    let pins = try PrivateFolder(directory).folder("pins")
    for name in ["\(role.rawValue).pin", "\(role.rawValue)-so.pin"] { try pins.remove(name) }
    _ = try DevelopmentToken.create(
      role.rawValue, keys: KeyName.all.filter { $0.token == role }, module: module, pins: pins)
    return true
  }

  /// Makes one more token for a role, with the role's keys, so that a test can break it and leave the others be.
  ///
  /// - Parameter label: The token's label, which no other token has.
  @_spi(Testing)
  public func makeToken(for role: TokenRole, label: String) throws(CustodyError) -> PKCS11Custodian.TokenLocation {
    let module: Module
    do throws(PKCS11Error) { module = try Module.load(provider) } catch { throw CustodyError(error, "SoftHSM") }
    let keys = KeyName.all.filter { $0.token == role }
    _ = try DevelopmentToken.create(label, keys: keys, module: module, pins: PrivateFolder(directory).folder("pins"))
    return .init(uri: Module.uri(label: label), pinFile: "\(directory)/pins/\(label).pin")
  }

  /// Makes tokens with the same keys for a role, as the members of a vendor's cluster have them. The keys are made in
  /// memory and imported into each, which no token for use would allow; RSA keys are left out.
  ///
  /// - Parameter labels: The tokens' labels, in order of preference.
  @_spi(Testing)
  public func makeCluster(
    for role: TokenRole, labels: [String]
  ) throws(CustodyError) -> [PKCS11Custodian.TokenLocation] {
    let module: Module
    do throws(PKCS11Error) { module = try Module.load(provider) } catch { throw CustodyError(error, "SoftHSM") }
    let keys = KeyName.all.filter { $0.token == role }.compactMap(DevelopmentKey.init)
    let pins = try PrivateFolder(directory).folder("pins")
    var locations: [PKCS11Custodian.TokenLocation] = []
    for label in labels {
      _ = try DevelopmentToken.create(label, keys: [], importing: keys, module: module, pins: pins)
      locations.append(.init(uri: Module.uri(label: label), pinFile: "\(directory)/pins/\(label).pin"))
    }
    return locations
  }

  private static func findProvider() throws(CustodyError) -> String {
    #if arch(arm64)
    let triple = "aarch64-linux-gnu"
    #else
    let triple = "x86_64-linux-gnu"
    #endif
    let places = ["/usr/lib/softhsm", "/usr/lib/\(triple)/softhsm", "/usr/lib64/softhsm", "/usr/lib64/pkcs11"]
    for place in places where unsafe access(place + "/libsofthsm2.so", R_OK) == 0 { return place + "/libsofthsm2.so" }
    throw CustodyError(.unavailable, "SoftHSM is not installed: apt install softhsm2, or name its library")
  }

  private func setEnvironment() { unsafe setenv("SOFTHSM2_CONF", configurationFile, 1) }

  private func create(in folder: PrivateFolder) throws(CustodyError) {
    let pins = try folder.folder("pins")
    let store = try folder.folder("tokens")
    let configuration = """
      directories.tokendir = \(store.path)
      objectstore.backend = file
      log.level = ERROR
      slots.removable = false

      """
    try unsafe folder.write(Array(configuration.utf8).span.bytes, to: "softhsm2.conf")
    setEnvironment()
    let module: Module
    do throws(PKCS11Error) { module = try Module.load(provider) } catch { throw CustodyError(error, "SoftHSM") }
    var serials: [String] = []
    for role in TokenRole.allCases {
      let keys = KeyName.all.filter { $0.token == role }
      let serial = try DevelopmentToken.create(role.rawValue, keys: keys, module: module, pins: pins)
      serials.append("\"\(role.rawValue)\":\"\(serial)\"")
    }
    let text = "{\"version\":1,\"developmentHSM\":true,\"serials\":{\(serials.joined(separator: ","))}}\n"
    try unsafe folder.write(Array(text.utf8).span.bytes, to: Self.marker)
  }
}
