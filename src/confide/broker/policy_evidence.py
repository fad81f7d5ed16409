"""What a policy says of evidence that somebody has in hand: which of its workloads accepts it. Pure.

`rules.decide` decides releases; this is for whoever writes a policy and wants to know what it will say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from confide.attestation.appraise import appraise
from confide.attestation.claims import Claims, Platform, Tee
from confide.attestation.hardware import launched_with
from confide.broker.policy import Policy, Workload
from confide.errors import ConfideError, MeasurementRefused, PlatformRefused


@dataclass(frozen=True)
class Match:
    """The workload that accepts evidence.

    Attributes:
        workload: of the policy.
        measured: whether its measurement was compared; else only the platform was, as the evidence of a confidential
            VM does not say by itself which image its agent runs.
    """

    workload: Workload
    measured: bool


def match_policy(policy: Policy, tee: Tee, platform: Platform, claims: Claims | None, now: int) -> Match:
    """Return the first workload of a policy that accepts a verified platform.

    1. A workload of the policy is for this TEE, and names the measurement where the evidence tells one; and the role,
       where an attestation states one.
    2. The security version is at least its minimum.
    3. The platform is what it demands (`appraise`).

    Args:
        policy: whose signature and validity are others' to check.
        tee: whose evidence it is.
        platform: of verified evidence.
        claims: of the whole attestation, where that was given.
        now: Unix seconds.

    Raises:
        AttestationRefused: the VM was launched with what is no measurement.
        MeasurementRefused: step 1 or 2.
        PlatformRefused: step 3, for every workload that was left.
    """
    measurement, svn = code_of(tee, platform, claims)
    candidates = [
        workload
        for workload in policy.workload
        if workload.tee is tee and (measurement is None or measurement in workload.measurements)
    ]
    if claims is not None:
        candidates = [workload for workload in candidates if workload.role == claims.role]
    if not candidates:
        what = f"measurement {measurement}" if measurement else "evidence"
        raise MeasurementRefused(f"step 1: no workload of the policy is for {what} of {tee}")
    refusals: list[tuple[Workload, ConfideError]] = []
    for workload in candidates:
        try:
            _check(workload, tee, platform, svn, now)
        except ConfideError as refused:
            refusals.append((workload, refused))
        else:
            return Match(workload, measurement is not None)
    raise _combined(refusals)


def _check(workload: Workload, tee: Tee, platform: Platform, svn: int | None, now: int) -> None:
    if svn is not None and svn < workload.minimum_svn:
        raise MeasurementRefused(
            f"step 2: security version {svn}, at least {workload.minimum_svn} is demanded"
        )
    if workload.platform is None:
        raise PlatformRefused("step 3: it demands nothing of the hardware, so nothing is accepted")
    appraise(tee, platform, workload.platform, now)


def code_of(tee: Tee, platform: Platform, claims: Claims | None) -> tuple[str | None, int | None]:
    """Return measurement and security version of the code, each None where the evidence does not tell it.

    Raises:
        AttestationRefused: as at a broker, the VM was launched with what is no measurement.
    """
    if claims is not None:
        return claims.measurement, claims.svn
    if tee is Tee.SGX:
        return platform.registers["mrenclave"], platform.numbers["isv_svn"]
    return launched_with(tee, platform) or None, None


def _combined(refusals: Sequence[tuple[Workload, ConfideError]]) -> ConfideError:
    words = "; ".join(
        f"workload {workload.name} ({workload.role}): {refused}" for workload, refused in refusals
    )
    kinds = {type(refused) for _, refused in refusals}
    return MeasurementRefused(words) if kinds == {MeasurementRefused} else PlatformRefused(words)
