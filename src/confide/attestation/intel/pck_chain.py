"""Whether Intel vouches for the platform that a quote names: enough to look collateral up for it, not to believe it."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from confide.attestation.intel.quote import Quote
from confide.attestation.intel.roots import SGX_ROOT
from confide.errors import EvidenceRefused


def check_pck_chain(quote: Quote, *, root_der: bytes = SGX_ROOT) -> None:
    """Return if the first certificate in a quote is signed by the second, an authority, and that by the root.

    Who makes up a platform thus costs nobody a download. Revocation and validity are `verify_quote`'s to check.

    Args:
        quote: nothing in it is trusted.
        root_der: certificate (DER) to lead to instead of Intel's, in tests.

    Raises:
        EvidenceRefused: step 3 of `verify_quote`.
    """
    try:
        platform, authority = x509.load_pem_x509_certificates(quote.pck_chain.encode())[:2]
        authority.verify_directly_issued_by(x509.load_der_x509_certificate(root_der))
        platform.verify_directly_issued_by(authority)
        if authority.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return
    except (
        *(ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm),
        *(x509.ExtensionNotFound, x509.DuplicateExtension, x509.InvalidVersion),
    ):
        pass
    raise EvidenceRefused(
        quote.name, 3, "its platform's certificate is not one that the pinned root vouches for"
    )
