"""The issuer for Azure, asking a real TPM in software, a stand-in of the metadata service, and the kernel's device."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading

import pytest

from confide.attestation.azure.evidence import AzureEvidence
from confide.attestation.azure.hcl import HardwareReport, read_hcl, read_runtime
from confide.attestation.claims import Tee
from confide.attestation.tpm.quote import has_digest, read_quote, signed_by
from confide.enclave.issuers.azure_vtpm import AzureIssuer, detect
from confide.enclave.issuers.tpm_device import open_tpm
from confide.errors import AttestationRefused

from ....unit.attestation.azure.synthetic import hcl_report, runtime_json
from .metadata import serving

SNP, TDX = HardwareReport.SNP, HardwareReport.TDX
TEE = {SNP: Tee.AZURE_SNP, TDX: Tee.AZURE_TDX}
HARDWARE = {SNP: bytes(1184), TDX: bytes(range(256)) * 4}


@pytest.fixture
def azure(software_tpm, provisioned):
    """Return start(kind, **settings) -> SoftwareTpm that holds a report of that kind."""

    def start(kind, **settings):
        return software_tpm(
            hcl_report(HARDWARE[kind], runtime_json(provisioned[1]), kind, size=0), **settings
        )

    return start


def issue(tpm, kind, report_data, server):
    return AzureEvidence.of(AzureIssuer(TEE[kind], tpm.device, server.url).issue(report_data))


def test_a_quote_by_the_key_that_the_report_names(azure, report_data, vcek_pem):
    tpm = azure(SNP)
    with serving(vcek=vcek_pem) as server:
        evidence = issue(tpm, SNP, report_data, server)
    quote, message = evidence.tpm_quote, read_quote(evidence.tpm_quote.message)
    key = read_runtime(read_hcl(evidence.hcl_report).runtime_json).attestation_key
    assert key.public_numbers() == tpm.key.public_numbers()
    assert signed_by(key, quote.message, quote.signature)
    assert message.extra_data == report_data[:48]
    assert has_digest(quote.pcrs, message.pcr_digest)
    assert quote.pcrs[4] == hashlib.sha256(bytes(32) + (5).to_bytes(32, "big")).digest()
    assert evidence.vcek is not None
    assert evidence.td_quote is None


def test_the_tools_read_the_same(azure, report_data):
    tpm = azure(SNP)
    with open_tpm(tpm.device) as opened:
        pcrs, report = opened.read_pcrs(), opened.read_nv(0x01400001)
    said = tpm.tool("tpm2_pcrread", "sha256")
    values = [line.split("0x")[1].strip().lower() for line in said.splitlines() if "0x" in line]
    assert values == [value.hex() for value in pcrs]
    tpm.tool("tpm2_nvread", "0x01400001", "-C", "o", "-o", str(tpm.device.parent.parent / "report"))
    assert (tpm.device.parent.parent / "report").read_bytes() == report


def test_a_td_quote_for_the_report_in_the_tpm(azure, report_data):
    tpm = azure(TDX)
    with serving(quote=lambda td_report: b"quote of " + td_report) as server:
        evidence = issue(tpm, TDX, report_data, server)
    assert evidence.td_quote == b"quote of " + HARDWARE[TDX]
    assert evidence.vcek is None
    assert server.asked == [("POST", "/acc/tdquote")]


def test_a_pcr_that_changes_costs_another_try(azure, report_data):
    tpm = azure(SNP, **{"change once": True})
    with serving() as server:
        evidence = issue(tpm, SNP, report_data, server)
    assert has_digest(evidence.tpm_quote.pcrs, read_quote(evidence.tpm_quote.message).pcr_digest)
    assert any(evidence.tpm_quote.pcrs[23])


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("PCRs always change", "changed during each of 5"),
        ("EIO", "Input/output error"),
        ("short write", "not taken whole"),
        ("no answer", "no answer"),
        ("cut", "of another size"),
        ("another size", "of another size"),
    ],
)
def test_misbehaviour_of_the_device(azure, report_data, fault, reason):
    tpm = azure(SNP, fault=fault)
    with serving() as server, pytest.raises(AttestationRefused, match=reason):
        issue(tpm, SNP, report_data, server)


def test_a_report_of_other_hardware(azure, report_data):
    with serving() as server:
        tpm = azure(SNP)
        with pytest.raises(AttestationRefused, match="holds a report of az-snp-vtpm, not of az-tdx-vtpm"):
            issue(tpm, TDX, report_data, server)
    assert server.asked == []


def test_a_tpm_without_a_report(software_tpm, report_data):
    tpm = software_tpm()
    assert detect(tpm.device) is None
    with serving() as server, pytest.raises(AttestationRefused, match="refused with code 0x14a"):
        issue(tpm, SNP, report_data, server)


def test_a_tpm_with_something_else_at_that_place(software_tpm, report_data):
    tpm = software_tpm(os.urandom(2048))
    assert detect(tpm.device) is None
    with serving() as server, pytest.raises(AttestationRefused, match="HCLA"):
        issue(tpm, SNP, report_data, server)


def test_a_tpm_without_the_key(azure, report_data):
    tpm = azure(SNP)
    tpm.tool("tpm2_evictcontrol", "-C", "o", "-c", "0x81000003")
    with serving() as server, pytest.raises(AttestationRefused, match="refused with code"):
        issue(tpm, SNP, report_data, server)


def test_report_data_that_would_not_fit_is_not_cut(azure):
    tpm = azure(SNP)
    with serving() as server, pytest.raises(AttestationRefused, match="48 bytes"):
        issue(tpm, SNP, bytes(range(64)), server)


def test_no_tpm(tmp_path, report_data):
    missing = tmp_path / "tpmrm0"
    assert detect(missing) is None
    with pytest.raises(AttestationRefused, match="No such file"):
        AzureIssuer(Tee.AZURE_SNP, missing).issue(report_data)


@pytest.mark.parametrize("kind", [SNP, TDX])
def test_detected(azure, kind):
    assert detect(azure(kind).device) is TEE[kind]


COMPRESSED = gzip.compress(b'{"quote": "AAAA"' + b" " * 10_000_000 + b"}")


@pytest.mark.parametrize(
    "answer",
    [
        (200, b""),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"quote": 7, "vcekCert": 7}'),
        (200, b'{"quote": "!", "vcekCert": "!"}'),
        (200, b"[" * 5000),
        (200, b" " * 100_000),
        (200, b'{"quote": "' + b"A" * 40_000 + b'"}'),
        (200, COMPRESSED),
        (302, b""),
        (404, b""),
        (500, b""),
    ],
)
def test_misbehaviour_of_the_metadata_service(azure, report_data, answer):
    with serving(answer=answer) as server:
        assert issue(azure(SNP), SNP, report_data, server).vcek is None
        with pytest.raises(AttestationRefused, match="metadata service issues no evidence"):
            issue(azure(TDX), TDX, report_data, server)
    assert len(server.asked) == 2


def test_no_metadata_service(azure, report_data, unused_url):
    evidence = AzureIssuer(Tee.AZURE_SNP, azure(SNP).device, unused_url).issue(report_data)
    assert "vcek" not in evidence
    with pytest.raises(AttestationRefused, match="ConnectError"):
        AzureIssuer(Tee.AZURE_TDX, azure(TDX).device, unused_url).issue(report_data)


def test_a_proxy_of_the_environment_is_not_asked(azure, report_data, monkeypatch, unused_url, vcek_pem):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, unused_url)
    with serving(vcek=vcek_pem) as server:
        assert issue(azure(SNP), SNP, report_data, server).vcek is not None


def test_two_ask_at_once(azure, report_data):
    tpm, found = azure(SNP), {}

    def ask(name, data):
        with serving() as server:
            found[name] = issue(tpm, SNP, data, server)

    asked = {name: os.urandom(48) + bytes(16) for name in range(3)}
    threads = [threading.Thread(target=ask, args=item) for item in asked.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, data in asked.items():
        assert read_quote(found[name].tpm_quote.message).extra_data == data[:48]
