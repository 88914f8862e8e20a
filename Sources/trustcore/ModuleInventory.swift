import OperatorClient
import PKCS11
import Wire

/// What a PKCS#11 module and its tokens say of themselves without login.
struct ModuleInventory {
  /// A token.
  struct Token {
    let label: String
    let serial: String
    let model: String
    let mechanisms: Int
    let pin: String
  }

  /// The name that it was asked for by.
  let name: String
  /// What it calls itself.
  var description = ""
  /// Where its library is.
  var path = ""
  var tokens: [Token] = []
  /// Why it does not answer.
  var failure: String?

  init(name: String) { self.name = name }

  /// Asks a module. That one fails keeps nobody from the others.
  init(of name: String) {
    self.init(name: name)
    do throws(PKCS11Error) {
      let module = try Module.load(name)
      defer { module.finalizeIfUnused() }
      let info = try module.info()
      path = module.path
      description = "\(info.libraryDescription) \(info.libraryVersion)"
      for token in try module.tokens() where token.isInitialized {
        tokens.append(
          Token(
            label: token.label, serial: token.serial, model: token.model,
            mechanisms: try module.mechanisms(in: token.slot).count, pin: token.pinState.rawValue))
      }
    } catch { failure = error.description }
  }

  var json: JSONObject {
    var object: JSONObject = ["module": .string(name)]
    if let failure { object["failure"] = .string(failure) }
    if !path.isEmpty { object["path"] = .string(path) }
    if !description.isEmpty { object["description"] = .string(description) }
    object["tokens"] = .array(
      tokens.map {
        [
          "label": .string($0.label), "serial": .string($0.serial), "model": .string($0.model),
          "mechanisms": .integer(Int64($0.mechanisms)), "pin": .string($0.pin),
        ]
      })
    return object
  }

  /// A table of tokens, and the modules that have none or do not answer.
  static func text(_ inventories: [ModuleInventory]) -> String {
    if inventories.isEmpty { return "p11-kit is configured with no module that loads." }
    var blocks: [String] = []
    let rows = inventories.flatMap { module in
      module.tokens.map { [module.name, $0.label, $0.serial, $0.model, String($0.mechanisms), $0.pin] }
    }
    if !rows.isEmpty {
      blocks.append(Wording.table(["Module", "Token", "Serial", "Model", "Mechanisms", "PIN"], numbers: [4], rows))
    }
    let rest = inventories.filter(\.tokens.isEmpty).map { ($0.name, $0.failure ?? "no initialised token") }
    if !rest.isEmpty { blocks.append(Wording.list(rest)) }
    return blocks.joined(separator: "\n\n")
  }
}
