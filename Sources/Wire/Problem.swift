/// A refusal as RFC 9457 describes it: a stable code for programs, a sentence that says what to do for people.
public struct Problem: Error, Sendable, Equatable, CustomStringConvertible {
  /// The HTTP status.
  public let status: Int
  /// The stable code, in snake case.
  public let code: String
  /// What is wrong and what to do about it; never a secret.
  public let detail: String
  /// Header fields that the answer must carry, such as `WWW-Authenticate`.
  public let headers: [String: String]

  /// Further members of the body, such as OAuth's `error`.
  public let extensions: JSONObject

  /// Makes a problem.
  public init(
    _ status: Int, _ code: String, _ detail: String, headers: [String: String] = [:], extensions: JSONObject = [:]
  ) {
    self.status = status
    self.code = code
    self.detail = detail
    self.headers = headers
    self.extensions = extensions
  }

  /// The members of the `application/problem+json` body.
  public func members(requestID: String) -> JSONObject {
    var members: JSONObject = [
      "type": .string("urn:trustcore:problem:" + code), "title": .string(title), "status": .integer(Int64(status)),
      "code": .string(code), "detail": .string(detail), "request_id": .string(requestID),
    ]
    for member in extensions { members[member.name] = member.value }
    return members
  }

  /// The code in words.
  public var title: String {
    let words = code.split(separator: "_").joined(separator: " ")
    return words.prefix(1).uppercased() + words.dropFirst()
  }

  /// The code and the detail.
  public var description: String { "\(code): \(detail)" }

  /// Problems are equal when their status and code are.
  public static func == (a: Problem, b: Problem) -> Bool { a.status == b.status && a.code == b.code }
}
