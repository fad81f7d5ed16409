"""A workload's client of a broker: attests, and fetches what that earns (KBS protocol)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from confide.attestation.evidence import (
    PROTOCOL_VERSION,
    Attestation,
    Challenge,
    Request,
    RuntimeData,
    StatedImage,
    TeeEvidence,
    describe,
)
from confide.broker.attested_leaf import public_jwk
from confide.broker.jwe import open_sealed
from confide.broker.owner_client import OwnerClient
from confide.broker.release import Release
from confide.broker.transport import Answer, Transport
from confide.canonical import canonical_json
from confide.data.listing import ListedFile, Listing
from confide.errors import AttestationRefused, BrokerUnavailable, InvalidFormat, MeasurementRefused

__all__ = ["Issue", "KbsClient", "OwnerClient", "Session"]

Issue = Callable[[RuntimeData], Mapping[str, Any]]
"""Issues evidence that binds runtime data by its report data: `primary_evidence` of the KBS protocol."""

_COOKIE = "kbs-session-id"


_Token = Mapping[str, str]
"""The header that a token goes in."""


class KbsClient:
    """Attests to one broker over TLS 1.3, trusting only the pinned authority.

    Args:
        url: `https://host:port`.
        ca_pem: certificate of the broker's authority.
        timeout_s: longest silence of the broker.

    Raises:
        Misuse: not such a URL, or no certificate.
    """

    def __init__(self, url: str, ca_pem: bytes, timeout_s: float = 10.0) -> None:
        self._transport = Transport(url, ca_pem, timeout_s)

    def attest(
        self, tee: str, issue: Issue, launch: Mapping[str, str], image: StatedImage | None = None
    ) -> Session:
        """Attest, and return the session.

        Args:
            tee: kind of TEE that issues the evidence.
            issue: has the TEE sign evidence.
            launch: launch parameters outside the measurement.
            image: what the agent says that it runs; None: it says nothing.

        Raises:
            AttestationRefused: the broker does not accept the evidence.
            BrokerUnavailable: it is down, slow, or cuts the connection.
            BrokerUntrusted: its certificate does not chain to the pinned authority.
        """
        key = ec.generate_private_key(
            ec.SECP256R1()
        )  # of the whole session: by it the broker knows that it is one
        return Session(self._transport, key, lambda: self._attest(key, tee, issue, launch, image))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _attest(
        self,
        key: ec.EllipticCurvePrivateKey,
        tee: str,
        issue: Issue,
        launch: Mapping[str, str],
        image: StatedImage | None,
    ) -> _Token:
        request = Request(version=PROTOCOL_VERSION, tee=tee, extra_params="")
        answer = self._transport.request("POST", "/kbs/v0/auth", canonical_json(request.wire()))
        cookie = {"Cookie": f"{_COOKIE}={_session_id(answer)}"}
        try:
            challenge = Challenge.parse(answer.body)
        except InvalidFormat as error:
            raise BrokerUnavailable(f"{self._transport.url}: {error}") from None
        said: dict[str, Any] = {"image": image, "launch": dict(launch)}
        runtime_data = RuntimeData(
            nonce=challenge.nonce,
            tee_pubkey=public_jwk(key.public_key()),
            **{name: value for name, value in said.items() if value},
        )
        attestation = Attestation(
            runtime_data=runtime_data,
            tee_evidence=TeeEvidence(primary_evidence=dict(issue(runtime_data)), additional_evidence=""),
        )
        body = canonical_json(attestation.wire())
        token = self._transport.request("POST", "/kbs/v0/attest", body, cookie).json().get("token")
        if not isinstance(token, str):
            raise BrokerUnavailable(f"{self._transport.url}: no token in the answer to an attestation")
        return {"Authorization": f"Bearer {token}"}


class Session:
    """An attested session; attests again by itself when the broker does not know it any more."""

    def __init__(
        self, transport: Transport, key: ec.EllipticCurvePrivateKey, attest: Callable[[], _Token]
    ) -> None:
        self._transport = transport
        self._key, self._attest = key, attest
        self._lock = threading.Lock()
        self._token = attest()

    def release(self, role: str = "default") -> Release:
        """Return keys and grants for this workload. `default` is the role that the evidence names.

        Raises:
            MeasurementRefused: no policy allows this measurement.
            LaunchRefused: launch parameters outside their grammar.
            PolicyRefused: the policies are not valid now, or contradict one another.
            KeyRefused: UnknownKey, RevokedKey or NoGrant.
        """
        try:
            return Release.from_json(self.resource(f"confide/release/{role}"))
        except ValidationError as error:
            raise BrokerUnavailable(f"{self._transport.url}: release: {describe(error)}") from None

    def resource(self, path: str) -> bytes:
        """Return the resource `repository/type/tag`, for instance `clinic/key/patients`.

        Raises:
            UnknownKey: there is none.
            NoGrant: it is not for this workload.
            Tampered: it does not authenticate under this workload's key.
        """
        return open_sealed(self._key, self._send("GET", f"/kbs/v0/resource/{path}", None).json())

    def commit_listing(
        self, location: str, table: str, base_serial: int, files: Sequence[ListedFile]
    ) -> tuple[Listing, dict[str, str]]:
        """Commit the complete new list of files of a location that the workload may write.

        Args:
            location: as the grant names it.
            table: id of the table or folder, 32 hex digits.
            base_serial: serial of the listing this one replaces; 0 if there is none.
            files: every file, sorted by path.

        Returns:
            The new listing, and the broker's flattened JWS over its canonical JSON.

        Raises:
            Conflict: someone else committed meanwhile.
            NoGrant: no policy lets this workload write there.
        """
        body = canonical_json(
            {
                "location": location,
                "table": table,
                "base_serial": base_serial,
                "files": [file.model_dump(mode="json") for file in files],
            }
        )
        document = self._send("POST", "/confide/v1/listings/commit", body).json()
        try:
            return Listing.model_validate(document["listing"]), dict(document["jws"])
        except (KeyError, TypeError, ValueError):
            raise BrokerUnavailable(f"{self._transport.url}: no listing in the answer to a commit") from None

    def mesh_certificate(self, csr: bytes) -> bytes:
        """Return what the broker answers to a certificate request (PEM): see `mesh_member.join_mesh`, which checks it.

        Raises:
            MeasurementRefused, LaunchRefused, PolicyRefused, KeyRefused: as `release`.
            NoGrant: this workload is no driver and names no job; or there is none such, or another workload's.
            Tampered: it does not authenticate under this workload's key.
        """
        body = canonical_json({"csr": csr.decode("ascii")})
        return open_sealed(self._key, self._send("POST", "/confide/v1/mesh/certificate", body).json())

    def _send(self, method: str, path: str, body: bytes | None) -> Answer:
        token = self._token
        try:
            return self._transport.request(method, path, body, token)
        except MeasurementRefused:
            raise
        except AttestationRefused:
            with self._lock:
                if self._token is token:
                    self._token = self._attest()
                token = self._token
        return self._transport.request(method, path, body, token)


def _session_id(answer: Answer) -> str:
    for cookie in answer.headers.get_list("set-cookie"):
        name, _, rest = cookie.partition("=")
        if name.strip() == _COOKIE:
            return rest.partition(";")[0].strip()
    raise BrokerUnavailable("no session in the broker's answer")
