public import Hummingbird
import HTTPTypes
public import Logging
import NIOCore
public import Wire
import CommandGate
import Seal

/// Answers HTTP requests from the table of routes: limits first, then the route, and every failure a problem.
public struct APIResponder: HTTPResponder {
  /// Hummingbird's context of a request.
  public typealias Context = BasicRequestContext

  private let table: RouteTable
  private let random: any RandomSource
  private let logger: Logger

  /// At most so many header fields.
  public static let maximumFields = 64
  /// At most so many bytes in header fields and target.
  public static let maximumHeaderBytes = 16_384

  /// Answers from a table.
  public init(_ table: RouteTable, random: any RandomSource, logger: Logger) {
    self.table = table
    self.random = random
    self.logger = logger
  }

  /// Answers one request.
  public func respond(to request: Request, context: Context) async throws -> Response {
    let requestID = Base64.URL.encode(random.bytes(12))
    let head = request.method == .head
    var response: APIResponse
    do {
      response = try await answer(request, id: requestID)
    } catch let denied as Denied {
      response = Self.response(denied.problem, requestID, of: denied.command)
    } catch let problem as Problem {
      response = Self.response(problem, requestID, of: nil)
    } catch let error as JSONError {
      response = Self.response(Problem(400, error.code.description, error.description), requestID, of: nil)
    } catch {
      // What went wrong may hold what no caller should see; it goes to the log under the request's id.
      logger.error("request failed", metadata: ["request_id": "\(requestID)", "error": "\(error)"])
      response = Self.response(
        Problem(500, "internal", "The server failed; give its operator the request_id."), requestID, of: nil)
    }
    response.headers.append(("x-request-id", requestID))
    return Self.response(response, withoutBody: head)
  }

  private func answer(_ request: Request, id: String) async throws -> APIResponse {
    var size = request.head.path?.utf8.count ?? 0
    var fields: [(name: String, value: String)] = []
    for field in request.headers {
      size += field.name.rawName.utf8.count + field.value.utf8.count
      fields.append((field.name.canonicalName, field.value))
    }
    guard fields.count <= Self.maximumFields, size <= Self.maximumHeaderBytes else {
      throw Problem(
        431, "header_fields_too_large",
        "Send at most \(Self.maximumFields) header fields and \(Self.maximumHeaderBytes) bytes of them.")
    }
    let target = request.head.path ?? "/"
    let path = target.prefix { $0 != "?" }
    let query = target.utf8.count > path.utf8.count ? String(target.dropFirst(path.count + 1)) : nil
    switch table.match(request.method.rawValue, String(path)) {
    case .none:
      throw Problem(404, "route_not_found", "There is nothing at this path; /openapi.json lists what there is.")
    case .otherMethod(let methods):
      let allowed = Array(Set(methods)).sorted().joined(separator: ", ")
      throw Problem(405, "method_not_allowed", "This path takes \(allowed).", headers: ["Allow": allowed])
    case .route(let route, let parameters):
      let body = try await Self.body(of: request, for: route)
      var api = APIRequest(
        method: request.method == .head ? "GET" : request.method.rawValue, path: String(path), query: query,
        fields: fields, body: body)
      (api.parameters, api.id) = (parameters, id)
      return try await route.handle(api)
    }
  }

  private static func body(of request: Request, for route: Route) async throws -> [UInt8] {
    let tooLarge = Problem(413, "body_too_large", "The body may have at most \(route.maximumBody) bytes.")
    if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > route.maximumBody { throw tooLarge }
    let type = request.headers[.contentType]?.prefix { $0 != ";" }.lowercased()
    switch route.body {
    case .none: break
    case .json:
      guard type == "application/json" else {
        throw Problem(415, "content_type_not_supported", "Send the body as application/json.")
      }
    case .form:
      guard type == "application/x-www-form-urlencoded" else {
        throw Problem(415, "content_type_not_supported", "Send the body as application/x-www-form-urlencoded.")
      }
    }
    var bytes: [UInt8] = []
    do {
      for try await buffer in request.body {
        guard bytes.count + buffer.readableBytes <= route.maximumBody else { throw tooLarge }
        bytes.append(contentsOf: buffer.readableBytesView)
      }
    } catch let problem as Problem {
      throw problem
    } catch {
      throw Problem(400, "body_incomplete", "The body ended early or is framed wrongly; send the request again.")
    }
    return bytes
  }

  private static func response(_ problem: Problem, _ requestID: String, of command: CommandRecord?) -> APIResponse {
    var headers = problem.headers.map { (name: $0.key, value: $0.value) }
    headers.append(("cache-control", "no-store"))
    // RFC 9110 section 15.5.2: a 401 names a challenge.
    if problem.status == 401, problem.headers["WWW-Authenticate"] == nil {
      headers.append(("www-authenticate", "DPoP algs=\"ES256 EdDSA\""))
    }
    var members = problem.members(requestID: requestID)
    if let command {
      members["command_id"] = .string(command.id.description)
      members["leaf_index"] = .integer(Int64(command.leafIndex))
    }
    return APIResponse(
      problem.status, contentType: "application/problem+json", body: JSONValue.object(members).canonical(),
      headers: headers)
  }

  private static func response(_ answer: APIResponse, withoutBody: Bool) -> Response {
    var fields = HTTPFields()
    fields[.contentType] = answer.contentType
    fields[.contentLength] = String(answer.body.count)
    fields[.xContentTypeOptions] = "nosniff"
    fields[.strictTransportSecurity] = "max-age=31536000"
    for (name, value) in answer.headers {
      if let name = HTTPField.Name(name) { fields[name] = value }
    }
    let body =
      withoutBody
      ? ResponseBody(contentLength: answer.body.count) { writer in try await writer.finish(nil) }
      : ResponseBody(byteBuffer: ByteBuffer(bytes: answer.body))
    return Response(status: .init(code: answer.status), headers: fields, body: body)
  }
}
