"""The issuer of simulated evidence: this host signs that it verified and started an image. It protects nothing."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from confide.attestation.evidence import StatedImage
from confide.attestation.simulated import STATEMENT_TYP, SimulatedStatement
from confide.canonical import canonical_json
from confide.enclave.simulated.host import host_id
from confide.keys.signing import sign_jws


class SimulatedIssuer:
    """Signs for one image with the host's key, which stays with the launcher.

    Args:
        key: of the host, known to whoever verifies.
        image: what it verified and started.
    """

    def __init__(self, key: Ed25519PrivateKey, image: StatedImage) -> None:
        self._key, self._image = key, image

    def issue(self, report_data: bytes) -> dict[str, Any]:
        """Return the host's statement about its image, over 64 bytes of report data: a flattened JWS."""
        host = host_id(self._key)
        statement = SimulatedStatement.of(
            measurement=self._image.measurement,
            role=self._image.role,
            svn=self._image.svn,
            debug=False,
            report_data=report_data,
            host=host,
        )
        return sign_jws(self._key, canonical_json(statement.wire()), {"kid": host, "typ": STATEMENT_TYP})
