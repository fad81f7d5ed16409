"""The TEE `tpm` at a real broker: gated as `simulated` is, and never taken for confidential."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from confide.attestation.claims import Claims, Tee
from confide.attestation.evidence import StatedImage
from confide.broker.client import KbsClient
from confide.broker.identity import token_key
from confide.broker.policy import parse_policy
from confide.broker.server import EmbeddedBroker
from confide.broker.tokens import TokenIssuer
from confide.errors import (
    AttestationRefused,
    EvidenceRefused,
    InvalidPolicy,
    MeasurementRefused,
    PlatformRefused,
)

from ...unit.attestation.azure.synthetic import PCRS
from ...unit.attestation.tpm.synthetic import der, evidence
from .conftest import MEASUREMENT

LAUNCH = {"args": "--year 2024"}
IMAGE = StatedImage(measurement=MEASUREMENT, role="driver", svn=0)
REGISTERS = {f"pcr{index}": PCRS[index].hex() for index in (0, 4, 8, 9)}


@pytest.fixture(scope="module")
def ak():
    return rsa.generate_private_key(65537, 2048)


def policy(clinic, serial=2, **registers):
    lines = [f'registers.{name} = ["{value}"]' for name, value in (REGISTERS | registers).items() if value]
    table = "\n".join(["[workload.platform]", *lines, "[[grant]]"])
    toml = clinic.policy(serial).decode().replace('"simulated"', '"tpm"').replace("[[grant]]", table, 1)
    return toml.encode()


@pytest.fixture
def allowed(clinic, ak):
    """A broker that accepts TPMs, one of which is enrolled, and a policy that names its machine."""
    clinic.store.enroll_tpm(der(ak))
    clinic.put_policy(policy(clinic), 2)
    with EmbeddedBroker(clinic.store, allow_tpm=True) as broker:
        yield broker


def attest(broker, key, image=IMAGE, tee="tpm", **changed):
    client = KbsClient(broker.url, broker.ca_pem)
    return client.attest(
        tee, lambda runtime: evidence(key, runtime.report_data()[:48], **changed), LAUNCH, image
    )


def test_keys_for_an_enrolled_tpms_machine(allowed, ak, clinic):
    release = attest(allowed, ak).release()
    assert "clinic/patients" in release.keys
    (entry,) = clinic.store.audit.entries(kind="release")
    assert entry.fields["tee"] == "tpm"


def test_a_broker_that_was_not_started_for_it(clinic, ak):
    clinic.store.enroll_tpm(der(ak))
    clinic.put_policy(policy(clinic), 2)
    for flags in ({}, {"allow_simulated": True}):
        with EmbeddedBroker(clinic.store, **flags) as broker, pytest.raises(AttestationRefused):
            attest(broker, ak)
    assert "not started to accept" in list(clinic.store.audit.entries(kind="refusal"))[-1].fields["detail"]


def test_allowing_tpms_allows_nothing_simulated(allowed, clinic):
    with pytest.raises(AttestationRefused):
        KbsClient(allowed.url, allowed.ca_pem).attest("simulated", clinic.host.issue, LAUNCH)


def test_a_tpm_that_is_not_enrolled(allowed):
    with pytest.raises(AttestationRefused):
        attest(allowed, rsa.generate_private_key(65537, 2048))


def test_a_tpm_that_is_enrolled_no_more(allowed, ak, clinic):
    clinic.store.remove_host(clinic.store.enroll_tpm(der(ak)))
    with pytest.raises(AttestationRefused):
        attest(allowed, ak)


def test_a_policy_that_names_the_simulated_tee(allowed, ak, clinic):
    clinic.put_policy(clinic.policy(3), 3)
    with pytest.raises(MeasurementRefused):
        attest(allowed, ak).release()


@pytest.mark.parametrize("tee", ["snp", "tdx", "az-snp-vtpm"])
def test_a_tpms_evidence_as_that_of_hardware(allowed, ak, tee):
    with pytest.raises(AttestationRefused):
        attest(allowed, ak, tee=tee)


@pytest.mark.parametrize("name", ["pcr0", "pcr4", "pcr8", "pcr9"])
def test_another_boot_than_the_policy_names(allowed, ak, clinic, name):
    clinic.put_policy(policy(clinic, 3, **{name: "ff" * 32}), 3)
    with pytest.raises(PlatformRefused):
        attest(allowed, ak).release()
    assert f"{name} is" in list(clinic.store.audit.entries(kind="refusal"))[-1].fields["detail"]


def test_another_image_than_the_policy_names(allowed, ak):
    with pytest.raises(MeasurementRefused):
        attest(allowed, ak, StatedImage(measurement="b" * 64, role="driver", svn=0)).release()


def test_no_image(allowed, ak):
    with pytest.raises(AttestationRefused):
        attest(allowed, ak, None)


def test_a_replayed_quote(allowed, ak):
    old = evidence(ak, b"x" * 48)
    with pytest.raises(EvidenceRefused):
        KbsClient(allowed.url, allowed.ca_pem).attest("tpm", lambda _: old, LAUNCH, IMAGE)


@pytest.mark.parametrize(
    ("registers", "fault"),
    [
        ({"pcr4": None}, "lacks pcr4"),
        ({"pcr9": None}, "lacks pcr9 or pcr11"),
        ({"pcr8": None}, "lacks pcr8 beside pcr9"),
        ({"pcr11": "aa" * 32, "pcr12": "00" * 32}, "lacks pcr13 beside pcr11"),
        ({"pcr11": "aa" * 32, "pcr13": "00" * 32}, "lacks pcr12 beside pcr11"),
        ({"pcr4": "00" * 32}, "pcr4 may be zero"),
        ({"pcr9": "00" * 32}, "pcr9 may be zero"),
        ({"mrtd": "00" * 48}, "no register mrtd"),
        ({"pcr24": "00" * 32}, "no register pcr24"),
    ],
)
def test_a_policy_that_would_accept_any_machine(clinic, registers, fault):
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(policy(clinic, **registers))
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    "line",
    ['status = ["UpToDate"]', "minimum_tcb = { bootloader = 1 }", "allow_smt = true", "isv_prod_id = 1"],
)
def test_what_is_demanded_of_hardware_alone(clinic, line):
    toml = policy(clinic).decode().replace("[workload.platform]\n", f"[workload.platform]\n{line}\n")
    with pytest.raises(InvalidPolicy, match="does not apply to tpm"):
        parse_policy(toml.encode())


def test_a_policy_without_a_machine(clinic):
    with pytest.raises(InvalidPolicy, match="platform is missing"):
        parse_policy(clinic.policy(2).decode().replace('"simulated"', '"tpm"').encode())


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 1024)], ids=["1024 bits"])
def test_what_is_not_enrolled(clinic, key):
    with pytest.raises(EvidenceRefused):
        clinic.store.enroll_tpm(der(key))
    with pytest.raises(EvidenceRefused):
        clinic.store.enroll_tpm(bytes(32))


def test_the_token_says_that_hardware_keeps_nothing(clinic):
    claims = Claims(Tee.TPM, MEASUREMENT, "driver", 0, False, "", {})
    tokens = TokenIssuer(token_key(clinic.store), "https://broker")
    payload = tokens.issue(claims, "nonce", known=True, now=0).split(".")[1]
    cpu = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["submods"]["cpu0"]
    assert cpu["ear.trustworthiness-vector"]["hardware"] == 97
    assert cpu["ear.status"] == "contraindicated"
