"""Writes x509-svid.json and x509-lint.json beside itself. Needs `cryptography` (.ci/python-tools).

Certificates are put together byte by byte, so that each can break what a library would refuse to write. Keys come from
fixed numbers and ECDSA is deterministic (RFC 6979): the same run gives the same files.

x509-svid.json: {"now", "bundles": {trust domain: [root]}, "cases": [{"name", "chain", "now"?, "crls"?, "id" | "reason"}]}
  `id` is the SPIFFE ID of a good chain; `reason` is what a bad one is refused for, a rule of x509-lint.json or one of
  der, length, validity, repeated, path, crl, revoked, untrusted. Without "now" the file's counts.
x509-lint.json: {"cases": [{"name", "role": "leaf" | "authority", "certificate", "rules": [rule] | null}]}
  `rules` are all that the certificate breaks; null is for what cannot be read at all.
Certificates and lists are DER in base64, moments are seconds since 1970.
"""

import base64
import datetime
import hashlib
import json
import pathlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = 1_800_000_000
HOUR = 3600
YEAR = 365 * 24 * HOUR


def tlv(tag, *parts):
    body = b"".join(parts)
    if len(body) < 0x80:
        return bytes([tag, len(body)]) + body
    size = (len(body).bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + len(body).to_bytes(size, "big") + body


def seq(*parts):
    return tlv(0x30, *parts)


def integer(value):
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def oid(text):
    first, second, *rest = map(int, text.split("."))
    out = bytes([first * 40 + second])
    for number in rest:
        digits = [number & 0x7F]
        while number := number >> 7:
            digits.insert(0, number & 0x7F | 0x80)
        out += bytes(digits)
    return tlv(0x06, out)


def moment(seconds, general=None):
    when = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    if general or general is None and when.year >= 2050:
        return tlv(0x18, when.strftime("%Y%m%d%H%M%SZ").encode())
    return tlv(0x17, when.strftime("%y%m%d%H%M%SZ").encode())


def name(common):
    return seq(tlv(0x31, seq(oid("2.5.4.3"), tlv(0x0C, common.encode())))) if common else seq()


ECDSA_SHA256 = seq(oid("1.2.840.10045.4.3.2"))
ECDSA_SHA384 = seq(oid("1.2.840.10045.4.3.3"))
RSA_SHA1 = seq(oid("1.2.840.113549.1.1.5"), b"\x05\x00")
RSA_SHA256 = seq(oid("1.2.840.113549.1.1.11"), b"\x05\x00")


class Key:
    def __init__(self, number):
        self.private = ec.derive_private_key(number, ec.SECP256R1())
        self.spki = self.private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.id = hashlib.sha256(self.spki).digest()[:20]

    def sign(self, message):
        return self.private.sign(message, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


def ext(number, value, critical=False):
    identifier = number if isinstance(number, bytes) else oid(f"2.5.29.{number}")
    return seq(identifier, b"\x01\x01\xff" if critical else b"", tlv(0x04, value))


def san(*names, critical=True):
    return ext(17, seq(*(tlv(tag, text.encode()) for tag, text in names)), critical)


def uri(text):
    return (0x86, text)


def dns(text):
    return (0x82, text)


def usage(*bits, critical=True):
    mask = sum(0x80 >> bit for bit in bits)
    spare = 7 - max(bits)
    return ext(15, tlv(0x03, bytes([spare, mask])), critical)


SIGNS, AGREES, ENCIPHERS, CERTIFIES, LISTS = 0, 4, 2, 5, 6
SERVER, CLIENT, CODE, ANY = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2", "1.3.6.1.5.5.7.3.3", "2.5.29.37.0"


def eku(*usages, critical=False):
    return ext(37, seq(*map(oid, usages)), critical)


def constraints(ca, length=None, critical=True):
    return ext(19, seq(b"\x01\x01\xff" if ca else b"", integer(length) if length is not None else b""), critical)


def ski(key, critical=False):
    return ext(14, tlv(0x04, key.id), critical)


def aki(key):
    return ext(35, seq(tlv(0x80, key.id)))


def name_constraints(permitted=(), excluded=()):
    def trees(tag, hosts):
        return tlv(tag, *(seq(tlv(0x86, host.encode())) for host in hosts)) if hosts else b""
    return ext(30, seq(trees(0xA0, permitted), trees(0xA1, excluded)), critical=True)


def certificate(key, issuer, extensions, *, subject="", issuer_name, version=2, serial=None, inner=ECDSA_SHA256,
                outer=None, begins=NOW - HOUR, ends=NOW + HOUR, general=None, spki=None, signature=None):
    """One certificate of `key`, signed by the key `issuer`; `extensions` maps a name to DER or None."""
    if serial is None:
        serial = b"\x41" + hashlib.sha256(key.spki + subject.encode()).digest()[:15]
    parts = [e for e in extensions.values() if e is not None]
    tbs = seq(
        tlv(0xA0, integer(version)) if version else b"", tlv(0x02, serial), inner, name(issuer_name),
        seq(moment(begins, general), moment(ends, general)), name(subject), spki or key.spki,
        tlv(0xA3, seq(*parts)) if parts else b"")
    return seq(tbs, outer or inner, tlv(0x03, b"\0", signature or issuer.sign(tbs)))


def rsa(bits, exponent):
    """A key's form alone: nobody has the factors, if it has any."""
    return seq(seq(oid("1.2.840.113549.1.1.1"), b"\x05\x00"),
               tlv(0x03, b"\0", seq(integer((1 << bits - 1) + 0x10001), integer(exponent))))


ROOT, ISSUING, LEAF, OTHER_ROOT, OTHER, SECOND = (Key(n) for n in (1001, 1002, 1003, 1004, 1005, 1006))
TD = "example.org"
ID = f"spiffe://{TD}/app/web"


def authority(key=ISSUING, issuer=ROOT, *, subject="issuing", issuer_name="root", length=0, extensions={}, domain=TD,
              **more):
    base = {
        "ski": ski(key), "aki": aki(issuer) if issuer is not key else None, "constraints": constraints(True, length),
        "usage": usage(CERTIFIES, LISTS), "san": san(uri(f"spiffe://{domain}"), critical=False),
    }
    more = {"begins": NOW - YEAR, "ends": NOW + YEAR} | more
    return certificate(key, issuer, base | extensions, subject=subject, issuer_name=issuer_name, **more)


def leaf(key=LEAF, issuer=ISSUING, *, id=ID, issuer_name="issuing", extensions={}, **more):
    base = {
        "ski": ski(key), "aki": aki(issuer), "usage": usage(SIGNS), "constraints": constraints(False),
        "eku": eku(SERVER, CLIENT), "san": san(uri(id)),
    }
    return certificate(key, issuer, base | extensions, issuer_name=issuer_name, **more)


def crl(serials, key=ISSUING, issuer_name="issuing", *, begins=NOW - HOUR, ends=NOW + HOUR, version=1, extra=b"",
        signer=None, identify=True):
    tbs = seq(
        integer(version), ECDSA_SHA256, name(issuer_name), moment(begins), moment(ends),
        seq(*(seq(tlv(0x02, s), moment(begins)) for s in serials)) if serials else b"",
        tlv(0xA0, seq(aki(key) if identify else b"", ext(20, integer(1)), extra)))
    return seq(tbs, ECDSA_SHA256, tlv(0x03, b"\0", (signer or key).sign(tbs)))


root = authority(ROOT, ROOT, subject="root", length=1)
issuing = authority()
good = leaf()
serial = b"\x41" + hashlib.sha256(LEAF.spki).digest()[:15]
other_root = authority(OTHER_ROOT, OTHER_ROOT, subject="other root", issuer_name="other root", length=1, domain="other.test")


def flip(der, at):
    return der[:at] + bytes([der[at] ^ 1]) + der[at + 1:]


# A leaf's mutations, which x509-lint.json names by rule; a chain with such a leaf is refused for the first rule of a
# standard among them.
UNKNOWN = oid("1.3.6.1.4.1.55555.1")
leaves = [
    ("a leaf of the profile", good, []),
    ("with DNS names", leaf(extensions={"san": san(uri(ID), dns("web.example.org"), dns("*.web.example.org"))}), []),
    ("version 2", leaf(version=1), ["version"]),
    ("serial number zero", leaf(serial=b"\0"), ["serial", "serial-drawn"]),
    ("serial number of 161 bits", leaf(serial=b"\x01" + b"\x41" * 20), ["serial"]),
    ("serial number of 160 bits", leaf(serial=b"\0" + b"\x81" * 20), []),
    ("serial number of 8 bytes", leaf(serial=b"\x41" * 8), ["serial-drawn"]),
    ("signed algorithm is another", leaf(inner=ECDSA_SHA384, outer=ECDSA_SHA256), ["algorithms-equal"]),
    ("SHA-1", leaf(inner=RSA_SHA1, signature=b"\x11" * 256), ["algorithm-strong", "algorithm-ours"]),
    ("signed with RSA", leaf(inner=RSA_SHA256, signature=b"\x11" * 256), ["algorithm-ours"]),
    ("key of RSA", leaf(spki=rsa(2048, 65537)), []),
    ("key of RSA with exponent 3", leaf(spki=rsa(2048, 3)), ["key-strong"]),
    ("key of RSA with 8192 bits", leaf(spki=rsa(8192, 65537)), []),
    ("ends before it begins", leaf(begins=NOW + 60, ends=NOW - 60), ["validity-order"]),
    ("GeneralizedTime before 2050", leaf(general=True), ["validity-form"]),
    ("issuer without a name", leaf(issuer_name=""), ["issuer-named"]),
    ("unknown critical extension", leaf(extensions={"x": ext(UNKNOWN, b"\x05\x00", True)}),
     ["critical-understood", "leaf-extensions"]),
    ("unknown extension", leaf(extensions={"x": ext(UNKNOWN, b"\x05\x00")}), ["leaf-extensions"]),
    ("two URIs", leaf(extensions={"san": san(uri(ID), uri(ID + "2"))}), ["uri-one"]),
    ("one URI twice", leaf(extensions={"san": san(uri(ID), uri(ID))}), ["uri-one"]),
    ("a second URI of another scheme", leaf(extensions={"san": san(uri(ID), uri("https://example.org/"))}),
     ["uri-one", "spiffe-id"]),
    ("no URI", leaf(extensions={"san": san(dns("web.example.org"))}), ["uri-one"]),
    ("no SAN", leaf(extensions={"san": None}), ["uri-one", "san-critical"]),
    ("another scheme", leaf(id="https://example.org/app"), ["spiffe-id"]),
    ("scheme in capitals", leaf(id="SPIFFE://example.org/app"), ["spiffe-id"]),
    ("trust domain in capitals", leaf(id="spiffe://Example.org/app"), ["spiffe-id"]),
    ("percent-encoding", leaf(id="spiffe://example.org/a%2Fb"), ["spiffe-id"]),
    ("query", leaf(id="spiffe://example.org/app?a=b"), ["spiffe-id"]),
    ("port", leaf(id="spiffe://example.org:8443/app"), ["spiffe-id"]),
    ("dot segment", leaf(id="spiffe://example.org/a/../b"), ["spiffe-id"]),
    ("slash at the end", leaf(id="spiffe://example.org/app/"), ["spiffe-id"]),
    ("2049 bytes", leaf(id="spiffe://example.org/" + "a" * (2049 - 21)), ["spiffe-id"]),
    ("2048 bytes", leaf(id="spiffe://example.org/" + "a" * (2048 - 21)), []),
    ("no path", leaf(id="spiffe://example.org"), ["leaf-path"]),
    ("SAN not critical", leaf(extensions={"san": san(uri(ID), critical=False)}), ["san-critical"]),
    ("an authority", leaf(extensions={"constraints": constraints(True)}), ["leaf-ca"]),
    ("no key usage", leaf(extensions={"usage": None}), ["key-usage", "leaf-usage"]),
    ("key usage not critical", leaf(extensions={"usage": usage(SIGNS, critical=False)}), ["key-usage"]),
    ("no digitalSignature", leaf(extensions={"usage": usage(AGREES)}), ["leaf-signs", "leaf-usage"]),
    ("keyCertSign", leaf(extensions={"usage": usage(SIGNS, CERTIFIES)}), ["leaf-certifies", "leaf-usage"]),
    ("cRLSign", leaf(extensions={"usage": usage(SIGNS, LISTS)}), ["leaf-certifies", "leaf-usage"]),
    ("keyEncipherment", leaf(extensions={"usage": usage(SIGNS, ENCIPHERS)}), ["leaf-usage"]),
    ("serverAuth alone", leaf(extensions={"eku": eku(SERVER)}), ["leaf-eku", "leaf-eku-there"]),
    ("clientAuth alone", leaf(extensions={"eku": eku(CLIENT)}), ["leaf-eku", "leaf-eku-there"]),
    ("any usage instead", leaf(extensions={"eku": eku(ANY)}), ["leaf-eku", "leaf-eku-there"]),
    ("a third usage", leaf(extensions={"eku": eku(SERVER, CLIENT, CODE)}), ["leaf-eku-there"]),
    ("no extended key usage", leaf(extensions={"eku": None}), ["leaf-eku-there"]),
    ("extended key usage critical", leaf(extensions={"eku": eku(SERVER, CLIENT, critical=True)}), []),
    ("a subject", leaf(subject="web"), ["leaf-subject"]),
    ("a subject and a SAN that is not critical", leaf(subject="web", extensions={"san": san(uri(ID), critical=False)}),
     ["leaf-subject"]),
    ("an e-mail address", leaf(extensions={"san": san(uri(ID), (0x81, "web@example.org"))}), ["leaf-names"]),
    ("a DNS name in capitals", leaf(extensions={"san": san(uri(ID), dns("Web.example.org"))}), ["leaf-names"]),
    ("no basic constraints", leaf(extensions={"constraints": None}), ["leaf-constraints"]),
    ("basic constraints not critical", leaf(extensions={"constraints": constraints(False, critical=False)}),
     ["leaf-constraints"]),
    ("no subject key identifier", leaf(extensions={"ski": None}), ["key-identifier"]),
    ("subject key identifier critical", leaf(extensions={"ski": ski(LEAF, True)}),
     ["critical-understood", "key-identifier"]),
    ("no authority key identifier", leaf(extensions={"aki": None}), ["issuer-identifier"]),
]
authorities = [
    ("the root", root, []),
    ("the issuing authority", issuing, []),
    ("authority of version 2", authority(version=1), ["version"]),
    ("authority without a name", authority(subject=""), ["subject-named", "san-critical"]),
    ("authority with two URIs", authority(extensions={"san": san(uri("spiffe://a"), uri("spiffe://b"), critical=False)}),
     ["uri-one", "authority-id"]),
    ("authority of another scheme", authority(extensions={"san": san(uri("https://example.org"), critical=False)}),
     ["spiffe-id", "authority-id"]),
    ("authority with a path", authority(extensions={"san": san(uri(ID), critical=False)}), ["authority-path"]),
    ("authority without a SAN", authority(extensions={"san": None}), ["authority-id"]),
    ("authority that is none", authority(extensions={"constraints": constraints(False)}),
     ["authority-ca", "authority-length"]),
    ("authority without constraints", authority(extensions={"constraints": None}), ["authority-ca", "authority-length"]),
    ("authority's constraints not critical", authority(extensions={"constraints": constraints(True, 0, False)}),
     ["authority-ca"]),
    ("authority without a length", authority(length=None), ["authority-length"]),
    ("authority of length 2", authority(length=2), ["authority-length"]),
    ("authority without key usage", authority(extensions={"usage": None}), ["key-usage", "authority-usage"]),
    ("authority's key usage not critical", authority(extensions={"usage": usage(CERTIFIES, LISTS, critical=False)}),
     ["key-usage"]),
    ("authority without keyCertSign", authority(extensions={"usage": usage(LISTS)}),
     ["authority-certifies", "authority-usage"]),
    ("authority with digitalSignature", authority(extensions={"usage": usage(SIGNS, CERTIFIES, LISTS)}),
     ["authority-usage"]),
    ("authority for code", authority(extensions={"eku": eku(CODE)}), ["authority-eku", "authority-extensions"]),
    ("authority for anything", authority(extensions={"eku": eku(ANY)}), ["authority-extensions"]),
    ("authority with an unknown critical extension", authority(extensions={"x": ext(UNKNOWN, b"\x05\x00", True)}),
     ["critical-understood", "authority-extensions"]),
    ("authority without a key identifier", authority(extensions={"ski": None}), ["key-identifier"]),
    ("authority without its issuer's identifier", authority(extensions={"aki": None}), ["issuer-identifier"]),
]
unreadable = [
    ("byte after the end", good + b"\0"),
    ("byte missing at the end", good[:-1]),
    ("no bytes", b""),
    ("negative serial number", leaf(serial=b"\x81" * 16)),
    ("an extension twice", leaf(extensions={"x": san(uri(ID))})),
    ("critical FALSE written out", leaf(extensions={"x": seq(UNKNOWN, b"\x01\x01\x00", tlv(0x04, b"\x05\x00"))})),
    ("key usage is no BIT STRING", leaf(extensions={"usage": ext(15, b"\x05\x00", True)})),
    ("SAN is an empty value", leaf(extensions={"san": ext(17, b"", True)})),
    ("constraints with a byte after", leaf(extensions={"constraints": ext(19, b"\x30\x00\x00", True)})),
    ("key off its curve", leaf(spki=flip(LEAF.spki, 90))),
    ("key of RSA with 2040 bits", leaf(spki=rsa(2040, 65537))),
    ("more than 64 KiB", leaf(extensions={"x": ext(UNKNOWN, b"\0" * 65536)})),
]
PROFILE = {
    "serial-drawn", "algorithm-ours", "leaf-subject", "leaf-names", "authority-id", "leaf-constraints", "authority-length",
    "leaf-usage", "authority-usage", "leaf-eku-there", "key-identifier", "issuer-identifier", "leaf-extensions",
    "authority-extensions",
}
cases = []


def case(label, chain, id=None, reason=None, **more):
    cases.append({"name": label, "chain": chain} | ({"id": id} if id else {"reason": reason}) | more)


def standard(rules):
    return next((rule for rule in rules if rule not in PROFILE), None)


for label, der, rules in leaves:
    first = standard(rules)
    if first:
        case(label, [der, issuing], reason=first)
    elif label == "signed with RSA" or label == "issuer without a name":
        case(label, [der, issuing], reason="path")
    else:
        case(label, [der, issuing], id="spiffe://example.org/" + "a" * 2027 if label == "2048 bytes" else ID)
for label, der, rules in authorities[1:]:
    first = standard(rules)
    case(label + " issues", [good, der], **({"reason": first} if first else {"id": ID}))
for label, der in unreadable[:-1]:
    case("leaf with " + label, [der, issuing], reason="der")
case("issuer with a byte after the end", [good, issuing + b"\0"], reason="der")

case("root sent too", [good, issuing, root], id=ID)
case("no certificate", [], reason="length")
case("nine certificates", [good, issuing] + [root] * 7, reason="length")
case("issuing authority not sent", [good], reason="path")
case("leaf of another trust domain under our root", [leaf(id="spiffe://other.test/app"), issuing], reason="path")
case("trust domain without a bundle", [leaf(id="spiffe://nowhere.test/app"), issuing], reason="untrusted")
case("bundle without roots", [leaf(id="spiffe://empty.test/app"), issuing], reason="path")
case("root of another trust domain", [leaf(), authority(issuer=OTHER_ROOT, issuer_name="other root")], reason="path")
case("issuer twice", [good, issuing, issuing], reason="repeated")
case("signature of the leaf changed", [flip(good, len(good) - 1), issuing], reason="path")
case("identity changed after signing", [good.replace(b"/app/web", b"/app/wed"), issuing], reason="path")
case("signature of the issuer changed", [good, flip(issuing, len(issuing) - 1)], reason="path")
case("leaf signed by another key of the issuer's name", [leaf(issuer=SECOND), issuing], reason="path")
case("last second", [leaf(ends=NOW), issuing], id=ID)
case("a second after", [leaf(ends=NOW - 1), issuing], reason="validity")
case("first second", [leaf(begins=NOW), issuing], id=ID)
case("a second before", [leaf(begins=NOW + 1), issuing], reason="validity")
case("issuer has ended", [good, authority(ends=NOW - 1)], reason="validity")
case("root has ended", [good, issuing], reason="validity", now=NOW + 2 * YEAR)
old = authority(OTHER, OTHER, subject="old", issuer_name="old", domain="old.test", ends=NOW - 1)
case("only the root has ended", [leaf(issuer=OTHER, id="spiffe://old.test/app", issuer_name="old")], reason="path")
weak = authority(SECOND, SECOND, subject="weak", issuer_name="weak", domain="weak.test", extensions={"usage": usage(LISTS)})
case("root may not certify", [leaf(issuer=SECOND, id="spiffe://weak.test/app", issuer_name="weak")], reason="path")
case("year 2050", [leaf(begins=NOW, ends=2_540_000_000), issuing], id=ID)
case("the leaf is the root", [root], reason="leaf-path")
case("a leaf issues a leaf", [leaf(SECOND, LEAF, issuer_name="web"), leaf(subject="web"), issuing], reason="authority-path")
below = authority(SECOND, ISSUING, subject="below", issuer_name="issuing")
case("path longer than the issuer allows", [leaf(issuer=SECOND, issuer_name="below"), below, issuing], reason="path")
wide = authority(length=1)
case("path longer than the root allows", [leaf(issuer=SECOND, issuer_name="below"), below, wide], reason="path")
for label, kind, permitted, excluded, ok in [
    ("our trust domain", "permits", ["example.org"], [], True), ("another", "permits", ["other.test"], [], False),
    ("ours", "excludes", [], ["example.org"], False), ("another", "excludes", [], ["other.test"], True),
    ("what is below ours", "permits", [".example.org"], [], False),
]:
    bound = authority(extensions={"limits": name_constraints(permitted, excluded)})
    case(f"issuer {kind} {label}", [good, bound], **({"id": ID} if ok else {"reason": "path"}))
foreign = leaf(OTHER, OTHER_ROOT, id="spiffe://other.test/app", issuer_name="other root")
case("leaf right under the root of another trust domain", [foreign], id="spiffe://other.test/app")
case("list without us", [good, issuing], id=ID, crls=[crl([b"\x01"])])
case("empty list", [good, issuing], id=ID, crls=[crl([])])
case("revoked", [good, issuing], reason="revoked", crls=[crl([serial])])
case("revoked by the second list", [good, issuing], reason="revoked", crls=[crl([]), crl([serial])])
issuing_serial = b"\x41" + hashlib.sha256(ISSUING.spki + b"issuing").digest()[:15]
case("issuer revoked", [good, issuing], reason="revoked", crls=[crl([issuing_serial], ROOT, "root")])
case("list of another issuer", [good, issuing], id=ID, crls=[crl([serial], OTHER, "other")])
case("list of another key of the issuer's name", [good, issuing], id=ID, crls=[crl([serial], SECOND)])
case("forged list", [good, issuing], reason="crl", crls=[crl([serial], signer=OTHER)])
case("forged list without an identifier", [good, issuing], reason="crl", crls=[crl([serial], signer=OTHER, identify=False)])
case("list has ended", [good, issuing], reason="crl", crls=[crl([], begins=NOW - 2 * HOUR, ends=NOW - 1)])
case("list of the future", [good, issuing], reason="crl", crls=[crl([], begins=NOW + 1)])
case("list of version 1", [good, issuing], reason="crl", crls=[crl([], version=0)])
case("delta list", [good, issuing], reason="crl", crls=[crl([], extra=ext(27, integer(1), True))])
case("list of some reasons", [good, issuing], reason="crl", crls=[crl([], extra=ext(28, seq(), True))])
case("an entry twice", [good, issuing], reason="crl", crls=[crl([serial, serial])])
case("list with a byte after", [good, issuing], reason="crl", crls=[crl([]) + b"\0"])


def text(der):
    return base64.b64encode(der).decode()


folder = pathlib.Path(__file__).parent
for entry in cases:
    entry["chain"] = [text(der) for der in entry["chain"]]
    if "crls" in entry:
        entry["crls"] = [text(der) for der in entry["crls"]]
bundles = {TD: [text(root)], "other.test": [text(other_root)], "empty.test": [], "old.test": [text(old)], "weak.test": [text(weak)]}
(folder / "x509-svid.json").write_text(json.dumps({"now": NOW, "bundles": bundles, "cases": cases}, indent=1) + "\n")
lint = [{"name": n, "role": "leaf", "certificate": text(d), "rules": r} for n, d, r in leaves]
lint += [{"name": n, "role": "authority", "certificate": text(d), "rules": r} for n, d, r in authorities]
lint += [{"name": n, "role": "leaf", "certificate": text(d), "rules": None} for n, d in unreadable]
(folder / "x509-lint.json").write_text(json.dumps({"cases": lint}, indent=1) + "\n")
print(len(cases), "chains,", len(lint), "certificates")
