import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
public import Wire
public import WorkloadIdentity

/// Fetches bundles from the endpoints of other trust domains (SPIFFE Federation sections 5.2.1.4 and 5.2.2.4).
///
/// Redirects are followed with both profiles, as the sections recommend, and never remembered: each next endpoint proves
/// itself by the same terms. A general HTTP client cannot verify X.509-SVIDs, so both profiles go through this one.
public struct BundleEndpointClient: Sendable {
  private let webAuthorities: [[UInt8]]?
  private let deadline: TimeAmount

  /// At most so many redirects are followed.
  static let maximumRedirects = 3

  /// Makes a client.
  /// - Parameter webAuthorities: the roots for `https_web`, each DER; nil for those that the system trusts.
  public init(webAuthorities: [[UInt8]]? = nil) { self.init(webAuthorities: webAuthorities, deadline: .seconds(10)) }

  /// - Parameter deadline: for everything, redirects included.
  init(webAuthorities: [[UInt8]]?, deadline: TimeAmount) {
    self.webAuthorities = webAuthorities
    self.deadline = deadline
  }

  /// Fetches the document that an endpoint has for its trust domain. It is not read here: nothing says yet that it is a
  /// bundle.
  /// - Parameters:
  ///   - endpoint: the bundle at hand of the trust domain of the endpoint's own identity, with the profile
  ///     `https_spiffe`; it need not be the trust domain whose bundle is fetched (section 5.2.2.2).
  ///   - now: the moment at which the endpoint's X.509-SVID must be valid. Certificates of `https_web` are held to the
  ///     system's clock, by BoringSSL.
  /// - Returns: at most ``WorkloadIdentity/SPIFFEBundle/maximumBytes`` bytes.
  public func fetch(
    _ terms: FederationTerms, endpoint bundle: SPIFFEBundle?, now: Timestamp
  ) async throws(FederationError) -> [UInt8] {
    guard let text = terms.url else {
      throw FederationError(.url, "'\(terms.trustDomain)' has no bundle endpoint: set its bundle by command")
    }
    var url = try EndpointURL(text)
    let identity = try Identity(terms, bundle, now)
    let context = try context(checkingNames: identity == nil)
    let end = NIODeadline.now() + deadline
    for _ in 0...Self.maximumRedirects {
      switch try await ask(url, identity, context, until: end) {
      case .document(let bytes): return bytes
      case .redirect(let location): url = try url.following(location)
      }
    }
    throw FederationError(
      .redirect, "the endpoint redirects more than \(Self.maximumRedirects) times: ask who runs it for the right URL")
  }

  private func context(checkingNames: Bool) throws(FederationError) -> NIOSSLContext {
    var tls = TLSConfiguration.makeClientConfiguration()
    tls.minimumTLSVersion = .tlsv12
    tls.applicationProtocols = ["http/1.1"]
    tls.shutdownTimeout = .milliseconds(500)
    // An X.509-SVID proves an identity and no name (section 5.2.2); how it is verified instead stands in `Identity`.
    tls.certificateVerification = checkingNames ? .fullVerification : .noHostnameVerification
    do {
      if !checkingNames {
        tls.trustRoots = .certificates([])
      } else if let webAuthorities {
        tls.trustRoots = .certificates(try webAuthorities.map { try NIOSSLCertificate(bytes: $0, format: .der) })
      }
      return try NIOSSLContext(configuration: tls)
    } catch {
      throw FederationError(.tls, "the Web's authorities cannot be read: install ca-certificates (\(error))")
    }
  }

  /// Asks one endpoint. Whatever comes first settles it: the answer, a failure, the deadline, or cancellation.
  private func ask(
    _ url: EndpointURL, _ identity: Identity?, _ tls: NIOSSLContext, until end: NIODeadline
  ) async throws(FederationError) -> BundleRequest.Answer {
    let loop = MultiThreadedEventLoopGroup.singleton.next()
    let answer = loop.makePromise(of: BundleRequest.Answer.self)
    let connecting = ClientBootstrap(group: loop)
      .connectTimeout(max(end - .now(), .milliseconds(1)))
      .channelInitializer { channel in
        channel.eventLoop.makeCompletedFuture {
          let handler =
            if let identity {
              try NIOSSLClientHandler(
                context: tls, serverHostname: url.serverName,
                customVerificationCallback: { chain, verdict in
                  identity.check(chain, of: url, verdict, failing: answer)
                })
            } else {
              try NIOSSLClientHandler(context: tls, serverHostname: url.serverName)
            }
          let pipeline = channel.pipeline.syncOperations
          try pipeline.addHandler(handler)
          // Chunks may take as much again as what is in them.
          try pipeline.addHandler(WireLimit(url, maximumBytes: 2 * SPIFFEBundle.maximumBytes))
          try pipeline.addHTTPClientHandlers(decoderLimitConfiguration: BundleRequest.headerLimits)
          try pipeline.addHandler(BundleRequest(url, maximumBytes: SPIFFEBundle.maximumBytes, answer: answer))
        }
      }
      .connect(host: url.host, port: url.port)
    let timer = loop.scheduleTask(deadline: end) {
      answer.fail(FederationError(.timeout, "'\(url.authority)' takes too long: try again, or ask who runs it"))
    }
    connecting.whenFailure { error in
      answer.fail(
        FederationError(.connection, "'\(url.authority)' cannot be reached: check the URL and the network (\(error))"))
    }
    answer.futureResult.whenComplete { _ in
      timer.cancel()
      connecting.whenSuccess { $0.close(promise: nil) }
    }
    do {
      return try await withTaskCancellationHandler {
        try await answer.futureResult.get()
      } onCancel: {
        answer.fail(FederationError(.overtaken, "the bundle is not fetched any more: the daemon stops"))
      }
    } catch let error as FederationError {
      throw error
    } catch {
      throw FederationError(.connection, "'\(url.authority)' cannot be asked: check the URL and the network (\(error))")
    }
  }
}

/// The identity that an endpoint has to prove with the profile `https_spiffe`, and what it is verified with.
private struct Identity: Sendable {
  let id: SPIFFEID
  let bundle: SPIFFEBundle
  let now: Timestamp

  /// Nil for `https_web`.
  init?(_ terms: FederationTerms, _ bundle: SPIFFEBundle?, _ now: Timestamp) throws(FederationError) {
    guard case .spiffe(let id) = terms.profile else { return nil }
    guard let bundle, bundle.trustDomain == id.trustDomain else {
      throw FederationError(
        .untrusted,
        "there is no bundle of '\(id.trustDomain)' to verify the endpoint with: federate with it, or set it by command")
    }
    (self.id, self.bundle, self.now) = (id, bundle, now)
  }

  /// Takes BoringSSL's place: nothing but this says whether the chain is good.
  func check(
    _ chain: [NIOSSLCertificate], of url: EndpointURL, _ verdict: EventLoopPromise<NIOSSLVerificationResult>,
    failing answer: EventLoopPromise<BundleRequest.Answer>
  ) {
    Task {
      do {
        let svid = try await UnverifiedX509SVID(chain: try chain.map { try $0.toDERBytes() })
          .verified(bundle: { $0 == id.trustDomain ? bundle.x509Authorities : nil }, now: now)
        guard svid.id == id else { throw SPIFFEError(.x509SVID, "it is '\(svid.id)'") }
        verdict.succeed(.certificateVerified)
      } catch {
        let reason = (error as? SPIFFEError).map {
          $0.code == .untrusted ? "it is of another trust domain" : $0.message
        }
        answer.fail(
          FederationError(
            .identity,
            "'\(url.authority)' has not proved to be '\(id)': \(reason ?? "its certificates cannot be read"); "
              + "check the endpoint's SPIFFE ID, or set the bundle of '\(id.trustDomain)' anew"))
        verdict.succeed(.failed)
      }
    }
  }
}
