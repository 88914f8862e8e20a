import ArgumentParser
import Seal
import StorageSQLite
import TransparencyLog
import Wire

struct Show: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Shows one leaf of the log.", discussion: "Example: trustcore log show 17 --state .trustcore")

  @Argument(help: "The leaf's index.")
  var index: UInt64

  @OptionGroup var input: LogInput

  func run() throws {
    let bytes: [UInt8]?
    do {
      bytes = try SQLiteStore(path: input.databasePath, mode: .readOnly).readBlocking { unit in
        try unit.entry(at: index)
      }
    } catch {
      complain("\(error)")
      throw ExitCode.noInput
    }
    guard let bytes else {
      complain("the log has no leaf \(index)")
      throw ExitCode.noInput
    }
    do {
      let (leaf, time) = try Leaf.decode(bytes)
      var object = leaf.json
      object["index"] = .integer(Int64(index))
      object["time"] = .string(time.description)
      object["leaf_hash"] = .string(MerkleHash.leaf(bytes).base64)
      if input.json {
        say(String(decoding: JSONValue.object(object).canonical(), as: UTF8.self))
      } else {
        for member in object {
          let value = member.value.string ?? String(decoding: member.value.canonical(), as: UTF8.self)
          say(member.name + String(repeating: " ", count: max(1, 18 - member.name.count)) + value)
        }
      }
    } catch {
      complain("leaf \(index) cannot be decoded: \(error)")
      throw ExitCode.data
    }
  }
}

extension Leaf {
  var json: JSONObject {
    switch self {
    case .genesis(let digest): return ["type": "genesis", "genesis_sha256": .string(Hex.encode(digest))]
    case .authorized(let value): return value.json(type: "authorized")
    case .held(let value): return value.json(type: "held")
    case .denied(let value, let code, let refusal):
      var object = value.json(type: "denied")
      object["code"] = .string(code)
      object["refusal"] = .string(Hex.encode(refusal))
      return object
    case .outcome(let value):
      return [
        "type": "outcome", "authorized_index": .integer(Int64(value.authorizedIndex)),
        "status": .string("\(value.status)"), "commitment": .string(Hex.encode(value.commitment)),
      ]
    case .event(let value):
      return ["type": "event", "kind": .string(value.kind), "commitment": .string(Hex.encode(value.commitment))]
    }
  }
}

extension Leaf.Authorized {
  func json(type: String) -> JSONObject {
    [
      "type": .string(type), "command": .string(command.description), "audience": .string(audience),
      "tenant": .string(tenant), "environment": .string(environment), "policy_version": .string(policyVersion),
      "not_after": .string(notAfter.description), "commitment": .string(Hex.encode(commitment)),
    ]
  }
}
