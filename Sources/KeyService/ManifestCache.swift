import KeyManifests
import Synchronization

/// The manifest that was read last: every use of a key asks it who may, and reading it costs more than all else.
enum ManifestCache {
  private static let last = Mutex<(text: [UInt8], manifest: KeyManifest)?>(nil)

  /// The manifest of a text.
  static func manifest(_ text: [UInt8]) throws(ManifestError) -> KeyManifest {
    if let known = last.withLock({ $0 }), known.text == text { return known.manifest }
    let manifest = try KeyManifest(yaml: text)
    last.withLock { $0 = (text, manifest) }
    return manifest
  }
}
