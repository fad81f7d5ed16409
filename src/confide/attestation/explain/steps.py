"""The numbered steps of each verifier in a line each, and what became of them. The verifiers' docstrings say it all."""

from __future__ import annotations

from collections.abc import Collection

from confide.attestation.explain.document import State, Step, Verification

QUOTE = (
    "it is a quote of a version that is verified, with nothing behind its end",
    "the collateral is for this TEE and kind of platform, Intel's, and valid at that time",
    "certificates lead to the trusted root; they signed quoting enclave, attestation key, header and body",
    "nothing is revoked; platform, TDX module and quoting enclave meet a TCB level that Intel lists",
    "it cannot be inspected (debug), profiled or migrated from outside",
    "what was verified is what was read",
)
COLLATERAL = (
    "the root signed its CRL",
    "the authority of platforms is certified by the root, and not revoked",
    "it signed the PCK CRL",
    "Intel's signer is certified by the root and not revoked; it signed the TCB info",
    "it signed the QE identity",
    "every part is valid at that time",
)
EVENT_LOG = (
    "it reads: a crypto agile log with SHA-384 digests",
    "replayed, it gives each RTMR of the quote",
)
REPORT = (
    "the report reads, and is signed with an algorithm that is known",
    "the endorsement key's certificate is there, and of the report's product",
    "it chains to the root that is trusted for the product, and is valid at that time",
    "the CRL, where one is given, is the root's, in date, and lists none of the chain",
    "the certificate is of the kind of key that the report names (VCEK or VLEK)",
    "that key signed the report",
    "the certificate stands for the reported TCB",
    "the certificate is that of the report's chip",
    "the guest policy has nothing unknown, and a guest asked for the report",
)
AZURE = (
    "the evidence has its form",
    "the HCL report reads, and holds a hardware report",
    "the hardware evidence is verified",
    "the hardware carries the hash of the runtime JSON, asked for by the paravisor",
    "the runtime JSON names the TPM's attestation key",
    "that key signed the quote",
    "the quote is a TPM's, over all 24 PCRs",
    "the quote carries the data that makes it fresh",
    "the PCR values are those of the quote",
    "in form 2, the hardware report carries that data too",
)
RATLS = (
    "the certificate reads, and carries evidence",
    "it is self-issued and signed by its own key",
    "it is valid at that time",
    "its claims name its key",
    "the evidence in it is verified",
    "the evidence binds the key, or the claims that name it",
)
SIGSTRUCT = (
    "it reads: size and constants",
    "its key is RSA of 3072 bits with exponent 3",
    "that key signed it",
    "the enclave does not start in debug mode",
)
VERDICT = (
    "the evidence is genuine: every step above",
    "the report data is that of the attestation's runtime data",
    "it cannot be inspected from outside (no debug)",
    "the TCB status is accepted: UpToDate, by --accept-status, or by the policy",
    "the policy accepts measurement and platform",
)


def verification(
    evidence: str, texts: tuple[str, ...], failed: int = 0, reason: str = "", unsure: Collection[int] = ()
) -> Verification:
    """Return what became of the steps of a verifier that takes them in their order.

    Args:
        evidence: what it verified.
        texts: of its steps.
        failed: number of the step that failed; 0: none.
        reason: why it failed.
        unsure: steps before the one that failed of which it is not known that they passed.
    """

    def state(number: int) -> State:
        if not failed or (number < failed and number not in unsure):
            return State.PASSED
        return State.FAILED if number == failed else State.OPEN

    return Verification(
        evidence,
        tuple(
            Step(number, text, state(number), reason if number == failed else "")
            for number, text in enumerate(texts, start=1)
        ),
    )
