"""The HCL report: hardware evidence for the virtual TPM that Azure's paravisor (HCL, OpenHCL) gives a confidential VM.

The paravisor makes the TPM at launch and asks the hardware for a report whose report data is the SHA-256 of a JSON
document that names the TPM's keys. The guest reads both from the TPM's NV index 0x01400001. Layout: the attestation
report of OpenHCL (`AttestationReport`, `RequestData`, little-endian); JWK: RFC 7517 and RFC 7518.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from confide.attestation.azure.structures import base64url
from confide.errors import InvalidFormat

MAX_HCL_BYTES = 8 * 1024
AK_ID = "HCLAkPub"
_AK_BITS = (2048, 4096)
_EXPONENT = 65537
_SHA256 = 1
_MAX_KEYS = 8

_HEADER = struct.Struct("<4s 4I 12x")  # signature, version, report size, request type, status
_DATA_HEADER = struct.Struct("<5I")  # size, version, report type, hash type, size of the JSON
_HARDWARE_AT, _DATA_AT, _JSON_AT = 0x020, 0x4C0, 0x4D4


class HardwareReport(IntEnum):
    """Kinds of hardware report inside, by their numbers there."""

    SNP = 2
    TDX = 4


_HARDWARE_BYTES = {HardwareReport.SNP: 1184, HardwareReport.TDX: 1024}


@dataclass(frozen=True)
class HclReport:
    """An HCL report, read and not verified.

    Attributes:
        kind: of the hardware report.
        hardware_report: SNP report of 1184 bytes, or TDREPORT of 1024.
        runtime_json: the document whose SHA-256 the hardware report carries, byte for byte.
    """

    kind: HardwareReport
    hardware_report: bytes
    runtime_json: bytes


def read_hcl(data: bytes) -> HclReport:
    """Split an HCL report as the TPM gives it, padded with zeros to the size of its NV index.

    Raises:
        InvalidFormat: too large, not an HCL report, of a kind or hash that is not known, or with sizes that differ.
    """
    if len(data) > MAX_HCL_BYTES:
        raise InvalidFormat(f"HCL report: {len(data)} bytes, at most {MAX_HCL_BYTES} are allowed")
    if len(data) < _JSON_AT:
        raise InvalidFormat(f"HCL report: {len(data)} bytes, at least {_JSON_AT} are needed")
    signature, version, report_size, _, _ = _HEADER.unpack_from(data)
    data_size, data_version, report_type, hash_type, json_size = _DATA_HEADER.unpack_from(data, _DATA_AT)
    if signature != b"HCLA":
        raise InvalidFormat("HCL report: does not start with HCLA")
    if version not in (1, 2) or data_version != 1:
        raise InvalidFormat("HCL report: not version 1 or 2 with runtime data of version 1")
    if report_type not in tuple(HardwareReport):
        raise InvalidFormat("HCL report: neither of SNP nor of TDX")
    if hash_type != _SHA256:
        raise InvalidFormat("HCL report: its runtime data is not hashed with SHA-256")
    end = _JSON_AT + json_size
    if data_size != _DATA_HEADER.size + json_size or report_size != end or end > len(data):
        raise InvalidFormat("HCL report: its sizes differ")
    if any(data[end:]):
        raise InvalidFormat("HCL report: more than zeros behind it")
    kind = HardwareReport(report_type)
    size = _HARDWARE_BYTES[kind]
    hardware, padding = data[_HARDWARE_AT : _HARDWARE_AT + size], data[_HARDWARE_AT + size : _DATA_AT]
    if any(padding):
        raise InvalidFormat("HCL report: more than zeros behind the hardware report")
    return HclReport(kind, hardware, data[_JSON_AT:end])


@dataclass(frozen=True)
class Runtime:
    """What the paravisor says in the runtime JSON. Worth as much as the hardware report that carries its hash.

    Attributes:
        attestation_key: the TPM's key that signs quotes.
        user_data: 64 bytes that the guest had put into the report; zeros where it did not.
        configuration: settings of the VM, for instance `secure-boot` and `console-enabled`.
    """

    attestation_key: RSAPublicKey
    user_data: bytes
    configuration: dict[str, Any]


def read_runtime(document: bytes) -> Runtime:
    """Read the runtime JSON of an HCL report.

    Raises:
        InvalidFormat: not JSON, a member twice, or no single RSA key HCLAkPub for signatures of 2048 to 4096 bits
            with exponent 65537.
    """
    try:
        runtime = json.loads(document, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        raise InvalidFormat("runtime data: not JSON, or a member is there twice") from None
    if not isinstance(runtime, dict):
        raise InvalidFormat("runtime data: not an object")
    configuration = runtime.get("vm-configuration", {})
    return Runtime(
        attestation_key=_attestation_key(runtime.get("keys")),
        user_data=_user_data(runtime.get("user-data", "")),
        configuration=configuration if isinstance(configuration, dict) else {},
    )


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError
    return members


def _attestation_key(keys: Any) -> RSAPublicKey:
    if not isinstance(keys, list) or len(keys) > _MAX_KEYS:
        raise InvalidFormat("runtime data: no keys")
    named = [key for key in keys if isinstance(key, dict) and key.get("kid") == AK_ID]
    if len(named) != 1:
        raise InvalidFormat(f"runtime data: not exactly one key called {AK_ID}")
    jwk = named[0]
    if jwk.get("kty") != "RSA" or jwk.get("key_ops") != ["sign"]:
        raise InvalidFormat(f"runtime data: {AK_ID} is not an RSA key for signatures")
    modulus, exponent = _number(jwk.get("n")), _number(jwk.get("e"))
    if exponent != _EXPONENT or not _AK_BITS[0] <= modulus.bit_length() <= _AK_BITS[1]:
        raise InvalidFormat(f"runtime data: {AK_ID} is not of 2048 to 4096 bits with exponent 65537")
    try:
        return RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        raise InvalidFormat(f"runtime data: {AK_ID} is not an RSA key") from None


def _number(text: Any) -> int:
    """Return the number of a Base64urlUInt (RFC 7518 section 2)."""
    if not isinstance(text, str) or not 0 < len(text) <= _AK_BITS[1] // 6 + 2:
        raise InvalidFormat(f"runtime data: {AK_ID} has a number that is not base64url within its size")
    try:
        raw = base64url(text)
    except ValueError:
        raise InvalidFormat(f"runtime data: {AK_ID} has a number that is not base64url") from None
    return int.from_bytes(raw, "big")


def _user_data(text: Any) -> bytes:
    try:
        raw = bytes.fromhex(text)
    except (TypeError, ValueError):
        raise InvalidFormat("runtime data: user-data is not hex") from None
    if len(raw) > 64:
        raise InvalidFormat("runtime data: user-data of more than 64 bytes")
    return raw.ljust(64, b"\0")
