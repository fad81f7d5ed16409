"""Whether Intel vouches for the platform that a quote names: enough to look collateral up for it, not to believe it."""

from __future__ import annotations

from confide.attestation.intel.quote import Quote
from confide.attestation.intel.roots import SGX_ROOT
from confide.certificates import is_authority, is_issued_by, load_certificate, load_certificates
from confide.errors import EvidenceRefused, InvalidFormat


def check_pck_chain(quote: Quote, *, root_der: bytes = SGX_ROOT) -> None:
    """Return if the first certificate in a quote is signed by the second, an authority, and that by the root.

    Who makes up a platform thus costs nobody a download. Revocation and validity are `verify_quote`'s to check.

    Args:
        quote: nothing in it is trusted.
        root_der: certificate (DER) to lead to instead of Intel's, in tests.

    Raises:
        EvidenceRefused: step 3 of `verify_quote`.
    """
    root = load_certificate(root_der)
    try:
        chain = load_certificates(quote.pck_chain.encode())
    except InvalidFormat:
        chain = ()
    match chain:
        case platform, authority, *_ if (
            is_authority(authority) and is_issued_by(authority, root) and is_issued_by(platform, authority)
        ):
            return
    raise EvidenceRefused(
        quote.name, 3, "its platform's certificate is not one that the pinned root vouches for"
    )
