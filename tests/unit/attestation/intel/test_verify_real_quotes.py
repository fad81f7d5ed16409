"""Quotes of real platforms: what is known of them, and nothing else, is what verification says."""

from __future__ import annotations

import json
import re
from collections import Counter

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.claims import Platform
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.quote import parse_quote, trim_padding
from confide.attestation.intel.roots import SGX_ROOT
from confide.attestation.intel.verify import verify_quote
from confide.errors import CollateralUnavailable, EvidenceRefused, InvalidFormat

from .synthetic import Authority


def outcome(data, collateral, now):
    """Return what verification comes to, comparable; only the two errors that it promises are caught."""
    try:
        return verify_quote(data, collateral, now).platform
    except (EvidenceRefused, CollateralUnavailable) as error:
        return type(error), str(error)


def refused(data, collateral, now, step, reason):
    with pytest.raises(EvidenceRefused, match=reason) as caught:
        verify_quote(data, collateral, now)
    assert caught.value.step == step


def changed(real, **members):
    return Collateral.from_json(json.dumps({**json.loads(real.collateral_json), **members}).encode())


def test_what_is_known_of_them(sgx, tdx):
    for real in (sgx, tdx):
        verified, inside = verify_quote(real.raw, real.collateral, real.now), real.expected["inside"]
        platform = verified.platform
        assert (platform.tcb.status, list(platform.tcb.advisories)) == (
            inside["status"],
            inside["advisory_ids"],
        )
        assert platform.expires == real.expected["window_end"]
        assert platform.debug is False
        assert platform.tcb.date == 1710288000  # 2024-03-13
        assert platform.tcb.evaluation == real.collateral.evaluation == 17
        assert verified.quote == parse_quote(real.raw)


def test_platform_of_sgx(sgx):
    platform, fields = verify_quote(sgx.raw, sgx.collateral, sgx.now).platform, sgx.expected["fields"]
    assert set(platform.registers) == {
        *("mrenclave", "mrsigner", "config_id", "family_id", "ext_prod_id", "attributes", "misc_select")
    }
    assert {
        name: platform.registers[name] for name in ("mrenclave", "mrsigner", "attributes")
    }.items() <= fields.items()
    assert platform.numbers == {
        "isv_prod_id": fields["isvprodid"],
        "isv_svn": fields["isvsvn"],
        "config_svn": 0,
    }
    assert platform.hardware_ids == (
        "d04ec06d4e6d92dc90d0ad3cf5ee2ddf",
    )  # PPID: a processor CA certifies no PIID
    assert (platform.tcb.smt, platform.tcb.dynamic_platform, platform.tcb.cached_keys) == (None, None, None)


def test_platform_of_tdx(tdx):
    platform, fields = verify_quote(tdx.raw, tdx.collateral, tdx.now).platform, tdx.expected["fields"]
    for name in ("mrtd", "mrconfigid", "mrseam", "xfam"):
        assert platform.registers[name] == fields[name]
    assert platform.registers["td_attributes"] == fields["tdattributes"]
    assert [platform.registers[f"rtmr{index}"] for index in range(4)] == fields["rtmr"]
    assert platform.numbers == {}
    assert platform.hardware_ids == ("07828474603e7019dc930775ffe8cdd2",)
    assert (platform.tcb.smt, platform.tcb.dynamic_platform, platform.tcb.cached_keys) == (True, True, True)


def test_those_that_are_genuine_and_refused(sgx_debug, tdx5):
    refused(sgx_debug.raw, sgx_debug.collateral, sgx_debug.now, 5, "inspected from outside")
    refused(tdx5.raw, tdx5.collateral, tdx5.now, 4, "older than every TCB level")


def test_before_and_after_the_validity_of_collateral(each):
    expected = each.expected
    assert outcome(each.raw, each.collateral, expected["window_start"]) == outcome(
        each.raw, each.collateral, each.now
    )
    assert outcome(each.raw, each.collateral, expected["window_end"] - 1) == outcome(
        each.raw, each.collateral, each.now
    )
    for now in (expected["window_start"] - 1, expected["before"]["now"], 0, -(2**70)):
        kind, reason = outcome(each.raw, each.collateral, now)
        assert kind is CollateralUnavailable
        assert "later than now" in reason
    for now in (expected["window_end"], expected["after"]["now"], 2**40, 2**70):
        kind, reason = outcome(each.raw, each.collateral, now)
        assert kind is CollateralUnavailable
        assert "expired at 20" in reason
        assert "confide collateral fetch" in reason


def test_trailing_bytes(each):
    for more in (b"\0", b"\1", bytes(64), b"\xff" * 3000):
        refused(each.raw + more, each.collateral, each.now, 1, "behind its end")
    assert outcome(trim_padding(each.padded), each.collateral, each.now) == outcome(
        each.raw, each.collateral, each.now
    )


def test_truncations(each):
    for size in [*range(0, len(each.raw), 61), len(each.raw) - 1]:
        refused(each.raw[:size], each.collateral, each.now, 1, "needed|left|beyond")


# -- One bit of every byte.


def chain_at(raw):
    return raw.index(b"-----BEGIN")


def unsigned(raw):
    """Return what nothing signs in a quote, by name: offsets of its bytes.

    The chain is PEM. The pinned root counts, not the one that stands last in it; where its lines end does not
    change what a certificate is.
    """
    blocks = [match.start() for match in re.finditer(b"-----BEGIN", raw)]
    assert len(blocks) == 3
    return {
        "root in the chain": range(blocks[2], len(raw)),
        "line ends of the chain": [at for at in range(blocks[0], blocks[2]) if raw[at] == ord("\n")],
    }


def flip(real, at, bit):
    data = bytearray(real.raw)
    data[at] ^= 1 << bit
    return outcome(bytes(data), real.collateral, real.now)


def check_flips(real, flips):
    """A flip is refused, and for a reason of its own, or lies where nothing is signed and changes nothing."""
    sound = outcome(real.raw, real.collateral, real.now)
    free = {at: name for name, offsets in unsigned(real.raw).items() for at in offsets}
    accepted, elsewhere, different = Counter(), [], []
    for at, bit in flips:
        found = flip(real, at, bit)
        if found == sound:
            accepted[free.get(at)] += 1
            elsewhere += [at] if at not in free else []
        elif isinstance(found, Platform):
            different.append(at)
    assert (elsewhere, different) == ([], [])
    assert accepted.keys() <= {"root in the chain", "line ends of the chain"}
    return accepted


@pytest.mark.exhaustive
def test_a_flip_in_every_byte(sgx, tdx):
    for real in (sgx, tdx):
        accepted = check_flips(real, [(at, at * 5 % 8) for at in range(len(real.raw))])
        assert accepted.total() < 700  # of the root's 920


@pytest.mark.exhaustive
def test_flips_in_quotes_that_are_refused_anyway(sgx_debug, tdx5):
    """Another signature fails before that which they are refused for."""
    for real in (sgx_debug, tdx5):
        check_flips(real, [(at, at % 8) for at in range(0, len(real.raw), 8)])


@pytest.mark.slow
def test_a_flip_of_every_bit(each):
    check_flips(each, [(at, bit) for at in range(len(each.raw)) for bit in range(8)])


@given(st.data())
def test_several_changes_at_once(sgx, tdx, data):
    real = data.draw(st.sampled_from((sgx, tdx)))
    sound = outcome(real.raw, real.collateral, real.now)
    end = chain_at(real.raw)
    raw = bytearray(real.raw)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, end - 1))
        raw[at] ^= data.draw(st.integers(1, 255))
    if bytes(raw) != real.raw:
        found = outcome(bytes(raw), real.collateral, real.now)
        assert found != sound
        assert not isinstance(found, Platform)


# -- Parts of one quote in another.


def parts(real):
    """Return the parts of a quote and where they lie."""
    quote = parse_quote(real.raw)
    at = len(quote.signed) + 4
    report = at + 128 + (0 if quote.version == 3 else 6)
    auth = report + 384 + 64
    return {
        "header": slice(0, 48),
        "body": slice(48, len(quote.signed)),
        "signature": slice(at, at + 64),
        "attestation key": slice(at + 64, at + 128),
        "QE report": slice(report, report + 384),
        "QE report signature": slice(report + 384, auth),
        "QE authentication data": slice(auth + 2, auth + 34),
    }


@pytest.mark.parametrize(
    "names",
    [
        ("body",),
        ("signature",),
        ("attestation key",),
        ("body", "signature"),
        ("body", "signature", "attestation key"),
        ("QE report",),
        ("QE report signature",),
        ("QE report", "QE report signature"),
        ("QE authentication data",),
        ("attestation key", "QE report", "QE report signature", "QE authentication data"),
        (
            "body",
            "signature",
            "attestation key",
            "QE report",
            "QE report signature",
            "QE authentication data",
        ),
    ],
)
def test_parts_of_another_quote(sgx, sgx_debug, names):
    """All of it but the chain, for the last: genuine parts, of another machine."""
    for real, other in ((sgx, sgx_debug), (sgx_debug, sgx)):
        raw = bytearray(real.raw)
        for name in names:
            if parts(real)[name] != parts(other)[name]:
                pytest.fail("parts lie elsewhere")
            raw[parts(real)[name]] = other.raw[parts(other)[name]]
        if bytes(raw) != real.raw:
            refused(bytes(raw), real.collateral, real.now, 3, "did not sign|vouches for another")


def test_the_chain_of_another_quote(tdx, tdx5, sgx, sgx_debug):
    for real, other in ((tdx, tdx5), (tdx5, tdx), (sgx, sgx_debug)):
        at, start = chain_at(real.raw), chain_at(other.raw)
        chain = other.raw[start:]
        room = len(real.raw) - at
        raw = real.raw[:at] + chain[:room].ljust(room, b"\0")
        kind, reason = outcome(raw, real.collateral, real.now)
        assert kind is CollateralUnavailable or "did not sign" in reason or "does not read" in reason


def test_a_tdx_quote_as_one_of_sgx(tdx, sgx):
    raw = tdx.raw[:4] + bytes(4) + tdx.raw[8:]
    assert isinstance(outcome(raw, tdx.collateral, tdx.now), tuple)
    assert isinstance(outcome(raw, sgx.collateral, sgx.now), tuple)


# -- Other collateral.


def test_collateral_for_another_platform(sgx, sgx_debug, tdx, tdx5):
    for real, other in ((sgx, sgx_debug), (tdx, tdx5), (tdx, sgx), (sgx, tdx)):
        kind, reason = outcome(real.raw, other.collateral, real.now)
        assert kind is CollateralUnavailable
        assert f"the collateral is for {other.collateral.tee.upper()} on {other.collateral.fmspc}" in reason


def test_changed_signatures(each):
    for name, step in (("tcb_info_signature", 4), ("qe_identity_signature", 5)):
        signature = bytearray.fromhex(json.loads(each.collateral_json)[name])
        for at in (0, 31, 32, 63):
            flipped = bytearray(signature)
            flipped[at] ^= 1
            refused(each.raw, changed(each, **{name: flipped.hex()}), each.now, step, "not signed by Intel")
        for other in (b"", bytes(64), bytes(signature[:63]), bytes(signature) + b"\0", b"\xff" * 64):
            refused(
                each.raw, changed(each, **{name: other.hex()}), each.now, step, "signature|signed by Intel"
            )


def test_changed_documents(each):
    """Their form is right, so that only the signature tells."""
    for name, step in (("tcb_info", 4), ("qe_identity", 5)):
        document = json.loads(each.collateral_json)[name]
        for text in (
            document + " ",
            document.replace("OutOfDate", "UpToDate"),
            json.dumps(json.loads(document)),
        ):
            if text != document:
                refused(each.raw, changed(each, **{name: text}), each.now, step, "not signed by Intel")


def test_other_chains(each):
    members = json.loads(each.collateral_json)
    ca, signer = members["pck_crl_issuer_chain"], members["tcb_info_issuer_chain"]
    quote_chain = parse_quote(each.raw).pck_chain
    rootless = signer[signer.index("-----END CERTIFICATE-----\n") + 26 :]
    for name, step, wrong in (
        ("pck_crl_issuer_chain", 2, (signer, quote_chain, rootless)),
        ("tcb_info_issuer_chain", 4, (ca, quote_chain, rootless)),
        ("qe_identity_issuer_chain", 5, (ca, quote_chain, rootless)),
    ):
        for chain in (*wrong, "", "-----BEGIN CERTIFICATE-----", members[name] * 3):
            refused(each.raw, changed(each, **{name: chain}), each.now, step, "issuer chain")


def test_the_crl_of_the_other_authority(sgx, tdx):
    members = json.loads(tdx.collateral_json)
    other = changed(sgx, pck_crl=members["pck_crl"], pck_crl_issuer_chain=members["pck_crl_issuer_chain"])
    kind, reason = outcome(sgx.raw, other, sgx.now)
    assert kind is CollateralUnavailable
    assert "platform CA" in reason


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["pck_crl", "root_ca_crl"])
def test_changed_crls(each, name):
    crl = bytes.fromhex(json.loads(each.collateral_json)[name])
    sound, accepted = outcome(each.raw, each.collateral, each.now), []
    for at in range(0, len(crl), 7):
        flipped = bytearray(crl)
        flipped[at] ^= 1 << at % 8
        try:
            collateral = changed(each, **{name: flipped.hex()})
        except InvalidFormat:
            continue
        if outcome(each.raw, collateral, each.now) == sound:
            accepted.append(at)
    assert accepted == []


@given(st.data())
def test_nothing_but_the_promised_errors_of_changed_collateral(tdx, data):
    document = bytearray(tdx.collateral_json)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(document) - 1))
        document[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    try:
        collateral = Collateral.from_json(bytes(document))
    except InvalidFormat:
        return
    outcome(tdx.raw, collateral, tdx.now)


@given(st.binary(max_size=1500), st.booleans())
def test_nothing_but_the_promised_errors_of_any_bytes(tdx, tail, headed):
    data = tdx.raw[: len(parse_quote(tdx.raw).signed)] + tail if headed else tail
    assert isinstance(outcome(data, tdx.collateral, tdx.now), tuple)


def test_another_root(each):
    other = re.findall(
        "-----BEGIN.*?-----END CERTIFICATE-----\n", each.collateral.tcb_info_issuer_chain, re.DOTALL
    )[0]
    der = x509.load_pem_x509_certificate(other.encode()).public_bytes(Encoding.DER)
    with pytest.raises(EvidenceRefused, match="root: is not its own issuer"):
        verify_quote(each.raw, each.collateral, each.now, root_der=der)
    with pytest.raises(EvidenceRefused, match="root CA CRL: is not signed by its authority"):
        verify_quote(each.raw, each.collateral, each.now, root_der=Authority().root_der)
    for der in (b"", b"0", bytes(600)):
        with pytest.raises(EvidenceRefused, match="step 1: root"):
            verify_quote(each.raw, each.collateral, each.now, root_der=der)


def test_the_pinned_root():
    certificate = x509.load_der_x509_certificate(SGX_ROOT)
    fingerprint = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3"
    assert certificate.fingerprint(SHA256()).hex() == fingerprint
    assert certificate.subject == certificate.issuer
    assert certificate.not_valid_after_utc.year == 2049
