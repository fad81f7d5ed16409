"""Claims about workloads in Azure's confidential VMs: the host's fields say nothing there."""

from __future__ import annotations

import pytest

from confide.attestation.claims import Platform, Tcb, Tee
from confide.attestation.evidence import RuntimeData, StatedImage, TeePubkey
from confide.attestation.hardware import claims_of
from confide.errors import AttestationRefused

KEY = TeePubkey(kty="EC", crv="P-256", alg="ECDH-ES+A256KW", x="x" * 43, y="y" * 43)
IMAGE = StatedImage(measurement="a" * 64, role="driver", svn=3)
FIELD = {Tee.AZURE_SNP: ("host_data", 64), Tee.AZURE_TDX: ("mrconfigid", 96)}


def claims(tee, bound, image):
    name, digits = FIELD[tee]
    platform = Platform({name: bound.ljust(digits, "0")}, {}, ("c0",), Tcb(), debug=False, expires=1)
    return claims_of(tee, platform, RuntimeData(nonce="n", tee_pubkey=KEY, image=image))


@pytest.mark.parametrize("tee", FIELD)
@pytest.mark.parametrize("bound", ["", "b" * 64, "b" * 60, "a" * 64])
def test_the_agent_states_the_image(tee, bound):
    said = claims(tee, bound, IMAGE)
    assert (said.measurement, said.svn, said.hardware_id) == ("a" * 64, 3, "c0")


@pytest.mark.parametrize("tee", FIELD)
@pytest.mark.parametrize("bound", ["", "b" * 64])
def test_a_digest_that_the_host_set_is_no_measurement(tee, bound):
    with pytest.raises(AttestationRefused, match="which image runs"):
        claims(tee, bound, None)
