import GRPCCore
import WorkloadIdentity

/// Encodes responses as they go: a private key goes from locked memory straight into its place in the message, as PEM,
/// and nothing of a response is kept.
struct SDSEncoder: MessageSerializer {
  private static let validatorType =
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"
  private static let validatorName = "envoy.tls.cert_validator.spiffe"

  func serialize<Bytes: GRPCContiguousBytes>(_ response: SDSResponse) -> Bytes {
    let (message, keys) = Self.layOut(response)
    var bytes = Bytes(message)
    for (offset, key) in keys {
      unsafe bytes.withUnsafeMutableBytes { buffer in
        let hole = unsafe UnsafeMutableRawBufferPointer(
          rebasing: buffer[offset..<offset + PEM.privateKey.size(of: key.count)])
        var out = unsafe OutputRawSpan(buffer: hole, initializedCount: 0)
        key.withBytes { PEM.privateKey.write($0, to: &out) }
        _ = unsafe out.finalize(for: hole)
      }
    }
    return bytes
  }

  /// DiscoveryResponse or DeltaDiscoveryResponse, with zeros for the keys and where each goes. A key stands last in
  /// every message around it, so that its place is the end of its resource.
  private static func layOut(_ response: SDSResponse) -> (message: [UInt8], keys: [(offset: Int, key: SVIDKey)]) {
    var message = ProtobufWriter()
    var keys: [(offset: Int, key: SVIDKey)] = []
    message.field(1, response.version)
    message.field(4, SDSLimits.typeURL)
    message.field(5, response.nonce)
    for name in response.removed { message.element(6, name.utf8) }
    for resource in response.resources {
      let packed = any(SDSLimits.typeURL, secret(resource))
      switch response.form {
      case .stateOfTheWorld: message.element(2, packed)
      case .delta:
        var item = ProtobufWriter()
        item.field(1, resource.version)
        item.field(3, resource.name)
        item.field(2, packed)
        message.element(2, item.bytes)
      }
      if case .certificate(_, let key) = resource.content {
        keys.append((message.bytes.count - PEM.privateKey.size(of: key.count), key))
      }
    }
    return (message.bytes, keys)
  }

  private static func secret(_ resource: SDSResource) -> [UInt8] {
    var secret = ProtobufWriter()
    secret.field(1, resource.name)
    switch resource.content {
    case .certificate(let chain, let key):
      var (certificate, privateKey) = (ProtobufWriter(), ProtobufWriter())
      certificate.field(1, inline(chain))
      _ = privateKey.hole(2, count: PEM.privateKey.size(of: key.count))
      certificate.field(2, privateKey.bytes)
      secret.field(2, certificate.bytes)
    case .validation(let trusted):
      secret.field(4, validation(trusted))
    }
    return secret.bytes
  }

  /// CertificateValidationContext.
  private static func validation(_ trusted: [(trustDomain: String, roots: [[UInt8]])]) -> [UInt8] {
    var context = ProtobufWriter()
    var (validator, configuration) = (ProtobufWriter(), ProtobufWriter())
    for (trustDomain, roots) in trusted {
      var item = ProtobufWriter()
      item.field(1, trustDomain)
      item.field(2, inline(roots))
      configuration.field(1, item.bytes)
    }
    validator.field(1, validatorName)
    validator.field(2, any(validatorType, configuration.bytes))
    context.field(12, validator.bytes)
    return context.bytes
  }

  /// A DataSource of certificates.
  private static func inline(_ certificates: [[UInt8]]) -> [UInt8] {
    var source = ProtobufWriter()
    source.field(2, certificates.flatMap { PEM.certificate.text(of: $0) })
    return source.bytes
  }

  private static func any(_ type: String, _ value: [UInt8]) -> [UInt8] {
    var any = ProtobufWriter()
    any.field(1, type)
    any.field(2, value)
    return any.bytes
  }
}

/// The textual encoding of RFC 7468, written without a table that a secret would index.
struct PEM: Sendable {
  static let certificate = PEM(label: "CERTIFICATE")
  static let privateKey = PEM(label: "PRIVATE KEY")
  private static let lineLength = 64

  private let begin: [UInt8]
  private let end: [UInt8]

  private init(label: String) {
    begin = Array("-----BEGIN \(label)-----\n".utf8)
    end = Array("-----END \(label)-----\n".utf8)
  }

  /// The bytes of the text for so many bytes.
  func size(of byteCount: Int) -> Int {
    let characters = (byteCount + 2) / 3 * 4
    return begin.count + characters + (characters + Self.lineLength - 1) / Self.lineLength + end.count
  }

  /// The text of what is no secret.
  func text(of bytes: [UInt8]) -> [UInt8] {
    var text = [UInt8](repeating: 0, count: size(of: bytes.count))
    unsafe text.withUnsafeMutableBytes { buffer in
      var out = unsafe OutputRawSpan(buffer: buffer, initializedCount: 0)
      unsafe write(bytes.span.bytes, to: &out)
      _ = unsafe out.finalize(for: buffer)
    }
    return text
  }

  func write(_ bytes: RawSpan, to out: inout OutputRawSpan) {
    for byte in begin { out.append(byte) }
    var column = 0
    for index in stride(from: 0, to: bytes.byteCount, by: 3) {
      let left = min(3, bytes.byteCount - index)
      var group: UInt32 = 0
      for offset in 0..<3 {
        group <<= 8
        if offset < left { group |= UInt32(unsafe bytes.unsafeLoad(fromByteOffset: index + offset, as: UInt8.self)) }
      }
      for digit in 0..<4 {
        out.append(digit <= left ? Self.digit(group >> UInt32(18 - 6 * digit) & 0x3F) : UInt8(ascii: "="))
      }
      column += 4
      if column == Self.lineLength || left < 3 || index + 3 == bytes.byteCount {
        out.append(UInt8(ascii: "\n"))
        column = 0
      }
    }
    for byte in end { out.append(byte) }
  }

  /// A base64 digit by arithmetic: each step adds the distance to the next run of the alphabet once the value is past
  /// the end of the one before it.
  private static func digit(_ value: UInt32) -> UInt8 {
    let value = Int32(bitPattern: value)
    func past(_ end: Int32, _ distance: Int32) -> Int32 { ((end - value) >> 31) & distance }
    return UInt8(truncatingIfNeeded: 65 + value + past(25, 6) + past(51, -75) + past(61, -15) + past(62, 3))
  }
}
