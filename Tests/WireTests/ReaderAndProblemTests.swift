import Testing
import Wire

@Suite("ObjectReader and Problem")
struct ReaderAndProblemTests {
  @Test("reads what is there and refuses the rest")
  func reader() throws {
    var reader = try ObjectReader(["a": "x", "n": 7, "l": [1, 2], "b": "AQI"] as JSONValue, "the test")
    #expect(try reader.string("a") == "x")
    #expect(try reader.integer("n", in: 0...7) == 7)
    #expect(try reader.array("l", limit: 2).count == 2)
    #expect(throws: JSONError.self) { try reader.finish() }
    #expect(try reader.base64URL("b", count: 2) == [1, 2])
    try reader.finish()
    #expect(throws: JSONError.self) { try reader.string("missing") }
    #expect(try reader.optionalString("missing") == nil)
    #expect(throws: JSONError.self) { try reader.integer("n", in: 0...6) }
    #expect(throws: JSONError.self) { try reader.array("l", limit: 1) }
    #expect(throws: JSONError.self) { try reader.base64URL("b", count: 3) }
    #expect(throws: JSONError.self) { try reader.string("n") }
    #expect(throws: JSONError.self) { try ObjectReader([1], "the test") }
  }

  @Test("strings: both sides of the limit")
  func limits() throws {
    var reader = try ObjectReader(["five": "\u{E9}\u{E9}x", "none": ""] as JSONValue, "the test")
    #expect(try reader.string("five", maximumBytes: 5).utf8.count == 5)
    #expect(throws: JSONError.self) { try reader.string("five", maximumBytes: 4) }
    #expect(throws: JSONError.self) { try reader.string("none") }
  }

  @Test("a float never passes for an integer", arguments: ["1.0", "1e0", "-0", "9007199254740992"])
  func noFloats(text: String) throws {
    var reader = try ObjectReader(try JSONValue(parsing: "{\"n\":\(text)}"), "the test")
    #expect(throws: JSONError.self) { try reader.integer("n", in: .min ... .max) }
  }

  @Test("a problem carries its code, and extensions beside the members of RFC 9457")
  func problem() {
    let problem = Problem(
      409, "idempotency_conflict", "Use another key.", headers: ["Retry-After": "1"], extensions: ["error": "x"])
    let body = problem.members(requestID: "r1")
    #expect(body["code"] == "idempotency_conflict")
    #expect(body["status"] == 409)
    #expect(body["title"] == "Idempotency conflict")
    #expect(body["type"] == "urn:trustcore:problem:idempotency_conflict")
    #expect(body["detail"] == "Use another key.")
    #expect(body["request_id"] == "r1")
    #expect(body["error"] == "x")
    #expect(problem == Problem(409, "idempotency_conflict", "Other words."))
    #expect(problem != Problem(400, "idempotency_conflict", "Use another key."))
  }
}
