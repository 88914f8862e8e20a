import GRPCCore
import GRPCNIOTransportHTTP2Posix
import SwiftProtobuf
import WorkloadProtocol

/// gRPC server reflection, v1 and v1alpha: which services are here, and their descriptors. The messages of the two differ
/// in their package alone, which is nowhere in their bytes.
struct ReflectionService: Sendable {
  private let services: [String]
  /// Serialised file descriptors by file name, with the files that they import behind them.
  private var files: [String: [[UInt8]]] = [:]
  /// The file that declares each message, service, method and enumeration.
  private var symbols: [String: String] = [:]
  /// The messages there are; none is extended, since proto3 has no extensions.
  private var messages: Set<String> = []

  private static let names = ["grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]

  /// Describes the services of a router, and itself.
  init(router: RPCRouter<WorkloadTransport>) {
    services = Set(router.methods.map(\.service.fullyQualifiedService) + Self.names).sorted()
    // Our own bytes, made by generate.sh; a test reads them.
    let set = try? Google_Protobuf_FileDescriptorSet(serializedBytes: PackageResources.descriptors_binpb)
    let all = set?.file ?? []
    for file in all {
      files[file.name] = Self.closure(of: file, in: all).compactMap { try? $0.serializedBytes() }
      let package = file.package.isEmpty ? "" : file.package + "."
      for service in file.service {
        symbols[package + service.name] = file.name
        for method in service.method { symbols[package + service.name + "." + method.name] = file.name }
      }
      add(file.messageType, file.enumType, under: package, in: file.name)
    }
  }

  private static func closure(
    of file: Google_Protobuf_FileDescriptorProto, in all: [Google_Protobuf_FileDescriptorProto]
  ) -> [Google_Protobuf_FileDescriptorProto] {
    var found = [file]
    var next = 0
    while next < found.count {
      for name in found[next].dependency where !found.contains(where: { $0.name == name }) {
        found += all.filter { $0.name == name }
      }
      next += 1
    }
    return found
  }

  private mutating func add(
    _ messages: [Google_Protobuf_DescriptorProto], _ enums: [Google_Protobuf_EnumDescriptorProto],
    under scope: String, in file: String
  ) {
    for enumeration in enums { symbols[scope + enumeration.name] = file }
    for message in messages {
      symbols[scope + message.name] = file
      self.messages.insert(scope + message.name)
      add(message.nestedType, message.enumType, under: scope + message.name + ".", in: file)
    }
  }

  func register(on router: inout RPCRouter<WorkloadTransport>) {
    for name in Self.names {
      router.registerHandler(
        forMethod: MethodDescriptor(
          fullyQualifiedService: name, method: "ServerReflectionInfo", type: .bidirectionalStreaming),
        deserializer: ProtobufDeserializer<Grpc_Reflection_V1_ServerReflectionRequest>(),
        serializer: ProtobufSerializer<Grpc_Reflection_V1_ServerReflectionResponse>()
      ) { request, context in
        StreamingServerResponse { writer in
          for try await question in request.messages { try await writer.write(answer(question)) }
          return [:]
        }
      }
    }
  }

  /// The answer to one question. What is not found is an answer too, and does not end the stream.
  func answer(
    _ question: Grpc_Reflection_V1_ServerReflectionRequest
  ) -> Grpc_Reflection_V1_ServerReflectionResponse {
    var answer = Grpc_Reflection_V1_ServerReflectionResponse()
    answer.validHost = question.host
    answer.originalRequest = question
    switch question.messageRequest {
    case .listServices:
      answer.listServicesResponse = .with { $0.service = services.map { name in .with { $0.name = name } } }
    case .fileByFilename(let name): describe(name, "file \(name)")
    case .fileContainingSymbol(let name): describe(symbols[name], "symbol \(name)")
    case .fileContainingExtension(let asked):
      describe(nil, "extension \(asked.extensionNumber) of \(asked.containingType)")
    case .allExtensionNumbersOfType(let name) where messages.contains(name):
      answer.allExtensionNumbersResponse = .with { $0.baseTypeName = name }
    case .allExtensionNumbersOfType(let name): describe(nil, "message \(name)")
    case nil: fail(.invalidArgument, "ask for one thing")
    }
    return answer

    func describe(_ file: String?, _ asked: String) {
      if let file, let descriptors = files[file] {
        answer.fileDescriptorResponse.fileDescriptorProto = descriptors.map { .init($0) }
      } else {
        fail(.notFound, "there is no \(asked) here: ask with list_services what there is")
      }
    }
    func fail(_ code: RPCError.Code, _ message: String) {
      answer.errorResponse = .with { ($0.errorCode, $0.errorMessage) = (Int32(code.rawValue), message) }
    }
  }
}
