"""Evidence of a TPM, step by step: what is accepted, and the many that are not."""

from __future__ import annotations

import base64
import hashlib
import os
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA1, SHA384
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.tpm.verify import NEVER, read_attestation_key, verify_tpm
from confide.errors import AttestationRefused, EvidenceRefused

from ..azure.synthetic import PCRS, quote_message, sign
from .synthetic import Enrolled, der, evidence, marshalled

REPORT_DATA = hashlib.sha384(b"this attestation").digest() + bytes(16)
BOUND = REPORT_DATA[:48]
SPEC_ID = struct.pack("<16sIBBBBIHHB", b"Spec ID Event03\0", 0, 0, 2, 0, 2, 1, 0x0B, 32, 0)
HEADER = struct.pack("<II20sI", 0, 3, bytes(20), len(SPEC_ID)) + SPEC_ID


def event(register, data, kind=0x0D):
    digest = hashlib.sha256(data).digest()
    return struct.pack("<IIIH", register, kind, 1, 0x0B) + digest + struct.pack("<I", len(data)) + data


def extended(*data, start=bytes(32)):
    for each in data:
        start = hashlib.sha256(start + hashlib.sha256(each).digest()).digest()
    return start


LOG = HEADER + event(0, b"firmware") + event(4, b"kernel") + event(9, b"initrd") + event(9, b"line")
LOGGED = {0: extended(b"firmware"), 4: extended(b"kernel"), 9: extended(b"initrd", b"line")}
MEASURED = tuple(LOGGED.get(index, value) for index, value in enumerate(PCRS))


@pytest.fixture(scope="module")
def ak():
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def other():
    return rsa.generate_private_key(65537, 2048)


def test_what_an_enrolled_tpm_measured(ak):
    platform = verify_tpm(evidence(ak, BOUND), REPORT_DATA, Enrolled(ak))
    assert platform.registers == {f"pcr{index}": value.hex() for index, value in enumerate(PCRS)}
    assert platform.hardware_ids == (hashlib.sha256(der(ak)).hexdigest(),)
    assert (platform.expires, platform.debug, platform.tcb.status) == (NEVER, False, "")


def test_report_data_may_be_padded(ak):
    verify_tpm(evidence(ak, REPORT_DATA), REPORT_DATA, Enrolled(ak))


@pytest.mark.parametrize("locality", [0, 3, 4])
def test_a_log_that_explains_the_pcrs(ak, locality):
    pcrs = (extended(b"firmware", start=locality.to_bytes(32, "big")), *MEASURED[1:])
    given = evidence(ak, BOUND, pcrs=pcrs, event_log=base64.b64encode(LOG).decode())
    assert verify_tpm(given, REPORT_DATA, Enrolled(ak)).registers["pcr4"] == LOGGED[4].hex()


def refused(given, step, enrolled, report_data=REPORT_DATA):
    with pytest.raises(EvidenceRefused) as caught:
        verify_tpm(given, report_data, enrolled)
    assert caught.value.step == step, caught.value


@pytest.mark.parametrize(
    "changed",
    [
        {"ak_public": None},
        {"ak_public": "!"},
        {"ak_public": base64.b64encode(bytes(1025)).decode()},
        {"message": bytes(513)},
        {"ak_public": "AA A="},
        {"signature": bytes(1025)},
        {"listed": [value.hex() for value in PCRS[:23]]},
        {"listed": [value.hex() for value in (*PCRS, PCRS[0])]},
        {"listed": [value.hex().upper() for value in PCRS]},
        {"listed": [value.hex()[:-2] for value in PCRS]},
        {"listed": [value.hex() + "\n" for value in PCRS]},
        {"listed": {}},
        {"event_log": "!"},
        {"event_log": base64.b64encode(bytes(256 * 1024 + 1)).decode()},
        {"more": 1},
    ],
)
def test_step_1_another_form(ak, changed):
    refused(evidence(ak, BOUND, **changed), 1, Enrolled(ak))


@pytest.mark.parametrize("member", ["ak_public", "tpm_quote"])
def test_step_1_something_is_missing(ak, member):
    given = evidence(ak, BOUND)
    del given[member]
    refused(given, 1, Enrolled(ak))


def test_step_2_a_key_that_is_not_enrolled(ak, other):
    with pytest.raises(AttestationRefused, match="not enrolled"):
        verify_tpm(evidence(other, BOUND), REPORT_DATA, Enrolled(ak))
    with pytest.raises(AttestationRefused, match="not enrolled"):
        verify_tpm(evidence(ak, BOUND), REPORT_DATA, Enrolled())


def test_step_2_a_store_that_answers_with_another_key(ak, other):
    with pytest.raises(AttestationRefused, match="step 2"):
        verify_tpm(evidence(ak, BOUND), REPORT_DATA, lambda _: der(other))


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),
        rsa.generate_private_key(3, 2048),
        ec.generate_private_key(ec.SECP256R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["1024 bits", "exponent 3", "P-256", "Ed25519"],
)
def test_step_3_a_key_of_another_kind(ak, key):
    given = evidence(ak, BOUND, ak_public=base64.b64encode(der(key)).decode())
    refused(given, 3, Enrolled(key))
    with pytest.raises(EvidenceRefused):
        read_attestation_key(der(key))


@pytest.mark.parametrize("raw", [b"", bytes(32), b"\x30\x00"])
def test_step_3_no_key(ak, raw):
    refused(evidence(ak, BOUND, ak_public=base64.b64encode(raw).decode()), 3, lambda _: raw)


def test_step_4_another_key_signed(ak, other):
    message = quote_message(BOUND)
    refused(evidence(ak, BOUND, signature=marshalled(sign(other, message))), 4, Enrolled(ak, other))


@pytest.mark.parametrize("algorithm", [SHA1(), SHA384()], ids=["SHA-1", "SHA-384"])
def test_step_4_signed_over_another_hash(ak, algorithm):
    signature = marshalled(sign(ak, quote_message(BOUND), algorithm))
    refused(evidence(ak, BOUND, signature=signature), 4, Enrolled(ak))


@pytest.mark.parametrize(
    "changed",
    [
        {"scheme": 0x0016},
        {"scheme": 0x0018},
        {"algorithm": 0x0004},
        {"algorithm": 0x000C},
        {"tail": b"\0"},
    ],
)
def test_step_4_a_signature_of_another_scheme(ak, changed):
    signature = marshalled(sign(ak, quote_message(BOUND)), **changed)
    refused(evidence(ak, BOUND, signature=signature), 4, Enrolled(ak))


@pytest.mark.parametrize("cut", [0, 1, 5, 100, 261])
def test_step_4_a_truncated_signature(ak, cut):
    signature = marshalled(sign(ak, quote_message(BOUND)))[:cut]
    refused(evidence(ak, BOUND, signature=signature), 4, Enrolled(ak))


@pytest.mark.parametrize(
    "changed",
    [
        {"magic": 0xFF544348},
        {"magic": 0},
        {"type": 0x8017},
        {"type": 0x8014},
        {"type": 0x801A},
        {"bank": 0x0004},
        {"bank": 0x000C},
        {"selections": 2},
        {"selected": b"\xff\xff\xfe"},
        {"selected": b""},
        {"digest": bytes(20)},
        {"tail": b"\0"},
        {"clock": bytes(16)},
    ],
    ids=str,
)
def test_step_5_what_the_key_signed_is_no_such_quote(ak, changed):
    message = quote_message(**{"extra_data": BOUND, **changed})
    refused(evidence(ak, BOUND, message=message), 5, Enrolled(ak))


@pytest.mark.parametrize("cut", [0, 4, 6, 40, 90, -1])
def test_step_5_a_truncated_quote(ak, cut):
    refused(evidence(ak, BOUND, message=quote_message(BOUND)[:cut]), 5, Enrolled(ak))


@pytest.mark.parametrize(
    "carried",
    [
        b"",
        bytes(48),
        hashlib.sha384(b"another").digest(),
        BOUND[:-1],
        BOUND[1:],
        BOUND + b"\1",
        REPORT_DATA + b"\0",
    ],
)
def test_step_6_other_report_data(ak, carried):
    refused(evidence(ak, carried), 6, Enrolled(ak))


def test_step_6_a_replayed_quote(ak):
    given = evidence(ak, BOUND)
    verify_tpm(given, REPORT_DATA, Enrolled(ak))
    refused(given, 6, Enrolled(ak), report_data=os.urandom(48) + bytes(16))


@pytest.mark.parametrize("index", range(24))
def test_step_7_another_pcr(ak, index):
    pcrs = [value.hex() for value in PCRS]
    pcrs[index] = "00" * 32
    refused(evidence(ak, BOUND, listed=pcrs), 7, Enrolled(ak))


def test_step_7_pcrs_in_another_order(ak):
    refused(evidence(ak, BOUND, listed=[value.hex() for value in reversed(PCRS)]), 7, Enrolled(ak))


@pytest.mark.parametrize(
    ("log", "step"),
    [
        (b"", 1),
        (LOG[:-1], 1),
        (LOG[1:], 1),
        (HEADER + event(24, b"beyond"), 1),
        (LOG.replace(struct.pack("<HH", 0x0B, 32), struct.pack("<HH", 0x0C, 32), 1), 1),
        (HEADER + event(4, b"another kernel"), 2),
        (HEADER + event(9, b"line") + event(9, b"initrd"), 2),
        (LOG + event(4, b"more"), 2),
        (HEADER + event(11, b"nothing"), 2),
    ],
)
def test_step_8_a_log_that_explains_something_else(ak, log, step):
    given = evidence(ak, BOUND, pcrs=MEASURED, event_log=base64.b64encode(log).decode())
    refused(given, step, Enrolled(ak))


@given(data=st.data())
def test_no_bit_of_the_quote_or_its_signature_can_be_changed(ak, data):
    good = evidence(ak, BOUND)
    part = data.draw(st.sampled_from(["message", "signature"]))
    raw = bytearray(base64.b64decode(good["tpm_quote"][part]))
    bit = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[bit // 8] ^= 1 << bit % 8
    changed = {**good, "tpm_quote": {**good["tpm_quote"], part: base64.b64encode(raw).decode()}}
    with pytest.raises(EvidenceRefused):
        verify_tpm(changed, REPORT_DATA, Enrolled(ak))
