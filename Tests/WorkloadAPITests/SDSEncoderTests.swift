import SwiftProtobuf
import Testing
import Wire
import WorkloadIdentity
import WorkloadProtocol

@testable import WorkloadAPI

/// What goes over the wire, read with the generated messages.
@Suite struct SDSEncoderTests {
  private typealias Secret = Envoy_Extensions_TransportSockets_Tls_V3_Secret
  private typealias Validator = Envoy_Extensions_TransportSockets_Tls_V3_SPIFFECertValidatorConfig

  private static func pem(_ label: String, _ bytes: [UInt8]) -> String {
    let text = Array(Base64.encode(bytes))
    let lines = stride(from: 0, to: text.count, by: 64).map { String(text[$0..<min($0 + 64, text.count)]) + "\n" }
    return "-----BEGIN \(label)-----\n" + lines.joined() + "-----END \(label)-----\n"
  }

  private static func state(_ world: SDSWorld, _ names: [String]) throws -> Envoy_Service_Discovery_V3_DiscoveryResponse
  {
    var session = SDSStateOfTheWorld()
    session.update(try world.snapshot())
    _ = try session.receive(StateRequest(names))
    let bytes: [UInt8] = SDSEncoder().serialize(try session.owed())
    return try Envoy_Service_Discovery_V3_DiscoveryResponse(serializedBytes: bytes)
  }

  private static func trustDomains(_ secret: Secret) throws -> [String: String] {
    let extended = secret.validationContext.customValidatorConfig
    #expect(extended.name == "envoy.tls.cert_validator.spiffe" && !secret.validationContext.hasTrustedCa)
    let validator = try Validator(unpackingAny: extended.typedConfig)
    return Dictionary(
      uniqueKeysWithValues: validator.trustDomains.map {
        ($0.name, String(decoding: $0.trustBundle.inlineBytes, as: UTF8.self))
      })
  }

  @Test(arguments: 1...SVIDKeyStore.maximumKeyBytes) func pemOfEveryLength(_ count: Int) throws {
    let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 167 &+ count) }
    let expected = Self.pem("CERTIFICATE", bytes)
    #expect(PEM.certificate.size(of: count) == expected.utf8.count)
    #expect(String(decoding: PEM.certificate.text(of: bytes), as: UTF8.self) == expected)
  }

  @Test func everyDigit() {
    let bytes = (0...255).map { UInt8($0) } + (0...255).map { UInt8(255 - $0) }
    let text = String(decoding: PEM.privateKey.text(of: bytes), as: UTF8.self)
    #expect(text == Self.pem("PRIVATE KEY", bytes))
  }

  @Test func aStateOfTheWorld() throws {
    let world = SDSWorld(svids: [("/web", 1), ("/db", 2)], bundles: [SDSWorld.own: [1, 2], "far.test": [7]])
    let response = try Self.state(world, ["default", "ROOTCA", "ALL", SDSWorld.otherID, SDSWorld.federated])
    #expect(response.typeURL == SDSLimits.typeURL && response.nonce == "1" && response.versionInfo.utf8.count == 32)
    let secrets = try response.resources.map { try Secret(unpackingAny: $0) }
    #expect(secrets.map(\.name) == ["ALL", "ROOTCA", "default", SDSWorld.federated, SDSWorld.otherID].sorted())
    let byName = Dictionary(uniqueKeysWithValues: secrets.map { ($0.name, $0) })
    for (name, serial) in [("default", 1), (SDSWorld.otherID, 2)] as [(String, UInt8)] {
      let certificate = try #require(byName[name]).tlsCertificate
      #expect(
        certificate.certificateChain.inlineBytes.elementsEqual(
          (Self.pem("CERTIFICATE", [0x30, serial]) + Self.pem("CERTIFICATE", [0x30, 0xCA])).utf8))
      #expect(certificate.privateKey.inlineBytes.elementsEqual(Self.pem("PRIVATE KEY", [0x30, serial, 0xFF]).utf8))
    }
    let own = Self.pem("CERTIFICATE", [0x30, 1]) + Self.pem("CERTIFICATE", [0x30, 2])
    let far = Self.pem("CERTIFICATE", [0x30, 7])
    #expect(try Self.trustDomains(try #require(byName["ROOTCA"])) == ["own.test": own])
    #expect(try Self.trustDomains(try #require(byName["ALL"])) == ["own.test": own, "far.test": far])
    #expect(try Self.trustDomains(try #require(byName[SDSWorld.federated])) == ["far.test": far])
  }

  @Test func aDelta() throws {
    var session = SDSDelta()
    session.update(try SDSWorld().snapshot())
    _ = try session.receive(DeltaRequest(["default", "ROOTCA", "none"]))
    let bytes: [UInt8] = SDSEncoder().serialize(try session.owed())
    let response = try Envoy_Service_Discovery_V3_DeltaDiscoveryResponse(serializedBytes: bytes)
    #expect(response.removedResources == ["none"] && response.nonce == "1" && response.typeURL == SDSLimits.typeURL)
    #expect(response.resources.map(\.name) == ["ROOTCA", "default"])
    #expect(response.resources.allSatisfy { $0.version.utf8.count == 32 })
    let certificate = try Secret(unpackingAny: response.resources[1].resource).tlsCertificate
    #expect(certificate.privateKey.inlineBytes.elementsEqual(Self.pem("PRIVATE KEY", [0x30, 1, 0xFF]).utf8))
  }

  /// An empty bundle takes all trust away (SPIFFE Trust Domain and Bundle section 4.2.2).
  @Test func anEmptyBundleTrustsNobody() throws {
    let world = SDSWorld(bundles: [SDSWorld.own: [1], "far.test": []])
    let secrets = try Self.state(world, ["ALL", SDSWorld.federated]).resources.map { try Secret(unpackingAny: $0) }
    #expect(try Self.trustDomains(secrets[0]) == ["own.test": Self.pem("CERTIFICATE", [0x30, 1])])
    #expect(try Self.trustDomains(secrets[1]) == ["!": Self.pem("CERTIFICATE", [0x30, 1])])
  }

  @Test func whatHasNoKeyOrNoBundleIsAbsent() throws {
    let catalogue = SDSCatalogue(try SDSWorld(svids: [("/web", nil), ("/db", 2), ("/db", 3)], bundles: [:]).snapshot())
    #expect(catalogue["default"] == nil && catalogue[SDSWorld.svidID] == nil && catalogue["ROOTCA"] == nil)
    #expect(catalogue.names == [SDSWorld.otherID])
  }
}
