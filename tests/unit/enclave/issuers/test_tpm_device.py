"""Answers of a TPM that no TPM gives, on a socket that keeps messages apart as the kernel's device does."""

from __future__ import annotations

import contextlib
import socket
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from confide.enclave.issuers.tpm_device import Tpm
from confide.errors import InvalidFormat

INDEX, KEY = 0x01400001, 0x81000003


@contextlib.contextmanager
def answering(*answers):
    """A TPM that gives these answers, one to each command."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        for answer in answers:
            theirs.send(answer)
        theirs.shutdown(socket.SHUT_WR)
        yield Tpm(ours.fileno())


def plain(parameters, code=0):
    return struct.pack(">HII", 0x8001, 10 + len(parameters), code) + parameters


def authorised(parameters):
    return plain(struct.pack(">I", len(parameters)) + parameters + bytes(5))


def sized(data):
    return struct.pack(">H", len(data)) + data


def public(size):
    return plain(sized(struct.pack(">IHIHH", INDEX, 0xB, 0, 0, size)) + sized(bytes(34)))


def pcrs(selected, digests, bank=0xB, banks=1):
    bits = sum(1 << pcr for pcr in selected).to_bytes(3, "little")
    selection = struct.pack(">IHB", banks, bank, 3) + bits
    return plain(bytes(4) + selection + struct.pack(">I", len(digests)) + b"".join(map(sized, digests)))


def test_an_index_in_parts():
    content = bytes(range(256)) * 11
    parts = [authorised(sized(content[at : at + 512])) for at in range(0, 2600, 512)]
    with answering(public(2600), *parts[:-1], authorised(sized(content[2560:2600]))) as tpm:
        assert tpm.read_nv(INDEX) == content[:2600]


@pytest.mark.parametrize(
    "answers",
    [
        [public(0)],
        [public(16 * 1024 + 1)],
        [plain(b"")],
        [plain(sized(b""))],
        [public(8), authorised(sized(bytes(7)))],
        [public(8), authorised(sized(bytes(9)))],
        [public(8), authorised(sized(b""))],
        [public(8), authorised(b"")],
        [public(8), plain(bytes(3))],
        [public(8), plain(struct.pack(">I", 2**32 - 1))],
        [public(8), b""],
        [b""],
        [bytes(9)],
        [public(8)[:-1]],
        [public(8) + b"\0"],
    ],
)
def test_no_index(answers):
    with answering(*answers) as tpm, pytest.raises(InvalidFormat):
        tpm.read_nv(INDEX)


def test_a_refusal_names_its_code():
    with answering(plain(b"", 0x18B)) as tpm, pytest.raises(OSError, match="0x18b"):
        tpm.read_nv(INDEX)
    with answering(plain(b"", 0x922)) as tpm, pytest.raises(OSError, match="0x922"):
        tpm.read_pcrs()


def test_pcrs_as_many_as_the_tpm_gives_at_once():
    values = [bytes([pcr]) * 32 for pcr in range(24)]
    answers = [pcrs(range(at, at + 8), values[at : at + 8]) for at in (0, 8, 16)]
    with answering(*answers) as tpm:
        assert list(tpm.read_pcrs()) == values


@pytest.mark.parametrize(
    "answers",
    [
        [pcrs([], [])],
        [pcrs([0], [])],
        [pcrs([], [bytes(32)])],
        [pcrs([0, 1], [bytes(32)])],
        [pcrs([0], [bytes(32)] * 2)],
        [pcrs([0], [bytes(32)], bank=0x4)],
        [pcrs([0], [bytes(32)], banks=0)],
        [pcrs([0], [bytes(32)], banks=2)],
        [pcrs(range(8), [bytes(32)] * 8), pcrs(range(8), [bytes(32)] * 8)],
        [pcrs([0], [bytes(32)])[:-1]],
        [plain(bytes(4) + struct.pack(">IHB", 1, 0xB, 255) + bytes(100))],
    ],
)
def test_no_pcrs(answers):
    with answering(*answers) as tpm, pytest.raises(InvalidFormat):
        tpm.read_pcrs()


def test_a_quote():
    with answering(
        authorised(sized(b"message") + struct.pack(">HH", 0x14, 0xB) + sized(b"signature"))
    ) as tpm:
        quote = tpm.quote(KEY, b"data")
    assert (quote.message, quote.signature) == (b"message", b"signature")


@pytest.mark.parametrize(
    "parameters",
    [
        b"",
        sized(b"message"),
        sized(b"message") + struct.pack(">HH", 0x16, 0xB) + sized(b"signature"),
        sized(b"message") + struct.pack(">HH", 0x14, 0x4) + sized(b"signature"),
        sized(b"message") + struct.pack(">HH", 0x18, 0xB) + sized(b"r") + sized(b"s"),
        sized(b"message") + struct.pack(">HHH", 0x14, 0xB, 300) + b"signature",
    ],
)
def test_no_quote(parameters):
    with answering(authorised(parameters)) as tpm, pytest.raises(InvalidFormat):
        tpm.quote(KEY, b"data")


@given(st.lists(st.binary(max_size=100), max_size=3), st.booleans())
@example([plain(bytes(4) + struct.pack(">I", 2**32 - 1))], True)
def test_any_answers(answers, headed):
    answers = [plain(answer) if headed else answer for answer in answers]
    for ask in (lambda tpm: tpm.read_nv(INDEX), lambda tpm: tpm.quote(KEY, b""), Tpm.read_pcrs):
        with answering(*answers) as tpm, pytest.raises((OSError, InvalidFormat)):
            ask(tpm)


def test_a_device_that_is_gone():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        theirs.close()
        with pytest.raises(OSError, match=r"pipe|reset"):
            Tpm(ours.fileno()).read_pcrs()
