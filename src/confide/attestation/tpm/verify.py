"""Verification of a TPM's evidence: what a machine booted, vouched for by a key that was enrolled. Pure.

It says nothing of who can read the machine's memory: whoever runs a virtual machine, and its software TPM, can.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from confide.attestation.claims import Platform, Tcb
from confide.attestation.tpm.event_log import check_event_log
from confide.attestation.tpm.evidence import TpmEvidence
from confide.attestation.tpm.quote import has_digest, read_quote, read_signature, signed_by
from confide.canonical import sha256_hex
from confide.errors import AttestationRefused, EvidenceRefused, InvalidFormat

EVIDENCE = TpmEvidence.evidence
NEVER = 2**53 - 1
"""An enrolled key does not expire; it is removed."""

_AK_BITS = (2048, 4096)
_EXPONENT = 65537
_REPORT_DATA_BYTES = 64


def verify_tpm(
    evidence: Mapping[str, Any], report_data: bytes, enrolled_key: Callable[[str], bytes]
) -> Platform:
    """Verify evidence of a TPM.

    1. The evidence has the form of `TpmEvidence` (there).
    2. Its attestation key is enrolled.
    3. That key is an RSA key of 2048 to 4096 bits.
    4. It signed the quote: RSASSA-PKCS1-v1_5 with SHA-256.
    5. The quote is one of a TPM's, over all 24 PCRs of the SHA-256 bank.
    6. It carries the report data of this attestation, and nothing else.
    7. The PCR values are those that the quote summarises.
    8. The event log, where there is one, explains the PCRs that it names (`check_event_log`).

    Args:
        evidence: `primary_evidence` of the KBS protocol; nothing in it is trusted.
        report_data: 64 bytes that it must carry, zeros at their end left out or not.
        enrolled_key: SHA-256 (hex) of an attestation key (DER) -> the key (DER), raising AttestationRefused where it is
            not enrolled.

    Returns:
        What it says: the registers `pcr0`..`pcr23`, the key's identity as the hardware id, and nothing of hardware.

    Raises:
        EvidenceRefused: names the step. AttestationRefused: the key is not enrolled.
    """
    given = TpmEvidence.of(evidence)
    identity = sha256_hex(given.ak_public)
    if not hmac.compare_digest(enrolled_key(identity), given.ak_public):
        raise AttestationRefused("TPM evidence, step 2: the enrolled key is not this one")
    _check_quote(given, read_attestation_key(given.ak_public), report_data)
    pcrs = given.tpm_quote.pcr_values()
    if given.event_log is not None:
        check_event_log(given.event_log, pcrs)
    return Platform(
        registers={f"pcr{index}": value.hex() for index, value in enumerate(pcrs)},
        numbers={},
        hardware_ids=(identity,),
        tcb=Tcb(),
        debug=False,
        expires=NEVER,
    )


def read_attestation_key(der: bytes) -> RSAPublicKey:
    """Return the attestation key of its DER (SubjectPublicKeyInfo).

    Raises:
        EvidenceRefused: step 3: it is none that a quote is accepted of.
    """
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise _refused(3, "the attestation key is no key") from None
    if not isinstance(key, RSAPublicKey) or not _AK_BITS[0] <= key.key_size <= _AK_BITS[1]:
        raise _refused(3, "the attestation key is not RSA of 2048 to 4096 bits")
    if key.public_numbers().e != _EXPONENT:
        raise _refused(3, f"the attestation key's exponent is not {_EXPONENT}")
    return key


def _check_quote(given: TpmEvidence, key: RSAPublicKey, report_data: bytes) -> None:
    quote = given.tpm_quote
    try:
        signature = read_signature(quote.signature)
    except InvalidFormat as error:
        raise _refused(4, str(error)) from None
    if not signed_by(key, quote.message, signature):
        raise _refused(4, "the quote is not signed by the attestation key")
    try:
        read = read_quote(quote.message)
    except InvalidFormat as error:
        raise _refused(5, str(error)) from None
    carried = read.extra_data.ljust(_REPORT_DATA_BYTES, b"\0")
    if not hmac.compare_digest(carried, report_data):
        raise _refused(6, "the quote does not carry the report data of this attestation")
    if not has_digest(quote.pcr_values(), read.pcr_digest):
        raise _refused(7, "the PCR values are not those of the quote")


def _refused(step: int, reason: str) -> EvidenceRefused:
    return EvidenceRefused(EVIDENCE, step, reason)
