"""Events of a TD's log, in words. Layout of their data: TCG PC Client Platform Firmware Profile 1.06, section 10.4."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from confide.attestation.event_log import Event
from confide.attestation.explain.document import Field, Group

_VARIABLE = struct.Struct("<16sQQ")  # GUID, characters of the name, bytes of the value
_VARIABLES = "EV_EFI_VARIABLE"
_ASCII = re.compile(rb"[ -~]{3,}")
_UTF16 = re.compile(rb"(?:[ -~]\0){2,}")
_MOST_CHARS = 120
_UNPROVEN = " (not proven: the digest is not of this text)"


def event_group(events: Sequence[Event]) -> Group:
    """Return the events, in their order: the digest of each, and what the log says of it."""
    fields = []
    counts: dict[int, int] = {}
    for event in events:
        number = counts[event.register] = counts.get(event.register, 0) + 1
        said = f"{event.name}: {_said(event)}" if event.data else event.name
        meaning = said if event.proven else said + _UNPROVEN
        fields.append(Field(f"rtmr{event.register} event {number}", event.digest.hex(), meaning))
    return Group("event_log", "Event log", tuple(fields))


def _said(event: Event) -> str:
    data = event.data
    if event.name.startswith(_VARIABLES) and len(data) >= _VARIABLE.size:
        _, characters, _ = _VARIABLE.unpack_from(data)
        data = data[_VARIABLE.size : _VARIABLE.size + 2 * min(characters, _MOST_CHARS)]
    texts = [run.decode("ascii") for run in _ASCII.findall(data)]
    texts = texts or [run.decode("utf-16-le") for run in _UTF16.findall(data)]
    said = " ".join(texts) or data.hex()
    return said if len(said) <= _MOST_CHARS else said[:_MOST_CHARS] + "…"
