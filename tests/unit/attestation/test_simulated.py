from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from confide.attestation.claims import Tee
from confide.attestation.evidence import Attestation, Request, RuntimeData
from confide.attestation.report_data import report_data
from confide.attestation.simulated import STATEMENT_TYP, SimulatedStatement
from confide.attestation.trust import Trust
from confide.attestation.verify import verify
from confide.canonical import canonical_json
from confide.errors import AttestationRefused, InvalidFormat
from confide.keys.signing import generate_signing_key, key_id, raw_public, sign_jws

NONCE = "bm9uY2U="
HOST = generate_signing_key()
HOST_ID = key_id(HOST.public_key())


def _coordinate(number):
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


_POINT = ec.generate_private_key(ec.SECP256R1()).public_key().public_numbers()
RUNTIME = {
    "nonce": NONCE,
    "tee-pubkey": {
        "kty": "EC",
        "crv": "P-256",
        "alg": "ECDH-ES+A256KW",
        "x": _coordinate(_POINT.x),
        "y": _coordinate(_POINT.y),
    },
    "launch": {"args": "--year 2024"},
}


def enrolled(host):
    if host != HOST_ID:
        raise AttestationRefused("not enrolled")
    return raw_public(HOST.public_key())


TRUST = Trust(enrolled)


def statement(**changed):
    fields = {
        "tee": "simulated",
        "measurement": "a" * 64,
        "role": "driver",
        "svn": 3,
        "debug": False,
        "report_data": base64.b64encode(report_data(RUNTIME)).decode(),
        "host": HOST_ID,
    }
    return {**fields, **changed}


def signed(document, key=HOST, kid=HOST_ID, typ=STATEMENT_TYP):
    return sign_jws(key, canonical_json(document), {"kid": kid, "typ": typ})


def check(evidence, runtime=RUNTIME, trust=TRUST, tee="simulated", nonce=NONCE):
    message = {
        "runtime-data": runtime,
        "tee-evidence": {"primary_evidence": evidence, "additional_evidence": ""},
    }
    return verify(Attestation.parse(json.dumps(message).encode()), tee=tee, nonce=nonce, trust=trust, now=0)


def test_claims_of_good_evidence():
    claims = check(signed(statement()))
    assert claims.tee is Tee.SIMULATED
    assert (claims.measurement, claims.role, claims.svn, claims.debug) == ("a" * 64, "driver", 3, False)
    assert claims.hardware_id == HOST_ID
    assert claims.launch == {"args": "--year 2024"}
    assert claims.tee_pubkey == RUNTIME["tee-pubkey"]


def test_report_data_is_sha384_padded():
    data = report_data(RUNTIME)
    assert len(data) == 64
    assert data[48:] == bytes(16)
    assert RuntimeData.parse(json.dumps(RUNTIME).encode()).report_data() == data


def test_statement_of_makes_what_is_verified():
    made = SimulatedStatement.of(
        measurement="a" * 64,
        role="driver",
        svn=3,
        debug=False,
        report_data=report_data(RUNTIME),
        host=HOST_ID,
    )
    assert made.wire() == statement()


@pytest.mark.parametrize("tee", ["", "sample", "Simulated"])
def test_step_1_unknown_tee(tee):
    with pytest.raises(AttestationRefused, match="step 1"):
        check(signed(statement()), tee=tee)


def test_step_1_simulated_not_allowed():
    with pytest.raises(AttestationRefused, match="step 1: this broker was not started"):
        check(signed(statement()), trust=Trust())


def test_step_2_another_nonce():
    with pytest.raises(AttestationRefused, match="step 2"):
        check(signed(statement()), nonce="b3RoZXI=")


def test_step_3_not_a_point():
    pubkey = {**RUNTIME["tee-pubkey"], "y": RUNTIME["tee-pubkey"]["x"]}
    with pytest.raises(AttestationRefused, match="step 3"):
        check(signed(statement()), runtime={**RUNTIME, "tee-pubkey": pubkey})


def test_step_5_debug():
    with pytest.raises(AttestationRefused, match="step 5: debug"):
        check(signed(statement(debug=True)))


@pytest.mark.parametrize(
    ("evidence", "step"),
    [
        ({}, 1),
        ({**signed(statement()), "header": {}}, 1),
        ({**signed(statement()), "signature": 5}, 1),
        ({**signed(statement()), "signature": "A" * 87}, 1),
        ({**signed(statement()), "payload": "A" * 8000}, 1),
        ({**signed(statement()), "payload": "ü"}, 1),
        (signed(statement(), typ="confide-call+json"), 2),
        ({**signed(statement()), "protected": "e30"}, 2),
        ({**signed(statement()), "protected": "bm90IGpzb24"}, 2),
        ({**signed(statement()), "signature": "A" * 86}, 4),
        ({**signed(statement()), "payload": signed(statement(svn=9))["payload"]}, 4),
        (signed(statement(), key=generate_signing_key()), 4),
        (signed({**statement(), "more": 1}), 5),
        (signed({k: v for k, v in statement().items() if k != "debug"}), 5),
        (signed(statement(debug="false")), 5),
        (signed(statement(measurement="A" * 64)), 5),
        (signed(statement(svn=-1)), 5),
        (signed(statement(tee="sgx")), 5),
        (signed(statement(host="0" * 64)), 5),
        (signed(statement(report_data="")), 6),
        (signed(statement(report_data=base64.b64encode(bytes(64)).decode())), 6),
    ],
)
def test_simulated_steps(evidence, step):
    with pytest.raises(AttestationRefused, match=f"simulated evidence, step {step}"):
        check(evidence)


def test_host_that_is_not_enrolled():
    other = generate_signing_key()
    identifier = key_id(other.public_key())
    with pytest.raises(AttestationRefused, match="not enrolled"):
        check(signed(statement(host=identifier), key=other, kid=identifier))


def test_enrolled_under_anothers_id():
    with pytest.raises(AttestationRefused, match="step 3"):
        check(signed(statement()), trust=Trust(lambda _: raw_public(generate_signing_key().public_key())))


@pytest.mark.parametrize("changed", [{"launch": {}}, {"launch": {"args": "--year 2025"}}])
def test_step_6_other_launch_parameters_than_were_signed(changed):
    with pytest.raises(AttestationRefused, match="simulated evidence, step 6"):
        check(signed(statement()), runtime={**RUNTIME, **changed})


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_are_an_invalid_format(data):
    for model in (Request, Attestation):
        with pytest.raises(InvalidFormat):
            model.parse(data)


@given(st.dictionaries(st.sampled_from(["protected", "payload", "signature", "x"]), st.text(max_size=80)))
def test_any_evidence_is_refused_with_its_step(evidence):
    with pytest.raises(AttestationRefused, match="simulated evidence, step"):
        check(evidence)


def test_message_examples_of_the_protocol_document_parse():
    Request.parse(b'{"version": "0.1.1", "tee": "sgx", "extra-params": {}}')
    Request.parse(b'{"version": "0.1.1", "tee": "sgx", "extra-params": ""}')
    example = {
        "runtime-data": {k: RUNTIME[k] for k in ("nonce", "tee-pubkey")},
        "tee-evidence": {"primary_evidence": {}, "additional_evidence": "{}"},
    }
    Attestation.parse(json.dumps(example).encode())
    with_init = {"init-data": {"format": "json", "body": "..."}, **example}
    with pytest.raises(InvalidFormat):  # nothing here would check it, so it is not silently taken
        Attestation.parse(json.dumps(with_init).encode())


def test_size_is_checked_before_parsing():
    with pytest.raises(InvalidFormat, match="at most"):
        Request.parse(b" " * 10_000, 4096)


def test_messages_of_refusals_are_short_and_show_no_values():
    with pytest.raises(InvalidFormat) as caught:
        Request.parse(json.dumps({"n" * 5000: "secret-value"}).encode(), 10_000)
    assert len(str(caught.value)) < 2000
    assert "secret-value" not in str(caught.value)
