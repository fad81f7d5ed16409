"""Parsers given what once broke one, their seeds, and these changed in a few hundred ways. `make fuzz` looks longer.

Time and memory are measured for what once took too much; for the rest it would be the machine that is measured.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ..unit.attestation.intel import test_event_log as logs
from .cost import cost_of
from .seeds import FOUND, seeds_of
from .targets import TARGETS

_CHANGED = 300
_VALUES = (0, 1, 0x7F, 0x80, 0xFF, ord('"'), ord("{"), ord("["), ord("\\"), ord("-"), ord("9"), ord("="))
_TOKENS = (
    b"null",
    b"-1",
    b"1e999",
    b"NaN",
    b'"\\ud800"',
    b"[[[[[[[[",
    b"{}",
    b"\xed\xa0\x80",
    b"\xff" * 8,
    bytes(8),
)


def changed(seed: bytes, others: list[bytes], source: random.Random) -> bytes:
    """Return a seed with one to four changes."""
    data = bytearray(seed)
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(data) + 1)
        end = min(len(data), at + source.choice((1, 2, 4, 16, 256)))
        match source.randrange(7):
            case 0:
                data[at : at + 1] = bytes([source.choice(_VALUES)])
            case 1 if at < len(data):
                data[at] ^= 1 << source.randrange(8)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end] * source.choice((1, 2, 8))
            case 4:
                data[at:end] = source.choice(_TOKENS)
            case 5:
                other = source.choice(others)
                data[at:] = other[source.randrange(len(other) + 1) :]
            case _:
                del data[at:]
    return bytes(data)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_they_become(name):
    target, seeds = TARGETS[name], seeds_of(name)
    source = random.Random(name)
    for seed in seeds:
        target.run(seed)
    for _ in range(_CHANGED):
        data = changed(source.choice(seeds), seeds, source)[: target.most]
        try:
            target.run(data)
        except Exception as error:
            error.add_note(f"target {name}, input: bytes.fromhex('{data.hex()}')")
            raise


@pytest.mark.parametrize(
    "path", sorted(FOUND.glob("*/*")), ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_what_once_broke_a_parser(path: Path):
    assert cost_of(TARGETS[path.parent.name].run, path.read_bytes()).excess == ""


def _sequence(tag: int, content: bytes) -> bytes:
    """Return DER: tag, length of up to three bytes, content."""
    size = len(content)
    length = bytes([size]) if size < 0x80 else b"\x83" + size.to_bytes(3, "big")
    if 0x80 <= size < 0x10000:
        length = b"\x81" + bytes([size]) if size < 0x100 else b"\x82" + size.to_bytes(2, "big")
    return bytes([tag]) + length + content


_NAME = bytes.fromhex("310a300806035504030c0161")
_NAMES = _sequence(0x30, _NAME)
_EXTENSION = bytes.fromhex("300a06045504030104020500")
_ALGORITHM = bytes.fromhex("300a06082a8648ce3d040302")
_KEY = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200") + b"\4" + b"\1" * 64


def _certificate(names: bytes, extensions: bytes = b"") -> bytes:
    """Return a certificate that nobody signed."""
    validity = _sequence(0x30, b"\x17\x0d200101000000Z" * 2)
    start = bytes.fromhex("a003020102020101") + _ALGORITHM + names + validity + _NAMES + _KEY
    return _sequence(0x30, _sequence(0x30, start + extensions) + _ALGORITHM + b"\3\3\0\1\1")


LONG = {
    "events and zeros": ("event-log", logs.header() + logs.event(1, b"") * 1000 + bytes(192 * 1024)),
    "many names": ("ratls-certificate", _certificate(_sequence(0x30, _NAME * 4500))),
    "many extensions": (
        "ratls-certificate",
        _certificate(_NAMES, _sequence(0xA3, _sequence(0x30, _EXTENSION * 3000))),
    ),
    "blocks of PEM": (
        "verify-command",
        b"-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n" * 16_000,
    ),
    "JSON of objects": ("verify-command", b"[" + b"{}," * 300_000 + b"{}]"),
    "JSON of numbers": ("verify-command", b"[" + b"1," * 500_000 + b"1]"),
}
"""Target and input that once took long, too large to lie in a file."""


@pytest.mark.exhaustive
@pytest.mark.parametrize("case", LONG)
def test_what_once_took_long(case):
    name, data = LONG[case]
    assert cost_of(TARGETS[name].run, data).excess == ""


@pytest.mark.exhaustive
def test_some_seeds_are_accepted():
    """Seeds that all are refused would leave what lies behind untested."""
    refused = set()
    for name, target in TARGETS.items():
        for seed in seeds_of(name):
            try:
                target.parse(seed)
            except target.raises:
                continue
            break
        else:
            refused.add(name)
    assert refused == {"checkpoint-key"}  # has no checkpoint to open
