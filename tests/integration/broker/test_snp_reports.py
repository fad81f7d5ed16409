"""SNP reports without their chip's certificate, at a real broker: who has AMD asked, and who has not."""

from __future__ import annotations

import base64

import pytest

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Product
from confide.attestation.evidence import StatedImage
from confide.attestation.trust import HardwareTrust
from confide.broker.client import KbsClient
from confide.broker.server import EmbeddedBroker
from confide.errors import MeasurementRefused, PlatformRefused

from ...unit.attestation.amd.synthetic import TCB, Authority, Machine, der
from .conftest import MEASUREMENT

LAUNCH = {"args": "--year 2024"}
IMAGE = StatedImage(measurement=MEASUREMENT, role="driver", svn=0)
PLATFORM = f"""[workload.platform]
products = ["Milan"]
minimum_tcb = {{ bootloader = {TCB["bootloader"]}, tee = 0, snp = {TCB["snp"]}, microcode = {TCB["microcode"]} }}
registers.measurement = ["{bytes(range(100, 148)).hex()}"]
allow_smt = true
"""


@pytest.fixture(scope="module")
def machine():
    machine = Machine(Authority(), Product.MILAN)
    machine.fields["host_data"] = bytes(32)
    return machine


class Amd:
    """In the KDS's place; remembers what it was asked."""

    def __init__(self, machine):
        self.machine, self.asked = machine, []

    def amd(self, report, given):
        self.asked.append(report.octets("chip_id"))
        known = self.machine
        crl = known.authority.crl(known.product)
        return Certificates(given.endorsement or known.endorsement(), (known.intermediate, known.root), crl)

    def intel(self, quote):
        raise AssertionError


@pytest.fixture
def amd(machine):
    return Amd(machine)


@pytest.fixture
def release(clinic, machine, amd):
    """Return release(platform, years, certificates, **fields) -> the release of keys to a report with these fields."""

    def ask(platform=PLATFORM, years=("2020", "2999"), certificates=False, **fields):
        toml = (
            clinic.policy(2)
            .decode()
            .replace('"simulated"', '"snp"')
            .replace("[[grant]]", platform + "[[grant]]", 1)
        )
        toml = toml.replace("2020-", f"{years[0]}-", 1).replace("2999-", f"{years[1]}-", 1)
        clinic.put_policy(toml.encode(), 2)
        chain = [{"cert_type": "VCEK", "data": base64.b64encode(der(machine.endorsement())).decode()}]
        before = dict(machine.fields)

        def issue(runtime):
            machine.fields |= {"report_data": runtime.report_data(), **fields}
            report = base64.b64encode(machine.report()).decode()
            return {"attestation_report": report, "cert_chain": chain if certificates else []}

        hardware = HardwareTrust(amd, amd_roots=machine.roots())
        try:
            with EmbeddedBroker(clinic.store, hardware=hardware) as broker:
                return KbsClient(broker.url, broker.ca_pem).attest("snp", issue, LAUNCH, IMAGE).release()
        finally:
            machine.fields = before

    return ask


def test_amd_is_asked_for_an_approved_guest(release, machine, amd):
    assert "clinic/patients" in release().keys
    assert len(amd.asked) == 1


def test_amd_is_asked_for_a_listed_chip(release, machine, amd):
    listed = f'hardware_ids = ["{machine.hardware_id.hex()}"]\n{PLATFORM.partition(chr(10))[2]}'
    assert "clinic/patients" in release(f"[workload.platform]\n{listed}").keys
    assert len(amd.asked) == 1


@pytest.mark.parametrize(
    ("asked", "error", "reason"),
    [
        ({"measurement": b"X" * 48}, PlatformRefused, "step 4: measurement"),
        (
            {"platform": PLATFORM.replace("allow_smt", f'hardware_ids = ["{"11" * 64}"]\nallow_smt')},
            PlatformRefused,
            "step 3: hardware id",
        ),
        ({"years": ("2020", "2021")}, MeasurementRefused, "no policy in force"),
        ({"years": ("2998", "2999")}, MeasurementRefused, "no policy in force"),
    ],
)
def test_amd_is_not_asked_for_what_is_refused_anyway(release, clinic, amd, asked, error, reason):
    with pytest.raises(error):
        release(**asked)
    assert amd.asked == []
    assert reason in list(clinic.store.audit.entries(kind="refusal"))[-1].fields["detail"]


def test_who_brings_the_certificate_along_needs_nobody_asked(release, clinic):
    with pytest.raises(PlatformRefused):
        release(measurement=b"X" * 48, certificates=True)
    assert "step 4: measurement" in list(clinic.store.audit.entries(kind="refusal"))[-1].fields["detail"]
