"""Report data: the 64 bytes by which evidence binds a nonce, the workload's key and its launch parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from confide.canonical import canonical_json

REPORT_DATA_BYTES = 64


def report_data(runtime_data: Mapping[str, Any], additional_evidence: str = "") -> bytes:
    """Return the report data of version 0.4.0 of the KBS protocol, as its implementations make it.

    Args:
        runtime_data: `nonce`, `tee-pubkey` and, where there are any, `image` and `launch`; as JSON values.
        additional_evidence: of other devices, as it is sent.
    """
    return documented_report_data({**runtime_data, "additional-evidence": additional_evidence})


def documented_report_data(runtime_data: Mapping[str, Any]) -> bytes:
    """Return the report data of versions 0.1.x, which is that of the protocol's document: of runtime data alone.

    SHA-384 of the canonical JSON of `runtime_data`, padded with zeros to 64 bytes.
    """
    return hashlib.sha384(canonical_json(runtime_data)).digest().ljust(REPORT_DATA_BYTES, b"\0")
