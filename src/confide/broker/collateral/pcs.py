"""Intel's Provisioning Certification Service, and caches of it (PCCS): where collateral of SGX and TDX is published.

Source: Intel SGX and TDX Provisioning Certification Service, API version 4; Intel PCCS, SGX DCAP Caching Service.
Nothing that is fetched here is verified here.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from urllib.parse import quote, unquote

from pydantic import ValidationError

from confide.attestation.claims import Tee
from confide.attestation.evidence import describe
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.signed_json import signed_member
from confide.broker.collateral.web import TIMEOUT_S, Document, Wanted, base_url, download
from confide.errors import CollateralUnavailable, InvalidFormat

PCS = "https://api.trustedservices.intel.com"
ROOT_CRL = "https://certificates.trustedservices.intel.com/IntelSGXRootCA.der"
"""Distribution point of the root's CRL, as the root's certificate names it; Intel's own service has no path for it."""

_PATH = re.compile(r"/(sgx|tdx)/certification/v[34]/?$")
_MOST_DOCUMENT = 256 * 1024
_MOST_CRL = 512 * 1024
_DER_SEQUENCE = b"\x30"

Ca = Literal["platform", "processor"]


@dataclass(frozen=True)
class Pcs:
    """A server that publishes collateral.

    Attributes:
        base: URL in front of `/sgx/certification/v4/` and `/tdx/certification/v4/`.
        root_crl: URL of the root's CRL.
        tls: how the servers are verified.
        timeout_s: for all documents of one collateral together.
    """

    base: str
    root_crl: str
    tls: ssl.SSLContext
    timeout_s: float = TIMEOUT_S

    @classmethod
    def at(cls, url: str, tls: ssl.SSLContext, timeout_s: float = TIMEOUT_S) -> Pcs:
        """Return the server at a URL, which may end in `/sgx/certification/v4/` as in `sgx_default_qcnl.conf`.

        Raises:
            Misuse: not the URL of a server.
        """
        base = base_url(_PATH.sub("", url))
        root_crl = ROOT_CRL if base == PCS else f"{base}/sgx/certification/v4/rootcacrl"
        return cls(base, root_crl, tls, timeout_s)

    def collateral(self, tee: Tee, fmspc: str, ca: str) -> Collateral:
        """Fetch collateral. Not to be called from a thread that runs an event loop.

        Args:
            tee: SGX or TDX.
            fmspc: kind of platform: 12 hex digits.
            ca: authority of the platforms' certificates: `platform` or `processor`.

        Raises:
            CollateralUnavailable: the server does not answer, in time, as itself, with documents of the right form.
        """
        wanted = {
            "tcb_info": Wanted(f"{self._of(tee)}/tcb?fmspc={quote(fmspc)}", _MOST_DOCUMENT),
            "qe_identity": Wanted(f"{self._of(tee)}/qe/identity", _MOST_DOCUMENT),
            "pck_crl": Wanted(f"{self._of(Tee.SGX)}/pckcrl?ca={quote(ca)}&encoding=der", _MOST_CRL),
            "root_ca_crl": Wanted(self.root_crl, _MOST_CRL),
        }
        found = download(wanted, self.tls, self.timeout_s)
        tcb_info, tcb_info_signature = _signed(found["tcb_info"], "tcbInfo")
        qe_identity, qe_identity_signature = _signed(found["qe_identity"], "enclaveIdentity")
        try:
            return Collateral(
                pck_crl_issuer_chain=_chain(found["pck_crl"], "SGX-PCK-CRL-Issuer-Chain"),
                root_ca_crl=_der(found["root_ca_crl"]),
                pck_crl=_der(found["pck_crl"]),
                tcb_info_issuer_chain=_chain(
                    found["tcb_info"], "TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"
                ),
                tcb_info=tcb_info,
                tcb_info_signature=tcb_info_signature,
                qe_identity_issuer_chain=_chain(found["qe_identity"], "SGX-Enclave-Identity-Issuer-Chain"),
                qe_identity=qe_identity,
                qe_identity_signature=qe_identity_signature,
            )
        except ValidationError as error:
            raise CollateralUnavailable(f"{self.base}: {describe(error)}") from None

    def _of(self, tee: Tee) -> str:
        return f"{self.base}/{tee.value}/certification/v4"


def _signed(document: Document, member: str) -> tuple[str, bytes]:
    try:
        return signed_member(document.body, member)
    except InvalidFormat as error:
        raise CollateralUnavailable(f"{document.url}: {error}") from None


def _chain(document: Document, *names: str) -> str:
    """Return the chain in the first header that is there: PEM, URL-encoded."""
    headers: Mapping[str, str] = document.headers
    for name in names:
        if name in headers:
            return unquote(headers[name])
    raise CollateralUnavailable(f"{document.url}: comes without the header {names[0]}")


def _der(document: Document) -> bytes:
    """Return a CRL, which caches send as hex: older ones the platforms' too, all of them the root's."""
    if document.body.startswith(_DER_SEQUENCE):
        return document.body
    try:
        return bytes.fromhex(document.body.decode("ascii"))
    except ValueError:
        raise CollateralUnavailable(f"{document.url}: not a CRL, neither DER nor its hex") from None
