"""Event logs of TDs, made here: what reads, what replays, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.event_log import MAX_EVENTS, Event
from confide.attestation.explain.event_log import event_group
from confide.attestation.intel.event_log import (
    MAX_LOG_BYTES,
    check_event_log,
    parse_event_log,
    replay,
)
from confide.attestation.intel.evidence import QuoteEvidence
from confide.attestation.intel.quote import parse_quote
from confide.errors import EvidenceRefused

from .synthetic import Authority, Machine

SHA256, SHA384 = 0x0B, 0x0C
SEPARATOR, ACTION, TAG, VARIABLE = 4, 0x80000007, 6, 0x80000001


def header(*algorithms, signature=b"Spec ID Event03\0", kind=3, register=0, count=None, vendor=b"\0"):
    algorithms = algorithms or ((SHA384, 48),)
    data = struct.pack("<16sIBBBBI", signature, 0, 0, 2, 105, 2, len(algorithms) if count is None else count)
    data += b"".join(struct.pack("<HH", *each) for each in algorithms) + vendor
    return struct.pack("<II20sI", register, kind, bytes(20), len(data)) + data


def event(register, data, *, kind=SEPARATOR, digests=None, size=None, count=None):
    digests = [(SHA384, hashlib.sha384(data).digest())] if digests is None else digests
    listed = b"".join(struct.pack("<H", algorithm) + digest for algorithm, digest in digests)
    head = struct.pack("<III", register, kind, len(digests) if count is None else count)
    return head + listed + struct.pack("<I", len(data) if size is None else size) + data


def extended(*data):
    register = bytes(48)
    for each in data:
        register = hashlib.sha384(register + hashlib.sha384(each).digest()).digest()
    return register


LOG = (
    header() + event(1, b"a") + event(2, b"b", kind=ACTION) + event(1, bytes(4)) + event(4, b"app", kind=TAG)
)
RTMRS = (extended(b"a", bytes(4)), extended(b"b"), bytes(48), extended(b"app"))


@pytest.fixture(scope="module")
def machine():
    return Machine(Authority())


@pytest.fixture(scope="module")
def td_quote(machine):
    def made(*rtmrs):
        return parse_quote(machine.quote(body={f"rtmr{n}": value for n, value in enumerate(rtmrs)}))

    return made


def refused(log, quote, step, reason):
    with pytest.raises(EvidenceRefused, match=reason) as caught:
        check_event_log(log, quote)
    assert (caught.value.evidence, caught.value.step) == ("TDX event log", step)


def test_a_log_that_replays(td_quote):
    events = check_event_log(LOG, td_quote(*RTMRS))
    assert [(each.register, each.name, each.data) for each in events] == [
        (0, "EV_SEPARATOR", b"a"),
        (1, "EV_EFI_ACTION", b"b"),
        (0, "EV_SEPARATOR", bytes(4)),
        (3, "EV_EVENT_TAG", b"app"),
    ]
    assert all(each.proven for each in events)


@pytest.mark.parametrize("filling", [b"\xff" * 5000, bytes(5000), b""])
def test_the_unused_area_behind_a_log(td_quote, filling):
    assert len(check_event_log(LOG + filling, td_quote(*RTMRS))) == 4


def test_other_digests_beside_sha_384(td_quote):
    both = [(SHA256, b"x" * 32), (SHA384, hashlib.sha384(b"a").digest())]
    log = header((SHA256, 32), (SHA384, 48)) + event(1, b"a", digests=both)
    assert check_event_log(log, td_quote(extended(b"a"), bytes(48), bytes(48), bytes(48)))[0].proven


def test_events_without_action_extend_nothing(td_quote):
    log = header() + event(0, b"StartupLocality\0\3", kind=3) + event(1, b"a")
    assert len(check_event_log(log, td_quote(extended(b"a"), bytes(48), bytes(48), bytes(48)))) == 1


@pytest.mark.parametrize("number", range(4))
def test_each_register_counts(td_quote, number):
    rtmrs = [bytes(47) + b"\1" if n == number else each for n, each in enumerate(RTMRS)]
    refused(LOG, td_quote(*rtmrs), 2, f"does not give rtmr{number} of the quote$")


def test_an_event_left_out_added_or_moved(td_quote):
    quote = td_quote(*RTMRS)
    one, two = event(1, b"a"), event(1, bytes(4))
    assert one in LOG
    refused(LOG.replace(one, b""), quote, 2, "rtmr0")
    refused(LOG + one, quote, 2, "rtmr0")
    refused(LOG.replace(one, two, 1), quote, 2, "rtmr0")
    refused(LOG.replace(event(4, b"app", kind=TAG), event(3, b"app", kind=TAG)), quote, 2, "rtmr2, rtmr3")
    refused(header(), quote, 2, "rtmr0, rtmr1, rtmr3")


def test_what_a_log_says_is_not_proven_by_its_digest(td_quote):
    said = event(1, b"nothing of note", digests=[(SHA384, hashlib.sha384(b"a").digest())])
    (only,) = check_event_log(header() + said, td_quote(extended(b"a"), bytes(48), bytes(48), bytes(48)))
    assert not only.proven
    (field,) = event_group([only]).fields
    assert field.meaning == "EV_SEPARATOR: nothing of note (not proven: the digest is not of this text)"


def test_a_log_beside_a_quote_of_an_enclave(machine):
    quote = parse_quote(machine.quote(3, 1))
    refused(LOG, quote, 2, "a quote of sgx has no RTMRs")


BAD = {
    "empty": (b"", "ends within"),
    "zeros": (bytes(100), "TCG_EfiSpecIDEvent|ends within"),
    "old signature": (header(signature=b"Spec ID Event02\0"), "TCG_EfiSpecIDEvent"),
    "header of another type": (header(kind=4), "TCG_EfiSpecIDEvent"),
    "only SHA-256": (header((SHA256, 32)), "not SHA-384"),
    "SHA-384 of 32 bytes": (header((SHA384, 32)), "not SHA-384"),
    "an algorithm twice": (header((SHA384, 48), (SHA384, 48)), "not SHA-384"),
    "more algorithms than there are": (header(count=4), "ends within"),
    "a thousand algorithms": (header(count=1000), "1000 algorithms"),
    "no digest": (header() + event(1, b"a", digests=[]), "without a SHA-384"),
    "unnamed digest": (header() + event(1, b"a", digests=[(SHA256, b"x" * 32)]), "does not name"),
    "two digests of one": (header() + event(1, b"a", count=2), "2 digests"),
    "MRTD": (header() + event(0, b"a"), "register 0"),
    "register 5": (header() + event(5, b"a"), "register 5"),
    "no such register": (header() + event(0xFFFFFFFE, b"a"), "register 4294967294"),
    "data of 4 GiB": (header() + event(1, b"a", size=0xFFFFFFFF), "ends within"),
    "cut in an event": (LOG[:-1], "ends within"),
    "cut in a digest": (LOG[:-40], "ends within"),
    "something behind": (LOG + b"\xff\xff\0", "ends within"),
    "too long": (header() + bytes(MAX_LOG_BYTES), "more than 1048576 bytes"),
    "too many": (header() + event(1, b"") * (MAX_EVENTS + 1), f"more than {MAX_EVENTS} events"),
}


@pytest.mark.parametrize("case", BAD)
def test_step_1(td_quote, case):
    log, reason = BAD[case]
    refused(log, td_quote(*RTMRS), 1, reason)


def test_as_many_events_as_there_may_be():
    assert len(parse_event_log(header() + event(1, b"") * MAX_EVENTS)) == MAX_EVENTS


@given(st.integers(0, len(LOG) - 1), st.integers(0, 7))
def test_a_flipped_bit(position, bit):
    """What is neither a digest nor a register is nobody's word but the log's; all else changes an RTMR."""
    changed = bytearray(LOG)
    changed[position] ^= 1 << bit
    try:
        events = parse_event_log(bytes(changed))
    except EvidenceRefused:
        return
    before = parse_event_log(LOG)
    if replay(events) == RTMRS:
        assert [(each.register, each.digest) for each in events] == [
            (each.register, each.digest) for each in before
        ]
        assert sum(not each.proven for each in events) <= 1


@given(st.binary(max_size=300))
def test_any_bytes(data):
    for log in (data, header() + data):
        try:
            events = parse_event_log(log)
        except EvidenceRefused:
            continue
        assert all(isinstance(each, Event) and 0 <= each.register < 4 for each in events)


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (VARIABLE, bytes(16) + struct.pack("<QQ", 2, 1) + "PK".encode("utf-16-le") + b"\1", "PK"),
        (VARIABLE, b"short", "short"),
        (0x80000003, b"\1\2" + "\\EFI\\BOOT".encode("utf-16-le") + b"\0\0", "\\EFI\\BOOT"),
        (13, b"\x1b[31mred\0", "[31mred"),
        (SEPARATOR, bytes(4), "00000000"),
        (SEPARATOR, b"x" * 5000, "x" * 120 + "…"),
    ],
)
def test_what_a_log_says(kind, data, said):
    (field,) = event_group([Event(0, kind, hashlib.sha384(data).digest(), data)]).fields
    assert field.meaning.partition(": ")[2] == said


def test_the_form_of_evidence():
    quote = base64.b64encode(b"q").decode()
    assert QuoteEvidence.of({"quote": quote, "cc_eventlog": ""}).event_log() is None
    assert QuoteEvidence.of({"quote": quote, "cc_eventlog": "AAAA"}).event_log() == bytes(3)
    with pytest.raises(EvidenceRefused, match="TDX event log, step 1"):
        QuoteEvidence.of({"quote": quote, "cc_eventlog": "!"}).event_log()
    with pytest.raises(EvidenceRefused, match="quote, step 1"):
        QuoteEvidence.of({"quote": quote, "cc_eventlog": "A" * 400_000})
