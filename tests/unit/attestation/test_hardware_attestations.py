"""From KBS messages of hardware TEEs to claims: the numbered steps of `verify`, with machines made here."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from confide.attestation.amd.certificates import Certificates
from confide.attestation.amd.report import Product
from confide.attestation.azure.evidence import quote_data
from confide.attestation.azure.hcl import HardwareReport
from confide.attestation.claims import Tee
from confide.attestation.evidence import Attestation, RuntimeData, StatedImage, TeeEvidence
from confide.attestation.trust import HardwareTrust, Trust
from confide.attestation.verify import verify
from confide.broker.attested_leaf import public_jwk
from confide.errors import AttestationRefused, CollateralUnavailable, EvidenceRefused

from .amd import synthetic as amd
from .azure import synthetic as azure
from .intel import synthetic as intel
from .intel import test_event_log as event_log

NOW = 1_800_000_000
NONCE = base64.b64encode(bytes(32)).decode()
KEY = public_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())
IMAGE = StatedImage(measurement="ab" * 32, role="driver", svn=4)
RUNTIME = RuntimeData(nonce=NONCE, tee_pubkey=KEY, image=IMAGE)


@dataclass(frozen=True)
class Makers:
    """Intel and AMD, as far as these tests go."""

    intel: intel.Authority
    amd: amd.Authority
    machine: amd.Machine
    crl: bool = True

    def trust(self, **changed):
        given = {"endorsements": self, "intel_root": self.intel.root_der, "amd_roots": self.machine.roots()}
        return Trust(hardware=HardwareTrust(**given | changed))


@dataclass
class Endorsements:
    """Has everything, and remembers what it was asked for."""

    makers: Makers
    crl: bool = True
    asked: int = 0

    def intel(self, quote):
        self.asked += 1
        return self.makers.intel.collateral(str(quote.tee).upper())

    def amd(self, report, given):
        self.asked += 1
        product = self.makers.machine.product
        return Certificates(
            given.endorsement or self.makers.machine.endorsement(),
            (self.makers.machine.intermediate, self.makers.machine.root),
            self.makers.amd.crl(product) if self.crl else None,
        )


@pytest.fixture(scope="session")
def makers():
    authority = amd.Authority()
    return Makers(intel.Authority(), authority, amd.Machine(authority, Product.MILAN))


@pytest.fixture(scope="session")
def vtpm():
    return rsa.generate_private_key(65537, 2048)


def machine(makers, **fields):
    """The one chip, with fields of its next report changed."""
    same = makers.machine
    same.fields |= {"report_data": RUNTIME.report_data(), "host_data": bytes(32), "policy": 0x30000} | fields
    return same


def snp(makers, **fields):
    return {
        "attestation_report": base64.b64encode(machine(makers, **fields).report()).decode(),
        "cert_chain": [],
    }


def quote(makers, body_type=2, **body):
    version = 3 if body_type == 1 else 4
    made = intel.Machine(makers.intel).quote(
        version, body_type, body={"report_data": RUNTIME.report_data()} | body
    )
    return {"quote": base64.b64encode(made).decode()}


def azure_snp(makers, key, extra_data=None, policy=0x30000):
    runtime = azure.runtime_json(key.public_key())
    carried = azure.hashlib.sha256(runtime).digest().ljust(64, b"\0")
    report = machine(makers, report_data=carried, policy=policy).report()
    message = azure.quote_message(quote_data(RUNTIME.report_data()) if extra_data is None else extra_data)
    hcl = azure.hcl_report(report, runtime, HardwareReport.SNP)
    vcek = base64.urlsafe_b64encode(makers.machine.endorsement().public_bytes(Encoding.DER)).decode()
    return azure.evidence(hcl, message, azure.sign(key, message), vcek=vcek)


def azure_tdx(makers, key, attributes=bytes(8)):
    runtime = azure.runtime_json(key.public_key())
    carried = azure.hashlib.sha256(runtime).digest().ljust(64, b"\0")
    message = azure.quote_message(quote_data(RUNTIME.report_data()))
    td_quote = base64.b64decode(quote(makers, report_data=carried, td_attributes=attributes)["quote"])
    hcl = azure.hcl_report(bytes(1024), runtime, HardwareReport.TDX)
    td = base64.urlsafe_b64encode(td_quote).decode()
    return azure.evidence(hcl, message, azure.sign(key, message), td_quote=td)


def check(makers, tee, evidence, *, runtime=RUNTIME, nonce=NONCE, trust=None, endorsements=None, now=NOW):
    attestation = Attestation(runtime_data=runtime, tee_evidence=TeeEvidence(primary_evidence=evidence))
    trust = trust or makers.trust(endorsements=endorsements or Endorsements(makers))
    return verify(attestation, tee=tee, nonce=nonce, trust=trust, now=now)


@pytest.fixture
def evidence(makers, vtpm):
    return {
        "sgx": lambda: quote(makers, 1, mrenclave=b"M" * 32),
        "tdx": lambda: quote(makers),
        "snp": lambda: snp(makers),
        "az-snp-vtpm": lambda: azure_snp(makers, vtpm),
        "az-tdx-vtpm": lambda: azure_tdx(makers, vtpm),
    }


TEES = ["sgx", "tdx", "snp", "az-snp-vtpm", "az-tdx-vtpm"]


@pytest.mark.parametrize("tee", TEES)
def test_genuine_evidence_becomes_claims(makers, evidence, tee):
    claims = check(makers, tee, evidence[tee]())
    assert claims.tee is Tee(tee)
    assert claims.measurement == ((b"M" * 32).hex() if tee == "sgx" else IMAGE.measurement)
    assert claims.svn == (3 if tee == "sgx" else 4)
    assert claims.tee_pubkey == KEY.wire()
    assert claims.platform.hardware_ids
    assert claims.platform.expires > NOW


def test_an_event_log_beside_a_quote_must_replay(makers):
    log, rtmrs = event_log.LOG, dict(zip(["rtmr0", "rtmr1", "rtmr2", "rtmr3"], event_log.RTMRS, strict=True))
    replayed = {**quote(makers, **rtmrs), "cc_eventlog": base64.b64encode(log).decode()}
    assert check(makers, "tdx", replayed).platform.registers["rtmr0"] == rtmrs["rtmr0"].hex()
    for bad in (log[:-1], log + log[-70:], b""):
        with pytest.raises(EvidenceRefused, match="TDX event log"):
            check(makers, "tdx", {**replayed, "cc_eventlog": base64.b64encode(bad or b"x").decode()})
    with pytest.raises(EvidenceRefused, match="sgx has no RTMRs"):
        check(makers, "sgx", {**quote(makers, 1), "cc_eventlog": replayed["cc_eventlog"]})


@pytest.mark.parametrize("tee", TEES)
def test_step_1_not_accepted_by_this_broker(makers, evidence, tee):
    with pytest.raises(AttestationRefused, match="step 1: this broker does not accept"):
        check(makers, tee, evidence[tee](), trust=Trust())


@pytest.mark.parametrize("tee", TEES)
def test_step_2_another_nonce(makers, evidence, tee):
    with pytest.raises(AttestationRefused, match="step 2"):
        check(makers, tee, evidence[tee](), nonce="A" * 44)


@pytest.mark.parametrize("tee", TEES)
@pytest.mark.parametrize("changed", ["key", "image", "launch"])
def test_step_4_evidence_of_another_attestation(makers, evidence, tee, changed):
    other = {
        "key": {"tee_pubkey": public_jwk(ec.generate_private_key(ec.SECP256R1()).public_key())},
        "image": {"image": IMAGE.model_copy(update={"measurement": "cd" * 32})},
        "launch": {"launch": {"args": "--all"}},
    }[changed]
    runtime = RuntimeData(**{"nonce": NONCE, "tee_pubkey": KEY, "image": IMAGE} | other)
    endorsements = Endorsements(makers)
    with pytest.raises(AttestationRefused, match="report data of this attestation"):
        check(makers, tee, evidence[tee](), runtime=runtime, endorsements=endorsements)
    assert endorsements.asked == 0


@pytest.mark.parametrize("tee", TEES)
@pytest.mark.parametrize("other", TEES)
def test_step_4_evidence_of_another_tee(makers, evidence, tee, other):
    if tee == other:
        return
    with pytest.raises(AttestationRefused):
        check(makers, tee, evidence[other]())


@pytest.mark.parametrize("tee", TEES)
@pytest.mark.parametrize("bad", [{}, {"quote": 5}, {"quote": "!"}, {"attestation_report": "AA=="}, {"a": {}}])
def test_step_4_evidence_of_no_known_form(makers, tee, bad):
    with pytest.raises(EvidenceRefused, match="step 1"):
        check(makers, tee, bad)


@pytest.mark.parametrize("tee", TEES)
def test_step_4_another_makers_hardware(makers, evidence, tee):
    pinned = Trust(hardware=HardwareTrust(Endorsements(makers)))
    with pytest.raises(EvidenceRefused):
        check(makers, tee, evidence[tee](), trust=pinned)


@pytest.mark.parametrize("tee", TEES)
def test_nothing_to_verify_with(makers, evidence, tee):
    class Nothing:
        def intel(self, quote):
            raise CollateralUnavailable("none")

        amd = lambda self, report, given: self.intel(report)  # noqa: E731

    with pytest.raises(CollateralUnavailable):
        check(makers, tee, evidence[tee](), endorsements=Nothing())


@pytest.mark.parametrize("tee", ["snp", "az-snp-vtpm"])
def test_no_crl_is_no_proof_that_nothing_was_revoked(makers, evidence, tee):
    with pytest.raises(CollateralUnavailable, match="CRL is missing"):
        check(makers, tee, evidence[tee](), endorsements=Endorsements(makers, crl=False))


@pytest.mark.parametrize("tee", TEES)
def test_long_after(makers, evidence, tee):
    with pytest.raises(CollateralUnavailable):
        check(makers, tee, evidence[tee](), now=NOW + 40 * 24 * 3600)


def padded(evidence, name, padding):
    if name == "td_quote":
        raw = base64.urlsafe_b64decode(evidence[name] + "==") + padding
        return evidence | {name: base64.urlsafe_b64encode(raw).decode()}
    return evidence | {name: base64.b64encode(base64.b64decode(evidence[name]) + padding).decode()}


@pytest.mark.parametrize(("tee", "name"), [("sgx", "quote"), ("tdx", "quote"), ("az-tdx-vtpm", "td_quote")])
def test_zeros_behind_a_quote_are_padding_and_anything_else_is_not(makers, evidence, tee, name):
    assert check(makers, tee, padded(evidence[tee](), name, bytes(70))).tee is Tee(tee)
    for behind in (b"\1", bytes(69) + b"\1", b"\1" + bytes(69)):
        with pytest.raises(EvidenceRefused, match="not all zero"):
            check(makers, tee, padded(evidence[tee](), name, behind))


def test_debug_evidence_of_every_hardware(makers, vtpm):
    debugged = {
        "sgx": quote(makers, 1, attributes=b"\x07" + bytes(15)),
        "tdx": quote(makers, td_attributes=b"\x01\0\0\x10" + bytes(4)),
        "snp": snp(makers, policy=0xB0000),
        "az-snp-vtpm": azure_snp(makers, vtpm, policy=0xB0000),
    }
    for tee, evidence in debugged.items():
        with pytest.raises(AttestationRefused, match="debug"):
            check(makers, tee, evidence)


@pytest.mark.parametrize("tee", ["snp", "az-snp-vtpm", "tdx", "az-tdx-vtpm"])
def test_a_guest_that_states_no_image(makers, vtpm, tee):
    silent = RuntimeData(nonce=NONCE, tee_pubkey=KEY)
    with pytest.raises(AttestationRefused):
        check(makers, tee, snp(makers, report_data=silent.report_data()), runtime=silent)


@pytest.mark.parametrize("attributes", [bytes(8), b"\0\0\0\x10" + bytes(4)])
def test_a_td_without_attributes_is_one_of_azures(makers, vtpm, attributes):
    claims = check(makers, "az-tdx-vtpm", azure_tdx(makers, vtpm, attributes))
    assert claims.platform.registers["td_attributes"] == attributes.hex()
    if not any(attributes):
        with pytest.raises(EvidenceRefused, match="no SEPT_VE_DISABLE"):
            check(makers, "tdx", quote(makers, td_attributes=attributes))


def test_a_replayed_tpm_quote(makers, vtpm):
    with pytest.raises(EvidenceRefused, match="step 8"):
        check(makers, "az-snp-vtpm", azure_snp(makers, vtpm, extra_data=bytes(48)))


def test_a_td_quote_that_is_missing(makers, vtpm):
    evidence = azure_tdx(makers, vtpm)
    del evidence["td_quote"]
    with pytest.raises(EvidenceRefused, match="missing"):
        check(makers, "az-tdx-vtpm", evidence)


def test_claims_keep_what_the_platform_said(makers):
    claims = check(makers, "snp", snp(makers))
    assert claims.platform.registers["measurement"] == bytes(range(100, 148)).hex()
    assert claims.hardware_id == makers.machine.hardware_id.hex()
