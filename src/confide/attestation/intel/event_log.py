"""Event logs of TDs (CCEL): read, and replayed against the RTMRs.

Registers: UEFI 2.10, section 38.4.1 (0: MRTD, 1 to 4: RTMR0 to RTMR3).
"""

from __future__ import annotations

from confide.attestation.claims import Tee
from confide.attestation.event_log import Event, LogForm
from confide.attestation.intel.quote import Quote

EVIDENCE = "TDX event log"
MAX_LOG_BYTES = 1024 * 1024
"""Size of the largest area for it that virtual firmware is known to set aside."""
RTMRS = 4
LOG = LogForm(
    evidence=EVIDENCE,
    algorithm="sha384",
    number=0x000C,
    first=1,
    registers=RTMRS,
    called=f"RTMR0 to RTMR3 are 1 to {RTMRS}",
    max_bytes=MAX_LOG_BYTES,
)
parse_event_log, replay = LOG.parse, LOG.replay


def check_event_log(log: bytes, quote: Quote) -> tuple[Event, ...]:
    """Return the events of a log that explains the RTMRs of a quote.

    1. It is a log (`LogForm.parse`).
    2. The quote is a TD's; the log, replayed, gives each of its RTMRs.

    Args:
        log: nothing in it is trusted.
        quote: one that was verified.

    Raises:
        EvidenceRefused: names the step.
    """
    events = parse_event_log(log)
    if quote.tee is not Tee.TDX:
        raise LOG.refused(2, f"a quote of {quote.tee} has no RTMRs")
    replayed = enumerate(replay(events))
    other = [name for number, rtmr in replayed if rtmr != quote.octets(name := f"rtmr{number}")]
    if other:
        raise LOG.refused(2, f"replayed, it does not give {', '.join(other)} of the quote")
    return events
