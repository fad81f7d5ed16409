"""A broker that shows evidence of itself, and clients that pin what it must be instead of its authority."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Product
from confide.attestation.evidence import StatedImage
from confide.attestation.trust import HardwareTrust
from confide.broker import introduction
from confide.broker.accepted_broker import AcceptedBroker, verify_broker
from confide.broker.attested_leaf import MEDIA_TYPE, OID, ROLE, evidence_extension
from confide.broker.ca import CertificateAuthority
from confide.broker.client import KbsClient
from confide.broker.introduction import find_broker, pinned_authority, said_by
from confide.broker.server import EmbeddedBroker
from confide.broker.store import unix_now
from confide.enclave.simulated.issuer import SimulatedIssuer
from confide.errors import (
    AttestationRefused,
    BrokerUnavailable,
    BrokerUntrusted,
    CollateralUnavailable,
    InvalidFormat,
    Misuse,
    PlatformRefused,
)
from confide.keys.signing import generate_signing_key, raw_public

from ...unit.attestation.amd.synthetic import TCB, Authority, Machine

MEASUREMENT, OTHER = "ab" * 32, "cd" * 32
IMAGE = StatedImage(measurement=MEASUREMENT, role=ROLE, svn=2)
HOST = generate_signing_key()


def simulated(image=IMAGE, host=HOST, said=None):
    """Return what makes the evidence of a broker that says it is `said` where the host started `image`."""
    issuer = SimulatedIssuer(host, image)

    def attest(key, authority):
        return evidence_extension(
            key, authority, "simulated", lambda runtime: issuer.issue(runtime.report_data()), said or image
        )

    return attest


def accepted(host=HOST, **changes):
    key = base64.b64encode(raw_public(host.public_key())).decode()
    document = {"version": 1, "tee": "simulated", "measurements": (MEASUREMENT,), "hosts": (key,)} | changes
    return AcceptedBroker.model_validate(document)


@pytest.fixture
def serve(clinic):
    """Return serve(attest, hardware) -> a running broker."""
    running = []

    def start(attest=None, hardware=None):
        running.append(
            EmbeddedBroker(clinic.store, allow_simulated=True, attest=attest, hardware=hardware).__enter__()
        )
        return running[-1]

    yield start
    for broker in running:
        broker.__exit__(None, None, None)


def test_its_authority_is_learnt_from_its_evidence(serve, clinic):
    broker = serve(simulated())
    found = find_broker(broker.url, accepted(), unix_now())
    assert found.ca_pem == broker.ca_pem
    assert (found.claims.measurement, found.claims.role) == (MEASUREMENT, ROLE)
    client = KbsClient(broker.url, found.ca_pem)
    assert client.attest("simulated", clinic.host.issue, {"args": "--year 2024"}).release().owners == (
        "clinic",
    )


@pytest.mark.parametrize(
    ("attest", "document", "error", "reason"),
    [
        (None, accepted(), BrokerUntrusted, "step 1: the certificate carries no evidence"),
        (simulated(), accepted(tee="snp"), BrokerUntrusted, "step 2: evidence of the TEE simulated"),
        (simulated(), accepted(host=generate_signing_key()), AttestationRefused, "not listed"),
        (simulated(), accepted(measurements=(OTHER,)), BrokerUntrusted, "step 5: measurement"),
        (simulated(), accepted(minimum_svn=3), BrokerUntrusted, "step 5: security version 2"),
        (simulated(IMAGE.model_copy(update={"role": "driver"})), accepted(), BrokerUntrusted, "role driver"),
        (
            simulated(IMAGE.model_copy(update={"measurement": OTHER}), said=IMAGE),
            accepted(),
            BrokerUntrusted,
            OTHER,
        ),
    ],
)
def test_no_accepted_broker(serve, attest, document, error, reason):
    with pytest.raises(error, match=reason):
        find_broker(serve(attest).url, document, unix_now())


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:1", "https://", "127.0.0.1", "https://ana:secret@127.0.0.1:1", "https://x/y?z"]
)
def test_what_is_no_brokers_url(url):
    for ask in (lambda: find_broker(url, accepted(), unix_now()), lambda: said_by(url)):
        with pytest.raises(Misuse, match="https://host:port") as refused:
            ask()
        assert "secret" not in str(refused.value)


def test_an_introduction_that_drips(serve, monkeypatch):
    monkeypatch.setattr(introduction, "OVERALL_FACTOR", -1)
    with pytest.raises(BrokerUnavailable, match="takes too long"):
        find_broker(serve(simulated()).url, accepted(), unix_now())


class TestCertificate:
    """Certificates that a broker never makes, or another broker's."""

    @pytest.fixture(scope="class")
    def authority(self):
        return CertificateAuthority.create(unix_now())

    @pytest.fixture(scope="class")
    def other(self):
        return CertificateAuthority.create(unix_now())

    def check(self, leaf_pem, authority, now=None):
        leaf = x509.load_pem_x509_certificate(leaf_pem[leaf_pem.index(b"-----BEGIN CERT") :])
        verify_broker(leaf, authority.certificate, accepted(), HardwareTrust(None), now or unix_now())

    def test_its_own(self, authority):
        self.check(authority.issue_leaf(["localhost"], unix_now(), simulated()), authority)

    def test_evidence_for_another_key(self, authority):
        stolen = ec.generate_private_key(ec.SECP256R1()).public_key()
        leaf = authority.issue_leaf(["localhost"], unix_now(), lambda key, name: simulated()(stolen, name))
        with pytest.raises(BrokerUntrusted, match="step 3"):
            self.check(leaf, authority)

    def test_evidence_that_names_another_authority(self, authority, other):
        leaf = authority.issue_leaf(
            ["localhost"], unix_now(), lambda key, _: simulated()(key, other.fingerprint)
        )
        for shown in (authority, other):
            with pytest.raises(BrokerUntrusted, match="step 4"):
                self.check(leaf, shown)

    def test_expired(self, authority):
        leaf = authority.issue_leaf(["localhost"], unix_now(), simulated())
        for now in (unix_now() + 100 * 24 * 3600, unix_now() - 3600):
            with pytest.raises(BrokerUntrusted, match="step 1"):
                self.check(leaf, authority, now)

    def test_evidence_with_a_bit_of_it_flipped(self, authority):
        def flipped(at):
            def attest(key, name):
                value = bytearray(simulated()(key, name).value)
                value[at] ^= 1
                return x509.UnrecognizedExtension(OID, bytes(value))

            return attest

        whole = len(simulated()(ec.generate_private_key(ec.SECP256R1()).public_key(), "0" * 64).value)
        for at in range(0, whole - 8, 61):
            with pytest.raises((BrokerUntrusted, AttestationRefused)):
                self.check(authority.issue_leaf(["localhost"], unix_now(), flipped(at)), authority)

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"\x0c\x02[]",
            b"\x04\x02{}",
            b"\x0c\x84",
            json.dumps([MEDIA_TYPE, "e30"]).encode(),
            bytes(300_000),
        ],
    )
    def test_an_extension_of_another_form(self, authority, content):
        def attest(key, name):
            return x509.UnrecognizedExtension(OID, content)

        with pytest.raises(BrokerUntrusted, match="step 1"):
            self.check(authority.issue_leaf(["localhost"], unix_now(), attest), authority)


class TestSnp:
    """In a confidential VM, with a chip and an AMD made here."""

    @pytest.fixture(scope="class")
    def machine(self):
        machine = Machine(Authority(), Product.MILAN)
        machine.fields["host_data"] = bytes(32)
        return machine

    def attest(self, machine):
        def issue(runtime):
            machine.fields["report_data"] = runtime.report_data()
            return {"attestation_report": base64.b64encode(machine.report()).decode(), "cert_chain": []}

        return lambda key, authority: evidence_extension(key, authority, "snp", issue, IMAGE)

    def platform(self, **changes):
        minimum = {name: TCB[name] for name in ("bootloader", "tee", "snp", "microcode")}
        registers = {"measurement": (bytes(range(100, 148)).hex(),)}
        return {
            "registers": registers,
            "allow_smt": True,
            "products": ("Milan",),
            "minimum_tcb": minimum,
        } | changes

    def accepted(self, **changes):
        return accepted(tee="snp", hosts=(), platform=self.platform(**changes))

    def hardware(self, machine, crl=True):
        class Amd:
            def amd(self, report, given):
                known = machine.authority.crl(machine.product) if crl else None
                return Certificates(machine.endorsement(), (machine.intermediate, machine.root), known)

            def intel(self, quote):
                raise CollateralUnavailable("none")

        return HardwareTrust(Amd(), amd_roots=machine.roots())

    def test_accepted_with_the_endorsements_that_it_hands_over(self, serve, machine):
        broker = serve(self.attest(machine), self.hardware(machine))
        found = find_broker(broker.url, self.accepted(), unix_now(), amd_roots=machine.roots())
        assert found.claims.platform.hardware_ids == (machine.hardware_id.hex(),)

    def test_hardware_of_another_maker(self, serve, machine):
        broker = serve(self.attest(machine), self.hardware(machine))
        with pytest.raises(AttestationRefused, match="SNP report, step 3"):
            find_broker(broker.url, self.accepted(), unix_now())

    def test_a_platform_that_is_not_accepted(self, serve, machine):
        broker = serve(self.attest(machine), self.hardware(machine))
        with pytest.raises(PlatformRefused, match="hyperthreads"):
            find_broker(broker.url, self.accepted(allow_smt=False), unix_now(), amd_roots=machine.roots())

    @pytest.mark.parametrize("known", ["nothing", "no CRL"])
    def test_endorsements_that_are_missing(self, serve, machine, known):
        broker = serve(
            self.attest(machine), None if known == "nothing" else self.hardware(machine, crl=False)
        )
        with pytest.raises(CollateralUnavailable, match="confide collateral"):
            find_broker(broker.url, self.accepted(), unix_now(), amd_roots=machine.roots())


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        (b"", "version"),
        (b"version = 1", "tee"),
        (b'version = 1\ntee = "simulated"\nmeasurements = []\nhosts = []', "measurements"),
        (f'version = 1\ntee = "simulated"\nmeasurements = ["{OTHER}"]'.encode(), "hosts: missing"),
        (f'version = 1\ntee = "snp"\nmeasurements = ["{OTHER}"]'.encode(), "platform: missing"),
        (f'version = 1\ntee = "tdx"\nmeasurements = ["{OTHER}"]\n[platform]'.encode(), "mrtd"),
        (
            f'version = 1\ntee = "sgx"\nmeasurements = ["{OTHER}"]\nhosts = ["{"A" * 43}="]\n[platform]'.encode(),
            "hosts",
        ),
        (
            f'version = 1\ntee = "sgx"\nmeasurements = ["{OTHER}"]\nminimum_svn = 1\n[platform]'.encode(),
            "minimum_svn: says nothing",
        ),
        *[
            (
                f'version = 1\ntee = "{tee}"\nmeasurements = ["{OTHER}"]\n[platform]'.encode(),
                "minimum_evaluation is",
            )
            for tee in ("sgx", "tdx", "az-tdx-vtpm")
        ],
        (f'version = 2\ntee = "sgx"\nmeasurements = ["{OTHER}"]\n[platform]'.encode(), "version"),
        (f'version = 1\ntee = "sgx"\nmeasurement = ["{OTHER}"]\n[platform]'.encode(), "measurement"),
        (b"version = 1\nversion = 1", "TOML"),
        (b"\xff", "TOML"),
        (b"#" * 20_000, "at most"),
    ],
)
def test_documents_with_faults(toml, fault):
    with pytest.raises(InvalidFormat, match=fault):
        AcceptedBroker.from_toml(toml)


def test_an_enclave_that_intel_evaluated():
    toml = f'version = 1\ntee = "sgx"\nmeasurements = ["{OTHER}"]\n[platform]\nminimum_evaluation = 17'
    assert AcceptedBroker.from_toml(toml.encode()).platform.minimum_evaluation == 17


def test_a_pin_is_a_certificate_or_such_a_document(serve):
    broker = serve(simulated())
    assert pinned_authority("https://nowhere.invalid", broker.ca_pem, unix_now()) == broker.ca_pem
    key = base64.b64encode(raw_public(HOST.public_key())).decode()
    toml = f'version = 1\ntee = "simulated"\nmeasurements = ["{MEASUREMENT}"]\nhosts = ["{key}"]\n'
    assert pinned_authority(broker.url, toml.encode(), unix_now()) == broker.ca_pem
    assert f'measurements = ["{MEASUREMENT}"]' in said_by(broker.url)


def confide(home, *arguments, **kwargs):
    command = [sys.executable, "-m", "confide", "--home", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **kwargs)


def test_on_the_command_line(tmp_path):
    secret = tmp_path / "passphrase"
    secret.write_text("a passphrase of some length\n")
    environment = os.environ | {"CONFIDE_PASSPHRASE_FD": "0"}
    with secret.open() as stdin:
        assert confide(tmp_path / "home", "init", "clinic", stdin=stdin, env=environment).returncode == 0
    host = confide(tmp_path / "home", "broker", "identity", "--host").stdout.strip()
    with secret.open() as stdin:
        serving = subprocess.Popen(
            [
                *(sys.executable, "-m", "confide", "--home", str(tmp_path / "home"), "broker", "serve"),
                *("--listen", "127.0.0.1:0", "--tee", "simulated"),
            ],
            stdin=stdin,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        url = next(line.split()[1] for line in serving.stderr if line.startswith("serving "))
        said = confide(tmp_path, "broker", "verify", url)
        assert said.returncode == BrokerUntrusted.exit_code
        (tmp_path / "broker.toml").write_text(said.stdout.replace('hosts = [""]', f'hosts = ["{host}"]'))
        good = confide(tmp_path, "broker", "verify", url, "--accept", str(tmp_path / "broker.toml"))
        assert good.returncode == 0, good.stderr
        assert "protects nothing" in good.stderr
        authority = x509.load_pem_x509_certificate(good.stdout.encode())
        assert authority.public_bytes(Encoding.PEM).decode() == good.stdout
        (tmp_path / "other.toml").write_text(said.stdout.replace('hosts = [""]', f'hosts = ["{"A" * 43}="]'))
        bad = confide(tmp_path, "broker", "verify", url, "--accept", str(tmp_path / "other.toml"))
        assert bad.returncode == AttestationRefused.exit_code
        assert bad.stdout == ""
    finally:
        serving.terminate()
        serving.wait(20)
        serving.stderr.close()
