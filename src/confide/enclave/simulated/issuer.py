"""Simulated evidence, both ends: the launcher signs outside, the agent asks from inside over one socket pair.

The host's key stays with the launcher. It signs for the one image that it verified and started, whatever is
asked over the socket: a request is 64 bytes of report data and nothing else.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from confide.attestation.report_data import REPORT_DATA_BYTES
from confide.attestation.simulated import MAX_STATEMENT_BYTES, STATEMENT_TYP, SimulatedStatement
from confide.canonical import canonical_json
from confide.enclave.issuer import Issuer
from confide.enclave.simulated.host import host_id
from confide.enclave.verify import VerifiedImage
from confide.errors import AttestationRefused
from confide.keys.signing import sign_jws


def sign_statement(key: Ed25519PrivateKey, verified: VerifiedImage, report_data: bytes) -> dict[str, Any]:
    """Return the host's statement about an image it verified: a flattened JWS."""
    statement = SimulatedStatement.of(
        measurement=verified.measurement,
        role=verified.image.role,
        svn=verified.image.svn,
        debug=False,
        report_data=report_data,
        host=host_id(key),
    )
    return sign_jws(key, canonical_json(statement.wire()), {"kid": host_id(key), "typ": STATEMENT_TYP})


def serve_statements(channel: socket.socket, key: Ed25519PrivateKey, verified: VerifiedImage) -> None:
    """Answer requests on the launcher's end of the socket pair until the other end closes, in a thread."""

    def serve() -> None:
        with channel:
            while len(report_data := channel.recv(REPORT_DATA_BYTES + 1)) == REPORT_DATA_BYTES:
                channel.sendall(json.dumps(sign_statement(key, verified, report_data)).encode())

    threading.Thread(target=serve, name="simulated-evidence", daemon=True).start()


class SimulatedIssuer:
    """The agent's end of the socket pair."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def issue(self, report_data: bytes) -> Mapping[str, Any]:
        """Return the launcher's statement that carries `report_data`.

        Raises:
            AttestationRefused: the launcher does not answer.
        """
        try:
            self._channel.sendall(report_data)
            answer = self._channel.recv(MAX_STATEMENT_BYTES)
            evidence: Mapping[str, Any] = json.loads(answer)
        except (OSError, ValueError):
            raise AttestationRefused("the launcher issues no evidence") from None
        return evidence


def open_issuer(tee: str, channel: int) -> Issuer:
    """Return the issuer on an inherited descriptor, which no child process will inherit in turn."""
    del tee
    return SimulatedIssuer(socket.socket(fileno=channel))
