import SwiftASN1
import Wire

/// Certificates as people carry them about.
enum PEMText {
  /// The certificates of a text, DER; anything else between them is refused.
  static func certificates(_ text: String) throws(Problem) -> [[UInt8]] {
    guard let documents = try? PEMDocument.parseMultiple(pemString: text), (1...8).contains(documents.count),
      documents.allSatisfy({ $0.discriminator == "CERTIFICATE" })
    else {
      throw Problem(422, "chain_malformed", "Send 1 to 8 certificates in PEM, the authority's own first.")
    }
    return documents.map(\.derBytes)
  }

  static func encode(_ der: [UInt8], _ kind: String) -> String {
    PEMDocument(type: kind, derBytes: der).pemString + "\n"
  }
}
