import Envelope
import Wire

/// What stands, readable by anyone, in front of an encrypted file: which keys open it.
public struct EnvelopeHeader: Sendable, Equatable {
  /// The version of this header.
  public static let version: Int64 = 1
  /// The key that wraps the data key.
  public let key: String
  /// The data key.
  public let dataKey: String

  /// Names the keys; both must be identifiers.
  public init(key: String, dataKey: String) throws(OperatorError) {
    guard key.isIdentifier, dataKey.isIdentifier, dataKey != ".", dataKey != ".." else {
      throw OperatorError(.malformed, "The file's header does not name its keys: it was changed.")
    }
    self.key = key
    self.dataKey = dataKey
  }

  /// The text (JCS).
  public var canonical: [UInt8] {
    JSONValue.object(["v": .integer(Self.version), "key": .string(key), "data_key": .string(dataKey)]).canonical()
  }

  /// Reads the text.
  /// - Throws: ``OperatorError/Code-swift.struct/tooNew`` for a later version,
  ///   ``OperatorError/Code-swift.struct/malformed`` for anything else.
  public init(_ text: [UInt8]) throws(OperatorError) {
    guard let object = try? JSONValue(parsing: text, maximumDepth: 8).object, let version = object["v"]?.integer else {
      throw OperatorError(.malformed, "The file's header cannot be read: it was changed.")
    }
    guard version <= Self.version else {
      throw OperatorError(
        .tooNew, "The file was encrypted by a later trustcore (version \(version) of its header): update this one.")
    }
    var reader = ObjectReader(object, "the file's header")
    do {
      _ = try reader.integer("v", in: Self.version...Self.version)
      let (key, dataKey) = (try reader.string("key"), try reader.string("data_key"))
      try reader.finish()
      self = try Self(key: key, dataKey: dataKey)
    } catch let error as OperatorError {
      throw error
    } catch {
      throw OperatorError(.malformed, "The file's header cannot be read: it was changed.")
    }
  }
}

extension OperatorError {
  init(_ error: EnvelopeError, file: String = #fileID, line: UInt = #line) {
    let code: Code =
      switch error.code {
      case .notAuthentic: .notAuthentic
      case .truncated: .truncated
      case .notAnEnvelope: .notEnvelope
      case .unsupportedVersion: .tooNew
      case .badLength: .malformed
      default: .failed
      }
    let sentence = error.message.prefix(1).uppercased() + error.message.dropFirst() + "."
    self.init(code, sentence, file: file, line: line)
  }
}
