import AgentIdentity
import CommandGate
import Envelope
import KeyManifests
import KeyService
import Payments
import Seal
import Wire

/// Keys: what officers order, what operators read, and data keys for those whom the manifest lets use them.
struct KeyRoutes<Store: UnitStore>: Sendable where Store.Unit: PaymentStore & KeyStore {
  let gate: Gate<Store>
  let keys: KeyService<GateKeyRecorder<Store>>
  let authenticator: Authenticator<Store>

  /// Longest body of a data-key request: an X-Wing key and a context.
  private static var maximumRequest: Int { 16_384 }

  var routes: [Route] {
    func order(_ verb: String, _ summary: String, _ schema: String = "Empty", success: Int = 200) -> Route {
      Route(
        "POST", "/v1/keys/{id}/\(verb)", "\(verb)Key", summary, access: .signedCommand, body: .json(schema),
        maximumBody: 4096, success: success, content: .json("KeyResult")
      ) { request in try await command(request, success: success) }
    }
    return [
      Route(
        "GET", "/v1/keys", "listKeys", "The key-encryption keys of the deployment.", access: .auditor,
        content: .json("Keys")
      ) { request in
        try authenticator.auditor(request)
        return APIResponse(["keys": .array(try await keys.list().map { .object($0) })])
      },
      Route(
        "GET", "/v1/keys/{id}", "readKey", "A key with its versions, its tasks and the progress of a rewrap.",
        access: .auditor, content: .json("Key")
      ) { request in
        try authenticator.auditor(request)
        guard let key = try await keys.describe(request.parameters["id"] ?? "") else {
          throw Problem(404, "key_not_found", "There is no such key; list them at /v1/keys.")
        }
        return APIResponse(key)
      },
      Route(
        "POST", "/v1/keys", "createKey", "A security officer has the key of a data class made.",
        access: .signedCommand, body: .json("KeyCreation"), maximumBody: 4096, success: 201,
        content: .json("KeyResult")
      ) { request in try await command(request, success: 201) },
      order("rotate", "A security officer has a further version made; earlier ones open and no longer encrypt."),
      order(
        "rewrap", "A security officer has the data keys of earlier versions encrypted under the newest.", success: 202),
      order("disable", "A security officer ends the use of a key until it is enabled."),
      order("enable", "A security officer lets a disabled key be used again, or calls its destruction off."),
      order("destroy", "A security officer has a key destroyed; the answer carries the receipt.", "KeyDestruction"),
      Route(
        "POST", "/v1/key-manifests", "publishKeyManifest", "A security officer puts a key manifest in force.",
        access: .signedCommand, body: .json("KeyManifestPublication"), maximumBody: 1 << 17, success: 201,
        content: .json("CommandResult")
      ) { request in
        try await gate.submit(try await authenticator.command(request), to: KeyModule<Store.Unit>.audience)
          .response(201)
      },
      Route(
        "POST", "/v1/keys/{id}/data-keys", "makeDataKey",
        "Draws a data key bound to a context, and seals it to the recipient's X-Wing key. A repeat draws another.",
        access: .signedCommand, body: .json("DataKeyRequest"), maximumBody: Self.maximumRequest, success: 201,
        content: .json("DataKey")
      ) { request in
        let asked = try await dataKeyRequest(request)
        let made = try await keys.makeDataKey(of: request.parameters["id"] ?? "", asked)
        return try await Self.answer(made, 201, gate: gate)
      },
      Route(
        "POST", "/v1/data-keys/{id}/open", "openDataKey",
        "Opens a data key for the context that it was made for, and seals it to the recipient's X-Wing key.",
        access: .signedCommand, body: .json("DataKeyRequest"), maximumBody: Self.maximumRequest,
        content: .json("DataKey")
      ) { request in
        let asked = try await dataKeyRequest(request)
        let opened = try await keys.openDataKey(request.parameters["id"] ?? "", asked)
        return try await Self.answer(opened, 200, gate: gate)
      },
    ]
  }

  /// Decides and seals what an officer orders, has it carried out, and answers with what became of it: 202 where it
  /// waits for its time or for the HSM.
  private func command(_ request: APIRequest, success: Int) async throws -> APIResponse {
    let receipt = try await gate.submit(
      try await authenticator.command(request), to: KeyModule<Store.Unit>.audience)
    let id = receipt.command.id.description
    // Whatever keeps it from being done stands in the answer and in the status; it is tried again. A rewrap takes as
    // long as there are data keys, so nobody waits for it here.
    if request.path.hasSuffix("/rewrap") {
      Task { try? await keys.carryOut(id) }
    } else {
      try? await keys.carryOut(id)
    }
    guard let outcome = try await keys.outcome(ofTask: id) else { return receipt.response(success) }
    var answer = receipt.response(outcome["task_state"]?.string == "pending" ? 202 : success)
    var object = receipt.json
    object["key"] = .object(outcome)
    answer.body = JSONValue.object(object).canonical()
    return answer
  }

  private func dataKeyRequest(_ request: APIRequest) async throws -> KeyService<GateKeyRecorder<Store>>.DataKeyRequest {
    let signed = try await authenticator.command(request)
    return try Problem.reading {
      var reader = try ObjectReader(try JSONValue(parsing: request.body), "the request")
      let (asked, key) = (try reader.value("context"), try reader.base64URL("recipient"))
      try reader.finish()
      let context: EncryptionContext
      do throws(KeyRecordError) { context = try EncryptionContext(asked) } catch {
        throw Problem(422, error.code.description, error.message)
      }
      let recipient: RecoveryKey.PublicKey
      do throws(EnvelopeError) { recipient = try RecoveryKey.PublicKey(key) } catch {
        throw Problem(422, "recipient_invalid", error.message)
      }
      guard Self.canReceive(recipient) else {
        throw Problem(422, "recipient_invalid", "Nothing can be sealed to this X-Wing key; make a new pair.")
      }
      return .init(principal: signed.principal, context: context, recipient: recipient, digest: signed.commandDigest)
    }
  }

  /// False for bytes that are no X-Wing key though they are as long: that must show before a data key for it is on the
  /// record.
  private static func canReceive(_ recipient: RecoveryKey.PublicKey) -> Bool {
    (try? unsafe recipient.seal([0 as UInt8].span.bytes, info: Envelopes.deliveryInfo, aad: [0])) != nil
  }

  private static func answer(
    _ delivery: KeyService<GateKeyRecorder<Store>>.Delivery, _ status: Int, gate: Gate<Store>
  ) async throws -> APIResponse {
    var object: JSONObject = [
      "data_key": .string(delivery.id), "key": .string(delivery.key), "version": .integer(Int64(delivery.version)),
      "sealed": .string(Base64.URL.encode(delivery.sealed)),
    ]
    if let index = delivery.leafIndex {
      // A data key leaves once its leaf is under a signed head.
      _ = try await gate.seal(ofLeaf: index)
      object["leaf_index"] = .integer(Int64(index))
    }
    return APIResponse(status, object, headers: [("cache-control", "no-store")])
  }
}
