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


LONG = {
    "event-log": logs.header() + logs.event(1, b"") * 1000 + bytes(192 * 1024),
}
"""Target -> input that once took seconds, too long to lie in a file."""


@pytest.mark.parametrize("name", LONG)
def test_what_once_took_long(name):
    assert cost_of(TARGETS[name].run, LONG[name]).excess == ""


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
