public import Wire
import WorkloadAttestation
package import WorkloadIdentity

/// The issuance of an SVID as it is recorded: who got what, under which entry, signed by which authority.
public struct SVIDIssuance: Sendable, Equatable {
  /// What was issued.
  public let kind: SVIDKind
  /// Serial number or `jti`.
  public let id: String
  /// The identity.
  public let spiffeID: String
  /// The audiences of a token, in the order asked for; empty for a certificate.
  public let audiences: [String]
  /// When it ends, in whole seconds.
  public let notAfter: Timestamp
  /// The identifier of the entry.
  public let entry: String
  /// The identifier of the authority.
  public let authority: String
  /// What was attested of the process.
  public let process: JSONObject
  /// The digest of ``process``, 32 bytes.
  let attestation: [UInt8]

  /// The content of the event.
  var content: JSONObject {
    var content: JSONObject = [
      "kind": .string(kind.rawValue), "spiffe_id": .string(spiffeID), "not_after": .integer(notAfter.seconds),
      "entry": .string(entry), "authority": .string(authority), "attestation": .string(Hex.encode(attestation)),
      "process": .object(process),
    ]
    switch kind {
    case .x509: content["serial"] = .string(id)
    case .jwt:
      content["jti"] = .string(id)
      content["audiences"] = .array(audiences.map { .string($0) })
    }
    return content
  }

  /// Collects the parts.
  /// - Parameter attestation: the digest of `process`.
  package init(
    _ kind: SVIDKind, id: String, spiffeID: SPIFFEID, audiences: [String] = [], notAfter: Timestamp, entry: EntryID,
    authority: String, process: JSONObject, attestation: [UInt8]
  ) {
    self.kind = kind
    self.id = id
    self.spiffeID = spiffeID.description
    self.audiences = audiences
    self.notAfter = Timestamp(seconds: notAfter.seconds)
    self.entry = entry.description
    self.authority = authority
    self.process = process
    self.attestation = attestation
  }

  /// Reads the content of an event.
  init(reading reader: inout ObjectReader) throws {
    let name = try reader.string("kind", maximumBytes: 8)
    guard let kind = SVIDKind(rawValue: name) else {
      throw Problem(422, "workload_event_malformed", "'\(name)' is no kind of SVID.")
    }
    self.kind = kind
    switch kind {
    case .x509:
      id = try reader.string("serial", maximumBytes: 40)
      audiences = []
    case .jwt:
      id = try reader.string("jti", maximumBytes: 64)
      audiences = try reader.array("audiences", limit: 64).map { value in
        guard let text = value.string else {
          throw Problem(422, "workload_event_malformed", "an audience is no text.")
        }
        return text
      }
    }
    spiffeID = try reader.string("spiffe_id", maximumBytes: 2048)
    notAfter = Timestamp(seconds: try reader.integer("not_after", in: 0...JSONValue.greatestInteger))
    entry = try reader.string("entry", maximumBytes: 64)
    authority = try reader.string("authority", maximumBytes: 64)
    guard let process = try reader.value("process").object,
      let attestation = Hex.decode(try reader.string("attestation", maximumBytes: 64)),
      attestation == AttestedProcess.digest(of: process)
    else {
      throw Problem(422, "workload_event_malformed", "its attestation is not the digest of its process.")
    }
    (self.process, self.attestation) = (process, attestation)
  }
}
