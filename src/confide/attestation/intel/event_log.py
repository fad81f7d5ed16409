"""Event logs of TDs (CCEL): read, and replayed against the RTMRs.

A log proves nothing by itself: whoever sends it can write anything into it. What counts is that the digests, hashed one
after the other, give the RTMRs of a verified quote. Even then an event's data is proven only where its SHA-384 is the
digest (`Event.proven`); elsewhere the digest is of something else, such as the file that the data names.

Layout: TCG PC Client Platform Firmware Profile 1.06, section 10 (TCG_PCClientPCREvent, TCG_EfiSpecIDEvent,
TCG_PCR_EVENT2); registers: UEFI 2.10, section 38.4.1 (0: MRTD, 1 to 4: RTMR0 to RTMR3).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from confide.attestation.claims import Tee
from confide.attestation.intel.quote import Quote
from confide.errors import EvidenceRefused

EVIDENCE = "TDX event log"
MAX_LOG_BYTES = 1024 * 1024
"""Size of the largest area for it that virtual firmware is known to set aside."""
MAX_EVENTS = 4096
RTMRS = 4

_HEADER = struct.Struct("<II20sI")  # register, type, SHA-1 digest, size of data
_SPEC_ID = struct.Struct("<16sIBBBBI")  # signature, class, versions, size of uintn, number of algorithms
_ALGORITHM = struct.Struct("<HH")  # algorithm, size of its digests
_EVENT = struct.Struct("<III")  # register, type, number of digests
_SIGNATURE = b"Spec ID Event03\0"
_NO_ACTION = 3
_SHA384 = 0x000C
_SHA384_BYTES = 48
_UNUSED = (b"\xff", b"\0")
_NAMES = {
    0x00000001: "EV_POST_CODE",
    0x00000003: "EV_NO_ACTION",
    0x00000004: "EV_SEPARATOR",
    0x00000005: "EV_ACTION",
    0x00000006: "EV_EVENT_TAG",
    0x00000007: "EV_S_CRTM_CONTENTS",
    0x00000008: "EV_S_CRTM_VERSION",
    0x0000000A: "EV_PLATFORM_CONFIG_FLAGS",
    0x0000000B: "EV_TABLE_OF_DEVICES",
    0x0000000C: "EV_COMPACT_HASH",
    0x0000000D: "EV_IPL",
    0x80000001: "EV_EFI_VARIABLE_DRIVER_CONFIG",
    0x80000002: "EV_EFI_VARIABLE_BOOT",
    0x80000003: "EV_EFI_BOOT_SERVICES_APPLICATION",
    0x80000004: "EV_EFI_BOOT_SERVICES_DRIVER",
    0x80000006: "EV_EFI_GPT_EVENT",
    0x80000007: "EV_EFI_ACTION",
    0x80000008: "EV_EFI_PLATFORM_FIRMWARE_BLOB",
    0x80000009: "EV_EFI_HANDOFF_TABLES",
    0x8000000A: "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
    0x8000000B: "EV_EFI_HANDOFF_TABLES2",
    0x8000000C: "EV_EFI_VARIABLE_BOOT2",
    0x80000010: "EV_EFI_HCRTM_EVENT",
    0x800000E0: "EV_EFI_VARIABLE_AUTHORITY",
}


@dataclass(frozen=True)
class Event:
    """A measurement that a register was extended with.

    Attributes:
        rtmr: 0 to 3.
        type: of the event, as TCG numbers them.
        digest: SHA-384, 48 bytes.
        data: what the log says of it.
    """

    rtmr: int
    type: int
    digest: bytes
    data: bytes

    @property
    def name(self) -> str:
        """Name of the type."""
        return _NAMES.get(self.type, f"0x{self.type:08x}")

    @property
    def proven(self) -> bool:
        """Whether `data` is what was measured, once the log was replayed."""
        return hmac.compare_digest(hashlib.sha384(self.data).digest(), self.digest)


def parse_event_log(log: bytes) -> tuple[Event, ...]:
    """Return the events of a log that extend registers, in their order. Nothing in them is trusted.

    Raises:
        EvidenceRefused: step 1: not a crypto agile log with SHA-384 digests, of RTMR0 to RTMR3, larger than 1 MiB or
            of more than 4096 events.
    """
    if len(log) > MAX_LOG_BYTES:
        raise _refused(1, f"more than {MAX_LOG_BYTES} bytes")
    try:
        return tuple(_events(log))
    except struct.error:
        raise _refused(1, "it ends within an event") from None


def replay(events: Sequence[Event]) -> tuple[bytes, ...]:
    """Return the RTMRs, 48 bytes each, that these events leave."""
    registers = [bytes(_SHA384_BYTES)] * RTMRS
    for event in events:
        registers[event.rtmr] = hashlib.sha384(registers[event.rtmr] + event.digest).digest()
    return tuple(registers)


def check_event_log(log: bytes, quote: Quote) -> tuple[Event, ...]:
    """Return the events of a log that explains the RTMRs of a quote.

    1. It is a log (`parse_event_log`).
    2. The quote is a TD's; the log, replayed, gives each of its RTMRs.

    Args:
        log: nothing in it is trusted.
        quote: one that was verified.

    Raises:
        EvidenceRefused: names the step.
    """
    events = parse_event_log(log)
    if quote.tee is not Tee.TDX:
        raise _refused(2, f"a quote of {quote.tee} has no RTMRs")
    replayed = enumerate(replay(events))
    other = [name for number, rtmr in replayed if rtmr != quote.octets(name := f"rtmr{number}")]
    if other:
        raise _refused(2, f"replayed, it does not give {', '.join(other)} of the quote")
    return events


def _events(log: bytes) -> Iterator[Event]:
    sizes, at = _header(log)
    end = _used(log)
    for _ in range(MAX_EVENTS):
        if at >= end:
            return
        register, kind, count = _EVENT.unpack_from(log, at)
        at += _EVENT.size
        digest = None
        for _ in range(_at_most(count, len(sizes), "digests")):
            (algorithm,) = struct.unpack_from("<H", log, at)
            size = sizes.get(algorithm)
            if size is None:
                raise _refused(1, f"a digest of algorithm {algorithm:#06x}, which its header does not name")
            value, at = _take(log, at + 2, size)
            if algorithm == _SHA384:
                digest = value
        (size,) = struct.unpack_from("<I", log, at)
        data, at = _take(log, at + 4, size)
        if kind == _NO_ACTION:
            continue
        if not 1 <= register <= RTMRS:
            raise _refused(1, f"an event of register {register}: RTMR0 to RTMR3 are 1 to {RTMRS}")
        if digest is None:
            raise _refused(1, "an event without a SHA-384 digest")
        yield Event(register - 1, kind, digest, data)
    if at < end:
        raise _refused(1, f"more than {MAX_EVENTS} events")


def _header(log: bytes) -> tuple[dict[int, int], int]:
    """Return the sizes of digests by algorithm, and where the first event is."""
    register, kind, _, size = _HEADER.unpack_from(log)
    data, end = _take(log, _HEADER.size, size)
    signature, *_, algorithms = _SPEC_ID.unpack_from(data)
    if kind != _NO_ACTION or signature != _SIGNATURE or register > RTMRS:
        raise _refused(1, "it does not begin with a TCG_EfiSpecIDEvent of version 3")
    sizes = {}
    for number in range(_at_most(algorithms, 8, "algorithms")):
        algorithm, digest_size = _ALGORITHM.unpack_from(data, _SPEC_ID.size + number * _ALGORITHM.size)
        sizes[algorithm] = digest_size
    if sizes.get(_SHA384) != _SHA384_BYTES or len(sizes) != algorithms:
        raise _refused(1, "its digests are not SHA-384")
    return sizes, end


def _used(log: bytes) -> int:
    """Return where nothing comes any more: the area that firmware sets aside is filled up with 0xff or zeros."""
    return min(len(log.rstrip(filling)) for filling in _UNUSED)


def _take(log: bytes, at: int, size: int) -> tuple[bytes, int]:
    taken = log[at : at + size]
    if len(taken) != size:
        raise _refused(1, "it ends within an event")
    return taken, at + size


def _at_most(count: int, limit: int, what: str) -> int:
    if count > limit:
        raise _refused(1, f"{count} {what}")
    return count


def _refused(step: int, reason: str) -> EvidenceRefused:
    return EvidenceRefused(EVIDENCE, step, reason)
