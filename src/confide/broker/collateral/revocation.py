"""What collateral that is refused as a whole may still prove: that the kept one relies on someone who was revoked.

A server that goes on with the chains of a revoked authority would else keep everybody from learning of it until the
kept collateral expires.
"""

from __future__ import annotations

from confide.attestation.intel.collateral import Collateral
from confide.attestation.intel.verify_collateral import verify_collateral
from confide.errors import CollateralUnavailable, EvidenceRefused

_ROOT_CRL = "root CA CRL"
_CRL_ITSELF = 1


def heeding(kept: Collateral, refused: Collateral, now: int, root_der: bytes) -> Collateral | None:
    """Return the kept collateral with the root's CRL of the refused one, where that revokes whom it relies on.

    Nothing but that CRL differs from what was accepted before. So what refuses it is step 1 of `verify_collateral`,
    where the CRL is not the root's, or else a certificate that the CRL revokes.
    """
    if _root_crl_issued(refused) <= _root_crl_issued(kept):
        return None
    both = Collateral.model_validate(kept.model_dump() | {"root_ca_crl": refused.root_ca_crl})
    try:
        verify_collateral(both, now, root_der=root_der)
    except EvidenceRefused as refusal:
        return both if refusal.step > _CRL_ITSELF else None
    except CollateralUnavailable:
        pass
    return None


def _root_crl_issued(collateral: Collateral) -> int:
    return next(part.issued for part in collateral.parts if part.name == _ROOT_CRL)
