import ArgumentParser
import Glibc
import OperatorClient
import SecretMemory
import Wire

struct EncryptCommand: OperatorCommand {
  static let configuration = CommandConfiguration(
    commandName: "encrypt", abstract: "Encrypts a file of any size under a data key of its own.",
    discussion: """
      The context says what the file is for; decrypting needs the same one, and it is not in the file.
      Example: trustcore keys encrypt key_7f3a --context customer=42 < report.pdf > report.pdf.tc
      """)

  @Argument(help: "The identifier of the key that wraps the data key.")
  var key: String

  @OptionGroup var stream: StreamOptions
  var json: Bool { stream.json }

  func perform() async throws(OperatorError) {
    let context = try FileContext(stream.context)
    let streams = try OpenStreams(stream, inputMayBeTerminal: true)
    let dataKey = try await stream.deployment.client()
      .newDataKey(under: key, context: context, as: stream.signer.who(unsaid: .owner))
    let header = try EnvelopeHeader(key: dataKey.key, dataKey: dataKey.id)
    try streams.run(header, isJSON: json) { input, output, progress throws(OperatorError) in
      try EnvelopeStream.encrypt(
        input, to: output, key: dataKey.secret.secret, header: header, context: context, progress: progress)
    }
  }
}

struct DecryptCommand: OperatorCommand {
  static let configuration = CommandConfiguration(
    commandName: "decrypt", abstract: "Decrypts what 'keys encrypt' made.",
    discussion: """
      Each piece is authenticated before it is written, but that a file was cut short shows at its end alone: look at the
      exit code before you use what came out of a pipe. With --out there is no file unless all of it is authentic.
      Example: trustcore keys decrypt --context customer=42 --in report.pdf.tc --out report.pdf
      """)

  @OptionGroup var stream: StreamOptions
  var json: Bool { stream.json }

  func perform() async throws(OperatorError) {
    let context = try FileContext(stream.context)
    let streams = try OpenStreams(stream, inputMayBeTerminal: false)
    let envelope = try UnverifiedEnvelope(streams.input)
    let header = envelope.header
    let dataKey = try await stream.deployment.client()
      .openDataKey(header, context: context, as: stream.signer.who(unsaid: .owner))
    var holder = Optional(envelope)
    try streams.run(header, isJSON: json) { _, output, progress throws(OperatorError) in
      guard let envelope = holder.take() else { return 0 }
      return try envelope.decrypt(to: output, key: dataKey.secret.secret, context: context, progress: progress)
    }
  }
}

/// What encrypting and decrypting have in common.
struct StreamOptions: ParsableArguments {
  @Option(help: "What the file is for, as name=value; may be given 16 times, at least once.")
  var context: [String] = []

  @Option(name: .customLong("in"), help: "The file to read; standard input unless stated.")
  var input: String?

  @Option(name: .customLong("out"), help: "The file to write, whole or not at all; standard output unless stated.")
  var output: String?

  @OptionGroup var deployment: DeploymentOptions
  @OptionGroup var signer: SignerOptions

  @Flag(help: "Print a report in JSON on standard error.")
  var json = false

  func validate() throws {
    do { _ = try FileContext(context) } catch { throw ValidationError(error.message) }
  }
}

/// The two ends of a stream, opened before any key is asked for.
struct OpenStreams: ~Copyable {
  let input: Descriptor
  private let total: UInt64?
  private var file: OutputFile?

  init(_ options: StreamOptions, inputMayBeTerminal: Bool) throws(OperatorError) {
    // Whoever reads our output may go; then writing fails, with an error that says so.
    signal(SIGPIPE, SIG_IGN)
    let input = if let path = options.input { try Descriptor(reading: path) } else { Descriptor.input }
    guard inputMayBeTerminal || !input.isTerminal else {
      throw OperatorError(.usage, "Nobody types an encrypted file: name it with --in, or redirect standard input.")
    }
    guard options.output != nil || !Descriptor.output.isTerminal else {
      throw OperatorError(.usage, "The output is binary and would spoil this terminal: redirect it, or use --out FILE.")
    }
    self.init(input: input, file: try options.output.map { (path) throws(OperatorError) in try OutputFile(path) })
  }

  private init(input: Descriptor, file: consuming OutputFile?) {
    self.input = input
    total = input.remaining
    self.file = file
  }

  /// Streams, shows how far it is where a person looks, and gives the output its name.
  consuming func run(
    _ header: EnvelopeHeader, isJSON: Bool,
    _ body: (Descriptor, Descriptor, (UInt64) -> Void) throws(OperatorError) -> UInt64
  ) throws(OperatorError) {
    let line = StatusLine(.error)
    defer { line.finish() }
    let meter = ProgressMeter(total: total)
    let start = ContinuousClock.now
    var shown = start
    let count = try body(input, file?.descriptor ?? .output) { done in
      let now = ContinuousClock.now
      guard line.isTerminal, now - shown >= .milliseconds(100) else { return }
      shown = now
      line.show(meter.line(done: done, after: now - start))
    }
    if line.isTerminal, shown != start {
      line.show(meter.summary(done: count, after: ContinuousClock.now - start))
    }
    try file?.commit()
    if isJSON {
      complainJSON([
        "key": .string(header.key), "data_key": .string(header.dataKey), "plaintext_bytes": .integer(Int64(count)),
      ])
    }
  }
}
