"""Quotes that a TPM would have to be broken to give."""

from __future__ import annotations

import pytest

from confide.attestation.claims import Tee
from confide.enclave.issuers.azure_vtpm import AzureIssuer
from confide.enclave.issuers.tpm_device import SignedQuote, Tpm
from confide.errors import AttestationRefused

from ...attestation.azure.synthetic import PCRS, hcl_report, quote_message, runtime_json


@pytest.mark.parametrize(
    ("message", "signature", "pcrs", "reason"),
    [
        (quote_message(bytes(48)), bytes(513), PCRS, "signature"),
        (quote_message(bytes(48), magic=0), bytes(256), PCRS, "magic"),
        (quote_message(bytes(48)), bytes(256), PCRS[::-1], "changed during each"),
        (b"", b"", PCRS, "truncated"),
    ],
)
def test_a_broken_quote(tmp_path, monkeypatch, message, signature, pcrs, reason):
    device = tmp_path / "tpmrm0"
    device.touch()
    report = hcl_report(bytes(1184), runtime_json(None, keys=[]), 2)
    monkeypatch.setattr(Tpm, "read_nv", lambda self, index: report)
    monkeypatch.setattr(Tpm, "read_pcrs", lambda self: pcrs)
    monkeypatch.setattr(Tpm, "quote", lambda self, key, data: SignedQuote(message, signature))
    with pytest.raises(AttestationRefused, match=reason):
        AzureIssuer(Tee.AZURE_SNP, device).issue(bytes(64))
