internal import CP11Kit
internal import Glibc
internal import Synchronization

extension Module {
  /// The modules that p11-kit is configured with for this program, by name. To find them, p11-kit loads each library
  /// without initialising it; one that does not load, or that another process serves (`remote:`), is left out.
  public static func configured() throws(PKCS11Error) -> [(name: String, path: String)] {
    try configurations().map { ($0.name, $0.path) }
  }

  static func configuration(_ name: String) throws(PKCS11Error) -> (path: String, reserved: String?) {
    let all = try configurations()
    guard let found = all.first(where: { $0.name == name }) else {
      let names = all.isEmpty ? "none" : all.map(\.name).joined(separator: ", ")
      throw PKCS11Error(
        .argumentsBad, in: "p11_kit_modules_load",
        "\(name) is no module of p11-kit's that loads (there are: \(names)): name one, or an absolute path")
    }
    return (found.path, found.reserved)
  }

  private static func configurations() throws(PKCS11Error) -> [(name: String, path: String, reserved: String?)] {
    try refuseForked()
    guard let modules = unsafe p11_kit_modules_load(nil, Int32(P11_KIT_MODULE_UNMANAGED)) else {
      throw PKCS11Error(.generalError, in: "p11_kit_modules_load", reason)
    }
    // p11-kit drops the libraries with the last one that is in use, so the one that is wanted is loaded afterwards.
    defer { unsafe p11_kit_modules_release(modules) }
    var result: [(name: String, path: String, reserved: String?)] = []
    var next = unsafe modules
    while let module = unsafe next.pointee {
      unsafe next += 1
      guard let name = unsafe text(p11_kit_module_get_name(module)),
        let path = unsafe text(p11_kit_module_get_filename(module))
      else { continue }
      result.append((name, path, unsafe text(p11_kit_config_option(module, "x-init-reserved"))))
    }
    return result.sorted { $0.name < $1.name }
  }

  /// Why p11-kit failed last in this thread.
  static var reason: String { unsafe p11_kit_message().map { unsafe String(cString: $0) } ?? "no reason given" }

  private static func text(_ string: UnsafeMutablePointer<CChar>?) -> String? {
    guard let string = unsafe string else { return nil }
    defer { unsafe free(string) }
    return unsafe String(cString: string)
  }

  private static let isForked = Atomic<Bool>(false)
  private static let watchesForks: Bool = {
    isForked.store(false, ordering: .relaxed)
    return pthread_atfork(nil, nil) { Module.isForked.store(true, ordering: .relaxed) } == 0
  }()

  /// Refuses to work in a child that was forked after a module was loaded.
  static func refuseForked() throws(PKCS11Error) {
    guard watchesForks, !isForked.load(ordering: .relaxed) else {
      throw PKCS11Error(
        .notInitialized, in: "C_Initialize", "this process was forked from one that uses the module: spawn instead")
    }
  }
}
