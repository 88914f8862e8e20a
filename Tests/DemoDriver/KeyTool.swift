import Crypto
import DemoClient
import Foundation
import Synchronization
import TrustCoreAPI
import Wire

/// A run of `trustcore status` or `trustcore keys`, with what it said.
struct KeyTool {
  private let status: Int32
  private let lines: [Substring]
  private let report: JSONObject?
  private let command: String

  init(_ stage: Stage, _ arguments: [String], context: [String] = []) throws {
    let state = URL(fileURLWithPath: try stage.deployment.ready["genesis"] ?? "").deletingLastPathComponent().path
    let result = try Tool.run(
      stage.trustcore, arguments + context.flatMap { ["--context", $0] } + ["--json", "--state", state])
    status = result.status
    lines = result.output.split(separator: "\n")
    report = lines.last.flatMap { try? JSONValue(parsing: Array($0.utf8)).object }
    command = "trustcore " + arguments.prefix(2).joined(separator: " ")
  }

  /// The answer, where the program succeeded.
  var json: JSONObject {
    get throws {
      guard status == 0, let report else {
        throw Deviation(command, expected: "exit code 0", actual: "\(status), \(lines.joined(separator: " "))")
      }
      return report
    }
  }

  /// The code of a refusal; nil where there was none.
  var code: String? { status == 0 ? nil : report?["code"]?.string }

  /// What the refusal says.
  var detail: String { report?["detail"]?.string ?? "" }

  /// Exit code and code of a refusal.
  var summary: String { "exit code \(status), " + (code ?? lines.joined(separator: " ")) }

  /// The last line that tells how far a rewrap is; empty where there was nothing left to do.
  var progress: String { lines.last { $0.hasPrefix("rewrapped") }.map(String.init) ?? "" }
}

extension Stage {
  /// A refusal by the command line: it must give this code and leave no file.
  func refuse(
    _ number: String, _ title: String, _ story: String, _ code: String, leaving absent: String? = nil,
    _ body: () throws -> KeyTool
  ) async {
    await item(number, title, story) {
      let tool = try body()
      guard tool.code == code, !tool.detail.isEmpty else {
        throw Deviation("the refusal", expected: code, actual: tool.summary)
      }
      narrator.value("trustcore", tool.detail)
      guard let absent else { return .refused(code: code, "and nothing is made") }
      try expect("a file was written", FileManager.default.fileExists(atPath: absent), false)
      return .refused(code: code, "and no file is written")
    }
  }
}

/// A service that keeps data keys of its own: it draws and opens them over HTTP, each sealed to a key pair that lives
/// for one answer (HPKE with X-Wing).
struct DataKeyClient: Sendable {
  /// A data key that was drawn.
  struct Drawn: Sendable {
    let id: String
    let secret: [UInt8]
  }

  private static let context: JSONValue = ["service": "demo"]
  private static let workers = 4
  let client: TrustCoreClient
  let party: Party

  /// Draws data keys.
  func draw(_ count: Int, under key: String) async throws -> [Drawn] {
    try await withThrowingTaskGroup(of: [Drawn].self) { group in
      for worker in 0..<Self.workers {
        group.addTask {
          var drawn: [Drawn] = []
          for _ in stride(from: worker, to: count, by: Self.workers) {
            drawn.append(try await ask("/v1/keys/\(key)/data-keys", 201))
          }
          return drawn
        }
      }
      return try await group.reduce(into: []) { $0 += $1 }
    }
  }

  /// Opens data keys, each once or, with a flag, one after the other until it is raised.
  /// - Returns: how many were opened; each was the one that was drawn.
  func open(_ drawn: [Drawn], until flag: Flag? = nil) async throws -> Int {
    try await withThrowingTaskGroup(of: Int.self) { group in
      for worker in 0..<Self.workers {
        group.addTask {
          var opened = 0
          repeat {
            for index in stride(from: worker, to: drawn.count, by: Self.workers) {
              let key = try await ask("/v1/data-keys/\(drawn[index].id)/open", 200)
              try expect("data key \(key.id)", key.secret, drawn[index].secret)
              opened += 1
              if flag?.isRaised == true { break }
            }
          } while flag?.isRaised == false
          return opened
        }
      }
      return try await group.reduce(0, +)
    }
  }

  private func ask(_ path: String, _ status: Int) async throws -> Drawn {
    let own = try XWingMLKEM768X25519.PrivateKey.generate()
    let recipient = Array(own.publicKey.rawRepresentation)
    let answer = try await party.submit(
      client, path, ["context": Self.context, "recipient": .string(Base64.URL.encode(recipient))])
    guard answer.status == status, let id = answer["data_key"]?.string, let text = answer["sealed"]?.string else {
      throw Deviation(path, expected: status, actual: answer.summary)
    }
    let sealed = try Base64.URL.decode(text)
    // The encapsulated key of X-Wing has 1120 bytes.
    var opening = try HPKE.Recipient(
      privateKey: own, ciphersuite: .XWingMLKEM768X25519_SHA256_AES_GCM_256, info: Data("trustcore/data-key/v1".utf8),
      encapsulatedKey: Data(sealed.prefix(1120)))
    return Drawn(id: id, secret: Array(try opening.open(Data(sealed.dropFirst(1120)), authenticating: Data(id.utf8))))
  }
}

/// Says that something has ended, to tasks that go on until then.
final class Flag: Sendable {
  private let raised = Mutex(false)

  var isRaised: Bool { raised.withLock { $0 } }

  func raise() { raised.withLock { $0 = true } }
}
