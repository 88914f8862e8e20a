import ArgumentParser
import Glibc
import OperatorClient
import Synchronization
import WorkloadAPI
import WorkloadIdentity

/// Where the Workload API is. The socket is all that a workload needs: the state folder is the daemon's own.
struct SocketOptions: ParsableArguments {
  @Option(help: "The Workload API's socket; SPIFFE_ENDPOINT_SOCKET unless stated.")
  var socket: String?

  @Option(help: "A state folder whose ready.json names the socket.")
  var state: String?

  /// The path that the options name, or else the environment, or else the usual deployment.
  func path() throws(OperatorError) -> String {
    let variable = "SPIFFE_ENDPOINT_SOCKET"
    if let socket { return try Self.path(of: socket, "--socket") }
    if state == nil, let value = unsafe getenv(variable) {
      return try Self.path(of: unsafe String(cString: value), variable)
    }
    let deployment: Deployment
    do { deployment = try Deployment(state: state ?? DeploymentOptions().state) } catch {
      throw OperatorError(
        error.code, "\(error.message) The Workload API needs only its socket: name it with --socket or \(variable).")
    }
    guard let path = deployment.workloadSocket else {
      throw OperatorError(.noInput, "ready.json names no 'workload_socket': name it with --socket or \(variable).")
    }
    return path
  }

  /// A path, or a URI of the scheme `unix` (SPIFFE_Workload_Endpoint section 4).
  static func path(of text: String, _ source: String) throws(OperatorError) -> String {
    var path = text[...]
    if path.hasPrefix("unix:") {
      path = path.dropFirst("unix:".count)
      // An empty authority; any other is no part of a unix URI.
      if path.hasPrefix("//") { path = path.dropFirst(2) }
      guard path.hasPrefix("/"), !path.contains("?"), !path.contains("#") else {
        throw OperatorError(.usage, "\(source): write unix:///PATH with an absolute path.")
      }
    }
    guard !path.isEmpty, text.hasPrefix("unix:") || !path.contains("://") else {
      throw OperatorError(.usage, "\(source) must be a path or unix:///PATH: the Workload API is at a unix socket.")
    }
    return String(path)
  }

  // MARK: - Calls

  /// How long the daemon may take for a first answer.
  static let patience = Duration.seconds(30)

  /// Calls the Workload API and waits for its answer.
  func call<Answer: Sendable>(
    _ body: @escaping @Sendable (WorkloadClient) async throws -> Answer
  ) async throws(OperatorError) -> Answer {
    let path = try path()
    do {
      return try await withThrowingTaskGroup(of: Answer.self) { group in
        group.addTask { try await WorkloadClient.connected(to: path, body) }
        group.addTask {
          try await Task.sleep(for: Self.patience)
          throw OperatorError(.notReady, "The daemon at \(path) gives no answer: try again, or look into its log.")
        }
        defer { group.cancelAll() }
        guard let answer = try await group.next() else { throw CancellationError() }
        return answer
      }
    } catch { throw Self.operatorError(error) }
  }

  /// The first message of a stream.
  func first<Update: Sendable>(
    _ stream:
      @escaping @Sendable (WorkloadClient, @escaping @Sendable (Update) async throws -> ClientStreamStep) async throws
      -> Void
  ) async throws(OperatorError) -> Update {
    let held = Held<Update>()
    try await call { client in
      try await stream(client) { update in
        held.value.withLock { $0 = update }
        return .enough
      }
    }
    guard let update = held.value.withLock({ $0 }) else {
      throw OperatorError(.notReady, "The daemon ended the stream: try again, or look into its log.")
    }
    return update
  }

  private final class Held<Value: Sendable>: Sendable {
    let value = Mutex<Value?>(nil)
  }

  /// A failure of the Workload API as the shell learns of it. Its status becomes that of HTTP which means the same.
  static func operatorError(_ error: any Error) -> OperatorError {
    switch error {
    case let error as OperatorError: return error
    case let refusal as WorkloadRefusal:
      if refusal.code == "workload_api" { return OperatorError(.unreachable, sentence(refusal.message)) }
      let status =
        switch refusal.status {
        case .invalidArgument: 400
        case .permissionDenied: 403
        case .unavailable: 503
        case .failedPrecondition: 500
        }
      return OperatorError(OperatorError.Code(refusal.code), sentence(refusal.message), status: status)
    case let error as WorkloadAPIError: return OperatorError(.unexpectedAnswer, sentence(error.message))
    case let error as SPIFFEError:
      return OperatorError(OperatorError.Code(error.code.description), sentence(error.message))
    default: return OperatorError(.failed, "The Workload API cannot be used: \(Wording.visible("\(error)")).")
    }
  }

  /// A message as a sentence, safe for a terminal.
  static func sentence(_ message: String) -> String {
    let end = message.last.map { ".?!".contains($0) } == true ? "" : "."
    return Wording.visible(message.prefix(1).uppercased() + message.dropFirst() + end)
  }
}

/// The workload's identity among those that it has.
struct IdentityOptions: ParsableArguments {
  @Option(help: "The SPIFFE ID, where the workload has several; its default unless stated.")
  var id: String?

  func validate() throws {
    if let id, (try? SPIFFEID(id)) == nil { throw ValidationError("--id is no SPIFFE ID.") }
  }

  var spiffeID: SPIFFEID? { id.flatMap { try? SPIFFEID($0) } }
}
