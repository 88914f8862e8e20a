"""Writes spiffe-id.json, jwt-svid.json and bundle.json. Needs `cryptography` 45 or later and nothing else.

The rules are written here a second time, from the standards and not from the Swift code. Keys are read back from
jwt-svid.json, so that a new run changes tokens of randomised algorithms (PS) alone.
"""

import base64
import datetime
import hashlib
import hmac
import json
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.x509.oid import NameOID

FOLDER = pathlib.Path(__file__).parent
NOW = 1_800_000_000
STANDARD = "spiffe/spiffe 665a28f3253ecdce59f26f3ef29c0d6408b37c3d standards/"


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def write(name, document):
    lines = []
    for member, value in document.items():
        if isinstance(value, list):
            rows = ",\n  ".join(json.dumps(row) for row in value)
            lines.append(f"{json.dumps(member)}: [\n  {rows}\n ]")
        else:
            lines.append(f"{json.dumps(member)}: {json.dumps(value)}")
    (FOLDER / name).write_text("{\n " + ",\n ".join(lines) + "\n}\n")


# SPIFFE-ID section 2

DOMAIN = "abcdefghijklmnopqrstuvwxyz0123456789.-_"
SEGMENT = DOMAIN + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def ids():
    # Section 2.1 wants the trust domain in lower case, 2.4 calls it and the scheme case-insensitive.
    def at(name, before, after, valid, section):
        either = "" if valid in (":", "/") or section == "2.2" else "".join(c.upper() for c in valid if c.isalpha())
        return dict(name=name, section=section, before=before, after=after, valid="".join(sorted(valid)), either=either)

    positions = [
        at("first of the scheme", "", "piffe://example.org/abc", "s", "2"),
        at("inside the scheme", "sp", "ffe://example.org/abc", "i", "2"),
        at("last of the scheme", "spiff", "://example.org/abc", "e", "2"),
        at("the scheme's colon", "spiffe", "//example.org/abc", ":", "2"),
        at("the first slash", "spiffe:", "/example.org/abc", "/", "2"),
        at("the second slash", "spiffe:/", "example.org/abc", "/", "2"),
        at("before the scheme", "", "spiffe://example.org/abc", "", "2"),
        at("first of the trust domain", "spiffe://", "xample.org/abc", DOMAIN, "2.1"),
        at("inside the trust domain", "spiffe://exa", "ple.org/abc", DOMAIN + "/", "2.1"),
        at("last of the trust domain", "spiffe://example.or", "/abc", DOMAIN, "2.1"),
        at("all of the trust domain", "spiffe://", "/abc", DOMAIN, "2.1"),
        at("last of an ID without path", "spiffe://example.or", "", DOMAIN, "2.1"),
        at("first of a segment", "spiffe://example.org/", "bc/def", SEGMENT, "2.2"),
        at("inside a segment", "spiffe://example.org/a", "c/def", SEGMENT + "/", "2.2"),
        at("last of a segment", "spiffe://example.org/ab", "/def", SEGMENT, "2.2"),
        at("all of a segment", "spiffe://example.org/", "/def", set(SEGMENT) - {"."}, "2.2"),
        at("first of the last segment", "spiffe://example.org/abc/", "ef", SEGMENT, "2.2"),
        at("inside the last segment", "spiffe://example.org/abc/d", "f", SEGMENT + "/", "2.2"),
        at("last of the ID", "spiffe://example.org/abc/de", "", SEGMENT, "2.2"),
        at("all of the last segment", "spiffe://example.org/abc/", "", set(SEGMENT) - {"."}, "2.2"),
        at("after a dot", "spiffe://example.org/abc/.", "", set(SEGMENT) - {"."}, "2.2"),
    ]
    cases = []

    def valid(name, domain, path, section="2.2"):
        text = "spiffe://" + domain + path
        cases.append(dict(name=name, section=section, id=text, result="valid", trust_domain=domain, path=path))

    def invalid(name, text, section="2.2"):
        verdict = dict(result="either", here="invalid") if "capital" in name else dict(result="invalid")
        cases.append(dict(name=name, section=section, id=text) | verdict)

    valid("a workload", "example.org", "/workload", "2")
    valid("a trust domain", "example.org", "", "2")
    valid("an IPv4 address is a name like others", "10.0.0.1", "/a", "2.1")
    valid("dots alone are a name", "...", "/a", "2.1")
    valid("a hyphen leads the name", "-a-", "/a", "2.1")
    valid("three dots are a segment", "example.org", "/...")
    valid("three dots inside", "example.org", "/.../a")
    valid("dots before letters", "example.org", "/..a/.b")
    valid("dots after letters", "example.org", "/a../b.")
    valid("the path keeps its case", "example.org", "/Case/CASE")
    valid("every character of a segment", "example.org", "/" + SEGMENT)
    valid("every character of a trust domain", DOMAIN, "")
    for name, text in [
        ("empty", ""), ("the scheme alone", "spiffe"), ("scheme and colon", "spiffe:"), ("one slash", "spiffe:/"),
        ("no trust domain", "spiffe://"), ("no trust domain but a path", "spiffe:///path"),
        ("no slashes", "spiffe:example.org/a"), ("no scheme", "example.org/a"), ("relative", "//example.org/a"),
        ("another scheme", "http://example.org/a"), ("a longer scheme", "spiffes://example.org/a"),
        ("scheme in capitals", "SPIFFE://example.org/a"), ("scheme with a capital", "Spiffe://example.org/a"),
    ]:
        invalid(name, text, "2")
    for name, text in [
        ("trust domain in capitals", "spiffe://EXAMPLE.ORG/a"), ("user", "spiffe://user@example.org/a"),
        ("user and password", "spiffe://user:pw@example.org/a"), ("empty user", "spiffe://@example.org/a"),
        ("port", "spiffe://example.org:8080/a"), ("empty port", "spiffe://example.org:/a"),
        ("IPv6 address", "spiffe://[::1]/a"), ("percent-encoded trust domain", "spiffe://ex%61mple.org/a"),
        ("punycode's source", "spiffe://ex\u00e4mple.org/a"),
    ]:
        invalid(name, text, "2.1")
    for name, text in [
        ("slash at the end", "spiffe://example.org/a/"), ("slash for a path", "spiffe://example.org/"),
        ("empty segment", "spiffe://example.org/a//b"), ("empty first segment", "spiffe://example.org//a"),
        ("dot", "spiffe://example.org/."), ("dot dot", "spiffe://example.org/.."),
        ("dot first", "spiffe://example.org/./a"), ("dot inside", "spiffe://example.org/a/./b"),
        ("dot last", "spiffe://example.org/a/."), ("dot dot first", "spiffe://example.org/../a"),
        ("dot dot inside", "spiffe://example.org/a/../b"), ("dot dot last", "spiffe://example.org/a/.."),
        ("percent-encoded letter", "spiffe://example.org/%61"), ("percent-encoded slash", "spiffe://example.org/a%2Fb"),
        ("percent-encoded dots", "spiffe://example.org/%2e%2e/a"), ("a bare percent", "spiffe://example.org/a%"),
    ]:
        invalid(name, text)
    for name, text in [
        ("query", "spiffe://example.org/a?b"), ("empty query", "spiffe://example.org/a?"),
        ("query on the trust domain", "spiffe://example.org?b"), ("fragment", "spiffe://example.org/a#b"),
        ("empty fragment", "spiffe://example.org/a#"), ("fragment on the trust domain", "spiffe://example.org#b"),
    ]:
        invalid(name, text, "2")
    # Characters that join the one before them into one grapheme, or equal an allowed one under Unicode's equivalences.
    for code, name in [
        (0x0301, "combining acute"), (0x0338, "combining solidus"), (0x200D, "zero-width joiner"),
        (0xFE0F, "variation selector"), (0x20E3, "combining keycap"), (0x200B, "zero-width space"),
        (0xFEFF, "byte-order mark"), (0x202E, "right-to-left override"), (0x212A, "Kelvin sign"),
        (0xFF41, "fullwidth a"), (0x0430, "Cyrillic a"), (0x2044, "fraction slash"), (0xFF0F, "fullwidth solidus"),
        (0x037E, "Greek question mark"), (0x1FEF, "Greek varia"), (0x0660, "Arabic zero"), (0x1D7CE, "bold zero"),
        (0x1F600, "emoji"),
    ]:
        for where, before, after in [
            ("after the scheme", "spiffe://", "example.org/abc"), ("after the first slash", "spiffe:/", "/example.org/abc"),
            ("after the colon", "spiffe:", "//example.org/abc"), ("after the trust domain", "spiffe://example.org", "/abc"),
            ("after the path's slash", "spiffe://example.org/", "abc"), ("in a segment", "spiffe://example.org/a", "c"),
            ("after an inner slash", "spiffe://example.org/a/", "c"), ("at the end", "spiffe://example.org/abc", ""),
        ]:
            invalid(f"{name} {where}", before + chr(code) + after, "2.2")
    invalid("CR LF at the end", "spiffe://example.org/a\r\n")
    invalid("LF at the end", "spiffe://example.org/a\n")
    invalid("NUL at the end", "spiffe://example.org/a\0")

    valid("trust domain of 255 bytes", "a" * 255, "/a", "2.3")
    invalid("trust domain of 256 bytes", "spiffe://" + "a" * 256 + "/a", "2.3")
    valid("255 bytes without a path", "a" * 255, "", "2.3")
    invalid("256 bytes without a path", "spiffe://" + "a" * 256, "2.3")
    valid("2048 bytes", "example.org", "/" + "a" * (2048 - 21), "2.3")
    valid("2048 bytes in many segments", "example.org", "/a" * 1014, "2.3")
    # "SHOULD NOT generate" is all that 2.3 says of longer IDs.
    cases.append(dict(name="2049 bytes", section="2.3", id="spiffe://example.org/" + "a" * (2049 - 21), result="either",
                      here="invalid"))
    for name, raw in [
        ("overlong slash", b"spiffe://example.org\xc0\xafabc"), ("overlong dot", b"spiffe://example.org/\xc0\xae"),
        ("overlong NUL", b"spiffe://example.org/a\xc0\x80"), ("surrogate", b"spiffe://example.org/\xed\xa0\x80"),
        ("beyond Unicode", b"spiffe://example.org/\xf4\x90\x80\x80"), ("cut off", b"spiffe://example.org/a\xe2\x82"),
        ("stray continuation", b"spiffe://example.org/\x80"), ("FF", b"spiffe://example.org/\xff"),
        ("FF in the trust domain", b"spiffe://ex\xffample.org/a"), ("UTF-16", "spiffe://example.org/a".encode("utf-16")),
    ]:
        cases.append(dict(name=name, section="2", base64=base64.b64encode(raw).decode(), result="invalid"))
    write("spiffe-id.json", dict(standard=STANDARD + "SPIFFE-ID.md", positions=positions, cases=cases))


# Keys

CURVES = {"P-256": (ec.SECP256R1(), 32), "P-384": (ec.SECP384R1(), 48), "P-521": (ec.SECP521R1(), 66)}
K256 = ec.SECP256K1()


def number(value, size=None):
    return b64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def to_jwk(key):
    if isinstance(key, rsa.RSAPrivateKey):
        n = key.private_numbers()
        public = n.public_numbers
        return dict(kty="RSA", n=number(public.n), e=number(public.e), d=number(n.d), p=number(n.p), q=number(n.q),
                    dp=number(n.dmp1), dq=number(n.dmq1), qi=number(n.iqmp))
    if isinstance(key, ed25519.Ed25519PrivateKey):
        raw = serialization.Encoding.Raw
        return dict(kty="OKP", crv="Ed25519", x=b64url(key.public_key().public_bytes(raw, serialization.PublicFormat.Raw)),
                    d=b64url(key.private_bytes(raw, serialization.PrivateFormat.Raw, serialization.NoEncryption())))
    name, size = {"secp256r1": ("P-256", 32), "secp384r1": ("P-384", 48), "secp521r1": ("P-521", 66),
                  "secp256k1": ("secp256k1", 32)}[key.curve.name]
    n = key.private_numbers()
    return dict(kty="EC", crv=name, x=number(n.public_numbers.x, size), y=number(n.public_numbers.y, size),
                d=number(n.private_value, size))


def from_jwk(jwk):
    value = {name: int.from_bytes(unb64url(jwk[name]), "big") for name in jwk if name not in ("kty", "crv")}
    if jwk["kty"] == "RSA":
        public = rsa.RSAPublicNumbers(value["e"], value["n"])
        return rsa.RSAPrivateNumbers(value["p"], value["q"], value["d"], value["dp"], value["dq"], value["qi"],
                                     public).private_key()
    if jwk["kty"] == "OKP":
        return ed25519.Ed25519PrivateKey.from_private_bytes(unb64url(jwk["d"]))
    return ec.derive_private_key(value["d"], K256 if jwk["crv"] == "secp256k1" else CURVES[jwk["crv"]][0])


def keys():
    made = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048), "rsa-weak": lambda: rsa.generate_private_key(65537, 1024),
        "p256": lambda: ec.generate_private_key(ec.SECP256R1()), "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "p521": lambda: ec.generate_private_key(ec.SECP521R1()), "other": lambda: ec.generate_private_key(ec.SECP256R1()),
        "k256": lambda: ec.generate_private_key(K256), "ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    try:
        kept = json.loads((FOLDER / "jwt-svid.json").read_text())["keys"]
    except FileNotFoundError:
        kept = {}
    return {name: from_jwk(kept[name]) if name in kept else make() for name, make in made.items()}


KEYS = keys()


def public(name, **more):
    return {k: v for k, v in to_jwk(KEYS[name]).items() if k in ("kty", "crv", "n", "e", "x", "y")} | more


# JWT-SVID

HASHES = {"256": hashes.SHA256, "384": hashes.SHA384, "512": hashes.SHA512}


def sign(algorithm, key, data):
    if algorithm == "none":
        return b""
    if algorithm.startswith("HS"):
        return hmac.new(key, data, hashlib.sha256).digest()
    if algorithm == "EdDSA":
        return key.sign(data)
    digest = HASHES[algorithm[2:5]]()
    if algorithm.startswith("RS"):
        return key.sign(data, padding.PKCS1v15(), digest)
    if algorithm.startswith("PS"):
        return key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(digest, deterministic_signing=True)))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def jwts():
    base = {"sub": "spiffe://example.org/workload", "aud": ["reports"], "exp": NOW + 300, "iat": NOW - 10}
    cases = []

    def token(claims=None, header=None, key="p256", algorithm=None, drop=(), raw_claims=None, raw_header=None):
        algorithm = algorithm or {"rsa": "RS256", "p384": "ES384", "p521": "ES512"}.get(key, "ES256")
        head = {"alg": algorithm, "kid": key, "typ": "JWT"} | (header or {})
        body = base | (claims or {})
        head = {k: v for k, v in head.items() if k not in drop}
        body = {k: v for k, v in body.items() if k not in drop}
        first = raw_header if raw_header is not None else json.dumps(head, separators=(",", ":")).encode()
        second = raw_claims if raw_claims is not None else json.dumps(body, separators=(",", ":")).encode()
        data = b64url(first) + "." + b64url(second)
        return data + "." + b64url(sign(algorithm, KEYS[key] if isinstance(key, str) else key, data.encode()))

    def case(result, section, name, text, **more):
        cases.append(dict(name=name, section=section, result=result, token=text) | more)

    def valid(section, name, text, **more):
        case("valid", section, name, text, **more)

    def invalid(section, name, text, **more):
        case("invalid", section, name, text, **more)

    def either(here, section, name, text, **more):
        case("either", section, name, text, here=here, **more)

    for bits, curve in [("256", "p256"), ("384", "p384"), ("512", "p521")]:
        valid("2.1", f"ES{bits}", token(key=curve, algorithm="ES" + bits))
        valid("2.1", f"RS{bits}", token(key="rsa", algorithm="RS" + bits))
        valid("2.1", f"PS{bits}", token(key="rsa", algorithm="PS" + bits))
    der = lambda name: KEYS[name].public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    pem = lambda name: KEYS[name].public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    invalid("2.1", "alg none with an empty signature", token(algorithm="none"))
    invalid("2.1", "alg none with the signature of ES256",
            token(header={"alg": "none"}, algorithm="ES256"))
    invalid("2.1", "alg None", token(header={"alg": "None"}, algorithm="none"))
    for name in ["p256", "rsa"]:
        invalid("2.1", f"HS256 with the public key's PEM, {name}", token(header={"kid": name}, key=pem(name), algorithm="HS256"))
        invalid("2.1", f"HS256 with the public key's DER, {name}", token(header={"kid": name}, key=der(name), algorithm="HS256"))
    invalid("2.1", "EdDSA with a key of the bundle", token(key="ed25519", algorithm="EdDSA"))
    invalid("2.1", "Ed25519 with a key of the bundle", token(key="ed25519", algorithm="EdDSA", header={"alg": "Ed25519"}))
    invalid("2.1", "ES256K", token(key="k256", algorithm="ES256", header={"alg": "ES256K"}))
    invalid("2.1", "ES256 by a key on secp256k1", token(key="k256", algorithm="ES256"))
    invalid("2.1", "alg in lower case", token(header={"alg": "es256"}))
    invalid("2.1", "alg missing", token(drop=("alg",)))
    invalid("2.1", "alg no text", token(header={"alg": 256}))
    invalid("2.1", "alg an array", token(header={"alg": ["ES256"]}))
    invalid("2.1", "alg empty", token(header={"alg": ""}))
    invalid("2.1", "RSA-OAEP", token(header={"alg": "RSA-OAEP"}))
    invalid("2.1", "alg of another curve", token(header={"alg": "ES384"}))
    invalid("2.1", "ES256 said of an RSA key", token(key="rsa", algorithm="RS256", header={"alg": "ES256"}))
    invalid("2.1", "RS256 said of a PS256 signature", token(key="rsa", algorithm="PS256", header={"alg": "RS256"}))
    invalid("2.1", "PS256 said of an RS256 signature", token(key="rsa", algorithm="RS256", header={"alg": "PS256"}))
    invalid("2.1", "RS256 said of an RS512 signature", token(key="rsa", algorithm="RS512", header={"alg": "RS256"}))

    either("invalid", "2.2", "kid missing", token(drop=("kid",)))
    invalid("2.2", "kid unknown", token(header={"kid": "nobody"}))
    either("invalid", "2.2", "kid empty", token(header={"kid": ""}))
    invalid("2.2", "kid no text", token(header={"kid": 1}))
    invalid("2.2", "kid null", token(header={"kid": None}))
    invalid("2.2", "kid of another key", token(header={"kid": "other"}))
    invalid("2.2", "kid in capitals", token(header={"kid": "P256"}))
    invalid("2.2", "kid with a space", token(header={"kid": "p256 "}))
    invalid("2.2", "kid with a NUL", token(header={"kid": "p256\0"}))
    invalid("2.2", "kid a path", token(header={"kid": "../p256"}))
    invalid("2.2", "kid of a canonical equivalent", token(key="p256", header={"kid": "cle\u0301"}))
    invalid("6.2", "kid of a key whose use is sig", token(key="other", header={"kid": "sig"}))
    invalid("6.2", "kid of a key of X.509-SVIDs", token(key="other", header={"kid": "x509"}))

    valid("2.3", "typ JOSE", token(header={"typ": "JOSE"}))
    valid("2.3", "typ missing", token(drop=("typ",)))
    for typ in ["at+jwt", "wit+jwt", "dpop+jwt", "JWS", "", "JWT ", "secevent+jwt"]:
        invalid("2.3", f"typ '{typ}'", token(header={"typ": typ}))
    for typ in ["jwt", "jose", "application/jwt", "Jwt"]:
        either("invalid", "2.3", f"typ '{typ}', equal to JWT or JOSE as RFC 7515 compares media types", token(header={"typ": typ}))
    invalid("2.3", "typ no text", token(header={"typ": 1}))
    invalid("2.3", "typ null", token(header={"typ": None}))

    jwk = public("other")
    invalid("2", "crit with an unknown extension", token(header={"crit": ["x"], "x": 1}))
    invalid("2", "crit empty", token(header={"crit": []}))
    invalid("2", "crit b64", token(header={"crit": ["b64"], "b64": False}))
    # Not to be there; the standard does not say that a validator refuses them.
    for name, value in [("jku", "https://example.net/jwks"), ("x5u", "https://example.net/cert"), ("x5t", "AAAA"),
                        ("cty", "JWT"), ("x5c", ["AAAA"]), ("zip", "DEF"), ("custom", True), ("jwk", jwk), ("b64", True)]:
        either("invalid", "2", f"header {name}, signed by the right key", token(header={name: value}))
    invalid("2", "jwk of the forger", token(header={"jwk": jwk}, key="other"))
    invalid("2", "jwk of the forger under the right kid",
            token(header={"jwk": jwk, "kid": "p256"}, key="other"))
    # RFC 7515 section 4 and RFC 7519 section 4: refused, or the last counts.
    either("invalid", "2", "duplicate alg", token(raw_header=b'{"alg":"none","alg":"ES256","kid":"p256"}'))
    either("invalid", "2", "duplicate kid", token(raw_header=b'{"alg":"ES256","kid":"other","kid":"p256"}'))
    invalid("2", "header no object", token(raw_header=b'["ES256"]'))
    invalid("2", "header no JSON", token(raw_header=b'alg=ES256'))
    invalid("2", "header empty", token(raw_header=b''))
    invalid("2", "header with text behind it", token(raw_header=b'{"alg":"ES256","kid":"p256"}x'))
    invalid("2", "header with a trailing comma", token(raw_header=b'{"alg":"ES256","kid":"p256",}'))
    invalid("2", "header in ill-formed UTF-8", token(raw_header=b'{"alg":"ES256","kid":"p256","typ":"JWT\xff"}'))

    for name, subject in [
        ("empty", ""), ("no URI", "workload"), ("another scheme", "https://example.org/workload"),
        ("trust domain in capitals", "spiffe://Example.org/workload"), ("slash at the end", "spiffe://example.org/workload/"),
        ("percent-encoding", "spiffe://example.org/work%6coad"), ("query", "spiffe://example.org/workload?a"),
        ("dot segments", "spiffe://example.org/../workload"), ("port", "spiffe://example.org:443/workload"),
        ("user", "spiffe://a@example.org/workload"), ("a joined slash", "spiffe://\u0301example.org/workload"),
        ("line end", "spiffe://example.org/workload\n"),
    ]:
        case("either" if "capitals" in name else "invalid", "3.1", f"sub: {name}", token({"sub": subject}),
             **({"here": "invalid"} if "capitals" in name else {}))
    either("invalid", "3.1", "sub without a path", token({"sub": "spiffe://example.org"}))
    either("invalid", "3.1", "sub of 2049 bytes", token({"sub": "spiffe://example.org/" + "a" * 2028}))
    valid("3.1", "sub of 2048 bytes", token({"sub": "spiffe://example.org/" + "a" * 2027}))
    invalid("3.1", "sub missing", token(drop=("sub",)))
    invalid("3.1", "sub no text", token({"sub": 7}))
    invalid("3.1", "sub null", token({"sub": None}))
    invalid("3.1", "sub an array", token({"sub": ["spiffe://example.org/workload"]}))
    either("invalid", "3.1", "duplicate sub", token(
        raw_claims=b'{"sub":"spiffe://example.org/workload","sub":"spiffe://example.org/admin","aud":["reports"],"exp":%d}'
        % (NOW + 300)))
    invalid("3.1", "an unknown trust domain", token({"sub": "spiffe://unknown.org/workload"}))
    valid("3.1", "a federated trust domain", token({"sub": "spiffe://example.net/workload"}, key="other"))
    invalid("3.1", "our key signs for a federated trust domain", token({"sub": "spiffe://example.net/workload"}))
    invalid("3.1", "a federated key signs for us", token(key="other"))
    invalid("3.1", "a federated key signs for us under our kid", token(key="other", header={"kid": "p256"}))
    invalid("3.1", "a trust domain whose bundle is empty", token({"sub": "spiffe://empty.org/workload"}))

    valid("3.2", "aud a text", token({"aud": "reports"}))
    valid("3.2", "aud of several", token({"aud": ["a", "reports", "b"]}))
    valid("3.2", "aud an ID", token({"aud": ["spiffe://example.org/reports"]}), audience="spiffe://example.org/reports")
    valid("3.2", "aud of 64", token({"aud": [f"a{i}" for i in range(63)] + ["reports"]}))
    either("invalid", "3.2", "aud of 65", token({"aud": [f"a{i}" for i in range(64)] + ["reports"]}))
    valid("3.2", "aud of 1024 bytes", token({"aud": "a" * 1024}), audience="a" * 1024)
    either("invalid", "3.2", "aud of 1025 bytes", token({"aud": "a" * 1025}), audience="a" * 1025)
    invalid("3.2", "aud missing", token(drop=("aud",)))
    for name, value in [("empty array", []), ("empty text", ""), ("null", None), ("a number", 1), ("true", True),
                        ("an object", {"reports": True}), ("an array with null alone", [None]), ("an array in an array", [["reports"]])]:
        invalid("3.2", f"aud: {name}", token({"aud": value}))
    either("invalid", "3.2", "aud with a number beside it", token({"aud": ["reports", 1]}))
    either("invalid", "3.2", "aud with an empty text beside it", token({"aud": ["reports", ""]}))
    for name, value in [("another", "other"), ("longer", "reports2"), ("a prefix", "report"), ("capitals", "Reports"),
                        ("a space behind", "reports "), ("a wildcard", "*"), ("joined by a comma", "a,reports"),
                        ("joined by a space", "a reports"), ("a NUL behind", "reports\0")]:
        invalid("3.2", f"aud: {name}", token({"aud": [value]}))
    invalid("3.2", "aud of a canonical equivalent", token({"aud": ["cafe\u0301"]}), audience="caf\u00e9")
    either("invalid", "3.2", "duplicate aud", token(
        raw_claims=b'{"sub":"spiffe://example.org/workload","aud":"other","aud":"reports","exp":%d}' % (NOW + 300)))

    invalid("3.3", "exp missing", token(drop=("exp",)))
    for name, value in [("a text", str(NOW + 300)), ("null", None), ("true", True), ("an array", [NOW + 300]), ("negative", -1),
                        ("zero", 0), ("an hour ago", NOW - 3600), ("milliseconds' text", f"{NOW}000")]:
        invalid("3.3", f"exp: {name}", token({"exp": value}))
    either("valid", "3.3", "exp four seconds ago", token({"exp": NOW - 4}))
    either("invalid", "3.3", "exp five seconds ago", token({"exp": NOW - 5}))
    valid("3.3", "exp in a second", token({"exp": NOW + 1}))
    valid("3.3", "exp in a year", token({"exp": NOW + 31_536_000}))
    either("invalid", "3.3", "exp with a fraction", token({"exp": NOW + 300.5}))
    either("invalid", "3.3", "exp beyond the year 9999", token({"exp": 253_402_300_800}))
    valid("3.3", "exp in the year 9999", token({"exp": 253_402_300_799}))
    either("invalid", "3.3", "exp with an exponent", token(
        raw_claims=b'{"sub":"spiffe://example.org/workload","aud":"reports","exp":1.8000003e9}'))
    invalid("3.3", "exp infinite", token(
        raw_claims=b'{"sub":"spiffe://example.org/workload","aud":"reports","exp":1e999}'))
    invalid("3", "nbf in an hour", token({"nbf": NOW + 3600}))
    valid("3", "nbf now", token({"nbf": NOW}))
    invalid("3", "nbf a text", token({"nbf": "soon"}))
    either("invalid", "3", "iat in an hour", token({"iat": NOW + 3600}))
    valid("3", "iat missing", token(drop=("iat",)))
    valid("3", "iss, jti and private claims", token({"iss": "https://example.org", "jti": "a", "x": {"y": [1, None]}}))
    either("invalid", "3", "jti no text", token({"jti": 1}))
    invalid("3", "claims no object", token(raw_claims=b'["a"]'))
    invalid("3", "claims no JSON", token(raw_claims=b'claims'))
    invalid("3", "claims empty", token(raw_claims=b''))
    invalid("3", "claims in ill-formed UTF-8", token(
        raw_claims=b'{"sub":"spiffe://example.org/workload","aud":"reports","exp":%d,"x":"\xff"}' % (NOW + 300)))

    good = token()
    head, body, signature = good.split(".")
    raw = unb64url(signature)
    evil = b64url(json.dumps(base | {"sub": "spiffe://example.org/admin"}).encode())
    for name, text in [
        ("another payload under the signature", f"{head}.{evil}.{signature}"),
        ("another header under the signature",
         b64url(b'{"alg":"ES256","kid":"p256"}') + f".{body}.{signature}"),
        ("no signature", f"{head}.{body}."), ("two parts", f"{head}.{body}"), ("one part", head), ("empty", ""),
        ("dots alone", ".."), ("four parts", good + ".AA"), ("five parts", good + ".AA.AA"),
        ("first bit flipped", f"{head}.{body}." + b64url(bytes([raw[0] ^ 128]) + raw[1:])),
        ("last bit flipped", f"{head}.{body}." + b64url(raw[:-1] + bytes([raw[-1] ^ 1]))),
        ("a byte short", f"{head}.{body}." + b64url(raw[:-1])), ("a byte long", f"{head}.{body}." + b64url(raw + b"\0")),
        ("all zero", f"{head}.{body}." + b64url(bytes(64))), ("r and s exchanged", f"{head}.{body}." + b64url(raw[32:] + raw[:32])),
        ("in DER", f"{head}.{body}." + b64url(utils.encode_dss_signature(
            int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")))),
        ("JWS JSON serialisation", json.dumps(dict(protected=head, payload=body, signature=signature))),
    ]:
        invalid("5.1" if "parts" in name or "JSON" in name else "4", f"signature or form: {name}", text)
    low = raw[:32] + (0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551 - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    either("valid", "4", "signature or form: s negated, which ECDSA allows", f"{head}.{body}." + b64url(low))
    for name, text in [("padding", f"{head}.{body}.{signature}=="), ("a line end behind", good + "\n"), ("a space before", " " + good),
                       ("a line end inside", f"{head}.\n{body}.{signature}"), ("bits left over", good[:-1] + chr(ord(good[-1]) + 1)),
                       ("the alphabet of base64", f"{head}.{body}." + base64.b64encode(raw[:63] + b"\xff").decode().rstrip("="))]:
        invalid("5.1", f"encoding: {name}", text)
    invalid("5.1", "Bearer before it", "Bearer " + good)
    for size, result in [(16384, "valid"), (16385, "invalid")]:
        either(result, "5.1", f"{size} bytes", fit(token, size))
    bundles = {
        "example.org": {"keys": [public(k, kid=k, use="jwt-svid") for k in ("rsa", "p256", "p384", "p521", "k256", "ed25519")]
                        + [public("p256", kid="cl\u00e9", use="jwt-svid"), public("other", kid="sig", use="sig"),
                           public("other", kid="x509", use="x509-svid")]},
        "example.net": {"keys": [public("other", kid="other", use="jwt-svid")]},
        "empty.org": {"keys": []},
    }
    names = [c["name"] for c in cases]
    assert len(names) == len(set(names)), [n for n in names if names.count(n) > 1]
    write("jwt-svid.json", dict(standard=STANDARD + "JWT-SVID.md", now=NOW, audience="reports",
                                keys={name: to_jwk(key) for name, key in KEYS.items()}, bundles=bundles, cases=cases))


def fit(token, size):
    """A token of exactly that many bytes. Base64url has no length of 4n+1, so the kid's key is varied."""
    for key in ("p256", "p384", "p521"):
        for extra in ({}, {"typ": "JOSE"}, {"typ": "JWT"}):
            pad = 10000
            for _ in range(12):
                text = token({"pad": "x" * pad}, header=extra, key=key)
                if len(text) == size:
                    return text
                pad += max(1, (size - len(text)) * 3 // 4) if len(text) < size else -1
    raise ValueError(size)


# Bundles

def certificate(key, **more):
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, more.get("name", "example.org"))])
    start = datetime.datetime(2026, 1, 1)
    builder = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEYS[key].public_key())
        .serial_number(more.get("serial", 1)).not_valid_before(start).not_valid_after(start.replace(year=2036))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier("spiffe://example.org")]), critical=False))
    signer = KEYS[key]
    options = {} if isinstance(signer, (rsa.RSAPrivateKey, ed25519.Ed25519PrivateKey)) else dict(ecdsa_deterministic=True)
    digest = None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(signer, digest, **options).public_bytes(serialization.Encoding.DER)


def bundles():
    cases = []
    b64 = lambda data: base64.b64encode(data).decode()
    certificates = {key: certificate(key) for key in ("rsa", "rsa-weak", "p256", "p384", "p521", "k256", "ed25519")}
    root = lambda key="p256", **more: public(key, use="x509-svid", x5c=[b64(certificates[key])]) | more
    signer = lambda key="p256", **more: public(key, use="jwt-svid", kid=key) | more
    without = lambda jwk, *names: {k: v for k, v in jwk.items() if k not in names}

    def case(result, section, name, document, x509=None, jwt=None, **more):
        text = document if isinstance(document, str) else json.dumps(document, separators=(",", ":"))
        row = dict(name=name, section=section, result=result, bundle=text)
        if result == "valid" or more.get("here") == "valid":
            row |= dict(x509=[b64(certificates[k]) for k in x509 or []], jwt=jwt or [])
        cases.append(row | more)

    def valid(section, name, document, x509=None, jwt=None, **more):
        case("valid", section, name, document, x509, jwt, **more)

    def invalid(section, name, document):
        case("invalid", section, name, document)

    def either(here, section, name, document, x509=None, jwt=None, **more):
        case("either", section, name, document, x509, jwt, here=here, **more)

    valid("4.1", "one root and one key", {"keys": [root(), signer()], "spiffe_sequence": 1, "spiffe_refresh_hint": 300},
          ["p256"], ["p256"], sequence="1", refresh_hint=300)
    for key in ("rsa", "p256", "p384", "p521"):
        valid("4.2.1", f"root and key: {key}", {"keys": [root(key), signer(key)]}, [key], [key])
    valid("4.1.3", "no keys: all is revoked", {"keys": []})
    invalid("4.1.3", "keys missing", {"spiffe_sequence": 1})
    invalid("4.1.3", "an empty object", {})
    for name, value in [("null", None), ("an object", {}), ("a text", ""), ("a number", 1)]:
        invalid("4.1.3", f"keys: {name}", {"keys": value})
    for name, text in [("empty", ""), ("an array", "[]"), ("cut off", '{"keys":['), ("text behind", '{"keys":[]}x'),
                       ("trailing comma", '{"keys":[],}'), ("byte-order mark", '\ufeff{"keys":[]}')]:
        invalid("4.1", f"document: {name}", text)
    either("invalid", "6.3", "duplicate keys", '{"keys":[],"keys":[]}')
    invalid("4.1.3", "a key that is no object", {"keys": ["a"]})
    invalid("4.1.3", "a key that is null", {"keys": [None]})
    valid("4.1", "unknown members", {"keys": [root(extra=1)], "extra": {"a": [1]}}, ["p256"])

    for name, document in [("unknown", signer(use="wit-svid")), ("sig", signer(use="sig")), ("missing", without(signer(), "use")),
                           ("in capitals", signer(use="JWT-SVID")), ("null", signer(use=None)), ("no text", signer(use=1))]:
        valid("4.2.2", f"use {name} is passed over", {"keys": [document, root()]}, ["p256"])
    valid("4.2.2", "a malformed key of an unknown use is passed over", {"keys": [{"use": "other", "kty": 5}]})
    valid("4.2.1", "unknown kty is passed over", {"keys": [{"kty": "AKP", "use": "jwt-svid", "kid": "a"}, signer()]}, [], ["p256"])
    valid("4.2.1", "unknown kty in capitals is passed over", {"keys": [signer(kty="ec"), root()]}, ["p256"])
    either("valid", "4.2.1", "an unknown curve is passed over", {"keys": [signer("k256"), signer()]}, [], ["p256"])
    either("valid", "4.2.1", "a root on an unknown curve is passed over", {"keys": [root("k256"), root()]}, ["p256"])
    either("valid", "4.2.1", "RSA of 1024 bits is passed over", {"keys": [root("rsa-weak"), signer("rsa-weak"), root()]}, ["p256"])
    either("valid", "4.2.1", "Ed25519 for JWT-SVIDs is passed over", {"keys": [signer("ed25519"), signer()]}, [], ["p256"])
    either("valid", "4.2.1", "an Ed25519 root", {"keys": [root("ed25519")]}, ["ed25519"])
    either("invalid", "4.2.1", "kty missing", {"keys": [without(signer(), "kty")]})
    either("invalid", "4.2.1", "kty no text", {"keys": [signer(kty=1)]})
    either("invalid", "4.2.1", "a symmetric key", {"keys": [dict(kty="oct", k="AAAA", use="jwt-svid", kid="a")]})
    either("invalid", "4.2", "a private key", {"keys": [to_jwk(KEYS["p256"]) | dict(use="jwt-svid", kid="p256")]})
    either("invalid", "4.2", "a private RSA key", {"keys": [to_jwk(KEYS["rsa"]) | dict(use="jwt-svid", kid="rsa")]})

    invalid("JWT-SVID 6.1", "kid missing", {"keys": [without(signer(), "kid")]})
    invalid("JWT-SVID 6.1", "kid empty", {"keys": [signer(kid="")]})
    invalid("JWT-SVID 6.1", "kid null", {"keys": [signer(kid=None)]})
    invalid("JWT-SVID 6.1", "kid no text", {"keys": [signer(kid=1)]})
    either("invalid", "JWT-SVID 6.1", "kid twice", {"keys": [signer("p256", kid="a"), signer("p384", kid="a")]})
    valid("JWT-SVID 6.1", "kids that differ in case", {"keys": [signer("p256", kid="a"), signer("p384", kid="A")]}, [], ["a", "A"])
    valid("JWT-SVID 6.1", "kids that are canonical equivalents",
          {"keys": [signer("p256", kid="\u00e9"), signer("p384", kid="e\u0301")]}, [], ["\u00e9", "e\u0301"])
    valid("JWT-SVID 6.1", "alg", {"keys": [signer(alg="ES256")]}, [], ["p256"])
    either("valid", "JWT-SVID 6.1", "alg that does not fit is passed over", {"keys": [signer(alg="ES384")]})
    y = public("p256")["y"]
    off = public("p256") | dict(y=y[:-2] + ("AA" if y[-2:] != "AA" else "EA"))
    for name, jwk in [("x missing", without(signer(), "x")), ("x with padding", signer(x=signer()["x"] + "=")),
                      ("x too short", signer(x="AAAA")), ("x no text", signer(x=1)), ("y not on the curve", signer(y=off["y"])),
                      ("crv missing", without(signer(), "crv")), ("n empty", signer("rsa", n="")),
                      ("n with a zero before it", signer("rsa", n=b64url(b"\0" + unb64url(public("rsa")["n"])))),
                      ("e missing", without(signer("rsa"), "e"))]:
        either("invalid", "4.2", f"key: {name}", {"keys": [jwk]})

    valid("X509-SVID 6.1", "a root with kid", {"keys": [root(kid="a")]}, ["p256"])
    valid("X509-SVID 6.1", "two roots with one kid", {"keys": [root(kid="a"), root("p384", kid="a")]}, ["p256", "p384"])
    valid("X509-SVID 6.2", "x5c missing: passed over", {"keys": [without(root(), "x5c"), root("p384")]}, ["p384"])
    valid("X509-SVID 6.2", "x5c empty: passed over", {"keys": [root(x5c=[]), root("p384")]}, ["p384"])
    valid("X509-SVID 6.2", "of two x5c the first counts", {"keys": [root(x5c=[b64(certificates["p256"]), b64(certificates["p384"])])]}, ["p256"])
    valid("X509-SVID 6.2", "one root twice is one", {"keys": [root(), root()]}, ["p256"])
    der = certificates["p256"]
    for name, value in [("a text", b64(der)), ("null", None), ("an array of null", [None]), ("no base64", ["!"]), ("an empty text", [""]),
                        ("base64url", [b64(der).replace("+", "-").replace("/", "_") + "_-"]), ("without padding", [b64(der + b"\0")[:-1]]),
                        ("no certificate", [b64(b"certificate")]), ("a byte behind", [b64(der + b"\0")]), ("cut off", [b64(der[:-1])]),
                        ("PEM", ["-----BEGIN CERTIFICATE-----\n" + b64(der) + "\n-----END CERTIFICATE-----"]),
                        ("a public key", [b64(KEYS["p256"].public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo))])]:
        invalid("X509-SVID 6.1", f"x5c: {name}", {"keys": [root(x5c=value)]})
    either("invalid", "X509-SVID 6.1", "x5c with a line end", {"keys": [root(x5c=[b64(der)[:64] + "\n" + b64(der)[64:]])]})
    invalid("RFC 7517 4.7", "the certificate of another key", {"keys": [root(x5c=[b64(certificate("other"))])]})
    invalid("RFC 7517 4.7", "the certificate of another kind of key", {"keys": [root(x5c=[b64(certificates["rsa"])])]})
    invalid("RFC 7517 4.7", "an RSA key under a certificate of EC", {"keys": [root("rsa", x5c=[b64(der)])]})

    for text, result in [("0", "valid"), ("1", "valid"), ("9007199254740991", "valid"), ("9007199254740993", "valid"),
                         ("18446744073709551615", "either"), ("9223372036854775807", "valid")]:
        case(result, "4.1.1", f"sequence {text}", '{"keys":[],"spiffe_sequence":%s}' % text, sequence=text,
             **({"here": "valid"} if result == "either" else {}))
    valid("4.1.1", "the sequence's name as a value before it",
          '{"a":"spiffe_sequence","b":{"spiffe_sequence":2},"keys":[],"spiffe_sequence" : 9007199254740995 }',
          sequence="9007199254740995")
    for name, text in [("negative", "-1"), ("a text", '"1"'), ("a fraction", "1.5"), ("null", "null"), ("true", "true")]:
        case("either" if text in ("-1", "null") else "invalid", "4.1.1", f"sequence: {name}",
             '{"keys":[],"spiffe_sequence":%s}' % text, **({"here": "invalid"} if text in ("-1", "null") else {}))
    for text in ["1.0", "1e3", "18446744073709551616"]:
        either("invalid", "4.1.1", f"sequence {text}", '{"keys":[],"spiffe_sequence":%s}' % text)
    valid("4.1.2", "hint 0", '{"keys":[],"spiffe_refresh_hint":0}', refresh_hint=0)
    valid("4.1.2", "hint of the standard's example", '{"keys":[],"spiffe_refresh_hint":2419200}', refresh_hint=2419200)
    for name, text in [("a text", '"300"'), ("a fraction", "0.5"), ("true", "true")]:
        invalid("4.1.2", f"hint: {name}", '{"keys":[],"spiffe_refresh_hint":%s}' % text)
    for name, text in [("negative", "-1"), ("null", "null")]:
        either("invalid", "4.1.2", f"hint: {name}", '{"keys":[],"spiffe_refresh_hint":%s}' % text)
    names = [c["name"] for c in cases]
    assert len(names) == len(set(names)), [n for n in names if names.count(n) > 1]
    write("bundle.json", dict(standard=STANDARD + "SPIFFE_Trust_Domain_and_Bundle.md", trust_domain="example.org", cases=cases))


ids()
jwts()
bundles()
