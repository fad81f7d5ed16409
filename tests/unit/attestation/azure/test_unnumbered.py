"""Azure's evidence of the form without a number."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from confide.attestation.amd.certificates import built_in
from confide.attestation.azure.evidence import AzureEvidence
from confide.attestation.azure.unnumbered import read_unnumbered
from confide.errors import EvidenceRefused

from .synthetic import PCRS

CERTIFICATE = built_in()[0]
QUOTE = {"message": [1, 2], "signature": [3], "pcrs": [list(pcr) for pcr in PCRS]}
SNP = {"quote": QUOTE, "report": [72, 67], "vcek": CERTIFICATE.public_bytes(Encoding.PEM).decode()}
TDX = {"tpm_quote": QUOTE, "hcl_report": [72, 67], "td_quote": [4, 0]}


def test_says_the_same_as_form_1():
    snp, tdx = read_unnumbered(SNP), read_unnumbered(TDX)
    assert (snp.hcl_report, snp.vcek, snp.td_quote) == (b"HC", CERTIFICATE.public_bytes(Encoding.DER), None)
    assert (tdx.hcl_report, tdx.vcek, tdx.td_quote) == (b"HC", None, b"\4\0")
    for read in (snp, tdx):
        assert read.tpm_quote.pcrs == PCRS
        assert AzureEvidence.of(read.wire()) == read


@pytest.mark.parametrize(
    "evidence",
    [
        {},
        {**SNP, "version": 1},
        {**SNP, "report": "HCLA"},
        {**SNP, "report": [256]},
        {**SNP, "report": [-1]},
        {**SNP, "report": [1.5]},
        {**SNP, "report": [0] * 10_000},
        {**SNP, "vcek": "certificate"},
        {**SNP, "vcek": [1]},
        {**SNP, "quote": {**QUOTE, "pcrs": QUOTE["pcrs"][1:]}},
        {**SNP, "quote": {**QUOTE, "pcrs": [[0]] * 24}},
        {**SNP, "quote": None},
        {**TDX, "td_quote": [0] * 20_000},
        {**TDX, "td_quote": None},
        {**TDX, "vcek": SNP["vcek"]},
    ],
)
def test_another_form(evidence):
    with pytest.raises(EvidenceRefused, match="step 1"):
        read_unnumbered(evidence)


def test_no_attestation_takes_it():
    for evidence in (SNP, TDX):
        with pytest.raises(EvidenceRefused, match="step 1"):
            AzureEvidence.of(evidence)
