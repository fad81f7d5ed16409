"""The form of Azure's evidence."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.azure.evidence import AzureEvidence, quote_data
from confide.errors import EvidenceRefused, InvalidFormat

from .synthetic import PCRS, evidence

GOOD = evidence(b"hcl", b"message", b"signature", vcek="AAAA")


def test_read_and_written():
    assert AzureEvidence.of(GOOD).wire() == GOOD


def test_real_evidence_read_and_written(real):
    assert AzureEvidence.of(real).wire() == real


@pytest.mark.parametrize("name", ["version", "hcl_report", "tpm_quote"])
def test_a_member_is_missing(name):
    with pytest.raises(EvidenceRefused, match=name):
        AzureEvidence.of({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("version", 0),
        ("version", 3),
        ("version", "1"),
        ("version", True),
        ("version", None),
        ("hcl_report", [72, 67, 76, 65]),
        ("hcl_report", "A"),
        ("hcl_report", "AAA=="),
        ("hcl_report", "AAAA="),
        ("hcl_report", "AA A"),
        ("hcl_report", "A+/A"),
        ("hcl_report", "éééé"),
        ("hcl_report", "A" * 20_000),
        ("vcek", "A" * 8_000),
        ("vcek", "-----BEGIN CERTIFICATE-----"),
        ("td_quote", "A" * 40_000),
        ("tpm_quote", None),
        ("tpm_quote", "quote"),
        ("quote", {}),
        ("report", "AAAA"),
    ],
)
def test_another_member(name, value):
    with pytest.raises(EvidenceRefused, match=name):
        AzureEvidence.of({**GOOD, name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("message", "0"),
        ("message", "zz"),
        ("message", [255]),
        ("message", "00" * 513),
        ("signature", "00" * 513),
        ("signature", None),
        ("pcrs", []),
        ("pcrs", [value.hex() for value in PCRS[:23]]),
        ("pcrs", [*(value.hex() for value in PCRS), "00" * 32]),
        ("pcrs", ["00" * 31] * 24),
        ("pcrs", ["00" * 33] * 24),
        ("pcrs", [""] * 24),
        ("pcrs", [0] * 24),
        ("pcrs", {str(index): "00" * 32 for index in range(24)}),
        ("more", "00"),
    ],
)
def test_another_quote(name, value):
    with pytest.raises(EvidenceRefused, match=name):
        AzureEvidence.of({**GOOD, "tpm_quote": {**GOOD["tpm_quote"], name: value}})


def test_the_form_without_a_number_is_refused():
    with pytest.raises(EvidenceRefused):
        AzureEvidence.of(
            {"quote": {"message": [1], "signature": [1], "pcrs": []}, "report": [1], "vcek": "PEM"}
        )


def test_no_value_is_in_a_message():
    with pytest.raises(EvidenceRefused) as refused:
        AzureEvidence.of({**GOOD, "hcl_report": "sesame!"})
    assert "sesame" not in str(refused.value)


@given(
    st.dictionaries(st.sampled_from([*GOOD, "td_quote"]), st.text() | st.integers() | st.binary() | st.none())
)
def test_any_members(members):
    with pytest.raises(EvidenceRefused):
        AzureEvidence.of(members)


def test_quote_data():
    digest = bytes(range(48))
    assert quote_data(digest + bytes(16)) == digest
    assert quote_data(bytes(64)) == bytes(48)


@pytest.mark.parametrize(
    "report_data", [b"", bytes(48), bytes(63), bytes(65), bytes(48) + b"\1" + bytes(15), bytes(63) + b"\1"]
)
def test_other_report_data(report_data):
    with pytest.raises(InvalidFormat):
        quote_data(report_data)
