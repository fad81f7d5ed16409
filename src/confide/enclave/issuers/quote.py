"""Intel quotes as evidence: `{"quote": base64}`, the form of the KBS protocol's attesters for SGX and TDX."""

from __future__ import annotations

import base64
import hmac

from confide.attestation.intel.quote import trim_padding
from confide.errors import AttestationRefused

MAX_QUOTE_BYTES = 16 * 1024

_BODY_AT = {3: 48, 4: 48, 5: 54}
_REPORT_DATA_AT = {0x00: 320, 0x81: 520}
"""TEE type of the header -> offset of the 64 bytes of report data in the body (SGX, TDX)."""


def quote_evidence(quote: bytes, report_data: bytes) -> dict[str, str]:
    """Return the evidence, without padding, after a look at whether the quote is the one that was asked for.

    The look is no verification: it finds out here, and not at the broker, that someone else asked in between.

    Raises:
        AttestationRefused: it carries other report data, or is no quote.
    """
    version = int.from_bytes(quote[0:2], "little")
    tee_type = int.from_bytes(quote[4:8], "little") if version > 3 else 0
    if version not in _BODY_AT or tee_type not in _REPORT_DATA_AT:
        raise AttestationRefused("what was issued is not a quote of version 3, 4 or 5")
    at = _BODY_AT[version] + _REPORT_DATA_AT[tee_type]
    if not hmac.compare_digest(quote[at : at + len(report_data)], report_data):
        raise AttestationRefused(
            "the quote that was issued carries other report data: someone else asked meanwhile"
        )
    return {"quote": base64.b64encode(trim_padding(quote)).decode()}
