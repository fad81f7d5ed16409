"""SNP evidence on the wire: its form, and what is refused before anything is verified."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.amd.evidence import NamedCertificate, SnpEvidence
from confide.attestation.amd.report import SigningKey
from confide.attestation.amd.verify import verify_report
from confide.errors import EvidenceRefused

from .conftest import NOW as REAL_NOW
from .synthetic import der


def encode(data):
    return base64.b64encode(data).decode()


def wire(machine, **certificates):
    chain = [{"cert_type": kind, "data": encode(data)} for kind, data in certificates.items()]
    return {"attestation_report": encode(machine.report()), "cert_chain": chain}


def refused(evidence, reason=None):
    with pytest.raises(EvidenceRefused, match=reason) as caught:
        SnpEvidence.of(evidence).certificates()
    assert (caught.value.evidence, caught.value.step) == ("SNP report", 1)


def test_evidence_is_read_and_verified(machine):
    given = wire(
        machine,
        VCEK=der(machine.endorsement()),
        ASK=der(machine.intermediate),
        ARK=der(machine.root),
        VLEK=b"unread",
    )
    evidence = SnpEvidence.of(given)
    machine.verify(evidence.attestation_report, evidence.certificates())
    assert evidence.wire() == given


def test_real_evidence(milan):
    chain = (NamedCertificate(cert_type="VCEK", data=milan.endorsement),)
    sent = SnpEvidence(attestation_report=milan.report, cert_chain=chain).wire()
    evidence = SnpEvidence.of(sent)
    verify_report(evidence.attestation_report, evidence.certificates(), REAL_NOW)


def test_certificates_may_be_left_out(machine):
    report = {"attestation_report": encode(machine.report())}
    assert SnpEvidence.of(report).certificates().endorsement is None
    assert SnpEvidence.of({**report, "cert_chain": []}).certificates().chain == ()


def test_the_certificate_of_the_key_that_signed(machine):
    vlek = machine.of(kind=SigningKey.VLEK)
    given = wire(vlek, VCEK=der(machine.endorsement()), VLEK=der(vlek.endorsement()))
    assert SnpEvidence.of(given).certificates().endorsement.subject.rfc4514_string().startswith("CN=SEV-VLEK")


@pytest.mark.parametrize(
    "changed",
    [
        {"attestation_report": None},
        {"attestation_report": 5},
        {"attestation_report": []},
        {"attestation_report": ""},
        {"attestation_report": "AA=A"},
        {"attestation_report": "\u00e9"},
        {"attestation_report": "AAAA\n"},
        {"attestation_report": "-_-_"},
        {"attestation_report": encode(bytes(1185))},
        {"attestation_report": "A" * 2**20},
        {"attestation_report": encode(bytes(1184))},
        {"cert_chain": None},
        {"cert_chain": "VCEK"},
        {"cert_chain": {"VCEK": "AAAA"}},
        {"cert_chain": [{"cert_type": "VCEK"}]},
        {"cert_chain": [{"cert_type": "CRL", "data": "AAAA"}]},
        {"cert_chain": [{"cert_type": "VCEK", "data": "AAAA"}]},
        {"cert_chain": [{"cert_type": "VCEK", "data": [1, 2]}]},
        {"cert_chain": [{"cert_type": "VCEK", "data": "AAAA", "more": 1}]},
        {"cert_chain": [{"cert_type": "VCEK", "data": encode(bytes(8 * 1024 + 1))}]},
        {"cert_chain": [{"cert_type": "ARK", "data": "AAAA"}] * 5},
        {"more": 1},
    ],
)
def test_another_form(machine, changed):
    refused(wire(machine) | changed)


def test_without_a_report():
    refused({"cert_chain": []}, "attestation_report")


def test_a_type_twice(machine):
    twice = [{"cert_type": "ARK", "data": encode(der(machine.root))}] * 2
    refused(wire(machine) | {"cert_chain": twice}, "twice")


def test_refusals_do_not_repeat_what_was_sent(machine):
    with pytest.raises(EvidenceRefused) as caught:
        SnpEvidence.of({"attestation_report": "secret", "cert_chain": []})
    assert "secret" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=10,
)


@given(st.fixed_dictionaries({}, optional={"attestation_report": JSON, "cert_chain": JSON, "more": JSON}))
def test_any_json(evidence):
    refused(evidence)
