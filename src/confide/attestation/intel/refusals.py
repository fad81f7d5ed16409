"""What dcap-qvl's messages mean: the step of `verify_quote` that failed, and why, in plain words."""

from __future__ import annotations

import re

FORM, SIGNATURES, TCB, ATTRIBUTES = 1, 3, 4, 5

_MEANINGS = (
    # Where the certificate chain fails, the cause says why.
    ("Failed to decode TcbInfo", TCB, "the TCB info is of a form that is not known here"),
    ("Failed to decode QeIdentity", TCB, "the QE identity is of a form that is not known here"),
    ("CertRevoked", TCB, "a certificate of the platform or of Intel's signers is revoked"),
    ("Revoked", TCB, "the TCB of the platform, its TDX module or its quoting enclave is revoked"),
    ("UnknownIssuer", SIGNATURES, "a certificate chain does not lead to the pinned root"),
    ("UnknownRevocationStatus", SIGNATURES, "no CRL here covers the authority of a certificate"),
    ("CertExpired", SIGNATURES, "a certificate has expired"),
    ("CertNotValidYet", SIGNATURES, "a certificate is not valid yet"),
    ("InvalidSignatureForPublicKey", SIGNATURES, "a certificate is not signed by the one above it"),
    ("InvalidCrlSignatureForPublicKey", SIGNATURES, "a CRL is not signed by its authority"),
    ("ISV enclave report signature", SIGNATURES, "the attestation key did not sign header and body"),
    (
        "Signature is invalid for qe_report",
        SIGNATURES,
        "the platform's key did not sign the quoting enclave's report",
    ),
    (
        "QE report hash mismatch",
        SIGNATURES,
        "the quoting enclave's report vouches for another attestation key",
    ),
    ("Signature is invalid for tcb_info", SIGNATURES, "the TCB info is not signed by Intel"),
    ("Signature is invalid for qe_identity", SIGNATURES, "the QE identity is not signed by Intel"),
    ("QE ISVSVN", TCB, "the quoting enclave is older than every TCB level of its identity"),
    ("QE MRSIGNER mismatch", SIGNATURES, "the quoting enclave is not the one of the QE identity: signer"),
    ("QE ISVPRODID mismatch", SIGNATURES, "the quoting enclave is not the one of the QE identity: product"),
    (
        "QE MISCSELECT mismatch",
        SIGNATURES,
        "the quoting enclave is not the one of the QE identity: MISCSELECT",
    ),
    (
        "QE ATTRIBUTES mismatch",
        SIGNATURES,
        "the quoting enclave is not the one of the QE identity: attributes",
    ),
    ("QE report validation failed", SIGNATURES, "the quoting enclave can be inspected from outside (debug)"),
    ("TDX module ISVSVN", TCB, "the TDX module is older than every TCB level of its identity"),
    ("No TDX module identity", TCB, "the TCB info does not know this version of the TDX module"),
    (
        "TDX module MRSIGNER mismatch",
        SIGNATURES,
        "the TDX module is not signed by the signer in the TCB info",
    ),
    ("TDX module SEAMATTRIBUTES", SIGNATURES, "the TDX module has other attributes than in the TCB info"),
    ("No matching TCB level", TCB, "the platform is older than every TCB level that Intel lists"),
    ("Debug mode is enabled", ATTRIBUTES, "it can be inspected from outside (debug)"),
    ("TD profiling is enabled", ATTRIBUTES, "it can be profiled from outside (TD attributes)"),
    ("TD migration is enabled", ATTRIBUTES, "it can be migrated (TD attributes, MIGRATABLE)"),
    ("SERVTD_EXT is enabled", ATTRIBUTES, "service TDs may be bound to it (TD attributes, SERVTD_EXT)"),
    ("Invalid MR service TD", ATTRIBUTES, "a service TD is bound to it (MRSERVICETD)"),
    (
        "SEPT_VE_DISABLE is not enabled",
        ATTRIBUTES,
        "the host can inject exceptions into it (no SEPT_VE_DISABLE)",
    ),
    ("Reserved bits in TD attributes", ATTRIBUTES, "reserved bits of its TD attributes are set"),
    ("Unknown QE vendor ID", FORM, "its quoting enclave is not Intel's"),
    ("Invalid QE auth data length", FORM, "its QE authentication data is not of 32 bytes"),
    ("Failed to decode quote", FORM, "it does not read"),
    # Whatever else is wrong with a certificate.
    ("Failed to parse PCK certificate", SIGNATURES, "the platform's certificate does not read"),
    ("Failed to verify certificate chain", SIGNATURES, "the platform's certificate does not verify"),
)


def meaning(message: str) -> tuple[int, str]:
    """Return step and reason; what is not known is a failure of step 3, in dcap-qvl's words."""
    for part, step, reason in _MEANINGS:
        if part in message:
            return step, reason
    words = re.sub(r"[^\x20-\x7e]+", " ", message.removeprefix("Verification failed: "))
    return SIGNATURES, words[:200]
