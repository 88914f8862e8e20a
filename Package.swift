// swift-tools-version: 6.2
import PackageDescription

// MARK: - Dependencies

let nio = "swift-nio"
let crypto: Target.Dependency = .product(name: "Crypto", package: "swift-crypto")
let cryptoExtras: Target.Dependency = .product(name: "CryptoExtras", package: "swift-crypto")
let x509: Target.Dependency = .product(name: "X509", package: "swift-certificates")
let asn1: Target.Dependency = .product(name: "SwiftASN1", package: "swift-asn1")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let grdb: Target.Dependency = .product(name: "GRDB", package: "GRDB.swift")
let sqlite: Target.Dependency = .product(name: "GRDBSQLite", package: "GRDB.swift")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let serviceLifecycle: Target.Dependency = .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
let hummingbird: [Target.Dependency] = [
  .product(name: "Hummingbird", package: "hummingbird"),
  .product(name: "HummingbirdCore", package: "hummingbird"),
  .product(name: "HummingbirdTLS", package: "hummingbird"),
  .product(name: "HummingbirdHTTP2", package: "hummingbird"),
]
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let asyncHTTPClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let nioSSL: Target.Dependency = .product(name: "NIOSSL", package: "swift-nio-ssl")
let nioCore: Target.Dependency = .product(name: "NIOCore", package: nio)
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: nio)
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: nio)
let nioEmbedded: Target.Dependency = .product(name: "NIOEmbedded", package: nio)
let nioTLS: Target.Dependency = .product(name: "NIOTLS", package: nio)
let grpcCore: Target.Dependency = .product(name: "GRPCCore", package: "grpc-swift-2")
let grpcNIO: Target.Dependency = .product(name: "GRPCNIOTransportHTTP2Posix", package: "grpc-swift-nio-transport")
let protobuf: Target.Dependency = .product(name: "SwiftProtobuf", package: "swift-protobuf")
let nioHPACK: Target.Dependency = .product(name: "NIOHPACK", package: "swift-nio-http2")
let nioHTTP2: Target.Dependency = .product(name: "NIOHTTP2", package: "swift-nio-http2")

// MARK: - Targets

/// A library of ours: the module `name` in the folder `path`, which defaults to `Sources/<name>`.
func module(_ name: String, in folder: String = "Sources", _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, path: "\(folder)/\(name)")
}

func tests(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .testTarget(
    name: "\(name)Tests", dependencies: [.byName(name: name), "TestSupport"] + dependencies,
    path: "Tests/\(name)Tests")
}

// The trusted base: what an auditor reads first. It imports nothing under Sources/ but Wire.
let trustedBase: [Target] = [
  .systemLibrary(
    name: "CP11Kit", path: "HSM/CP11Kit", pkgConfig: "p11-kit-1",
    providers: [.apt(["libp11-kit-dev"])]),
  module("PKCS11", in: "HSM", ["CP11Kit", "SecretMemory"]),
  module("HSMCustody", in: "HSM", ["PKCS11", "KeyHierarchy", "SecretMemory", crypto]),
  module("HSMProbe", in: "HSM", ["CP11Kit", "PKCS11", "KeyHierarchy", "SecretMemory", crypto]),
  .target(name: "CSecureMemory", path: "Keys/CSecureMemory"),
  module("SecretMemory", in: "Keys", ["CSecureMemory"]),
  module("KeyHierarchy", in: "Keys", ["SecretMemory"]),
  .target(
    name: "KeyManifests", dependencies: ["KeyHierarchy", "Wire", crypto, yams], path: "Keys/KeyManifests",
    resources: [.embedInCode("development.yaml")]),
  module("Envelope", in: "Keys", ["SecretMemory", crypto, cryptoExtras]),
  module("COSE", in: "Attestation"),
]

let standing: [Target] = [
  module("Wire"),
  module("JOSE", ["Wire", "KeyHierarchy", crypto, cryptoExtras]),
  module("TransparencyLog", ["Wire", "KeyHierarchy", crypto]),
  module("AgentIdentity", ["Wire", "JOSE", crypto]),
  module("Policy", ["Wire", crypto]),
  module("Cosign", ["Wire", "COSE", "JOSE", crypto, x509, asn1]),
  module("Seal", ["Wire", "JOSE", "TransparencyLog", "AgentIdentity", "Cosign", crypto]),
  module("CommandGate", ["Wire", "JOSE", "TransparencyLog", "AgentIdentity", "Cosign", "Policy", "Seal", crypto]),
  module("Ledger", ["Wire", "Seal", "AgentIdentity"]),
  module("Consent", ["Wire", "Seal", "AgentIdentity", "Cosign", crypto]),
  module("Rails", ["Wire"]),
  module(
    "KeyService",
    ["Wire", "Seal", "AgentIdentity", "KeyHierarchy", "KeyManifests", "Envelope", "SecretMemory", crypto]),
  module(
    "Payments",
    ["Wire", "JOSE", "AgentIdentity", "Policy", "Cosign", "Seal", "Consent", "Ledger", "Rails", crypto]),
  module("WorkloadIdentity", ["Wire", "JOSE", "KeyHierarchy", "SecretMemory", crypto, cryptoExtras, x509, asn1]),
  module("WorkloadAttestation", ["Wire", "WorkloadIdentity", crypto]),
  module(
    "WorkloadService",
    [
      "Wire", "JOSE", "AgentIdentity", "Seal", "KeyHierarchy", "SecretMemory", "WorkloadIdentity",
      "WorkloadAttestation", crypto, x509, asn1, nioCore, nioPosix, nioHTTP1, nioSSL, logging,
    ]),
  .target(
    name: "WorkloadProtocol", dependencies: [protobuf], path: "Sources/WorkloadProtocol",
    exclude: ["Protos", "generate.sh"]),
  .target(
    name: "WorkloadAPI",
    dependencies: [
      "Wire", "SecretMemory", "WorkloadIdentity", "WorkloadAttestation", "WorkloadProtocol", crypto, logging,
      serviceLifecycle, protobuf, grpcCore, grpcNIO, nioCore, nioHTTP2, nioHPACK,
    ],
    path: "Sources/WorkloadAPI", resources: [.embedInCode("Reflection/descriptors.binpb")]),
  module(
    "StorageSQLite",
    [
      "Wire", "JOSE", "TransparencyLog", "AgentIdentity", "Policy", "Cosign", "Seal", "CommandGate", "Ledger",
      "Consent", "Rails", "Payments", "KeyService", "KeyHierarchy", "WorkloadIdentity", "WorkloadService", crypto, grdb,
      sqlite,
    ]),
  .target(
    name: "WebConsole", dependencies: ["Wire"], path: "Sources/WebConsole",
    resources: [.embedInCode("Assets/console.css"), .embedInCode("Assets/console.js")]),
  module(
    "TrustCoreAPI",
    [
      "Wire", "JOSE", "TransparencyLog", "AgentIdentity", "Cosign", "Seal", "CommandGate", "Ledger", "Consent",
      "Rails", "Payments", "WebConsole", "KeyService", "KeyManifests", "Envelope", "KeyHierarchy", "WorkloadIdentity",
      "WorkloadService", crypto, httpTypes,
      nioCore, logging,
    ] + hummingbird),
  module(
    "TrustCoreDaemon",
    [
      "Wire", "JOSE", "TransparencyLog", "AgentIdentity", "Seal", "CommandGate", "Ledger", "Consent", "Payments",
      "StorageSQLite", "TrustCoreAPI", "KeyService", "KeyManifests", "Envelope", "KeyHierarchy", "HSMCustody",
      "HSMProbe", "PKCS11", "SecretMemory", "WorkloadIdentity", "WorkloadAttestation", "WorkloadService", "WorkloadAPI",
      crypto, x509, asn1, logging, serviceLifecycle,
      unixSignals, httpTypes, nioSSL, nioCore, nioPosix, nioHTTP1,
    ] + hummingbird),
  .executableTarget(
    name: "trustcored", dependencies: ["TrustCoreDaemon", "SecretMemory", argumentParser, unixSignals, logging],
    path: "Sources/trustcored"),
  module(
    "OperatorClient",
    [
      "Wire", "JOSE", "AgentIdentity", "TrustCoreAPI", "Envelope", "SecretMemory", "WorkloadIdentity", asyncHTTPClient,
      asn1, nioCore, nioHTTP1, nioSSL,
    ]),
  .executableTarget(
    name: "trustcore",
    dependencies: [
      "StorageSQLite", "Payments", "Seal", "TransparencyLog", "OperatorClient", "HSMCustody", "HSMProbe", "PKCS11",
      "KeyHierarchy", "SecretMemory", "Wire", "WorkloadIdentity", "WorkloadAPI", argumentParser, unixSignals,
    ],
    path: "Sources/trustcore"),
]

let testing: [Target] = [
  .target(
    name: "TestSupport",
    dependencies: [
      "Wire", "JOSE", "KeyHierarchy", "SecretMemory", "PKCS11", "HSMCustody", "TransparencyLog", "AgentIdentity",
      "Policy", "Cosign", "Seal", "CommandGate", "Ledger", "Consent", "Rails", "Payments", "StorageSQLite",
      "KeyService", "KeyManifests", "WorkloadService", "SoftwareAuthenticator", "CFaultControl", crypto,
    ], path: "Tests/TestSupport", exclude: ["Authenticator"]),
  .target(name: "CFaultControl", path: "Tests/FaultInjection/Control"),
  .target(name: "CFaultPKCS11", dependencies: ["CFaultControl", "CP11Kit"], path: "Tests/FaultInjection/Module"),
  .testTarget(
    name: "HSMFaultTests",
    dependencies: ["TestSupport", "PKCS11", "HSMCustody", "KeyHierarchy", "SecretMemory", crypto],
    path: "Tests/HSMFaultTests"),
  .testTarget(
    name: "FaultInjectionTests",
    dependencies: ["TestSupport", "PKCS11", "HSMCustody", "SecretMemory", "CP11Kit"],
    path: "Tests/FaultInjectionTests"),
  .target(
    name: "SoftwareAuthenticator", dependencies: ["Wire", "COSE", crypto, cryptoExtras, x509, asn1],
    path: "Tests/TestSupport/Authenticator"),
  .target(
    name: "DemoClient",
    dependencies: [
      "Wire", "JOSE", "AgentIdentity", "TransparencyLog", "Seal", "Rails", "TrustCoreAPI", "SoftwareAuthenticator",
      asyncHTTPClient, nioCore, nioSSL, nioHTTP1, crypto,
    ],
    path: "Tests/DemoClient"),
  .executableTarget(
    name: "DemoDriver",
    dependencies: [
      "DemoClient", "Wire", "JOSE", "TransparencyLog", "Rails", "SoftwareAuthenticator", "TrustCoreAPI",
      "WorkloadIdentity", "WorkloadAPI", crypto, argumentParser,
    ],
    path: "Tests/DemoDriver"),
  .executableTarget(
    name: "Benchmarks",
    dependencies: [
      "DemoClient", "Wire", "JOSE", "TransparencyLog", "AgentIdentity", "Seal", "CommandGate", "StorageSQLite",
      "KeyHierarchy", "SecretMemory", "PKCS11", "HSMCustody", "CPKCS11Loop", "COSE", "Cosign", "Rails",
      "SoftwareAuthenticator", "KeyService", "KeyManifests", "Envelope", "OperatorClient", crypto, cryptoExtras,
      argumentParser, nioCore, nioPosix, nioHTTP1, nioHTTP2, nioHPACK, nioSSL, nioTLS, "TrustCoreAPI",
      "WorkloadIdentity", "WorkloadAttestation", "WorkloadService", "WorkloadAPI", "WorkloadProtocol", grpcCore,
      grpcNIO, protobuf, logging, serviceLifecycle, x509, asn1, grdb,
    ], path: "Tests/Benchmarks", exclude: ["PKCS11Loop", "webauthn_peer.py"]),
  .target(name: "CPKCS11Loop", dependencies: ["CP11Kit"], path: "Tests/Benchmarks/PKCS11Loop"),
  .executableTarget(
    name: "CrashDaemon", dependencies: ["TrustCoreDaemon", "CommandGate", argumentParser, unixSignals, logging],
    path: "Tests/CrashDaemon"),
  .testTarget(
    name: "EndToEndTests",
    dependencies: [
      "TestSupport", "DemoClient", "TrustCoreAPI", "TransparencyLog", "Seal", "JOSE", "AgentIdentity", "Wire", "Rails",
      "SoftwareAuthenticator", "StorageSQLite", "KeyService", "KeyManifests", "Envelope", "SecretMemory", crypto,
      nioCore, nioPosix, nioSSL,
    ], path: "Tests/EndToEndTests", exclude: ["second_client.py", "console_browser.py"]),
  .testTarget(name: "ArchitectureTests", path: "Tests/ArchitectureTests"),
  .testTarget(
    name: "FuzzTests",
    dependencies: ["TestSupport", "Wire", "JOSE", "AgentIdentity", "TransparencyLog", "Cosign", "Seal", "Ledger"],
    path: "Tests/FuzzTests"),
  tests("Wire"),
  tests("SecretMemory"),
  tests("PKCS11", ["SecretMemory", crypto]),
  tests("HSMCustody", ["PKCS11", "KeyHierarchy", "SecretMemory", crypto]),
  tests("HSMProbe", ["PKCS11", "HSMCustody", "KeyHierarchy", "SecretMemory", crypto]),
  tests("KeyManifests", ["KeyHierarchy", "Wire", crypto]),
  tests("Envelope", ["SecretMemory", "Wire", crypto, cryptoExtras]),
  tests("JOSE", ["Wire", "KeyHierarchy", crypto, cryptoExtras]),
  tests("TransparencyLog", ["Wire", "KeyHierarchy", crypto]),
  tests("Seal", ["Wire", "JOSE", "AgentIdentity", "TransparencyLog", "CommandGate"]),
  tests("Ledger", ["Wire", "Seal", "CommandGate", "StorageSQLite"]),
  tests("CommandGate", ["Wire", "JOSE", "AgentIdentity", "TransparencyLog", "Seal", "Ledger", "StorageSQLite"]),
  tests(
    "StorageSQLite",
    [
      "Wire", "JOSE", "AgentIdentity", "TransparencyLog", "Cosign", "Seal", "CommandGate", "Consent", "Rails",
      "Payments", "KeyService", "KeyHierarchy", "WorkloadIdentity", "WorkloadService", "WorkloadAttestation", crypto,
      asn1, grdb,
    ]),
  tests("AgentIdentity", ["Wire", "JOSE", crypto]),
  tests("COSE", ["Wire"]),
  tests("Cosign", ["COSE", "JOSE", "Wire", "SoftwareAuthenticator", crypto]),
  tests("Policy", ["Wire"]),
  tests("Consent", ["Wire"]),
  tests("Rails", ["Wire", "DemoClient"]),
  tests("WebConsole", ["Wire"]),
  tests(
    "KeyService",
    [
      "TrustCoreAPI", "Wire", "JOSE", "AgentIdentity", "TransparencyLog", "Seal", "CommandGate", "StorageSQLite",
      "KeyHierarchy", "KeyManifests", "Envelope", "SecretMemory", "HSMCustody", crypto, grdb,
    ]),
  .testTarget(
    name: "OperatorClientTests",
    dependencies: [
      "OperatorClient", "trustcore", "TrustCoreAPI", "Wire", "JOSE", "AgentIdentity", "Envelope", "SecretMemory",
      "WorkloadIdentity", "WorkloadAttestation", "WorkloadAPI", crypto, x509, asn1, httpTypes, logging, nioCore, nioSSL,
      argumentParser, serviceLifecycle, "KeyHierarchy",
    ] + hummingbird, path: "Tests/OperatorClientTests"),
  .testTarget(
    name: "WorkloadIdentityTests",
    dependencies: [
      "WorkloadIdentity", "TestSupport", "Wire", "JOSE", "KeyHierarchy", "SecretMemory", crypto, cryptoExtras, x509,
      asn1,
    ], path: "Tests/WorkloadIdentityTests", exclude: ["Conformance"]),
  .testTarget(
    name: "WorkloadAPITests",
    dependencies: [
      "WorkloadAPI", "WorkloadProtocol", "WorkloadIdentity", "WorkloadAttestation", "TestSupport", "Wire",
      "SecretMemory", crypto, x509, asn1, logging, serviceLifecycle, protobuf, grpcCore, grpcNIO, nioCore, nioPosix,
      nioEmbedded, nioHTTP2, nioHPACK,
    ], path: "Tests/WorkloadAPITests", exclude: ["workload_client.py", "sds_envoy.py"]),
  .testTarget(
    name: "WorkloadServiceTests",
    dependencies: [
      "WorkloadService", "WorkloadIdentity", "WorkloadAttestation", "TestSupport", "TrustCoreAPI", "Wire", "JOSE",
      "AgentIdentity", "TransparencyLog", "Seal", "CommandGate", "StorageSQLite", "KeyHierarchy", "SecretMemory",
      crypto, cryptoExtras, x509, asn1, nioCore, nioPosix, nioHTTP1, nioSSL,
    ], path: "Tests/WorkloadServiceTests"),
  .testTarget(
    name: "WorkloadAttestationTests",
    dependencies: ["WorkloadAttestation", "WorkloadIdentity", "Wire", crypto],
    path: "Tests/WorkloadAttestationTests", exclude: ["client.py"]),
  tests(
    "Payments",
    [
      "Wire", "JOSE", "AgentIdentity", "TransparencyLog", "Seal", "Ledger", "Consent", "Policy", "Cosign", "Rails",
      "CommandGate", "StorageSQLite", "SoftwareAuthenticator", crypto,
    ]),
]

let package = Package(
  name: "TrustCore",
  products: [
    .executable(name: "trustcored", targets: ["trustcored"]),
    .executable(name: "trustcore", targets: ["trustcore"]),
    // Loaded by path: a PKCS#11 module that fails on command. For tests alone.
    .library(name: "FaultPKCS11", type: .dynamic, targets: ["CFaultPKCS11"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
    .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
    .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
    .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
    .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
    .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
    .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
    .package(url: "https://github.com/grpc/grpc-swift-2", from: "2.4.3"),
    .package(url: "https://github.com/grpc/grpc-swift-nio-transport", from: "2.9.2"),
    .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0"),
    .package(url: "https://github.com/jpsim/Yams", from: "6.2.2"),
    .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
  ],
  targets: trustedBase + standing + testing
)

// MARK: - One settings loop for every Swift target

let inC = ["CSecureMemory", "CPKCS11Loop", "CFaultControl", "CFaultPKCS11"]
for target in package.targets where target.type != .system && !inC.contains(target.name) {
  target.swiftSettings = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
    .enableUpcomingFeature("ImmutableWeakCaptures"),
    .enableExperimentalFeature("Lifetimes"),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
  ]
}
