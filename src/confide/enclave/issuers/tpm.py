"""Evidence of a machine whose boot its TPM 2.0 measured: a quote of all PCRs, and the log of what went into them.

Nothing here keeps memory confidential: TEE `tpm` is asked for by name, and accepted only by brokers and policies that
name it. Form: `confide.attestation.tpm.evidence`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import ValidationError

from confide.attestation.azure.evidence import quote_data
from confide.attestation.evidence import describe
from confide.attestation.tpm.event_log import MAX_LOG_BYTES
from confide.attestation.tpm.evidence import TpmEvidence, TpmQuoteEvidence
from confide.attestation.tpm.quote import has_digest, read_quote
from confide.enclave.issuers.kernel_files import asking, read_attribute
from confide.enclave.issuers.tpm_device import TPM, SignedQuote, Tpm, open_tpm
from confide.errors import AttestationRefused, InvalidFormat, MissingDependency

EVENT_LOG = Path("/sys/kernel/security/tpm0/binary_bios_measurements")

_RSASSA, _SHA256 = 0x0014, 0x000B
_TRIES = 5


class TpmIssuer:
    """Asks a TPM for quotes.

    Args:
        tpm: device of the kernel's resource manager.
        event_log: the kernel's copy of the firmware's log; where it is not to be read, evidence has none.
    """

    def __init__(self, tpm: Path = TPM, event_log: Path = EVENT_LOG) -> None:
        self._tpm, self._event_log = tpm, event_log

    def issue(self, report_data: bytes) -> Mapping[str, Any]:
        """Return evidence whose quote carries the 48 bytes that are significant in 64 bytes of report data.

        Raises:
            AttestationRefused: no TPM, or PCRs that change all the time.
        """
        with asking("the TPM"), open_tpm(self._tpm) as tpm, tpm.attestation_key() as (handle, key):
            public = key_der(key)
            quote = _quote(tpm, handle, quote_data(report_data))
        return TpmEvidence(ak_public=public, tpm_quote=quote, event_log=self._log()).wire()

    def _log(self) -> bytes | None:
        try:
            return read_attribute(self._event_log, MAX_LOG_BYTES)
        except OSError:
            return None


def attestation_key_of(tpm: Path) -> bytes:
    """Return the attestation key (DER) of the TPM behind a device, as a broker enrolls it.

    Raises:
        AttestationRefused: there is none, or it makes no key.
    """
    with asking("the TPM"), open_tpm(tpm) as opened, opened.attestation_key() as (_, key):
        return key_der(key)


def key_der(key: RSAPublicKey) -> bytes:
    """Return a key as it is enrolled: DER, SubjectPublicKeyInfo."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def open_issuer(tee: str) -> TpmIssuer:
    """Return the issuer for `tpm`.

    Raises:
        MissingDependency: no TPM is accessible here.
    """
    del tee
    if not TPM.exists():
        raise MissingDependency(f"no TPM 2.0 is accessible here ({TPM})")
    return TpmIssuer()


def _quote(tpm: Tpm, key: int, data: bytes) -> TpmQuoteEvidence:
    """Return a quote and the values that it summarises: what extends a PCR between the two costs another try."""
    for _ in range(_TRIES):
        signed, pcrs = tpm.quote(key, data), tpm.read_pcrs()
        if has_digest(pcrs, read_quote(signed.message).pcr_digest):
            try:
                return TpmQuoteEvidence(
                    message=signed.message,
                    signature=_marshalled(signed),
                    pcrs=tuple(value.hex() for value in pcrs),
                )
            except ValidationError as error:
                raise InvalidFormat(f"TPM: {describe(error)}") from None
    raise AttestationRefused(f"the PCRs changed during each of {_TRIES} quotes")


def _marshalled(signed: SignedQuote) -> bytes:
    """Return the TPMT_SIGNATURE."""
    return struct.pack(">HHH", _RSASSA, _SHA256, len(signed.signature)) + signed.signature
