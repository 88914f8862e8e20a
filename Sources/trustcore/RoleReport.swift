import HSMProbe
import KeyHierarchy
import OperatorClient
import Wire

/// Which roles a probed token can serve.
struct RoleReport {
  let rows: [(role: String, missing: [String])]

  init(_ profile: HSMProfile) { rows = profile.roles.map { ($0.role.rawValue, $0.missing) } }

  init(rows: [(role: String, missing: [String])]) { self.rows = rows }

  /// A line per role and thing that is missing.
  var text: String {
    Wording.table(
      ["Role", "Serves", "Missing"],
      rows.flatMap { row in
        row.missing.isEmpty
          ? [[row.role, "yes", "-"]]
          : row.missing.enumerated().map { [$0 == 0 ? row.role : "", $0 == 0 ? "no" : "", $1] }
      })
  }

  var json: JSONObject {
    [
      "roles": .array(
        rows.map { row in
          [
            "role": .string(row.role), "serves": .bool(row.missing.isEmpty),
            "missing": .array(row.missing.map { .string($0) }),
          ]
        })
    ]
  }
}
