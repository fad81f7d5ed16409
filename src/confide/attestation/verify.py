"""From evidence to claims. Pure: message, challenge, trust and `now` in; claims or a refusal out."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers

from confide.attestation.claims import Claims, Tee
from confide.attestation.evidence import Attestation, RuntimeData, TeePubkey, coordinate
from confide.attestation.simulated import verify_simulated
from confide.errors import AttestationRefused


@dataclass(frozen=True)
class Trust:
    """What evidence is anchored to.

    Attributes:
        simulated_host: id of an enrolled simulated host -> its raw Ed25519 public key, raising
            AttestationRefused where it is not enrolled; None: simulated evidence is not accepted at all.
    """

    simulated_host: Callable[[str], bytes] | None = None


def verify(attestation: Attestation, *, tee: str, nonce: str, trust: Trust, now: int) -> Claims:
    """Verify an attestation.

    1. The TEE is one that this broker supports and accepts.
    2. The nonce is the one of the challenge.
    3. The workload's key is a point on P-256.
    4. The TEE's own verifier accepts the evidence, for exactly this runtime data.
    5. The TEE cannot be inspected from outside (no debug).

    Args:
        attestation: nothing in it is trusted.
        tee: kind of TEE, as the request of this session named it.
        nonce: of this session's challenge.
        trust: what evidence is anchored to.
        now: Unix seconds.

    Raises:
        AttestationRefused: names the step that failed.
    """
    verifier = VERIFIERS.get(tee)
    if verifier is None:
        raise AttestationRefused(f"step 1: no TEE called {tee!r}")
    runtime_data = attestation.runtime_data
    if not hmac.compare_digest(runtime_data.nonce.encode(), nonce.encode()):
        raise AttestationRefused("step 2: not the nonce of this session")
    _check_on_curve(runtime_data.tee_pubkey)
    claims = verifier(attestation.tee_evidence.primary_evidence, runtime_data, trust, now)
    if claims.debug:
        raise AttestationRefused("step 5: debug evidence releases nothing")
    return claims


def _check_on_curve(key: TeePubkey) -> None:
    try:
        EllipticCurvePublicNumbers(coordinate(key.x), coordinate(key.y), SECP256R1()).public_key()
    except ValueError:
        raise AttestationRefused("step 3: the workload's key is not a point on P-256") from None


_Verifier = Callable[[Mapping[str, Any], RuntimeData, Trust, int], Claims]


def _simulated(evidence: Mapping[str, Any], runtime_data: RuntimeData, trust: Trust, now: int) -> Claims:
    del now  # a statement carries no time; the nonce makes it fresh
    if trust.simulated_host is None:
        raise AttestationRefused("step 1: this broker was not started to accept simulated evidence")
    return verify_simulated(evidence, runtime_data, trust.simulated_host)


def _unsupported(tee: Tee) -> _Verifier:
    def refuse(evidence: Mapping[str, Any], runtime_data: RuntimeData, trust: Trust, now: int) -> Claims:
        del evidence, runtime_data, trust, now
        raise AttestationRefused(f"step 1: {tee} is not supported by this broker yet")

    return refuse


VERIFIERS: Mapping[str, _Verifier] = {
    Tee.SIMULATED: _simulated,
    Tee.SGX: _unsupported(Tee.SGX),
    Tee.TDX: _unsupported(Tee.TDX),
    Tee.SNP: _unsupported(Tee.SNP),
}
"""TEE -> verifier: the one place that knows which there are."""
