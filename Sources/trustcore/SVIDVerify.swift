import ArgumentParser
import OperatorClient
import Wire
import WorkloadAPI
import WorkloadIdentity

struct SVIDVerify: OperatorCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify", abstract: "Verifies an X.509-SVID or a JWT-SVID, and says which rule fails.",
    discussion: """
      Without --bundle, the bundles are those that the Workload API gives, which then validates a JWT-SVID too: it
      knows what is revoked. Whether revocation was checked is said.
      Example: trustcore svid verify svid.pem --bundle bundle.pem
      """)

  @Argument(help: "A file with the certificate and its issuers, PEM.")
  var file: String?

  @Option(help: "A JWT-SVID in place of a file; - for standard input.")
  var jwt: String?

  @Option(help: "Who the JWT-SVID has to be for.")
  var audience: String?

  @Option(help: "A file with the trust domain's bundle: PEM, or SPIFFE's JSON, which a JWT-SVID needs.")
  var bundle: String?

  @Option(help: "A file with revocation lists, PEM.")
  var crl: String?

  @Option(name: .customLong("trust-domain"), help: "The trust domain that the bundle is of; the SVID's unless stated.")
  var trustDomain: String?

  @OptionGroup var socket: SocketOptions

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    guard (file == nil) != (jwt == nil) else { throw ValidationError("Name either a file or --jwt.") }
    guard (jwt == nil) == (audience == nil) else { throw ValidationError("--jwt and --audience go together.") }
    guard jwt == nil || crl == nil else { throw ValidationError("--crl is about certificates.") }
    if let trustDomain {
      guard (try? TrustDomain(trustDomain)) != nil else { throw ValidationError("--trust-domain is no trust domain.") }
      guard bundle != nil else { throw ValidationError("--trust-domain says whose --bundle it is.") }
    }
  }

  private var domain: TrustDomain? { trustDomain.flatMap { try? TrustDomain($0) } }

  func perform() async throws(OperatorError) {
    if let jwt {
      try await verify(token: jwt, for: audience ?? "")
    } else {
      try await verify(chain: WorkloadPEM.certificates(SmallFile.read(file ?? "", maximumBytes: 1 << 20)))
    }
  }

  // MARK: - X.509-SVID

  private func verify(chain: [[UInt8]]) async throws(OperatorError) {
    var crls = try crl.map { (path) throws(OperatorError) in
      try WorkloadPEM.certificates(SmallFile.read(path, maximumBytes: 1 << 20), "X509 CRL")
    }
    var roots: [TrustDomain: [[UInt8]]] = [:]
    var given: [[UInt8]]?
    if let bundle {
      given = try Self.roots(try SmallFile.read(bundle, maximumBytes: SPIFFEBundle.maximumBytes))
    } else {
      let bundles = try await socket.first { (client, step) in try await client.x509Bundles(step) }
      roots = bundles.roots
      if !bundles.crls.isEmpty { crls = (crls ?? []) + bundles.crls }
    }
    let domain = domain
    let svid = try await Self.spiffe { () async throws(SPIFFEError) in
      try await UnverifiedX509SVID(chain: chain).verified(
        bundle: { asked in
          guard let given else { return roots[asked] }
          return domain == nil || domain == asked ? given : nil
        }, now: SystemClock().now(), crls: crls ?? [])
    }
    tell(
      [
        "spiffe_id": .string(svid.id.description), "expires": .string(svid.notAfter.description),
        "serial": .string(Hex.encode(svid.serial)), "dns_names": .array(svid.dnsNames.map(JSONValue.string)),
        "revocation_checked": .bool(crls != nil),
      ]
    ) { Self.words($0, crls == nil ? "not checked: name the lists with --crl" : "on none of the lists") }
  }

  /// The roots of a bundle in PEM or in SPIFFE's JSON.
  private static func roots(_ bytes: [UInt8]) throws(OperatorError) -> [[UInt8]] {
    guard isJSON(bytes) else { return try WorkloadPEM.certificates(bytes) }
    // A document does not say whose it is; that is looked at when it is asked for.
    do { return try SPIFFEBundle(trustDomain: TrustDomain("unnamed"), parsing: bytes).x509Authorities } catch {
      throw OperatorError(.malformed, SocketOptions.sentence(error.message))
    }
  }

  private static func isJSON(_ bytes: [UInt8]) -> Bool { bytes.first { $0 > 0x20 } == UInt8(ascii: "{") }

  // MARK: - JWT-SVID

  private func verify(token: String, for audience: String) async throws(OperatorError) {
    var text = token
    if text == "-" {
      let bytes = try SmallFile.read("-", maximumBytes: 32_768)
      text = String(decoding: bytes.filter { $0 > 0x20 }, as: UTF8.self)
    }
    let unverified: UnverifiedJWTSVID
    do { unverified = try UnverifiedJWTSVID(text) } catch { throw Self.invalid(error) }
    let subject = unverified.unverifiedID.trustDomain
    let document: [UInt8]?
    if let bundle {
      let bytes = try SmallFile.read(bundle, maximumBytes: SPIFFEBundle.maximumBytes)
      guard Self.isJSON(bytes) else {
        throw OperatorError(.malformed, "\(Wording.visible(bundle)) is no bundle in JSON, which a JWT-SVID needs.")
      }
      document = domain == nil || domain == subject ? bytes : nil
    } else {
      document = try await socket.first { (client, step) in try await client.jwtBundles(step) }[subject]
    }
    let svid = try await Self.spiffe { () throws(SPIFFEError) in
      let keys = try document.map { (bytes) throws(SPIFFEError) in
        try SPIFFEBundle(trustDomain: subject, parsing: bytes).jwt
      }
      return try unverified.verified(keys: { _ in keys }, audience: audience, now: SystemClock().now())
    }
    var answer: JSONObject = [
      "spiffe_id": .string(svid.id.description), "expires": .string(svid.expires.description),
      "audience": .array(svid.audience.map(JSONValue.string)),
    ]
    answer["jti"] = svid.jti.map(JSONValue.string)
    if bundle == nil {
      let token = text
      _ = try await socket.call { try await $0.validate(jwtSVID: token, audience: audience) }
    }
    answer["revocation_checked"] = .bool(bundle == nil)
    // It knows those of its own trust domain.
    let known =
      bundle == nil ? "none that the Workload API knows" : "not checked: the Workload API does, without --bundle"
    tell(answer) { Self.words($0, known) }
  }

  // MARK: - Telling

  private static func spiffe<Value>(_ body: () async throws(SPIFFEError) -> Value) async throws(OperatorError) -> Value
  {
    do { return try await body() } catch { throw invalid(error) }
  }

  /// What is wrong with the data, 65; the message begins with the rule that is broken.
  private static func invalid(_ error: SPIFFEError) -> OperatorError {
    return OperatorError(
      OperatorError.Code(error.code.description), "It does not verify: \(Wording.visible(error.message)).", status: 422)
  }

  private static func words(_ answer: JSONObject, _ revocation: String) -> String {
    let labels = ["Verified", "Until", "Serial", "DNS names", "Audience", "JWT ID"]
    let names = ["spiffe_id", "expires", "serial", "dns_names", "audience", "jti"]
    return Wording.list(
      zip(labels, names).compactMap { label, name in answer[name].map { (label, EntryReport.text($0)) }
      } + [("Revocation", revocation)])
  }
}
