import HSMCustody
import HSMProbe
import KeyHierarchy
import Logging
import PKCS11
import ServiceLifecycle

/// Finds out at each start what the module and its `data` token do, and writes it down for people. It asks beside the
/// work, since an HSM may take its time.
struct StartProbe: Service {
  let hsm: DevelopmentHSM
  let state: StateDirectory
  let logger: Logger

  func run() async throws {
    let (hsm, state, logger) = (hsm, state, logger)
    await Task.detached {
      do {
        guard let token = hsm.tokens[.data] else { return }
        let module = try Module.load(hsm.provider)
        // The custodian holds the login, which is the process's.
        let session = try Session(module, slot: try module.token(token.uri).slot, writable: true)
        let profile = try ModuleProbe(module, token: token.uri).run(session)
        try state.write(profile.yaml(comments: ["Measured at the last start."]), to: state.hsmProfile)
      } catch {
        logger.warning("the HSM could not be probed", metadata: ["error": "\(error)"])
      }
    }.value
    try? await gracefulShutdown()
  }
}
