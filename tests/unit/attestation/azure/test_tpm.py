"""TPM quotes."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.hashes import SHA1, SHA256, SHA384
from hypothesis import example, given
from hypothesis import strategies as st

from confide.attestation.azure.evidence import AzureEvidence
from confide.attestation.azure.hcl import read_hcl, read_runtime
from confide.attestation.tpm.quote import MAX_QUOTE_BYTES, has_digest, read_quote, signed_by
from confide.errors import InvalidFormat

from .synthetic import PCRS, quote_message, sign


def test_a_quote_is_read():
    quote = read_quote(quote_message(b"x" * 48))
    assert quote.extra_data == b"x" * 48
    assert has_digest(PCRS, quote.pcr_digest)


def test_a_real_quote(real):
    evidence = AzureEvidence.of(real)
    quote = read_quote(evidence.tpm_quote.message)
    assert quote.extra_data == b"challenge"
    assert has_digest(evidence.tpm_quote.pcrs, quote.pcr_digest)
    key = read_runtime(read_hcl(evidence.hcl_report).runtime_json).attestation_key
    assert signed_by(key, evidence.tpm_quote.message, evidence.tpm_quote.signature)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"magic": 0}, "magic"),
        ({"magic": 0xFF544348}, "magic"),
        ({"type": 0x8017}, "another kind"),
        ({"type": 0x8014}, "another kind"),
        ({"extra_data": bytes(67)}, "66 bytes"),
        ({"selections": 0}, "SHA-256 bank"),
        ({"selections": 2}, "SHA-256 bank"),
        ({"bank": 0x0004}, "SHA-256 bank"),
        ({"bank": 0x000C}, "SHA-256 bank"),
        ({"selected": b"\xff\xff\xfe"}, "all 24 PCRs"),
        ({"selected": b"\xff\xff"}, "all 24 PCRs"),
        ({"selected": b"\xff\xff\xff\xff"}, "all 24 PCRs"),
        ({"selected": b""}, "all 24 PCRs"),
        ({"digest": bytes(20)}, "SHA-256 digest"),
        ({"digest": bytes(48)}, "SHA-256 digest"),
        ({"digest": b""}, "SHA-256 digest"),
        ({"tail": b"\0"}, "SHA-256 digest"),
        ({"clock": bytes(16)}, "TPM quote|truncated"),
        ({"signer": bytes(600)}, "at most"),
    ],
)
def test_another_quote(changed, reason):
    with pytest.raises(InvalidFormat, match=reason):
        read_quote(quote_message(**{"extra_data": b"x" * 48, **changed}))


def test_every_truncation():
    message = quote_message(b"x" * 48)
    for size in range(len(message)):
        with pytest.raises(InvalidFormat):
            read_quote(message[:size])


@given(st.binary(max_size=MAX_QUOTE_BYTES + 1))
@example(b"\xff\x54\x43\x47\x80\x18" + b"\xff" * 100)
def test_any_bytes(data):
    with pytest.raises(InvalidFormat):
        read_quote(data)


@given(
    extra_data=st.binary(max_size=66),
    firmware=st.integers(0, 2**64 - 1),
    digest=st.binary(min_size=32, max_size=32),
)
def test_what_is_said_is_read(extra_data, firmware, digest):
    quote = read_quote(quote_message(extra_data, firmware=firmware, digest=digest))
    assert (quote.extra_data, quote.firmware, quote.pcr_digest) == (extra_data, firmware, digest)


def test_signatures(ak, other_ak):
    message = quote_message(b"x" * 48)
    key, signature = ak.public_key(), sign(ak, message)
    assert signed_by(key, message, signature)
    assert not signed_by(other_ak.public_key(), message, signature)
    assert not signed_by(key, message + b"\0", signature)
    assert not signed_by(key, message, b"")
    assert not signed_by(key, message, signature[1:])
    assert not signed_by(key, message, signature + b"\0")
    assert not signed_by(key, message, b"\0" + signature)
    assert not signed_by(key, message, bytes(256))
    assert not signed_by(key, message, b"\xff" * 256)
    for algorithm in (SHA1(), SHA384()):
        assert not signed_by(key, message, sign(ak, message, algorithm))
    assert not signed_by(key, message, ak.sign(message, PSS(MGF1(SHA256()), 32), SHA256()))


@given(where=st.integers(0, 255), bit=st.integers(0, 7))
def test_any_flipped_bit_of_a_signature(ak, where, bit):
    message = quote_message(b"x" * 48)
    signature = bytearray(sign(ak, message))
    signature[where] ^= 1 << bit
    assert not signed_by(ak.public_key(), message, bytes(signature))


def test_digests():
    digest = read_quote(quote_message(b"")).pcr_digest
    assert has_digest(PCRS, digest)
    assert not has_digest(PCRS[:23], digest)
    assert not has_digest((*PCRS, PCRS[0]), digest)
    assert not has_digest((PCRS[1], PCRS[0], *PCRS[2:]), digest)
    assert not has_digest((PCRS[0] + PCRS[1][:1], PCRS[1][1:], *PCRS[2:]), digest)
    assert not has_digest(PCRS, b"")
    assert not has_digest((), digest)
