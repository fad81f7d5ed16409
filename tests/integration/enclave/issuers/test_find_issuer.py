"""Which TEE a program finds itself in."""

from __future__ import annotations

import pytest

from confide.attestation.azure.hcl import HardwareReport
from confide.attestation.claims import Tee
from confide.enclave.issuer import ISSUERS, open_issuer
from confide.enclave.issuers import sgx
from confide.enclave.issuers.azure_vtpm import AzureIssuer
from confide.enclave.issuers.configfs_tsm import TsmIssuer
from confide.enclave.issuers.find import detect, find_issuer
from confide.enclave.issuers.gramine import GramineIssuer
from confide.enclave.issuers.occlum import OcclumIssuer
from confide.errors import AttestationRefused, MissingDependency, Misuse

from ....unit.attestation.azure.synthetic import hcl_report, runtime_json


@pytest.fixture
def nowhere(tmp_path):
    missing = tmp_path / "missing"
    return {"device": missing, "attestation": missing, "reports": missing, "tpm": missing}


def test_no_tee_is_found_where_there_is_none(nowhere):
    assert detect(**nowhere) == ()
    with pytest.raises(MissingDependency, match="no TEE gives evidence here"):
        find_issuer(**nowhere)


@pytest.mark.parametrize(
    ("kind", "settings", "place", "tee", "by", "issuer"),
    [
        ("gramine", {"type": "dcap"}, "attestation", Tee.SGX, "Gramine", GramineIssuer),
        ("occlum", {}, "device", Tee.SGX, "Occlum", OcclumIssuer),
        ("configfs-tsm", {"provider": "tdx_guest"}, "reports", Tee.TDX, "configfs-tsm", TsmIssuer),
        ("configfs-tsm", {"provider": "sev_guest"}, "reports", Tee.SNP, "configfs-tsm", TsmIssuer),
    ],
)
def test_the_tee_that_the_kernel_shows(mounted, nowhere, report_data, kind, settings, place, tee, by, issuer):
    folder = mounted(kind, **settings)
    found = find_issuer(**{**nowhere, place: folder / "sgx" if kind == "occlum" else folder})
    assert (found.tee, found.by, type(found.issuer)) == (tee, by, issuer)
    assert found.issuer.issue(report_data)


def test_the_tee_that_the_tpm_shows(software_tpm, provisioned, nowhere):
    report = hcl_report(bytes(1024), runtime_json(provisioned[1]), HardwareReport.TDX, size=0)
    found = find_issuer(**{**nowhere, "tpm": software_tpm(report).device})
    assert (found.tee, type(found.issuer)) == (Tee.AZURE_TDX, AzureIssuer)


def test_occlum_is_not_taken_for_gramine(mounted, nowhere):
    places = {"device": mounted("occlum") / "sgx", "attestation": mounted("gramine", type="dcap")}
    assert [found.by for found in detect(**{**nowhere, **places})] == ["Occlum"]


def test_several_are_not_chosen_among(mounted, nowhere):
    places = {
        "attestation": mounted("gramine", type="dcap"),
        "reports": mounted("configfs-tsm", provider="tdx_guest"),
    }
    with pytest.raises(Misuse, match="sgx, tdx; name one"):
        find_issuer(**{**nowhere, **places})


def test_every_hardware_tee_has_an_issuer_and_none_is_the_simulated_one_in_disguise():
    assert set(ISSUERS) == set(Tee) - {Tee.SIMULATED}
    assert not [tee for tee, module in ISSUERS.items() if "simulated" in module]


@pytest.mark.parametrize("tee", [tee for tee in Tee if tee is not Tee.SIMULATED])
def test_a_tee_that_is_not_here_is_refused_and_not_replaced(tee, report_data):
    if any(found.tee is tee for found in detect()):
        pytest.skip("it is here")
    with pytest.raises((AttestationRefused, MissingDependency)):
        open_issuer(tee).issue(report_data)


def test_no_tee_of_that_name():
    with pytest.raises(Misuse, match="no hardware TEE called"):
        open_issuer("sev")


def test_the_simulated_one_is_no_hardware():
    with pytest.raises(Misuse, match="no hardware TEE called"):
        open_issuer("simulated")


def test_no_library_os(tmp_path):
    with pytest.raises(MissingDependency, match="Gramine"):
        sgx.open_issuer(Tee.SGX, tmp_path / "sgx", tmp_path)
