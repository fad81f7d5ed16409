"""SIGSTRUCTs: what an enclave's author signs."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.intel.sigstruct import (
    HEADER,
    LAYOUT,
    SIGSTRUCT_BYTES,
    parse_sigstruct,
    verify_sigstruct,
)
from confide.errors import EvidenceRefused, InvalidFormat

from .conftest import read
from .synthetic import structure

HEADER2 = bytes.fromhex("01010000600000006000000001000000")
UNSIGNED = (*range(128, 516), *range(1028, SIGSTRUCT_BYTES))
"""Offsets that the signature does not cover; the first of them are the key and the signature."""


@pytest.fixture(scope="session")
def author():
    return rsa.generate_private_key(3, 3072)


def made(author, **fields):
    modulus = author.public_key().public_numbers().n
    sane = {
        "header": HEADER,
        "header2": HEADER2,
        "date": 0x20260131,
        "modulus": modulus.to_bytes(384, "little"),
        "exponent": 3,
        "attributes": b"\x04" + bytes(15),
        "attributes_mask": b"\xff" * 16,
        "mrenclave": bytes(range(32)),
        "isv_prod_id": 7,
        "isv_svn": 3,
    }
    raw = bytearray(structure(LAYOUT, sane | fields))
    signature = author.sign(bytes(raw[:128] + raw[900:1028]), PKCS1v15(), SHA256())
    raw[516:900] = signature[::-1]
    return bytes(raw)


def refused(data, step, reason):
    with pytest.raises(EvidenceRefused, match=reason) as caught:
        verify_sigstruct(data)
    assert (caught.value.evidence, caught.value.step) == ("SIGSTRUCT", step)


def test_the_real_one():
    expected = json.loads(read("expected.json"))["sigstruct"]["gramine-sigstruct.sig"]
    found = verify_sigstruct(read("gramine-sigstruct.sig"))
    assert found.mrsigner.hex() == expected["mrsigner"]
    assert found.octets("mrenclave").hex() == expected["mrenclave"]
    assert (found.number("isv_prod_id"), found.number("isv_svn")) == (
        expected["isvprodid"],
        expected["isvsvn"],
    )
    assert found.octets("attributes").hex() == expected["attributes"]
    assert found.octets("attributes_mask").hex() == expected["attributemask"]
    assert found.number("exponent") == expected["exponent"]
    assert found.date.replace("-", "") == expected["date"]
    assert (found.debug, found.debug_possible) == (False, False)


def test_one_made_here(author):
    found = verify_sigstruct(made(author))
    assert (found.number("isv_prod_id"), found.number("isv_svn"), found.date) == (7, 3, "2026-01-31")
    assert verify_sigstruct(made(author, date=0)).date == ""
    assert verify_sigstruct(made(author, attributes_mask=b"\xfd" + b"\xff" * 15)).debug_possible


def test_step_1_it_does_not_read(author):
    good = made(author)
    for data in (b"", good[:-1], good + b"\0", b"\0" * SIGSTRUCT_BYTES):
        refused(data, 1, "bytes|header")
        with pytest.raises(InvalidFormat):
            parse_sigstruct(data)
    refused(made(author, header2=bytes(16)), 1, "header")


def test_step_2_another_key(author):
    refused(made(author, exponent=65537), 2, "exponent 3")
    refused(made(author, modulus=bytes(384)), 2, "3072 bits")
    refused(made(author, modulus=b"\xff" * 128 + bytes(256)), 2, "3072 bits")
    small = rsa.generate_private_key(3, 2048)
    modulus = small.public_key().public_numbers().n.to_bytes(384, "little")
    refused(made(author, modulus=modulus), 2, "3072 bits")


@pytest.mark.exhaustive
def test_step_3_another_signature(author):
    other = rsa.generate_private_key(3, 3072)
    modulus = other.public_key().public_numbers().n.to_bytes(384, "little")
    refused(made(author, modulus=modulus), 3, "did not sign")
    raw = bytearray(made(author))
    raw[516:900] = bytes(384)
    refused(bytes(raw), 3, "did not sign")


def test_step_4_debug(author):
    refused(made(author, attributes=b"\x06" + bytes(15)), 4, "debug")


@given(at=st.integers(0, SIGSTRUCT_BYTES - 1), bit=st.integers(0, 7))
def test_a_flip_of_any_bit(author, at, bit):
    raw = bytearray(made(author))
    raw[at] ^= 1 << bit
    if at in UNSIGNED[388:]:
        verify_sigstruct(bytes(raw))
    else:
        with pytest.raises(EvidenceRefused):
            verify_sigstruct(bytes(raw))
