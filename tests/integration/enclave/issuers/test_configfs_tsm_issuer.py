"""configfs-tsm, asked for TD quotes and SNP reports."""

from __future__ import annotations

import base64

import pytest

from confide.attestation.claims import Tee
from confide.enclave.issuers.configfs_tsm import TsmIssuer, detect
from confide.errors import AttestationRefused

PROVIDER = {Tee.TDX: "tdx_guest", Tee.SNP: "sev_guest"}


def test_a_td_quote_carries_the_report_data(mounted, report_data):
    folder = mounted("configfs-tsm", provider="tdx_guest")
    quote = base64.b64decode(TsmIssuer(Tee.TDX, folder).issue(report_data)["quote"])
    assert quote[568:632] == report_data
    assert not list(folder.iterdir())


def report(evidence):
    return base64.b64decode(evidence["attestation_report"])


def table(guid, content):
    head = bytes.fromhex(guid) + (48).to_bytes(4, "little") + len(content).to_bytes(4, "little")
    return (head + bytes(24) + content).hex()


def test_a_snp_report_carries_the_report_data_and_comes_with_the_hosts_certificates(mounted, report_data):
    auxblob = table("63da758de6644564adc5f4b93be8accd", b"certificate")
    folder = mounted("configfs-tsm", provider="sev_guest", auxblob=auxblob)
    evidence = TsmIssuer(Tee.SNP, folder).issue(report_data)
    assert report(evidence)[0x50:0x90] == report_data
    assert report(evidence)[0x30] == 0
    [certificate] = evidence["cert_chain"]
    assert (certificate["cert_type"], base64.b64decode(certificate["data"])) == ("VCEK", b"certificate")
    assert not list(folder.iterdir())


@pytest.mark.parametrize("settings", [{"fault": "no auxblob"}, {"auxblob": ""}, {"auxblob": "00" * 4096}])
def test_a_host_without_certificates(mounted, report_data, settings):
    folder = mounted("configfs-tsm", provider="sev_guest", **settings)
    assert TsmIssuer(Tee.SNP, folder).issue(report_data)["cert_chain"] == []


@pytest.mark.parametrize("auxblob", ["01", table("63da758de6644564adc5f4b93be8accd", b"")[:60], "ff" * 600])
def test_a_hosts_certificates_that_are_none(mounted, report_data, auxblob):
    folder = mounted("configfs-tsm", provider="sev_guest", auxblob=auxblob)
    with pytest.raises(AttestationRefused, match="certificate table"):
        TsmIssuer(Tee.SNP, folder).issue(report_data)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("floor", [0, 1, 2, 3])
def test_the_privilege_level_that_a_report_is_asked_from(mounted, report_data, floor):
    folder = mounted("configfs-tsm", provider="sev_guest", floor=floor)
    assert report(TsmIssuer(Tee.SNP, folder).issue(report_data))[0x30] == floor


def test_a_kernel_that_names_no_floor(mounted, report_data):
    folder = mounted("configfs-tsm", provider="sev_guest", fault="no floor")
    assert report(TsmIssuer(Tee.SNP, folder).issue(report_data))[0x30] == 0


def test_a_privilege_level_that_is_none(mounted, report_data):
    folder = mounted("configfs-tsm", provider="sev_guest", floor=9)
    with pytest.raises(AttestationRefused, match="floor"):
        TsmIssuer(Tee.SNP, folder).issue(report_data)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("tee", [Tee.TDX, Tee.SNP])
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("ENXIO", "No such device"),
        ("EIO", "Input/output error"),
        ("EBUSY", "busy"),
        ("ETIMEDOUT", "timed out"),
        ("EACCES", "Permission denied"),
        ("short write", "only 32 of 64 bytes"),
        ("write is lost", "Invalid argument"),
        ("oversized", "more than 32768 bytes"),
        ("someone else asks", "someone else asked meanwhile"),
        ("someone asks the same", "generation 2 after 1 writes"),
        ("provider changes", "the provider is"),
    ],
)
def test_misbehaviour(mounted, report_data, tee, fault, reason):
    folder = mounted("configfs-tsm", provider=PROVIDER[tee], fault=fault)
    with pytest.raises(AttestationRefused, match=reason):
        TsmIssuer(tee, folder).issue(report_data)
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("tee", "provider"),
    [
        (Tee.TDX, "sev_guest"),
        (Tee.SNP, "tdx_guest"),
        (Tee.TDX, "arm_cca_guest"),
        (Tee.SNP, ""),
        (Tee.TDX, "tdx"),
    ],
)
def test_a_guest_of_something_else(mounted, report_data, tee, provider):
    folder = mounted("configfs-tsm", provider=provider)
    with pytest.raises(AttestationRefused, match="the provider is"):
        TsmIssuer(tee, folder).issue(report_data)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("size", [0, 1, 48, 63, 65, 4096])
def test_report_data_of_another_size_is_the_kernels_to_refuse(mounted, size):
    folder = mounted("configfs-tsm", provider="tdx_guest")
    with pytest.raises(AttestationRefused):
        TsmIssuer(Tee.TDX, folder).issue(bytes(size))
    assert not list(folder.iterdir())


def test_no_configfs(tmp_path, report_data):
    missing = tmp_path / "report"
    assert detect(missing) is None
    with pytest.raises(AttestationRefused, match="No such file"):
        TsmIssuer(Tee.SNP, missing).issue(report_data)


@pytest.mark.parametrize(
    ("provider", "tee"), [("tdx_guest", Tee.TDX), ("sev_guest", Tee.SNP), ("arm_cca_guest", None)]
)
def test_detected(mounted, provider, tee):
    folder = mounted("configfs-tsm", provider=provider)
    assert detect(folder) is tee
    assert not list(folder.iterdir())
