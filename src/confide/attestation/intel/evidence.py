"""Quotes as evidence, in the form in which the Confidential Containers attesters for SGX and TDX send them."""

from __future__ import annotations

import base64
from typing import Annotated, ClassVar

from pydantic import Field

from confide.attestation.evidence_form import EvidenceForm
from confide.attestation.intel.event_log import EVIDENCE as EVENT_LOG
from confide.attestation.intel.quote import MAX_QUOTE_BYTES, trim_padding
from confide.errors import EvidenceRefused

_MAX_CHARACTERS = (MAX_QUOTE_BYTES + 2) // 3 * 4
_MAX_LOG_CHARACTERS = 352 * 1024
"""Of 256 KiB, which is what clouds' firmware sets aside."""


class QuoteEvidence(EvidenceForm):
    """A quote, and the event log that may come with a TD's.

    Attributes:
        quote: base64 on the wire.
        cc_eventlog: the TD's event log, base64; what it says counts only once it was replayed against the RTMRs.
    """

    evidence: ClassVar[str] = "quote"

    quote: Annotated[str, Field(max_length=_MAX_CHARACTERS)]
    cc_eventlog: Annotated[str, Field(max_length=_MAX_LOG_CHARACTERS)] | None = None

    def raw(self) -> bytes:
        """Return the quote's bytes, without the zeros behind its end that kernels and quoting services leave there.

        Raises:
            EvidenceRefused: step 1: not base64.
        """
        try:
            return trim_padding(base64.b64decode(self.quote, validate=True))
        except ValueError:
            raise EvidenceRefused("quote", 1, "not base64") from None

    def event_log(self) -> bytes | None:
        """Return the event log's bytes; None where there is none.

        Raises:
            EvidenceRefused: step 1: not base64.
        """
        if not self.cc_eventlog:
            return None
        try:
            return base64.b64decode(self.cc_eventlog, validate=True)
        except ValueError:
            raise EvidenceRefused(EVENT_LOG, 1, "not base64") from None
