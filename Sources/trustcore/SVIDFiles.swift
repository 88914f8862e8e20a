import OperatorClient
import SecretMemory
import Wire
import WorkloadAPI
import WorkloadIdentity

/// An X.509-SVID with what belongs to it, verified against the bundle that came with it: nobody is helped by a
/// certificate that every peer refuses.
struct SVIDFiles: Sendable {
  let svid: ClientX509SVID
  let verified: X509SVID
  private let update: ClientX509Update

  /// Chooses an identity of an update.
  /// - Parameter id: nil for the default.
  init(_ update: ClientX509Update, id: SPIFFEID?, now: Timestamp) async throws(OperatorError) {
    guard let svid = update.svids.first(where: { id == nil || $0.id == id }) else { throw Self.notEntitled(id) }
    self.svid = svid
    self.update = update
    verified = try await Self.verify(svid, now: now)
  }

  private static func notEntitled(_ id: SPIFFEID?) -> OperatorError {
    OperatorError(
      OperatorError.Code("svid_not_entitled"),
      "The workload has no identity \(id?.description ?? ""): see them with 'trustcore svid fetch'.", status: 403)
  }

  private static func verify(_ svid: ClientX509SVID, now: Timestamp) async throws(OperatorError) -> X509SVID {
    do throws(SPIFFEError) {
      let verified = try await UnverifiedX509SVID(chain: svid.chain)
        .verified(bundle: { $0 == svid.id.trustDomain ? svid.bundle : nil }, now: now)
      guard verified.id == svid.id else { throw SPIFFEError(.x509SVID, "the certificate is of another identity") }
      return verified
    } catch {
      throw OperatorError(
        OperatorError.Code(error.code.description), "What the daemon gave does not verify: \(error.message).")
    }
  }

  /// The files but that of the key, by name.
  var contents: [String: [UInt8]] {
    var files = [
      "svid.pem": WorkloadPEM.encode(svid.chain), "bundle.pem": WorkloadPEM.encode(svid.bundle),
      "crl.pem": WorkloadPEM.encode(update.crls, "X509 CRL"),
    ]
    for (domain, roots) in update.federated {
      files["\(WorkloadFolder.federated)/\(domain).pem"] = WorkloadPEM.encode(roots)
    }
    return files
  }

  func write(to folder: WorkloadFolder) throws(OperatorError) {
    guard let key = svid.key else { throw OperatorError(.unexpectedAnswer, "The daemon gave no private key.") }
    let text: SecretBytes
    do { text = try WorkloadPEM.privateKey(key) } catch { throw OperatorError(.failed, error.message) }
    try folder.publish(contents, key: text)
  }

  // MARK: - Telling

  /// What may be told of an SVID: never its key.
  static func json(_ svid: ClientX509SVID, _ verified: X509SVID) -> JSONObject {
    var object: JSONObject = [
      "spiffe_id": .string(svid.id.description), "expires": .string(verified.notAfter.description),
      "serial": .string(Hex.encode(verified.serial)), "dns_names": .array(verified.dnsNames.map(JSONValue.string)),
      "svid": .string(String(decoding: WorkloadPEM.encode(svid.chain), as: UTF8.self)),
      "bundle": .string(String(decoding: WorkloadPEM.encode(svid.bundle), as: UTF8.self)),
    ]
    if !svid.hint.isEmpty { object["hint"] = .string(svid.hint) }
    return object
  }

  /// The SVIDs of an update.
  /// - Parameter id: nil for all of them.
  static func json(_ update: ClientX509Update, id: SPIFFEID?, now: Timestamp) async throws(OperatorError) -> JSONObject
  {
    var svids: [JSONValue] = []
    for svid in update.svids where id == nil || svid.id == id {
      svids.append(.object(json(svid, try await verify(svid, now: now))))
    }
    guard !svids.isEmpty else { throw notEntitled(id) }
    return [
      "svids": .array(svids),
      "federated": .array(update.federated.keys.sorted().map { .string($0.name) }),
    ]
  }

  /// The same in words.
  static func words(_ answer: JSONObject) -> String {
    let rows = (answer["svids"]?.array ?? []).compactMap(\.object)
    var blocks = [
      Wording.table(
        ["SPIFFE ID", "Until", "Hint"],
        rows.map { row in ["spiffe_id", "expires", "hint"].map { EntryReport.text(row[$0]) } },
        below: rows.map { row in
          ["Serial " + EntryReport.text(row["serial"])]
            + (row["dns_names"]?.array ?? []).map { "DNS " + EntryReport.text($0) }
        })
    ]
    let federated = EntryReport.text(answer["federated"])
    if federated != "-" { blocks.append(Wording.folded("Federated with: " + federated)) }
    return blocks.joined(separator: "\n\n")
  }
}
