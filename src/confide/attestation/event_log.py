"""Crypto agile event logs of firmware: read, and replayed. What they are logs of, others know.

A log proves nothing by itself: whoever sends it can write anything into it. What counts is that the digests, hashed one
after the other, give registers that were signed. Even then an event's data is proven only where its hash is the digest
(`Event.proven`); elsewhere the digest is of something else, such as the file that the data names.

Layout: TCG PC Client Platform Firmware Profile 1.06, section 10 (TCG_PCClientPCREvent, TCG_EfiSpecIDEvent,
TCG_PCR_EVENT2).
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from confide.errors import EvidenceRefused

MAX_EVENTS = 4096

_HEADER = struct.Struct("<II20sI")  # register, type, SHA-1 digest, size of data
_SPEC_ID = struct.Struct("<16sIBBBBI")  # signature, class, versions, size of uintn, number of algorithms
_ALGORITHM = struct.Struct("<HH")  # algorithm, size of its digests
_EVENT = struct.Struct("<III")  # register, type, number of digests
_SIGNATURE = b"Spec ID Event03\0"
_NO_ACTION = 3
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
        register: counted from 0.
        type: of the event, as TCG numbers them.
        digest: SHA-2, of the log's size.
        data: what the log says of it.
    """

    register: int
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
        algorithm = f"sha{8 * len(self.digest)}"
        return hmac.compare_digest(hashlib.new(algorithm, self.data).digest(), self.digest)


@dataclass(frozen=True)
class LogForm:
    """What a kind of log must be.

    Attributes:
        evidence: what refusals call it.
        algorithm: of the digests that count, by its name in `hashlib`.
        number: the same, as TCG numbers algorithms.
        first: number that the log gives to register 0.
        registers: how many there are.
        called: for messages: what the registers are, and their numbers.
        max_bytes: of a log.
    """

    evidence: str
    algorithm: str
    number: int
    first: int
    registers: int
    called: str
    max_bytes: int

    @property
    def digest_bytes(self) -> int:
        """Size of a digest."""
        return hashlib.new(self.algorithm).digest_size

    def parse(self, log: bytes) -> tuple[Event, ...]:
        """Return the events of a log that extend registers, in their order. Nothing in them is trusted.

        Raises:
            EvidenceRefused: step 1: not a crypto agile log with such digests, of such registers, too large or of more
                than 4096 events.
        """
        if len(log) > self.max_bytes:
            raise self.refused(1, f"more than {self.max_bytes} bytes")
        try:
            return tuple(self._events(log))
        except struct.error:
            raise self.refused(1, "it ends within an event") from None

    def replay(self, events: Sequence[Event], locality: int = 0) -> tuple[bytes, ...]:
        """Return the registers that these events leave.

        Args:
            events: in their order.
            locality: at which a TPM was started: what register 0 begins with.
        """
        registers = [bytes(self.digest_bytes)] * self.registers
        registers[0] = locality.to_bytes(self.digest_bytes, "big")
        for event in events:
            extended = registers[event.register] + event.digest
            registers[event.register] = hashlib.new(self.algorithm, extended).digest()
        return tuple(registers)

    def refused(self, step: int, reason: str) -> EvidenceRefused:
        """Return the refusal of a log."""
        return EvidenceRefused(self.evidence, step, reason)

    def _events(self, log: bytes) -> Iterator[Event]:
        sizes, at = self._header(log)
        end = _used(log)
        for _ in range(MAX_EVENTS):
            if at >= end:
                return
            register, kind, count = _EVENT.unpack_from(log, at)
            at += _EVENT.size
            digest = None
            for _ in range(self._at_most(count, len(sizes), "digests")):
                (algorithm,) = struct.unpack_from("<H", log, at)
                size = sizes.get(algorithm)
                if size is None:
                    raise self.refused(
                        1, f"a digest of algorithm {algorithm:#06x}, which its header does not name"
                    )
                value, at = self._take(log, at + 2, size)
                if algorithm == self.number:
                    digest = value
            (size,) = struct.unpack_from("<I", log, at)
            data, at = self._take(log, at + 4, size)
            if kind == _NO_ACTION:
                continue
            if not self.first <= register < self.first + self.registers:
                raise self.refused(1, f"an event of register {register}: {self.called}")
            if digest is None:
                raise self.refused(1, f"an event without a SHA-{8 * self.digest_bytes} digest")
            yield Event(register - self.first, kind, digest, data)
        if at < end:
            raise self.refused(1, f"more than {MAX_EVENTS} events")

    def _header(self, log: bytes) -> tuple[dict[int, int], int]:
        """Return the sizes of digests by algorithm, and where the first event is."""
        register, kind, _, size = _HEADER.unpack_from(log)
        data, end = self._take(log, _HEADER.size, size)
        signature, *_, algorithms = _SPEC_ID.unpack_from(data)
        if kind != _NO_ACTION or signature != _SIGNATURE or register >= self.first + self.registers:
            raise self.refused(1, "it does not begin with a TCG_EfiSpecIDEvent of version 3")
        sizes = {}
        for number in range(self._at_most(algorithms, 8, "algorithms")):
            algorithm, digest_size = _ALGORITHM.unpack_from(data, _SPEC_ID.size + number * _ALGORITHM.size)
            sizes[algorithm] = digest_size
        if sizes.get(self.number) != self.digest_bytes or len(sizes) != algorithms:
            raise self.refused(1, f"its digests are not SHA-{8 * self.digest_bytes}")
        return sizes, end

    def _take(self, log: bytes, at: int, size: int) -> tuple[bytes, int]:
        taken = log[at : at + size]
        if len(taken) != size:
            raise self.refused(1, "it ends within an event")
        return taken, at + size

    def _at_most(self, count: int, limit: int, what: str) -> int:
        if count > limit:
            raise self.refused(1, f"{count} {what}")
        return count


def _used(log: bytes) -> int:
    """Return where nothing comes any more: the area that firmware sets aside is filled up with 0xff or zeros."""
    return min(len(log.rstrip(filling)) for filling in _UNUSED)
