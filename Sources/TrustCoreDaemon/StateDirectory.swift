import Foundation
import Glibc

/// Why the daemon does not start.
public struct StartError: Error, Sendable, CustomStringConvertible {
  /// What is wrong and what to do.
  public let description: String
  init(_ description: String) { self.description = description }
}

/// The one folder that holds a deployment's state. Only its owner may read it.
struct StateDirectory: Sendable {
  let path: String

  var hsm: String { path + "/hsm" }
  var genesis: String { path + "/genesis.json" }
  var database: String { path + "/trustcore.sqlite" }
  var headFile: String { path + "/signer.head" }
  var hsmProfile: String { path + "/hsm-profile.yaml" }
  var keyHeadFile: String { path + "/keys.head" }
  var keyUses: String { path + "/key-uses" }
  var recoveryKey: String { path + "/recovery.pub" }
  /// In production the private half is shared by quorum and never here.
  var developmentRecovery: String { path + "/development-recovery.key" }
  var rootCertificate: String { path + "/root-ca.pem" }
  var serverCertificate: String { path + "/api.pem" }
  /// Anyone may enter it: a stranger is to be told by the Workload API that it has no identity.
  var run: String { path + "/run" }
  var workloadSocket: String { run + "/workload.sock" }
  var ready: String { path + "/ready.json" }
  var port: String { path + "/port" }
  var registrationToken: String { path + "/registration.token" }
  var auditorToken: String { path + "/auditor.token" }
  var owner: String { path + "/development-owner.jwk" }
  var officer: String { path + "/development-officer.jwk" }
  /// Says that `--dev` made this folder: empty while it is being made.
  private var marker: String { path + "/development" }

  /// Opens or makes the folder for development mode, and holds it for as long as the returned lock lives.
  /// - Returns: the lock, and true where the deployment still has to be made.
  /// - Throws: ``StartError`` where another process holds the folder, or it holds anything that `--dev` did not make.
  func openForDevelopment() throws -> (lock: FileHandle, mustMake: Bool) {
    let files = FileManager.default
    if !files.fileExists(atPath: path) {
      try files.createDirectory(
        atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o755])
    }
    let foreign = StartError("\(path) holds state that --dev did not make: name an empty folder with --state")
    func content() throws -> [String] { try files.contentsOfDirectory(atPath: path).filter { $0 != "lock" } }
    // A foreign folder does not even get a lock file.
    guard try content().isEmpty || files.fileExists(atPath: marker) else { throw foreign }
    let lock = try lock()
    // Looked at again: only now is it certain that nobody else is making it.
    let names = try content()
    if names.isEmpty {
      try write("", to: marker)
      return (lock, true)
    }
    guard let text = try? String(contentsOfFile: marker, encoding: .utf8) else { throw foreign }
    guard text.isEmpty else { return (lock, false) }
    // The first start did not finish, so nothing was served from it and nobody relies on it.
    for name in names where name != "development" { try files.removeItem(atPath: path + "/" + name) }
    return (lock, true)
  }

  /// Says that the deployment is whole.
  func finishMaking() throws { try write("made\n", to: marker) }

  private func lock() throws -> FileHandle {
    let descriptor = unsafe open(path + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0, flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
      throw StartError("another trustcored uses \(path): stop it first")
    }
    return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
  }

  /// Writes a file of mode 0600 so that a reader sees the old or the new content and never a part.
  func write(_ bytes: [UInt8], to file: String) throws {
    let temporary = file + ".new"
    let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw StartError("\(temporary) cannot be written: \(Self.reason)") }
    let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    try handle.write(contentsOf: Data(bytes))
    try handle.synchronize()
    try handle.close()
    guard unsafe rename(temporary, file) == 0 else { throw StartError("\(file) cannot be written: \(Self.reason)") }
    let folder = unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    if folder >= 0 {
      fsync(folder)
      close(folder)
    }
  }

  func write(_ text: String, to file: String) throws { try write(Array(text.utf8), to: file) }

  func read(_ file: String) throws -> [UInt8] {
    guard let data = FileManager.default.contents(atPath: file) else {
      throw StartError("\(file) is missing or cannot be read: restore the state folder")
    }
    return [UInt8](data)
  }

  /// A text file's content without its newline.
  func text(_ file: String) throws -> String {
    String(decoding: try read(file), as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
  }

  /// Makes the folder of the sockets.
  func makeRun() throws {
    let made = unsafe mkdir(run, 0o755) == 0 || errno == EEXIST
    guard made, unsafe chmod(run, 0o755) == 0 else { throw StartError("\(run) cannot be made: \(Self.reason)") }
  }

  func removeReady() { unsafe unlink(ready) }

  private static var reason: String { unsafe String(cString: strerror(errno)) }
}
