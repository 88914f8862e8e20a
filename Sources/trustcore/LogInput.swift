import ArgumentParser
import Foundation

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

func complain(_ message: String) {
  FileHandle.standardError.write(Data("trustcore: \(message)\n".utf8))
}

func say(_ text: String) {
  FileHandle.standardOutput.write(Data((text + "\n").utf8))
}
