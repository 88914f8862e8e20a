import ArgumentParser
import Foundation
import OperatorClient
import Wire

/// Where a command finds the database and the genesis of a deployment.
struct LogInput: ParsableArguments {
  @Option(help: "The deployment's state folder.")
  var state: String?

  @Option(help: "A database, or a copy of one, with its -wal file beside it.")
  var database: String?

  @Option(help: "The genesis.json that the database must descend from; take it from where you trust it.")
  var genesis: String?

  @Flag(help: "Print JSON.")
  var json = false

  func validate() throws {
    guard state != nil || (database != nil && genesis != nil) else {
      throw ValidationError("Name --state, or both --database and --genesis.")
    }
  }

  var databasePath: String { database ?? (state ?? "") + "/trustcore.sqlite" }

  func genesisBytes() throws -> [UInt8] {
    let path = genesis ?? (state ?? "") + "/genesis.json"
    guard let data = FileManager.default.contents(atPath: path) else {
      throw InputError("\(path) is missing or cannot be read.")
    }
    return [UInt8](data)
  }
}

struct InputError: Error, CustomStringConvertible {
  let description: String
  init(_ description: String) { self.description = description }
}

func complain(_ message: String) { complainRaw("trustcore: \(message)\n") }

/// A report for programs, on standard error.
func complainJSON(_ object: JSONObject) {
  complainRaw(String(decoding: JSONValue.object(object).canonical(), as: UTF8.self) + "\n")
}

/// Writes to standard error as it is. Who cannot be told is not told.
func complainRaw(_ text: String) { try? Descriptor.error.write(text) }

/// Writes a text and a newline to standard output; a reader that is gone ends the program, as SIGPIPE would.
func say(_ text: String) {
  do { try Descriptor.output.write(text + "\n") } catch { exit(error.exitCode) }
}
