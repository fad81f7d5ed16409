"""What the certificate of an Intel platform (PCK) says in its SGX extension.

Source: Intel SGX PCK Certificate and Certificate Revocation List Profile Specification, OID 1.2.840.113741.1.13.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from confide.attestation.intel import qvl
from confide.errors import InvalidFormat

_CONFIGURATION = "1.2.840.113741.1.13.1.7"


@dataclass(frozen=True)
class Pck:
    """A platform, as its certificate states it.

    Attributes:
        ca: what issued the certificate: `platform` or `processor`.
        fmspc: family, model, stepping, platform type and SKU: 12 upper-case hex digits, as Intel's service takes them.
        ppid: platform provisioning id.
        piid: platform instance id; None where a processor CA issued the certificate.
        cpu_svn: 16 bytes.
        pce_svn: security version number of the provisioning certification enclave.
        pce_id: 2 bytes.
        dynamic_platform: packages can be added to the platform; None where the certificate does not say.
        cached_keys: platform keys are cached by its registration server; None where it does not say.
        smt: hyperthreads are on; None where it does not say.
    """

    ca: str
    fmspc: str
    ppid: bytes
    piid: bytes | None
    cpu_svn: bytes
    pce_svn: int
    pce_id: bytes
    dynamic_platform: bool | None
    cached_keys: bool | None
    smt: bool | None


def read_pck(quote: bytes) -> Pck:
    """Read the certificate that stands first in the chain inside a quote.

    Raises:
        InvalidFormat: there is none, or none with this extension.
    """
    try:
        pck = qvl.parse(quote, _read)
    except qvl.QvlRefusal as error:
        raise InvalidFormat(f"its certificate chain does not read: {error}") from None
    if pck is None:
        raise InvalidFormat("its first certificate does not read as that of an Intel platform")
    return pck


def _read(quote: Any) -> Pck | None:
    extension = quote.pck_extension()
    if extension is None:
        return None
    dynamic_platform, cached_keys, smt = (
        _flag(extension.get_value(f"{_CONFIGURATION}.{index}")) for index in (1, 2, 3)
    )
    return Pck(
        ca=quote.ca(),
        fmspc=extension.fmspc.hex().upper(),
        ppid=extension.ppid,
        piid=extension.platform_instance_id,
        cpu_svn=extension.cpu_svn,
        pce_svn=extension.pce_svn,
        pce_id=extension.pce_id,
        dynamic_platform=dynamic_platform,
        cached_keys=cached_keys,
        smt=smt,
    )


def _flag(boolean: bytes | None) -> bool | None:
    """Return the value of a DER BOOLEAN's content."""
    return None if boolean is None else boolean != b"\0"
