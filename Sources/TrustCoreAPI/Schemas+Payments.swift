import Wire

extension Schemas {
  private static let seconds: JSONValue = ["type": "integer", "minimum": 1, "description": "Seconds."]
  private static let digest: JSONValue = [
    "type": "string", "pattern": "^[A-Za-z0-9_-]{43}$", "description": "32 bytes in base64url.",
  ]
  private static let name: JSONValue = ["type": "string", "minLength": 1, "maxLength": 140]
  private static let credential: JSONValue = [
    "type": "object", "required": ["id", "rawId", "type", "response"],
    "description": "What the browser's PublicKeyCredential.toJSON() writes (WebAuthn Level 3 section 5.1).",
  ]
  private static let options: JSONValue = [
    "type": "object", "required": ["challenge"], "description": "Options in the JSON form of WebAuthn Level 3.",
  ]

  /// Who may do what: invitations, groups, policies, credentials and sessions.
  static let people: [(String, JSONValue)] = [
    (
      "Invitation",
      object(
        [
          "digest": digest, "group": account, "expires_in": seconds,
          "person": [
            "oneOf": [
              object(["kind": choice("approver"), "name": name], closed: true),
              object(["kind": choice("owner"), "id": account, "name": name], closed: true),
            ]
          ],
        ], required: ["digest", "person", "expires_in"], closed: true)
    ),
    ("GroupMaking", object(["name": name], closed: true)),
    ("MemberRemoval", object(["person": account], closed: true)),
    ("PersonRevocation", object(["reason": memo], required: [], closed: true)),
    (
      "PolicyPublication",
      object(
        [
          "policy": object(
            [
              "version": ["type": "integer", "minimum": 1],
              "rules": [
                "type": "array", "maxItems": 256,
                "items": object(
                  ["id": account, "condition": object(["kind": text]), "action": object(["kind": text])], closed: true),
              ],
            ], closed: true)
        ], closed: true)
    ),
    ("Enrolment", object(["approval": credential, "sign_in": credential], required: ["approval"], closed: true)),
    ("EnrolmentOptions", object(["person": text, "name": text, "approval": options, "sign_in": options])),
    (
      "EnrolmentResult",
      object(["person": text, "leaf_index": integer, "credentials": array(of: ["type": "object"])])
    ),
    ("AssertionOptions", options), ("AuthenticationResponse", credential),
    ("Session", object(["person": text, "expires_in": integer])),
  ]

  private static let limits = object(
    [
      "single": amount, "daily": amount, "hourly": ["type": "integer", "minimum": 1, "maximum": 100_000],
      "zone": ["type": "string", "description": "IANA name of the zone whose midnights part the days."],
    ], closed: true)
  private static let cosign = object(
    [
      "above": amount(from: 0), "approvals": ["type": "integer", "minimum": 1, "maximum": 16], "group": account,
    ], closed: true)
  private static let counterparty = object(
    ["id": account, "name": name, "ach": reference("ACHAccount"), "book": account], required: ["id", "name"],
    closed: true)
  private static let rails: JSONValue = [
    "type": "array", "items": choice("ach", "book"), "minItems": 1, "maxItems": 2,
  ]
  private static let file = object([
    "file": integer, "created_at": text, "entries": integer, "modifier": text, "leaf_index": integer, "sha256": text,
  ])
  private static let given = object([
    "approver": text, "decision": choice("approve", "decline"), "command_id": text, "leaf_index": integer,
  ])

  /// Consents, payments, approvals and the rail.
  static let money: [(String, JSONValue)] = [
    (
      "ACHAccount",
      object(
        [
          "routing_number": ["type": "string", "pattern": "^[0-9]{9}$"],
          "account_number": ["type": "string", "minLength": 1, "maxLength": 17],
          "account_type": choice("checking", "savings"), "class": choice("ccd", "ppd"),
          "receiver_name": ["type": "string", "minLength": 1, "maxLength": 22],
        ], closed: true)
    ),
    (
      "ConsentDraft",
      object(
        [
          "consent": ["type": "string", "description": "The consent to amend; left out for a new one."],
          "agent": account, "account": account, "currency": currency, "rails": rails,
          "counterparties": ["type": "array", "minItems": 1, "maxItems": 256, "items": counterparty],
          "limits": limits, "cosign": cosign, "expires_in": seconds,
        ], required: ["rails", "counterparties", "limits", "expires_in"], closed: true)
    ),
    ("DraftedConsent", object(["consent": ["type": "object"], "digest": digest, "options": options])),
    (
      "SignedConsent",
      object(
        [
          "consent": ["type": "object", "description": "As the draft returned it."], "assertion": credential,
        ], closed: true)
    ),
    ("ConsentRevocation", object(["reason": memo], required: [], closed: true)),
    (
      "Consent",
      object([
        "consent": ["type": "object"], "digest": digest, "status": choice("active", "revoked"), "leaf_index": integer,
      ])
    ),
    ("Consents", object(["consents": array(of: reference("Consent"))])),
    (
      "PaymentAuthorization",
      object(
        [
          "consent": account, "counterparty": account, "rail": choice("ach", "book"), "amount": amount,
          "currency": currency, "reference": ["type": "string", "minLength": 1, "maxLength": 80],
          "expires_in": [
            "type": "integer", "minimum": 1, "maximum": 604_800,
            "description": "For how many seconds it waits for approvals, if it must; a day unless stated.",
          ],
        ], required: ["consent", "counterparty", "rail", "amount", "currency"], closed: true)
    ),
    (
      "Payment",
      object(
        [
          "payment": text, "state": text, "amount": text, "currency": text, "rail": text, "counterparty": text,
          "consent": text, "consent_version": integer, "policy": ["type": "object"], "expires_at": text,
          "approvals_given": integer, "approvals_needed": integer, "leaf_index": integer,
          "approvals": array(of: given), "posted_leaf_index": integer, "ended_by": text, "return_code": text,
          "trace_number": text, "file": file,
        ],
        required: [
          "payment", "state", "amount", "currency", "rail", "counterparty", "consent", "consent_version", "policy",
          "leaf_index", "approvals",
        ])
    ),
    (
      "Approval",
      object(
        [
          "payment": text, "state": text, "headline": text, "statement": text, "statement_digest": digest,
          "expires_at": text, "approvals_given": integer, "approvals_needed": integer,
          "mine": choice("approve", "decline"), "obstacle": text,
        ],
        required: [
          "payment", "state", "headline", "statement", "statement_digest", "expires_at", "approvals_given",
          "approvals_needed",
        ])
    ),
    ("Approvals", object(["approvals": array(of: reference("Approval"))])),
    ("ApprovalQuestion", object(["decision": choice("approve", "decline")], closed: true)),
    (
      "ApprovalChallenge",
      object(["approval": ["type": "object"], "statement": text, "options": options])
    ),
    (
      "ApprovalDecision",
      object(
        ["approval": ["type": "object", "description": "As the challenge returned it."], "assertion": credential],
        closed: true)
    ),
    (
      "ACHConfiguration",
      object(
        [
          "originator": object(
            [
              "immediate_destination": text, "immediate_origin": text, "destination_name": text, "origin_name": text,
              "company_name": text, "company_identification": text, "odfi": text, "entry_description": text,
            ], closed: true),
          "settlement_account": account,
          "bank": ["type": "object", "description": "The bank's public key as a JWK, P-256 or Ed25519."],
        ], closed: true)
    ),
    (
      "ACHAnswer",
      [
        "oneOf": [
          object(
            [
              "accepted_file": ["type": "integer", "minimum": 1],
              "trace_numbers": [
                "type": "array", "maxItems": 10_000, "items": ["type": "string", "pattern": "^[0-9]{15}$"],
              ],
            ], required: ["accepted_file"], closed: true),
          object(
            ["returns": ["type": "string", "maxLength": 400_000, "description": "A NACHA file of returns."]],
            closed: true),
        ]
      ]
    ),
    ("ACHFiles", object(["files": array(of: file)])),
    (
      "Reference",
      object(["role": text, "leaf_index": integer])
    ),
  ]
}
