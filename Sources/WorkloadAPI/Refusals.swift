import GRPCCore
import Logging
import NIOCore
import NIOHTTP2
import WorkloadIdentity

/// How refusals become statuses of gRPC (SPIFFE_Workload_Endpoint.md section 6).
struct Refusals: Sendable {
  let logger: Logger

  /// gRPC's retry design (gRFC A6) has a server say in the trailers after how many milliseconds to try again.
  static let retryHeader = "grpc-retry-pushback-ms"

  /// The status that an error becomes. What nobody foresaw is logged, and not told.
  func status(of error: any Error) -> RPCError {
    switch error {
    case let error as RPCError: return error
    case let refusal as WorkloadRefusal: return RPCError(refusal)
    case let error as SPIFFEError:
      return RPCError(WorkloadRefusal(.invalidArgument, error.code.description, error.message))
    // The peer is gone, so that nobody reads the status.
    case is CancellationError, is ChannelError, is NIOAsyncWriterError, is any NIOHTTP2Error: return RPCError(.stopping)
    default:
      logger.error("an answer of the Workload API failed", metadata: ["error": "\(error)"])
      return RPCError(code: .internalError, message: "internal_error: the daemon failed; its log says why")
    }
  }
}

extension WorkloadRefusal {
  /// The daemon stops, or has dropped the stream.
  static let stopping = WorkloadRefusal(
    .unavailable, "stopping", "the stream was ended: connect again", retryAfter: 1000)
}

extension RPCError {
  init(_ refusal: WorkloadRefusal) {
    let code: Code =
      switch refusal.status {
      case .invalidArgument: .invalidArgument
      case .permissionDenied: .permissionDenied
      case .unavailable: .unavailable
      case .failedPrecondition: .failedPrecondition
      }
    var metadata = Metadata()
    if let retryAfter = refusal.retryAfter { metadata.addString("\(retryAfter)", forKey: Refusals.retryHeader) }
    self.init(code: code, message: refusal.description, metadata: metadata)
  }
}
