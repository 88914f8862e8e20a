package import AgentIdentity
package import CommandGate
package import JOSE
import KeyManifests
package import KeyService
package import Seal
import TransparencyLog
import Wire

extension TestParty {
  /// A principal of any tenant that is active from the start.
  package init(id: String, _ kind: Principal.Kind, tenant: String, owner: String = "", _ key: SigningKey) {
    self.key = key
    principal = Principal(
      id: id, kind: kind, tenant: tenant, owner: owner, thumbprint: key.verificationKey.thumbprint,
      key: key.publicJWK.bareJSON.canonical(), status: .active, enrolmentIndex: 0)
  }
}

extension TestWorld {
  /// Founds a deployment with a key manifest in force and further principals, whose genesis is given back.
  package func found<Store: UnitStore>(
    _ store: Store, headFile: String, manifest: [UInt8], with parties: [TestParty]
  ) async throws -> Genesis where Store.Unit: KeyStore {
    let roster = genesis.roster + parties.map(\.principal)
    let genesis = Genesis(
      origin: genesis.origin, trustDomain: genesis.trustDomain, environment: genesis.environment,
      created: genesis.created, rootFingerprint: genesis.rootFingerprint, softwareDigest: genesis.softwareDigest,
      logKeys: genesis.logKeys, roster: roster, console: genesis.console)
    try CheckpointSigner.createNew(headFile: headFile, origin: genesis.origin)
    let first = EventRecord(
      kind: "key-manifest.first", content: ["manifest": .string(String(decoding: manifest, as: UTF8.self))])
    try await store.openLog(genesis: try genesis.encoded(), events: [first], at: clock.now(), random: random) { unit in
      for principal in roster { try unit.insert(principal) }
      try unit.insert(KeyManifestRow(leafIndex: 1, document: manifest))
    }
    return genesis
  }
}
