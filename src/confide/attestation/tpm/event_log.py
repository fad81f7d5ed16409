"""Event logs of measured boots: replayed against the PCRs of a quote."""

from __future__ import annotations

from collections.abc import Sequence

from confide.attestation.event_log import Event, LogForm
from confide.attestation.tpm.quote import PCR_COUNT

MAX_LOG_BYTES = 256 * 1024
LOG = LogForm(
    evidence="TPM event log",
    algorithm="sha256",
    number=0x000B,
    first=0,
    registers=PCR_COUNT,
    called=f"PCRs are 0 to {PCR_COUNT - 1}",
    max_bytes=MAX_LOG_BYTES,
)

_LOCALITIES = (0, 3, 4)
"""At which a TPM is started; PCR 0 begins with that number (PC Client Platform TPM Profile, TPM2_Startup)."""


def check_event_log(log: bytes, pcrs: Sequence[bytes]) -> tuple[Event, ...]:
    """Return the events of a log that explains PCRs.

    1. It is a log (`LogForm.parse`).
    2. Replayed, it gives every PCR that it names. Of others it says nothing: whoever writes no such log extends them.

    Args:
        log: nothing in it is trusted.
        pcrs: the 24 values of a verified quote.

    Raises:
        EvidenceRefused: names the step.
    """
    events = LOG.parse(log)
    replayed = [LOG.replay(events, locality) for locality in _LOCALITIES]
    named = sorted({event.register for event in events})
    other = [f"pcr{number}" for number in named if pcrs[number] not in {each[number] for each in replayed}]
    if other:
        raise LOG.refused(2, f"replayed, it does not give {', '.join(other)} of the quote")
    return events
