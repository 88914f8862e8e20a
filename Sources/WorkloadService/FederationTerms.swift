public import Wire
public import WorkloadIdentity

/// How the bundle of another trust domain is come by (SPIFFE Federation section 5).
public struct FederationTerms: Sendable, Equatable {
  /// How the endpoint proves itself.
  public enum Profile: Sendable, Equatable {
    /// By a certificate of the Web's public authorities.
    case web
    /// By an X.509-SVID of this identity, verified with the bundle that is at hand.
    case spiffe(SPIFFEID)
  }

  /// The trust domain.
  public let trustDomain: TrustDomain
  /// The endpoint's URL, `https` without user, query and fragment; nil where the bundle is only ever set by command.
  public let url: String?
  /// How the endpoint proves itself.
  public let profile: Profile

  /// Reads `{"trust_domain", "bundle_endpoint_url", "bundle_endpoint_profile", "endpoint_spiffe_id"}`; the last three
  /// stand together, and the last one with the profile `https_spiffe` alone.
  public init(reading reader: inout ObjectReader) throws {
    trustDomain = try TrustDomain(try reader.string("trust_domain", maximumBytes: TrustDomain.maximumBytes))
    url = try reader.optionalString("bundle_endpoint_url", maximumBytes: 2048)
    let profile = try reader.optionalString("bundle_endpoint_profile", maximumBytes: 16)
    let id = try reader.optionalString("endpoint_spiffe_id", maximumBytes: SPIFFEID.maximumBytes)
    switch (url, profile, id) {
    case (nil, nil, nil), (.some, "https_web", nil): self.profile = .web
    case (.some, "https_spiffe", let id?): self.profile = .spiffe(try SPIFFEID(id))
    default:
      throw Problem(
        422, "federation_terms",
        "Give bundle_endpoint_url with the bundle_endpoint_profile 'https_web', or with 'https_spiffe' and an "
          + "endpoint_spiffe_id; or none of them and a bundle.")
    }
    if let url {
      do throws(FederationError) { _ = try EndpointURL(url) } catch {
        throw Problem(
          422, error.code.description, error.message.prefix(1).uppercased() + error.message.dropFirst() + ".")
      }
    }
  }

  /// The terms as they are kept.
  public var json: JSONObject {
    var object: JSONObject = ["trust_domain": .string(trustDomain.name)]
    if let url {
      object["bundle_endpoint_url"] = .string(url)
      switch profile {
      case .web: object["bundle_endpoint_profile"] = "https_web"
      case .spiffe(let id):
        object["bundle_endpoint_profile"] = "https_spiffe"
        object["endpoint_spiffe_id"] = .string(id.description)
      }
    }
    return object
  }
}
