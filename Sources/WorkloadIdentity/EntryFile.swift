public import Wire

/// The file of `trustcore entry apply`: `{"entries": […]}`, where each element has the members of an entry and, where it
/// changes one that exists, its `id`. What the members say is for the daemon to check.
public struct EntryFile: Sendable {
  /// The most bytes of a file.
  public static let maximumBytes = 16 << 20
  /// The most entries of a file.
  public static let maximumEntries = 50_000

  /// The entries in order; without an id, a new one.
  public let entries: [(id: EntryID?, entry: JSONObject)]

  /// Parses a file.
  /// - Throws: ``SPIFFEError/Code-swift.struct/entry``.
  public init(parsing bytes: [UInt8]) throws(SPIFFEError) {
    let values: [JSONValue]
    do {
      var reader = try ObjectReader(
        try JSONValue(parsing: bytes, maximumDepth: 8, maximumBytes: Self.maximumBytes), "the file")
      values = try reader.array("entries", limit: Self.maximumEntries)
      try reader.finish()
    } catch {
      throw SPIFFEError(.entry, "\(error)")
    }
    var entries: [(id: EntryID?, entry: JSONObject)] = []
    var seen: Set<EntryID> = []
    for (index, value) in values.enumerated() {
      guard var object = value.object, object["id"].map({ $0.string != nil }) ?? true else {
        throw SPIFFEError(.entry, "element \(index) of 'entries' must be an object, and its 'id' a text")
      }
      var id: EntryID?
      if let text = object["id"]?.string {
        let named = try EntryID(text)
        guard seen.insert(named).inserted else { throw SPIFFEError(.entry, "the file has \(named) twice") }
        id = named
      }
      object["id"] = nil
      entries.append((id, object))
    }
    self.entries = entries
  }
}
