"""Azure evidence made here: a paravisor's HCL report and a TPM's quote, by keys of ours."""

from __future__ import annotations

import base64
import hashlib
import json
import struct

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256

PCRS = tuple(hashlib.sha256(bytes([index])).digest() for index in range(24))


def base64url(number):
    raw = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def jwk(key, **changed):
    numbers = key.public_numbers()
    members = {"kid": "HCLAkPub", "key_ops": ["sign"], "kty": "RSA"}
    return {**members, "e": base64url(numbers.e), "n": base64url(numbers.n), **changed}


def runtime_json(key, user_data=bytes(64), keys=None, **more):
    document = {
        "keys": [jwk(key)] if keys is None else keys,
        "vm-configuration": {"console-enabled": False, "secure-boot": True},
        "user-data": user_data.hex().upper(),
        **more,
    }
    return json.dumps(document, separators=(",", ":")).encode()


def hcl_report(hardware, runtime, kind, size=2600, **changed):
    """An HCL report; `changed` takes the names of header fields, and `tail` for what follows the JSON."""
    fields = {
        "signature": b"HCLA",
        "version": 2,
        "report_size": 0x4D4 + len(runtime),
        "request_type": 2,
        "status": 0,
        "data_size": 20 + len(runtime),
        "data_version": 1,
        "report_type": kind,
        "hash_type": 1,
        "json_size": len(runtime),
        "tail": b"",
        **changed,
    }
    head = struct.pack("<4s4I12x", *list(fields.values())[:5])
    data = struct.pack("<5I", *list(fields.values())[5:10])
    return (head + hardware.ljust(1184, b"\0") + data + runtime + fields["tail"]).ljust(size, b"\0")


def quote_message(extra_data, pcrs=PCRS, **changed):
    """A TPMS_ATTEST; `changed` takes the names of its fields."""
    fields = {
        "magic": 0xFF544347,
        "type": 0x8018,
        "signer": b"\0\x0b" + bytes(32),
        "extra_data": extra_data,
        "clock": bytes(17),
        "firmware": 0x2020031200120003,
        "selections": 1,
        "bank": 0x000B,
        "selected": b"\xff\xff\xff",
        "digest": hashlib.sha256(b"".join(pcrs)).digest(),
        "tail": b"",
        **changed,
    }
    return b"".join(
        [
            struct.pack(">IH", fields["magic"], fields["type"]),
            _sized(fields["signer"]),
            _sized(fields["extra_data"]),
            fields["clock"],
            struct.pack(
                ">QIHB", fields["firmware"], fields["selections"], fields["bank"], len(fields["selected"])
            ),
            fields["selected"],
            _sized(fields["digest"]),
            fields["tail"],
        ]
    )


def sign(key, message, algorithm=None):
    return key.sign(message, PKCS1v15(), algorithm or SHA256())


def evidence(report, message, signature, pcrs=PCRS, **more):
    return {
        "version": 1,
        "hcl_report": base64.urlsafe_b64encode(report).decode(),
        "tpm_quote": {
            "message": message.hex(),
            "signature": signature.hex(),
            "pcrs": [value.hex() for value in pcrs],
        },
        **more,
    }


def _sized(data):
    return struct.pack(">H", len(data)) + data
