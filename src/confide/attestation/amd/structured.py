"""SNP reports written as JSON, field by field, as the Confidential Containers attesters do.

Their form is that of the crate `sev` (virtee), which says a report's fields in words. What was signed are its bytes:
they are put together again here, so that the signature decides whether every field was right. Before its version 7
the crate called some fields otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from confide.attestation.amd.report import LAYOUT, REPORT_BYTES, SIGNED_BYTES
from confide.attestation.layout import Field
from confide.errors import InvalidFormat

_NUMBERS = {
    "version": ("version",),
    "guest_svn": ("guest_svn",),
    "policy": ("policy",),
    "vmpl": ("vmpl",),
    "signature_algo": ("sig_algo",),
    "platform_info": ("plat_info", "platform_info"),
    "key_info": ("key_info", "_author_key_en", "author_key_en"),
    "cpuid_family": ("cpuid_fam_id",),
    "cpuid_model": ("cpuid_mod_id",),
    "cpuid_stepping": ("cpuid_step",),
    "launch_mit_vector": ("launch_mit_vector",),
    "current_mit_vector": ("current_mit_vector",),
}
_BYTES = (
    *("family_id", "image_id", "report_data", "measurement", "host_data"),
    *("id_key_digest", "author_key_digest", "report_id", "report_id_ma", "chip_id"),
)
_TCBS = ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")
_OPTIONAL = ("cpuid_family", "cpuid_model", "cpuid_stepping", "launch_mit_vector", "current_mit_vector")
_ZEN3 = {"bootloader": 0, "tee": 1, "snp": 6, "microcode": 7}
_TURIN = {"fmc": 0, "bootloader": 1, "tee": 2, "snp": 3, "microcode": 7}
_FIELDS = {each.name: each for each in LAYOUT.fields}


def report_of(fields: Mapping[str, Any]) -> bytes:
    """Return the 1184 bytes of a report that is given field by field.

    Raises:
        InvalidFormat: a field is missing or not of its kind.
    """
    report = bytearray(REPORT_BYTES)
    for name, spellings in _NUMBERS.items():
        given = [fields[each] for each in spellings if fields.get(each) is not None]
        if not given and name not in _OPTIONAL:
            raise InvalidFormat(f"SNP report in JSON: no {spellings[0]}")
        _put(report, _FIELDS[name], _number(given[0] if given else 0, spellings[0], _FIELDS[name].size))
    for name in _BYTES:
        _put(report, _FIELDS[name], _octets(fields.get(name), name, _FIELDS[name].size))
    for name in _TCBS:
        _put(report, _FIELDS[name], _tcb(_object(fields.get(name), name), name))
    for name in ("current", "committed"):
        for part in ("build", "minor", "major"):
            version = fields.get(name)
            value = version.get(part) if isinstance(version, dict) else fields.get(f"{name}_{part}")
            _put(report, _FIELDS[f"{name}_{part}"], _number(value, f"{name}.{part}", 1))
    signature = _object(fields.get("signature"), "signature")
    report[SIGNED_BYTES : SIGNED_BYTES + 72] = _octets(signature.get("r"), "signature.r", 72)
    report[SIGNED_BYTES + 72 : SIGNED_BYTES + 144] = _octets(signature.get("s"), "signature.s", 72)
    return bytes(report)


def _put(report: bytearray, field: Field, value: bytes) -> None:
    report[field.offset : field.offset + field.size] = value


def _tcb(tcb: Mapping[str, Any], name: str) -> bytes:
    """Return a TCB version: the crate writes the components of every product, and `fmc` of Turin's alone."""
    if isinstance(tcb.get("raw"), list):
        return _octets(tcb["raw"], f"{name}.raw", 8)
    offsets = _ZEN3 if tcb.get("fmc") is None else _TURIN
    raw = bytearray(8)
    for component, offset in offsets.items():
        raw[offset : offset + 1] = _number(tcb.get(component), f"{name}.{component}", 1)
    return bytes(raw)


def _object(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise InvalidFormat(f"SNP report in JSON: {name} is missing or not an object")
    return value


def _number(value: Any, name: str, size: int) -> bytes:
    if isinstance(value, dict) and len(value) == 1:  # a tuple struct with a name
        (value,) = value.values()
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 256**size:
        raise InvalidFormat(f"SNP report in JSON: {name} is missing or not a number of {size} bytes")
    return value.to_bytes(size, "little")


def _octets(value: Any, name: str, size: int) -> bytes:
    fits = isinstance(value, list) and len(value) == size
    if not fits or not all(isinstance(each, int) and 0 <= each <= 255 for each in value):
        raise InvalidFormat(f"SNP report in JSON: {name} is missing or not an array of {size} bytes")
    return bytes(value)
