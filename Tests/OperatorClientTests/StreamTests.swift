import Envelope
import Foundation
import Glibc
import OperatorClient
import SecretMemory
import Testing
import Wire

/// A pipe with a thread at the other end.
struct Pipe {
  let read: Int32
  let write: Int32
  init() {
    var ends: [Int32] = [0, 0]
    unsafe pipe(&ends)
    (read, write) = (ends[0], ends[1])
  }
}

/// Bytes that repeat nowhere near each other.
func pattern(_ count: Int) -> [UInt8] {
  var state: UInt64 = 0x9E37_79B9_7F4A_7C15
  return (0..<count).map { _ in
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return UInt8(truncatingIfNeeded: state)
  }
}

/// Feeds bytes into a descriptor in pieces, reads everything from another, and runs `body` between the two.
func piped<R>(
  _ bytes: [UInt8], piece: Int = 4099, _ body: (Descriptor, Descriptor) throws(OperatorError) -> R
) -> (result: Result<R, OperatorError>, output: [UInt8]) {
  let (source, sink) = (Pipe(), Pipe())
  let collected = Collector()
  let writer = Thread {
    var sent = 0
    while sent < bytes.count {
      let end = min(bytes.count, sent + piece)
      let wrote = unsafe bytes[sent..<end].withUnsafeBytes { unsafe write(source.write, $0.baseAddress, $0.count) }
      if wrote <= 0 { break }
      sent += wrote
    }
    close(source.write)
  }
  let done = DispatchSemaphore(value: 0)
  let reader = Thread {
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while true {
      let got = unsafe buffer.withUnsafeMutableBytes { unsafe read(sink.read, $0.baseAddress, $0.count) }
      if got <= 0 { break }
      collected.append(buffer[..<got])
    }
    done.signal()
  }
  writer.start()
  reader.start()
  let result = Result { () throws(OperatorError) in try body(Descriptor(source.read), Descriptor(sink.write)) }
  close(sink.write)
  close(source.read)
  done.wait()
  close(sink.read)
  return (result, collected.bytes)
}

/// Collects on one thread what another reads.
final class Collector: @unchecked Sendable {
  private let lock = NSLock()
  private var held: [UInt8] = []
  func append(_ bytes: ArraySlice<UInt8>) { lock.withLock { held += bytes } }
  var bytes: [UInt8] { lock.withLock { held } }
}

@Suite("Encrypted streams")
struct StreamTests {
  let key: SharedSecret
  let header: EnvelopeHeader
  let context: FileContext

  init() throws {
    // A reader that goes away is one of the cases.
    signal(SIGPIPE, SIG_IGN)
    let bytes = [UInt8](repeating: 0x42, count: 32)
    key = SharedSecret(try unsafe SecretBytes(copying: bytes.span.bytes))
    header = try EnvelopeHeader(key: "key_1", dataKey: "dek_1")
    context = try FileContext(["customer=42", "kind=report"])
  }

  func encrypted(_ plaintext: [UInt8], piece: Int = 4099) throws -> [UInt8] {
    let (result, output) = piped(plaintext, piece: piece) { input, output throws(OperatorError) in
      try EnvelopeStream.encrypt(input, to: output, key: key.secret, header: header, context: context)
    }
    #expect(try result.get() == UInt64(plaintext.count))
    return output
  }

  func decrypted(
    _ file: [UInt8], piece: Int = 4099, context other: FileContext? = nil
  ) -> (result: Result<UInt64, OperatorError>, output: [UInt8]) {
    piped(file, piece: piece) { input, output throws(OperatorError) in
      let envelope = try UnverifiedEnvelope(input)
      #expect(envelope.header == header)
      return try envelope.decrypt(to: output, key: key.secret, context: other ?? context)
    }
  }

  func error(_ file: [UInt8], context: FileContext? = nil) -> OperatorError.Code? {
    guard case .failure(let error) = decrypted(file, context: context).result else { return nil }
    return error.code
  }

  static let batch = 64 * 16384

  @Test(
    "round trip through pipes, at and around the edges of chunks and buffers",
    arguments: [
      0, 1, 16383, 16384, 16385, 8000, 8192, batch - 1, batch, batch + 1, 2 * batch, 2 * batch + 16384, 3 * batch + 5,
    ])
  func roundTrip(count: Int) throws {
    let plaintext = pattern(count)
    let file = try encrypted(plaintext)
    #expect(file.starts(with: EnvelopeFile.magic))
    #expect(file.count >= count + 16)
    let (result, output) = decrypted(file, piece: 16_400)
    #expect(try result.get() == UInt64(count))
    let isSame = output == plaintext
    #expect(isSame)
  }

  @Test("pieces of any size come to the same", arguments: [1, 7, 511, 65_536])
  func pieces(piece: Int) throws {
    let plaintext = pattern(40_000)
    let (result, output) = decrypted(try encrypted(plaintext, piece: piece), piece: piece)
    #expect(try result.get() == 40_000)
    let isSame = output == plaintext
    #expect(isSame)
  }

  @Test("another context, another key, another header: refused, and nothing comes out")
  func otherContext() throws {
    let file = try encrypted(pattern(100))
    #expect(error(file, context: try FileContext(["customer=43", "kind=report"])) == .notAuthentic)
    #expect(error(file, context: try FileContext(["customer=42"])) == .notAuthentic)
    // The order in which a context is given does not matter.
    #expect(error(file, context: try FileContext(["kind=report", "customer=42"])) == nil)
    let other = SharedSecret(try unsafe SecretBytes(copying: [UInt8](repeating: 1, count: 32).span.bytes))
    let (result, output) = piped(file) { input, output throws(OperatorError) in
      try UnverifiedEnvelope(input).decrypt(to: output, key: other.secret, context: context)
    }
    #expect(throws: OperatorError(.notAuthentic, "")) { try result.get() }
    #expect(output.isEmpty)
  }

  @Test("a changed byte is refused wherever it is, and what came out by then is a beginning")
  func tampered() throws {
    let plaintext = pattern(3 * 16384 + 100)
    let file = try encrypted(plaintext)
    let headerEnd = 11 + header.canonical.count
    for place in [headerEnd, headerEnd + 24, headerEnd + 55, headerEnd + 56, file.count / 2, file.count - 1] {
      var changed = file
      changed[place] ^= 1
      let (result, output) = decrypted(changed)
      #expect(throws: OperatorError(.notAuthentic, "")) { try result.get() }
      #expect(Bool(plaintext.starts(with: output)))
    }
    // Text of the header: another key's name is another header.
    var renamed = file
    renamed[11 + #"{"data_key":"dek_"#.utf8.count] = UInt8(ascii: "2")
    let (result, output) = piped(renamed) { input, output throws(OperatorError) in
      let envelope = try UnverifiedEnvelope(input)
      #expect(envelope.header.dataKey == "dek_2")
      return try envelope.decrypt(to: output, key: key.secret, context: context)
    }
    #expect(throws: OperatorError(.notAuthentic, "")) { try result.get() }
    #expect(output.isEmpty)
  }

  @Test("chunks that are swapped, doubled, dropped or added are refused")
  func rearranged() throws {
    let plaintext = pattern(3 * 16384 + 100)
    let file = try encrypted(plaintext)
    let start = 11 + header.canonical.count + 56
    let (head, size) = (Array(file[..<start]), 16400)
    let chunks = stride(from: start, to: file.count, by: size).map { Array(file[$0..<min(file.count, $0 + size)]) }
    #expect(chunks.count == 4)
    for order in [[1, 0, 2, 3], [0, 0, 1, 2, 3], [0, 2, 3], [0, 1, 2, 3, 3], [3], [0, 1, 3]] {
      let (result, output) = decrypted(head + order.flatMap { chunks[$0] })
      #expect(throws: OperatorError(.notAuthentic, "")) { try result.get() }
      #expect(Bool(plaintext.starts(with: output)))
    }
  }

  @Test("a file that was cut is refused at every length")
  func cut() throws {
    let plaintext = pattern(2 * 16384 + 100)
    let file = try encrypted(plaintext)
    let start = 11 + header.canonical.count + 56
    for length in [0, 1, 6, 7, 10, 11, 12, start - 1] {
      let code = error(Array(file[..<length]))
      #expect(code == .truncated, "at \(length): \(String(describing: code))")
    }
    for length in [start, start + 1, start + 16400, start + 2 * 16400, start + 2 * 16400 + 15, file.count - 1] {
      let (result, output) = decrypted(Array(file[..<length]))
      guard case .failure(let error) = result else {
        Issue.record("accepted at \(length)")
        continue
      }
      #expect(error.code == .truncated || error.code == .notAuthentic)
      #expect(error.exitCode == 65)
      #expect(Bool(plaintext.starts(with: output) && output.count < plaintext.count))
    }
    // Cut exactly between chunks, it is known to be a cut.
    for length in [start, start + 16400, start + 2 * 16400] { #expect(error(Array(file[..<length])) == .truncated) }
  }

  @Test("what is no encrypted file, or of a later version, is told as such")
  func foreign() throws {
    func code(_ bytes: [UInt8]) -> OperatorError.Code? {
      let (result, output) = piped(bytes) { input, _ throws(OperatorError) in
        _ = try UnverifiedEnvelope(input)
      }
      #expect(output.isEmpty)
      guard case .failure(let error) = result else { return nil }
      #expect(error.exitCode == 65)
      return error.code
    }
    func file(_ header: String) -> [UInt8] {
      EnvelopeFile.magic + [0, 0, 0, UInt8(header.utf8.count)] + Array(header.utf8) + [UInt8](repeating: 0, count: 80)
    }
    #expect(code(Array("%PDF-1.7 is another kind of file".utf8)) == .notEnvelope)
    #expect(code(pattern(100_000)) == .notEnvelope)
    #expect(code(Array("TCENV2\n".utf8) + [UInt8](repeating: 0, count: 99)) == .tooNew)
    #expect(code(EnvelopeFile.magic + [0, 0, 0x20, 1] + [UInt8](repeating: 0, count: 9000)) == .malformed)
    #expect(code(EnvelopeFile.magic + [0, 0, 0, 0] + [UInt8](repeating: 0, count: 99)) == .malformed)
    #expect(code(file(#"{"data_key":"d","key":"k","v":1}"#)) == nil)
    #expect(code(file(#"{"anything":1,"v":2}"#)) == .tooNew)
    for text in [
      #"{"data_key":"d","key":"k","v":0}"#, #"{"data_key":"d","key":"k"}"#, #"{"data_key":"d","v":1}"#,
      #"{"data_key":"../x","key":"k","v":1}"#, #"{"data_key":"..","key":"k","v":1}"#,
      #"{"data_key":"d","key":"k","v":1,"x":1}"#, #"{"data_key":"d","data_key":"d","key":"k","v":1}"#, "[]", "{", "x",
    ] {
      #expect(code(file(text)) == .malformed, "\(text)")
    }
  }

  @Test("a reader that goes away ends the work with an error, not with a signal")
  func brokenPipe() throws {
    let sink = Pipe()
    close(sink.read)
    defer { close(sink.write) }
    let (result, _) = piped(pattern(3_000_000)) { input, _ throws(OperatorError) in
      try EnvelopeStream.encrypt(
        input, to: Descriptor(sink.write), key: key.secret, header: header, context: context)
    }
    #expect(throws: OperatorError(.inputOutput, "")) { try result.get() }
  }

  @Test("progress is told as bytes are read")
  func progress() throws {
    var told: [UInt64] = []
    _ = piped(pattern(2 * Self.batch + 1)) { input, output throws(OperatorError) in
      try EnvelopeStream.encrypt(
        input, to: output, key: key.secret, header: header, context: context, progress: { told.append($0) })
    }
    #expect(told == [UInt64(Self.batch), UInt64(2 * Self.batch), UInt64(2 * Self.batch + 1)])
  }

  @Test("an output file is there whole or not at all")
  func outputFile() throws {
    let folder = FileManager.default.temporaryDirectory.appendingPathComponent("out-\(UUID().uuidString)").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    func names() throws -> [String] { try FileManager.default.contentsOfDirectory(atPath: folder).sorted() }
    let path = folder + "/a"
    do {
      let file = try OutputFile(path)
      try file.descriptor.write("half")
    }
    #expect(try names().isEmpty)
    for text in ["one", "another"] {
      var file = try OutputFile(path)
      try file.descriptor.write(text)
      try file.commit()
      #expect(try String(contentsOfFile: path, encoding: .utf8) == text)
    }
    #expect(try names() == ["a"])
    #expect(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int == 0o600)
    var device = try OutputFile("/dev/null")
    try device.descriptor.write("gone")
    try device.commit()
    #expect(throws: OperatorError(.cannotCreate, "")) { _ = try OutputFile(folder + "/no/where") }
    #expect(throws: OperatorError(.cannotCreate, "")) { _ = try OutputFile(folder) }
  }
}
