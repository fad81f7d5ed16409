"""The verdict on examined evidence: genuine, not of a TEE that can be inspected, of an accepted state. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from confide.attestation.claims import Tee
from confide.attestation.explain.document import State, Step, Verification
from confide.attestation.explain.examine import Examination
from confide.attestation.explain.steps import VERDICT
from confide.attestation.requirements import INTEL, OUTDATED
from confide.errors import AttestationRefused, ConfideError, EvidenceRefused, PlatformRefused

EVIDENCE = "verdict"
_GENUINE, _BOUND, _DEBUG, _STATUS, _POLICY = range(1, 6)
_DEBUG_CURES = {
    Tee.SGX: "sign the enclave without debug: `sgx.debug = false` in Gramine's manifest, `metadata.debuggable` false "
    "in Occlum.json, a release build of the SGX SDK",
    Tee.TDX: "start the TD without its debug attribute (QEMU: `-object tdx-guest` without `attributes` bit 0)",
    Tee.SNP: "start the guest without bit 19 in its policy (QEMU: `-object sev-snp-guest,policy=0x30000`)",
}


@dataclass(frozen=True)
class Verdict:
    """Whether evidence is good.

    Attributes:
        error: why not; None: it is.
        verification: the last steps, and what became of them.
    """

    error: ConfideError | None
    verification: Verification


def judge(
    result: Examination,
    *,
    bound: bool,
    accepted: Collection[str] = (),
    policy: Callable[[Examination], None] | None = None,
) -> Verdict:
    """Judge what was examined.

    1. Its verifiers accepted it.
    2. Where it came with the runtime data that it must bind, it does.
    3. It cannot be inspected from outside.
    4. Intel: its TCB status is UpToDate, or accepted; with a policy, that says so.
    5. The policy accepts it.

    Args:
        result: the examination.
        bound: whether it came with runtime data.
        accepted: TCB statuses that are accepted beside UpToDate.
        policy: raises what a policy objects to; None: there is none to ask.
    """
    error, failed = result.error, _failed(result)
    if error is None and result.debug:
        error, failed = EvidenceRefused(EVIDENCE, _DEBUG, "it can be inspected from outside (debug)"), _DEBUG
    if error is None and policy is None:
        error = _status(result, accepted)
        failed = _STATUS
    if error is None and policy is not None:
        try:
            policy(result)
        except ConfideError as refused:
            error, failed = refused, _POLICY
    skipped = {
        _BOUND: not bound,
        _STATUS: result.tee not in INTEL or policy is not None,
        _POLICY: policy is None,
    }
    verdict = tuple(
        Step(
            number,
            text,
            _state(number, failed if error else 0, skipped=skipped.get(number, False)),
            str(error) if error and number == failed else "",
        )
        for number, text in enumerate(VERDICT, start=1)
    )
    return Verdict(error, Verification(EVIDENCE, verdict))


def is_of_debug(error: ConfideError | None, result: Examination) -> bool:
    """Tell whether a refusal is that of a TEE which can be inspected from outside."""
    if not result.debug or not isinstance(error, EvidenceRefused):
        return False
    return (error.step, error.evidence) in (
        (_DEBUG, EVIDENCE),
        (5, "SGX quote"),
        (5, "TDX quote"),
        (4, "SIGSTRUCT"),
    )


def debug_cure(tee: Tee | None) -> str:
    """Return how to get evidence that is not of a debug TEE."""
    kind = {Tee.AZURE_SNP: Tee.SNP, Tee.AZURE_TDX: Tee.TDX}.get(tee, tee) if tee else Tee.SGX
    return _DEBUG_CURES.get(kind, _DEBUG_CURES[Tee.SGX])


def _failed(result: Examination) -> int:
    """Return the step of the verdict that a verifier's refusal is."""
    error = result.error
    if isinstance(error, EvidenceRefused):
        return _DEBUG if is_of_debug(error, result) else _GENUINE
    return _BOUND if type(error) is AttestationRefused else _GENUINE


def _status(result: Examination, accepted: Collection[str]) -> ConfideError | None:
    tcb = result.platform.tcb if result.platform else None
    if tcb is None or result.tee not in INTEL or tcb.status in ("UpToDate", *accepted):
        return None
    advisories = f", open to {', '.join(tcb.advisories)}" if tcb.advisories else ""
    grace = " together with grace_days" if tcb.status in OUTDATED else ""
    error = PlatformRefused(f"TCB status {tcb.status} is not accepted{advisories}")
    error.add_note(
        f"`--accept-status {tcb.status}` accepts it here; in a policy, `status`{grace} and `advisories` of "
        "[workload.platform] do. docs/attestation.md says what it means."
    )
    return error


def _state(number: int, failed: int, *, skipped: bool) -> State:
    if number == failed:
        return State.FAILED
    if skipped:
        return State.SKIPPED
    return State.PASSED if not failed or number < failed else State.OPEN
