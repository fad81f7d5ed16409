"""Quotes of TDs that run under a paravisor, as all of Azure's: without attributes, SEPT_VE_DISABLE among them.

dcap-qvl accepts no TD without that one, and says so last of all, when everything else was found to be good. That
refusal, in these very words, is necessary here, but not relied upon alone: the signatures are checked once more, by the
same keys, and the TCB levels are those of `tcb_levels`. Whether a policy accepts such a TD is for `appraise` to say.
"""

from __future__ import annotations

import hashlib
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from confide.attestation.claims import Tcb
from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.pck_chain import check_pck_chain
from confide.attestation.intel.quote import Quote
from confide.attestation.intel.tcb import tcb_of_levels
from confide.attestation.intel.tcb_levels import levels_met
from confide.certificates import load_certificates
from confide.errors import EvidenceRefused

_ALL_BUT_SEPT_VE_DISABLE = "Verification failed: SEPT_VE_DISABLE is not enabled"
_SIGNATURES = 3


def lacks_only_sept_ve_disable(quote: Quote, refusal: str) -> bool:
    """Return whether dcap-qvl refuses a quote for nothing but that its TD, of version 1.0, has no attribute at all."""
    attributes = quote.body.get("td_attributes")
    return refusal == _ALL_BUT_SEPT_VE_DISABLE and quote.body_type == "TDX 1.0" and attributes == bytes(8)


def verify_the_rest(quote: Quote, collateral: Collateral, root_der: bytes) -> tuple[Tcb, int]:
    """Return the state of the platform, and when the first of its certificates expires (Unix seconds).

    Args:
        quote: that `lacks_only_sept_ve_disable`.
        collateral: verified.
        root_der: what the platform's certificate leads to.

    Raises:
        EvidenceRefused: step 3 of `verify_quote`.
        InvalidFormat, LookupError, TypeError, ValueError: as `levels_met`.
    """
    check_pck_chain(quote, root_der=root_der)
    platform, authority = load_certificates(quote.pck_chain.encode())[:2]
    x, y = (int.from_bytes(quote.attestation_key[half], "big") for half in (slice(32), slice(32, None)))
    try:
        attestation_key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        _check(platform.public_key(), quote.qe_report_signature, quote.qe_report_raw)
        _check(attestation_key, quote.signature, quote.signed)
    except (InvalidSignature, ValueError):
        raise EvidenceRefused(quote.name, _SIGNATURES, "its signatures do not verify") from None
    vouched = hashlib.sha256(quote.attestation_key + quote.qe_auth_data).digest().ljust(64, b"\0")
    carried = quote.qe_report["report_data"]
    if not isinstance(carried, bytes) or not hmac.compare_digest(carried, vouched):
        reason = "the quoting enclave's report vouches for another attestation key"
        raise EvidenceRefused(quote.name, _SIGNATURES, reason)
    tcb = tcb_of_levels(levels_met(quote, collateral), collateral.evaluation, quote.pck)
    return tcb, int(min(each.not_valid_after_utc for each in (platform, authority)).timestamp())


def _check(key: object, signature: bytes, signed: bytes) -> None:
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ValueError("not a key on a curve")  # noqa: TRY004 - as a bad point
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(SHA256()))
