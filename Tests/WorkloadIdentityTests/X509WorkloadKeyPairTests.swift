import Crypto
import Foundation
import SecretMemory
import Testing

@testable import WorkloadIdentity

@Test func keysAreReadByOthers() throws {
  let store = SVIDKeyStore(capacity: 4)
  let pair = try WorkloadKeyPair(in: store)
  let der = pair.key.withBytes { bytes in unsafe bytes.withUnsafeBytes { unsafe Array($0) } }
  let read = try P256.Signing.PrivateKey(derRepresentation: der)
  // Byte for byte what swift-crypto writes itself.
  #expect(Array(read.derRepresentation) == der && der.count == 138)
  #expect(Array(read.publicKey.derRepresentation) == pair.spki)
  let folder = try TestFolder()
  try folder.write("key", der)
  let (status, output) = try folder.run("openssl", "pkey", "-inform", "DER", "-in", "key", "-check", "-noout")
  #expect(status == 0 && output.contains("Key is valid"), "\(output)")
  if let python = ProcessInfo.processInfo.environment["TRUSTCORE_PYTHON"], !python.isEmpty {
    // What py-spiffe calls.
    let program = """
      from cryptography.hazmat.primitives.serialization import load_der_private_key
      print(load_der_private_key(open("key", "rb").read(), None).curve.name)
      """
    let (status, output) = try folder.run(python, "-c", program)
    #expect(status == 0 && output == "secp256r1\n", "\(output)")
  }
}

@Test func keysAreDistinctAndTheStoreFills() throws {
  let store = SVIDKeyStore(capacity: 3)
  var pairs = try (0..<3).map { _ in try WorkloadKeyPair(in: store) }
  #expect(Set(pairs.map(\.spki)).count == 3)
  #expect(throws: SecretMemoryError(.noLockedMemory, "")) { try WorkloadKeyPair(in: store) }
  pairs.removeLast()
  #expect(throws: Never.self) { try WorkloadKeyPair(in: store) }
}
