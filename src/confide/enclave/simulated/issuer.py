"""The issuer of simulated evidence: this host signs that it verified and started an image. It protects nothing."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from confide.attestation.simulated import STATEMENT_TYP, SimulatedStatement
from confide.canonical import canonical_json
from confide.enclave.simulated.host import host_id
from confide.enclave.verify import VerifiedImage
from confide.keys.signing import sign_jws


class SimulatedIssuer:
    """Signs for one image with the host's key, which stays with the launcher.

    Args:
        key: of the host, enrolled at the broker.
        verified: the image that it verified.
    """

    def __init__(self, key: Ed25519PrivateKey, verified: VerifiedImage) -> None:
        self._key, self._verified = key, verified

    def issue(self, report_data: bytes) -> dict[str, Any]:
        """Return the host's statement about its image, over 64 bytes of report data: a flattened JWS."""
        host, image = host_id(self._key), self._verified.image
        statement = SimulatedStatement.of(
            measurement=self._verified.measurement,
            role=image.role,
            svn=image.svn,
            debug=False,
            report_data=report_data,
            host=host,
        )
        return sign_jws(self._key, canonical_json(statement.wire()), {"kid": host, "typ": STATEMENT_TYP})
