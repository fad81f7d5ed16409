"""Report data: the 64 bytes by which evidence binds a nonce, the workload's key and its launch parameters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from confide.canonical import canonical_json

REPORT_DATA_BYTES = 64


def report_data(runtime_data: Mapping[str, Any]) -> bytes:
    """Return SHA-384 of the canonical JSON of `runtime_data`, padded with zeros to 64 bytes.

    Args:
        runtime_data: `nonce`, `tee-pubkey` and, where there are any, `launch` parameters; as JSON values.
    """
    return hashlib.sha384(canonical_json(runtime_data)).digest().ljust(REPORT_DATA_BYTES, b"\0")
