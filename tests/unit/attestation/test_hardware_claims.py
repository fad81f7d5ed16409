"""Which measurement counts: SGX's own, a launch's configuration digest, or what the measured agent states."""

from __future__ import annotations

import pytest

from confide.attestation.claims import Platform, Tcb, Tee
from confide.attestation.evidence import RuntimeData, StatedImage, TeePubkey
from confide.attestation.hardware import claims_of
from confide.errors import AttestationRefused

M, OTHER = "ab" * 32, "cd" * 32
KEY = TeePubkey(kty="EC", crv="P-256", alg="ECDH-ES+A256KW", x="A" * 43, y="A" * 43)


def platform(**registers):
    return Platform(registers, {"isv_svn": 7}, ("aa",), Tcb(), debug=False, expires=2)


def runtime(measurement=None, role="driver", svn=0):
    image = StatedImage(measurement=measurement, role=role, svn=svn) if measurement else None
    return RuntimeData(nonce="n", tee_pubkey=KEY, image=image)


def test_sgx_is_measured_by_its_hardware_whatever_is_stated():
    claims = claims_of(Tee.SGX, platform(mrenclave=M), runtime(OTHER, "executor", 99))
    assert (claims.measurement, claims.svn, claims.role) == (M, 7, "executor")


@pytest.mark.parametrize(
    ("tee", "register", "size"), [(Tee.SNP, "host_data", 32), (Tee.TDX, "mrconfigid", 48)]
)
class TestConfidentialVm:
    def test_statement_of_the_agent(self, tee, register, size):
        claims = claims_of(tee, platform(**{register: "00" * size}), runtime(M, "executor", 3))
        assert (claims.measurement, claims.svn, claims.role) == (M, 3, "executor")

    def test_digest_of_the_launch(self, tee, register, size):
        bound = M + "00" * (size - 32)
        assert claims_of(tee, platform(**{register: bound}), runtime()).measurement == M
        assert claims_of(tee, platform(**{register: bound}), runtime(M)).measurement == M

    def test_statement_of_another_image_than_was_launched(self, tee, register, size):
        with pytest.raises(AttestationRefused, match="another image"):
            claims_of(tee, platform(**{register: M + "00" * (size - 32)}), runtime(OTHER))

    def test_nobody_says_what_runs(self, tee, register, size):
        with pytest.raises(AttestationRefused, match="which image"):
            claims_of(tee, platform(**{register: "00" * size}), runtime())


def test_a_configuration_digest_of_another_kind():
    with pytest.raises(AttestationRefused, match="padded"):
        claims_of(Tee.TDX, platform(mrconfigid="ab" * 48), runtime())


def test_the_stated_image_is_bound_by_the_report_data():
    assert len({runtime().report_data(), runtime(M).report_data(), runtime(M, svn=1).report_data()}) == 3
