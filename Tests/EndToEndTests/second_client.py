"""A second client of the daemon, by other people's libraries: enrols an agent, gets a DPoP-bound token, signs a
transfer by RFC 9421, and verifies the receipt with note and Merkle code of its own.

    second_client.py <ready.json>

Exit code 0 and a line `ok: ...` for each step, or a traceback. It shares no code with the daemon on purpose.
"""

import base64
import datetime
import hashlib
import json
import secrets
import sys
import time

import requests
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms
from joserfc import jwt
from joserfc.jwk import ECKey


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# -- The log: C2SP signed note, checkpoint and tlog-proof; RFC 9162 section 2.1.3 ------------------------------------


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def open_note(note, vkeys):
    """The text of a note that at least one known key has signed."""
    text, signatures = note.rsplit("\n\n", 1)
    text += "\n"
    known = {}
    for vkey in vkeys:
        name, key_id, material = vkey.split("+", 2)
        material = base64.b64decode(material)
        assert material[0] == 1 and sha256(name.encode(), b"\n", material)[:4].hex() == key_id
        known[name, key_id] = Ed25519PublicKey.from_public_bytes(material[1:])
    verified = 0
    for line in signatures.splitlines():
        dash, name, blob = line.split(" ")
        assert dash == "\u2014"
        blob = base64.b64decode(blob)
        key = known.get((name, blob[:4].hex()))
        if key is not None:
            key.verify(blob[4:], text.encode())
            verified += 1
    assert verified > 0, "no known key has signed the note"
    return text


def checkpoint(note, vkeys, origin):
    first, size, root = open_note(note, vkeys).splitlines()[:3]
    assert first == origin
    return int(size), base64.b64decode(root)


def included(leaf, index, size, path):
    """The root that an inclusion proof leads to."""
    assert 0 <= index < size
    node, last, path = sha256(b"\0", leaf), size - 1, list(path)
    while last > 0:
        if index % 2 == 1 or index == last:
            node = sha256(b"\1", path.pop(0), node)
            while index % 2 == 0 and index:
                index, last = index // 2, last // 2
        else:
            node = sha256(b"\1", node, path.pop(0))
        index, last = index // 2, last // 2
    assert not path, "hashes are left over"
    return node


def check_proof(leaf, proof, vkeys, origin):
    head, note = proof.split("\n\n", 1)
    lines = head.split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("index ")
    index = int(lines[1][len("index "):])
    size, root = checkpoint(note, vkeys, origin)
    assert included(leaf, index, size, [base64.b64decode(line) for line in lines[2:]]) == root
    return index, size


# -- The client -------------------------------------------------------------------------------------------------------


class Party:
    def __init__(self, api, session, key, client_id=None):
        self.api, self.session, self.key, self.id = api, session, key, client_id
        self.access_token = None

    @property
    def public(self):
        return {name: value for name, value in self.key.as_dict(private=False).items() if name in ("kty", "crv", "x", "y")}

    def proof(self, method, url):
        claims = {"jti": secrets.token_urlsafe(16), "htm": method, "htu": url, "iat": int(time.time())}
        if self.access_token:
            claims["ath"] = b64url(sha256(self.access_token.encode()))
        return jwt.encode({"alg": "ES256", "typ": "dpop+jwt", "jwk": self.public}, claims, self.key)

    def token(self):
        now = int(time.time())
        claims = {
            "iss": self.id, "sub": self.id, "aud": self.api, "iat": now, "exp": now + 60,
            "jti": secrets.token_urlsafe(16),
        }
        answer = self.session.post(
            self.api + "/oauth/token", headers={"DPoP": self.proof("POST", self.api + "/oauth/token")},
            data={
                "grant_type": "client_credentials",
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": jwt.encode({"alg": "ES256"}, claims, self.key),
            })
        if answer.ok:
            self.access_token = answer.json()["access_token"]
        return answer

    def get(self, path):
        url = self.api + path
        return self.session.get(
            url, headers={"Authorization": "DPoP " + self.access_token, "DPoP": self.proof("GET", url)})

    def post(self, path, body, idempotency_key=None):
        content = json.dumps(body).encode()
        request = requests.Request(
            "POST", self.api + path, data=content,
            headers={
                "Content-Type": "application/json", "Authorization": "DPoP " + self.access_token,
                "Idempotency-Key": '"%s"' % (idempotency_key or secrets.token_urlsafe(16)),
                "Content-Digest": "sha-256=:%s:" % base64.b64encode(sha256(content)).decode(),
            }).prepare()
        key = self.key

        class Resolver(HTTPSignatureKeyResolver):
            def resolve_private_key(self, key_id):
                return key.private_key

        HTTPMessageSigner(signature_algorithm=algorithms.ECDSA_P256_SHA256, key_resolver=Resolver()).sign(
            request, key_id=key.thumbprint(), nonce=secrets.token_urlsafe(16), tag="trustcore", include_alg=False,
            created=datetime.datetime.now(), expires=datetime.datetime.now() + datetime.timedelta(seconds=60),
            covered_component_ids=(
                "@method", "@target-uri", "content-digest", "content-type", "idempotency-key", "authorization"))
        return self.session.send(request)


def load(api, session, path, client_id):
    with open(path) as file:
        jwk = json.load(file)
    jwk.pop("kid", None)
    return Party(api, session, ECKey.import_key(jwk), client_id)


def ok(step, condition, answer=None):
    assert condition, "%s: %s" % (step, answer is not None and (answer.status_code, answer.text))
    print("ok:", step)


def main(ready_file):
    with open(ready_file) as file:
        ready = json.load(file)
    api, vkeys = ready["api"], ready["log_keys"]
    session = requests.Session()
    # REQUESTS_CA_BUNDLE may be set, and would win over `verify`.
    session.trust_env = False
    session.verify = ready["ca"]

    metadata = session.get(api + "/.well-known/oauth-authorization-server").json()
    ok("metadata names its issuer", metadata["issuer"] == api)

    key = ECKey.import_key(generate_private_key(SECP256R1()))
    agent = Party(api, session, key)
    with open(ready["registration_token_file"]) as file:
        registration_token = file.read().strip()
    enrolled = session.post(
        metadata["registration_endpoint"], headers={"Authorization": "Bearer " + registration_token},
        json={"client_name": "second client", "jwks": {"keys": [agent.public]}, "token_endpoint_auth_method": "private_key_jwt",
              "grant_types": ["client_credentials"]})
    ok("enrolled, pending", enrolled.status_code == 201 and enrolled.json()["status"] == "pending", enrolled)
    ok("thumbprints agree", enrolled.json()["thumbprint"] == key.thumbprint())
    agent.id = enrolled.json()["client_id"]
    answer = agent.token()
    ok("pending agents get no token", answer.status_code == 400 and answer.json()["code"] == "agent_pending", answer)

    owner = load(api, session, ready["owner_key_file"], ready["owner_id"])
    officer = load(api, session, ready["officer_key_file"], ready["officer_id"])
    for person in (owner, officer):
        answer = person.token()
        ok("a person's token", answer.status_code == 200, answer)
    answer = owner.post("/v1/agents/%s/approve" % agent.id, {"thumbprint": key.thumbprint()})
    ok("approved by its owner", answer.status_code == 200, answer)
    answer = agent.token()
    ok("token", answer.status_code == 200 and answer.json()["token_type"] == "DPoP", answer)
    keys = session.get(metadata["jwks_uri"]).json()["keys"]
    header, claims = jwt.decode(agent.access_token, ECKey.import_key(keys[0])).header, None
    claims = jwt.decode(agent.access_token, ECKey.import_key(keys[0])).claims
    ok("the token verifies", header["typ"] == "at+jwt" and claims["iss"] == api and claims["cnf"]["jkt"] == key.thumbprint())

    def account(party, body):
        answer = party.post("/v1/ledger/accounts", body)
        ok("account", answer.status_code == 201, answer)
        return answer.json()["result"]["account"]["id"]

    def entries(source, target, amount):
        return {"entries": [
            {"account": source, "side": "debit", "amount": amount, "currency": "USD"},
            {"account": target, "side": "credit", "amount": amount, "currency": "USD"}]}

    bank = account(officer, {"currency": "USD", "kind": "external"})
    mine, yours = account(owner, {"currency": "USD"}), account(owner, {"currency": "USD"})
    answer = officer.post("/v1/ledger/transfers", entries(bank, mine, "100.00"))
    ok("funded", answer.status_code == 201, answer)

    # With blanks and another order than any canonical form has: what counts is what was signed.
    once = secrets.token_urlsafe(16)
    answer = agent.post("/v1/ledger/transfers", entries(mine, yours, "12.34"), once)
    ok("signed transfer", answer.status_code == 201, answer)
    again = agent.post("/v1/ledger/transfers", entries(mine, yours, "12.34"), once)
    ok("the same key, the same answer", again.content == answer.content, again)
    ok("posted once", agent.get("/v1/ledger/accounts/" + yours).json()["balance"] == "12.34")

    receipt = answer.json()["receipt"]
    leaf, origin = unb64url(receipt["leaf"]), ready["trust_domain"] + "/log"
    index, size = check_proof(leaf, receipt["proof"], vkeys, origin)
    ok("the receipt's proof verifies", index == answer.json()["leaf_index"] and index < size)
    try:
        check_proof(leaf[:-1] + bytes([leaf[-1] ^ 1]), receipt["proof"], vkeys, origin)
        forged = True
    except AssertionError:
        forged = False
    ok("another leaf's does not", not forged)

    # The leaf commits to the evidence, which holds the body as it was sent (docs/leaf-format.md, sections 3 and 4).
    answer = agent.get("/v1/receipts/" + answer.json()["command_id"])
    ok("receipt with its evidence", answer.status_code == 200, answer)
    sealed = answer.json()["seal"]["sealed"]
    content = unb64url(sealed["content"])
    commitment = sha256(b"trustcore/content/v1\0", unb64url(sealed["salt"]), content)
    ok("the leaf commits to the evidence", commitment in leaf and unb64url(sealed["leaf"]) == leaf)
    ok("the evidence holds the body", json.dumps(entries(mine, yours, "12.34")).encode() in content)
    outcome = answer.json()["outcome"]
    check_proof(unb64url(outcome["leaf"]), outcome["proof"], vkeys, origin)
    check_proof(unb64url(answer.json()["seal"]["enrolment"]["leaf"]), answer.json()["seal"]["enrolment"]["proof"], vkeys, origin)
    ok("outcome and enrolment are on the log", True)

    size, _ = checkpoint(session.get(api + "/log/checkpoint").text, vkeys, origin)
    ok("the log goes on", size > index)
    answer = session.get(api + "/v1/ledger/accounts", headers={"Authorization": "Bearer " + agent.access_token})
    ok("a bound token is no bearer token", answer.status_code == 401, answer)


if __name__ == "__main__":
    main(sys.argv[1])
