import Foundation
import JOSE
import TestSupport
import Testing
import Wire
import WorkloadIdentity

/// Runs the suite in `Conformance`, which is data that others can use too. It is parsed with Foundation, so that the code
/// under test is not its own oracle.
@Suite("SPIFFE conformance")
struct ConformanceTests {
  typealias Case = [String: Any]

  private func document(_ name: String) throws -> Case {
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent().appendingPathComponent("Conformance/\(name)")
    return try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? Case)
  }

  private func cases(_ document: Case, _ name: String = "cases") throws -> [Case] {
    try #require(document[name] as? [Case])
  }

  private func text(_ value: Any?) throws -> String { try #require(value as? String) }

  private func isValid(_ test: Case) throws -> Bool {
    let result = try text(test["result"])
    let verdict = result == "either" ? try text(test["here"]) : result
    try #require(["valid", "invalid"].contains(verdict))
    return verdict == "valid"
  }

  @Test("SPIFFE IDs")
  func ids() throws {
    var tally = Tally("SPIFFE IDs")
    let document = try document("spiffe-id.json")
    for test in try cases(document) {
      let name = try text(test["name"])
      if let raw = (test["base64"] as? String).flatMap({ Data(base64Encoded: $0) }) {
        // A text of Swift is well-formed: such bytes either are none, or become one with U+FFFD in it.
        tally.expect((try? SPIFFEID(String(decoding: raw, as: UTF8.self))) == nil, name)
        continue
      }
      let id = try text(test["id"])
      let parsed = try? SPIFFEID(id)
      guard try isValid(test) else {
        tally.expect(parsed == nil, name)
        continue
      }
      let (domain, path) = (try text(test["trust_domain"]), try text(test["path"]))
      tally.expect(
        parsed?.trustDomain.name == domain && parsed?.path == path && parsed?.description == id
          && (try? SPIFFEID(TrustDomain(domain), path: path)) == parsed, name)
    }
    for position in try cases(document, "positions") {
      let (before, after) = (try text(position["before"]), try text(position["after"]))
      // Of those that are in neither the standard's verdict is invalid; of those in `either` it is ours.
      let valid = Set(try text(position["valid"]).unicodeScalars)
      #expect(valid.isDisjoint(with: try text(position["either"]).unicodeScalars))
      for value in UInt8.min...UInt8.max {
        let scalar = Unicode.Scalar(value)
        let name = "\(position["name"] ?? "") U+\(Hex.encode([value]))"
        let parsed = try? SPIFFEID(before + String(Character(scalar)) + after)
        tally.expect((parsed != nil) == valid.contains(scalar), name)
        if value >= 0x80 {
          let raw = String(decoding: Array(before.utf8) + [value] + Array(after.utf8), as: UTF8.self)
          tally.expect((try? SPIFFEID(raw)) == nil, name + " raw")
        }
      }
    }
    tally.report()
  }

  @Test("JWT-SVIDs")
  func tokens() throws {
    var tally = Tally("JWT-SVIDs")
    let document = try document("jwt-svid.json")
    let now = Timestamp(seconds: Int64(try #require(document["now"] as? Int)))
    var bundles: [TrustDomain: SPIFFEBundle] = [:]
    for (name, value) in try #require(document["bundles"] as? [String: Case]) {
      let domain = try TrustDomain(name)
      bundles[domain] = try SPIFFEBundle(
        trustDomain: domain, parsing: Array(JSONSerialization.data(withJSONObject: value)))
    }
    for test in try cases(document) {
      let audience = try text(test["audience"] ?? document["audience"])
      let token = try text(test["token"])
      let svid = try? UnverifiedJWTSVID(token).verified(keys: { bundles[$0]?.jwt }, audience: audience, now: now)
      let (wanted, name) = (try isValid(test), try text(test["name"]))
      tally.expect((svid != nil) == wanted, name)
      if let svid { #expect(svid.audience.contains(audience) && svid.expires.adding(seconds: 5) > now) }
    }
    tally.report()
  }

  @Test("bundles")
  func bundles() throws {
    var tally = Tally("SPIFFE bundles")
    let document = try document("bundle.json")
    let domain = try TrustDomain(try text(document["trust_domain"]))
    for test in try cases(document) {
      let name = try text(test["name"])
      let bundle = try? SPIFFEBundle(trustDomain: domain, parsing: Array(try text(test["bundle"]).utf8))
      let wanted = try isValid(test)
      guard wanted, let bundle else {
        tally.expect((bundle != nil) == wanted, name)
        continue
      }
      let (certificates, kids) = (try #require(test["x509"] as? [String]), try #require(test["jwt"] as? [String]))
      let names = bundle.jwtAuthorities.map { Array(($0.keyID ?? "").utf8) }
      tally.expect(
        bundle.x509Authorities.map { Base64.encode($0) } == certificates
          && names == kids.map { Array($0.utf8) }
          && bundle.sequence.map(String.init) == test["sequence"] as? String
          && bundle.refreshHint.map(Int.init) == test["refresh_hint"] as? Int
          && (try? SPIFFEBundle(trustDomain: domain, parsing: bundle.json())) == bundle, name)
    }
    tally.report()
  }
}
