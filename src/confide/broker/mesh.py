"""What a broker does for the members of a job: gives them certificates, by which they know each other.

A driver opens a job; members of other roles join the one that their launch parameters name. The certificate says
what the broker knows from claims and policies, and nothing that was only asked for. It travels sealed to the key of
the evidence, like a release: whoever stole a token cannot read what it was given. Format: docs/formats/mesh.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import Field, ValidationError

from confide.attestation.claims import Claims
from confide.attestation.evidence import describe
from confide.broker import audit_entries
from confide.broker.ca import CertificateAuthority
from confide.broker.decisions import REFUSALS, Decisions
from confide.broker.jwe import seal_to
from confide.broker.mesh_certificate import (
    MAX_REQUEST_CHARS,
    Member,
    issue_member,
    job_of,
    mesh_authority,
    requested_key,
)
from confide.broker.release import Release
from confide.broker.store import Store, unix_now
from confide.document import StrictModel
from confide.errors import InvalidFormat, NoGrant

DRIVER = "driver"
JOB = "mesh_job"
"""Launch parameter: the job that a member joins."""
MAX_BODY_BYTES = 16 * 1024

_JOB = re.compile(r"[0-9a-f]{32}")


class CertificateRequest(StrictModel):
    """A workload's request for a mesh certificate.

    Attributes:
        csr: certificate request (PKCS#10, PEM).
    """

    csr: Annotated[str, Field(max_length=MAX_REQUEST_CHARS)]


class Job(StrictModel):
    """A job, as the store keeps it.

    Attributes:
        driver: claims of the driver that opened it.
        expires: Unix seconds: end of the driver's certificate.
    """

    driver: Claims
    expires: int


class MeshService:
    """Serves members of jobs from one store.

    Args:
        store: policies, jobs, the mesh authority, audit log.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], int] = unix_now) -> None:
        self._store = store
        self._clock = clock
        self._decisions = Decisions(store, clock)
        self._authority = mesh_authority(store)
        self._domain = CertificateAuthority.of(store).fingerprint

    def issue(self, claims: Claims, body: bytes) -> dict[str, str]:
        """Return a mesh certificate, sealed to the workload's key.

        1. The request holds a key that signed it (`requested_key`).
        2. The owners' policies release something to the workload now (`rules.decide`).
        3. A driver names no job: its own is that of its key, workload and owners (`job_of`), and asking again prolongs
           it. Any other role names a job (launch parameter `mesh_job`).
        4. That job is known here, and has not ended.
        5. The owners' policies release something to its driver still, by the same workload name, and they are the
           same owners.
        6. The certificate ends with the release (a day from now, or with the first policy to end), and with the job.

        Raises:
            InvalidFormat: step 1.
            MeasurementRefused, PlatformRefused, LaunchRefused, PolicyRefused, KeyRefused: steps 2 and 5.
            NoGrant: steps 3 to 5.
        """
        with self._decisions.refusals(claims, (*REFUSALS, InvalidFormat)):
            key = requested_key(_parse(body).csr)
            with self._store.transaction():
                certificate = self._issue(claims, key)
        answer = {
            "certificate": certificate.public_bytes(Encoding.PEM).decode(),
            "authority": self._authority.certificate_pem.decode(),
        }
        return seal_to(claims.tee_pubkey, json.dumps(answer).encode())

    def _issue(self, claims: Claims, key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        """Decide and issue (steps 2 to 6), and put it into the audit log."""
        now = self._clock()
        release = self._decisions.release(claims)
        named = claims.launch.get(JOB)
        if claims.role == DRIVER:
            job, expires = self._open(claims, named, key, release), release.expires
        else:
            job, ends = self._join(claims, named, release, now)
            expires = min(release.expires, ends)
        member = Member(self._domain, job, claims.role)
        certificate = issue_member(self._authority, key, member, now, expires)
        self._store.audit.append(
            audit_entries.mesh_certificate(claims, release, member.uri, certificate.serial_number, expires)
        )
        return certificate

    def _open(
        self, claims: Claims, named: str | None, key: ec.EllipticCurvePublicKey, release: Release
    ) -> str:
        if named is not None:
            raise NoGrant(f"step 3: a driver opens a job of its own, and cannot join {named[:64]!r}")
        job = job_of(key, release)
        document = Job(driver=claims, expires=release.expires)
        self._store.put_job(job, document.model_dump_json().encode(), document.expires)
        return job

    def _join(self, claims: Claims, named: str | None, release: Release, now: int) -> tuple[str, int]:
        """Return the job, and when it ends."""
        if named is None or not _JOB.fullmatch(named):
            said = "is not there" if named is None else f"is {named[:64]!r}"
            raise NoGrant(f"step 3: role {claims.role} names no job: launch parameter {JOB} {said}")
        job = Job.model_validate_json(self._store.job(named))
        if now >= job.expires:
            raise NoGrant(f"step 4: job {named} has ended")
        driver = self._decisions.release(job.driver)
        if (driver.workload, driver.owners) != (release.workload, release.owners):
            raise NoGrant(
                f"step 5: job {named} is {driver.workload} of {', '.join(driver.owners)}; the member is "
                f"{release.workload} of {', '.join(release.owners)}"
            )
        return named, job.expires


def _parse(body: bytes) -> CertificateRequest:
    if len(body) > MAX_BODY_BYTES:
        raise InvalidFormat("step 1: request is too large")
    try:
        return CertificateRequest.from_json(body)
    except ValidationError as error:
        raise InvalidFormat(f"step 1: {describe(error)}") from None
