/// The identifier of a component that a signature covers (RFC 9421 section 2): a name with parameters.
public struct SignatureComponent: Sendable {
  /// A field's name in lower case, or a derived component's, which begins with `@`.
  public let name: String
  /// The parameters in the order received.
  public let parameters: StructuredField.Parameters

  /// What the parameters may be, checked (sections 2.1, 2.2.8 and 2.4).
  struct Flags {
    var strict = false
    var key: String?
    var binary = false
    var trailer = false
    var request = false
    var queryName: String?
  }

  let flags: Flags

  /// A component with the parameters given.
  /// - Throws: `signature_malformed` where RFC 9421 does not define them.
  public init(_ name: String, _ parameters: [(String, StructuredField.BareItem)] = []) throws(ProofError) {
    try self.init(StructuredField.Item(.string(name), StructuredField.Parameters(parameters)))
  }

  /// Reads an identifier out of `Signature-Input`.
  init(_ item: StructuredField.Item) throws(ProofError) {
    guard case .string(let name) = item.value, !name.isEmpty else {
      throw ProofError(.signatureMalformed, "a covered component must be named by a text in quotes")
    }
    self.name = name
    parameters = item.parameters
    flags = try Self.flags(name, parameters)
  }

  private static func flags(_ name: String, _ parameters: StructuredField.Parameters) throws(ProofError) -> Flags {
    var flags = Flags()
    let isDerived = name.utf8.first == UInt8(ascii: "@")
    guard isDerived || name.utf8.allSatisfy(isFieldNameCharacter) else {
      throw ProofError(.signatureMalformed, "a covered field must be named in lower case")
    }
    for parameter in parameters.list {
      switch (parameter.key, parameter.value) {
      case ("req", .boolean(true)): flags.request = true
      case ("sf", .boolean(true)) where !isDerived: flags.strict = true
      case ("bs", .boolean(true)) where !isDerived: flags.binary = true
      case ("tr", .boolean(true)) where !isDerived: flags.trailer = true
      case ("key", .string(let key)) where !isDerived: flags.key = key
      case ("name", .string(let query)) where name == "@query-param": flags.queryName = query
      default:
        throw ProofError(
          .signatureMalformed, "the parameter '\(parameter.key)' is not defined for the component \(name.prefix(64))")
      }
    }
    guard !flags.binary || (!flags.strict && flags.key == nil) else {
      throw ProofError(.signatureMalformed, "'bs' does not go together with 'sf' or 'key'")
    }
    guard name != "@query-param" || flags.queryName != nil else {
      throw ProofError(.signatureMalformed, "@query-param must have the parameter 'name'")
    }
    return flags
  }

  private static func isFieldNameCharacter(_ byte: UInt8) -> Bool {
    guard byte < 0x41 || byte > 0x5A, byte != UInt8(ascii: ":"), byte != UInt8(ascii: "/") else { return false }
    return StructuredFieldParser.isTokenCharacter(byte)
  }

  /// Section 2: identifiers are the same when their names and parameters are, in whatever order.
  func isSame(as other: SignatureComponent) -> Bool {
    name == other.name && parameters.list.count == other.parameters.list.count
      && parameters.list.allSatisfy { other.parameters[$0.key] == $0.value }
  }

  func write(to out: inout [UInt8]) {
    StructuredField.write(.string(name), to: &out)
    StructuredField.write(parameters, to: &out)
  }
}
