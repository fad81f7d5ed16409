"""The issuer for TPMs, asking a real TPM in software: what it issues is what the verifier takes."""

from __future__ import annotations

import hashlib
import os

import pytest

from confide.attestation.tpm.verify import verify_tpm
from confide.enclave.issuers.tpm import TpmIssuer, attestation_key_of
from confide.enclave.issuers.tpm_device import open_tpm
from confide.errors import AttestationRefused, EvidenceRefused


def enrolled(tpm):
    der = attestation_key_of(tpm.device)
    return {hashlib.sha256(der).hexdigest(): der}


def issue(tpm, report_data, log="nowhere"):
    return TpmIssuer(tpm.device, tpm.device.with_name(log)).issue(report_data)


def test_what_a_tpm_issues_verifies(software_tpm, report_data):
    tpm = software_tpm()
    keys = enrolled(tpm)
    platform = verify_tpm(issue(tpm, report_data), report_data, keys.__getitem__)
    assert platform.registers["pcr4"] == hashlib.sha256(bytes(32) + (5).to_bytes(32, "big")).hexdigest()
    assert platform.registers["pcr5"] == "00" * 32
    assert platform.hardware_ids == tuple(keys)


def test_a_tpm_always_has_the_same_key_and_keeps_nothing(software_tpm, report_data):
    tpm = software_tpm()
    for _ in range(4):  # a TPM has room for three objects
        assert enrolled(tpm) == enrolled(tpm)
        issue(tpm, report_data)
    assert tpm.tool("tpm2_getcap", "handles-transient").strip() == ""


def test_the_key_signs_nothing_but_what_the_tpm_says(software_tpm):
    tpm = software_tpm()
    with open_tpm(tpm.device) as opened, opened.attestation_key() as (handle, _):
        public = tpm.tool("tpm2_readpublic", "-c", hex(handle))
    for attribute in ("fixedtpm", "fixedparent", "sensitivedataorigin", "restricted", "sign"):
        assert attribute in public
    assert "decrypt" not in public


def test_another_pcr_gives_another_quote(software_tpm, report_data):
    tpm = software_tpm()
    before = issue(tpm, report_data)
    tpm.tool("tpm2_pcrextend", f"9:sha256={1:064x}")
    after = issue(tpm, report_data)
    assert (
        verify_tpm(after, report_data, enrolled(tpm).__getitem__).registers["pcr9"]
        != (before["tpm_quote"]["pcrs"][9])
    )
    with pytest.raises(EvidenceRefused, match="step 7"):
        verify_tpm(
            after | {"tpm_quote": after["tpm_quote"] | {"pcrs": before["tpm_quote"]["pcrs"]}},
            report_data,
            enrolled(tpm).__getitem__,
        )


def test_another_attestations_report_data(software_tpm, report_data):
    tpm = software_tpm()
    with pytest.raises(EvidenceRefused, match="step 6"):
        verify_tpm(issue(tpm, report_data), os.urandom(48) + bytes(16), enrolled(tpm).__getitem__)


def test_report_data_that_is_not_of_the_protocol(software_tpm):
    with pytest.raises(AttestationRefused, match="report data"):
        issue(software_tpm(), os.urandom(64))


def test_no_tpm(tmp_path, report_data):
    with pytest.raises(AttestationRefused, match="the TPM issues no evidence"):
        TpmIssuer(tmp_path / "tpmrm0").issue(report_data)
