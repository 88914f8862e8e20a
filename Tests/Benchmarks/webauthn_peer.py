"""Verifies WebAuthn answers with py_webauthn for the benchmarks, on request.

Lines in: a JSON object sets what to verify; a number says how often to verify it now. Lines out: the library's name
first, then `ready` for an object, and the seconds that the verifications took for a number.
"""

import json
import sys
import time
from importlib.metadata import version

from webauthn import verify_authentication_response, verify_registration_response
from webauthn.helpers import base64url_to_bytes
from webauthn.helpers.structs import AttestationFormat


def verification(case):
    """What verifies the case once; raises where it does not hold."""
    common = {
        "credential": case["credential"],
        "expected_challenge": base64url_to_bytes(case["challenge"]),
        "expected_rp_id": case["rp_id"],
        "expected_origin": case["origin"],
        "require_user_verification": True,
    }
    if case["kind"] == "assertion":
        key, count = base64url_to_bytes(case["public_key"]), case["sign_count"]
        return lambda: verify_authentication_response(
            **common, credential_public_key=key, credential_current_sign_count=count
        )
    roots = {AttestationFormat.PACKED: [pem.encode() for pem in case["roots"]]}
    return lambda: verify_registration_response(**common, pem_root_certs_bytes_by_fmt=roots)


def main():
    print(f"py_webauthn {version('webauthn')}", flush=True)
    verify = None
    for line in sys.stdin:
        message = json.loads(line)
        if isinstance(message, dict):
            verify = verification(message)
            verify()
            print("ready", flush=True)
            continue
        start = time.perf_counter()
        for _ in range(message):
            verify()
        print(time.perf_counter() - start, flush=True)


main()
