"""From evidence to claims. Pure: message, challenge, trust and `now` in; claims or a refusal out."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers

from confide.attestation.claims import Claims, Platform, Tee
from confide.attestation.evidence import PROTOCOL_VERSION, Attestation, RuntimeData, TeePubkey, coordinate
from confide.attestation.hardware import claims_of
from confide.attestation.simulated import verify_simulated
from confide.attestation.tpm.verify import verify_tpm
from confide.attestation.trust import HardwareTrust, Trust
from confide.attestation.vendors import verify_amd, verify_azure_vm, verify_intel
from confide.errors import AttestationRefused


def verify(
    attestation: Attestation, *, tee: str, nonce: str, trust: Trust, now: int, version: str = PROTOCOL_VERSION
) -> Claims:
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
        version: of the protocol, as the request of this session named it.

    Raises:
        AttestationRefused: names the step that failed; EvidenceRefused in step 4, with the step of that verifier.
        CollateralUnavailable: what hardware evidence is verified with is missing or has expired; and what to do.
    """
    verifier = VERIFIERS.get(tee)
    if verifier is None:
        raise AttestationRefused(f"step 1: no TEE called {tee!r}")
    runtime_data = attestation.runtime_data
    if not hmac.compare_digest(runtime_data.nonce.encode(), nonce.encode()):
        raise AttestationRefused("step 2: not the nonce of this session")
    _check_on_curve(runtime_data.tee_pubkey)
    expected = attestation.report_data(version)
    claims = verifier(attestation.tee_evidence.primary_evidence, runtime_data, expected, trust, now)
    if claims.debug:
        raise AttestationRefused("step 5: debug evidence releases nothing")
    return claims


def _check_on_curve(key: TeePubkey) -> None:
    try:
        EllipticCurvePublicNumbers(coordinate(key.x), coordinate(key.y), SECP256R1()).public_key()
    except ValueError:
        raise AttestationRefused("step 3: the workload's key is not a point on P-256") from None


_Verifier = Callable[[Mapping[str, Any], RuntimeData, bytes, Trust, int], Claims]


def _simulated(
    evidence: Mapping[str, Any], runtime_data: RuntimeData, expected: bytes, trust: Trust, now: int
) -> Claims:
    del now  # a statement carries no time; the nonce makes it fresh
    if trust.simulated_host is None:
        raise AttestationRefused("step 1: this broker was not started to accept simulated evidence")
    return verify_simulated(evidence, runtime_data, expected, trust.simulated_host)


def _tpm(
    evidence: Mapping[str, Any], runtime_data: RuntimeData, expected: bytes, trust: Trust, now: int
) -> Claims:
    del now  # a quote is fresh by its report data; an enrolled key does not expire
    if trust.tpm_key is None:
        raise AttestationRefused("step 1: this broker was not started to accept evidence of a TPM")
    return claims_of(Tee.TPM, verify_tpm(evidence, expected, trust.tpm_key), runtime_data)


_Vendor = Callable[[Tee, Mapping[str, Any], bytes, HardwareTrust, int], Platform]


def _hardware(tee: Tee, vendor: _Vendor) -> _Verifier:
    def verified(
        evidence: Mapping[str, Any], runtime_data: RuntimeData, expected: bytes, trust: Trust, now: int
    ) -> Claims:
        if trust.hardware is None:
            raise AttestationRefused(f"step 1: this broker does not accept evidence of {tee}")
        platform = vendor(tee, evidence, expected, trust.hardware, now)
        return claims_of(tee, platform, runtime_data)

    return verified


VERIFIERS: Mapping[str, _Verifier] = {
    Tee.SIMULATED: _simulated,
    Tee.TPM: _tpm,
    Tee.SGX: _hardware(Tee.SGX, verify_intel),
    Tee.TDX: _hardware(Tee.TDX, verify_intel),
    Tee.SNP: _hardware(Tee.SNP, verify_amd),
    Tee.AZURE_SNP: _hardware(Tee.AZURE_SNP, verify_azure_vm),
    Tee.AZURE_TDX: _hardware(Tee.AZURE_TDX, verify_azure_vm),
}
"""TEE -> verifier: the one place that knows which there are."""
