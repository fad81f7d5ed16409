"""What a broker does for the members of a job: gives them certificates, by which they know each other.

A driver opens a job; members of other roles join the one that their launch parameters name. The certificate says
what the broker knows from claims and policies, and nothing that was only asked for. With it goes the job's secret. Both
travel sealed to the key of the evidence, like a release: whoever stole a token cannot read what it was given. Format:
docs/formats/mesh.md.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable
from typing import Annotated

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
    Member,
    issue_member,
    job_authority,
    job_of,
    requested_key,
)
from confide.broker.mesh_names import DRIVER, JOB, MEMBER
from confide.broker.release import Release
from confide.broker.store import Store, unix_now
from confide.certificates import MAX_REQUEST_BYTES
from confide.document import StrictModel
from confide.errors import ConfideError, InvalidFormat, NoGrant

MAX_MEMBERS = 65536
MAX_MEMBER_CHARS = 64
MAX_BODY_BYTES = 16 * 1024

_JOB = re.compile(r"[0-9a-f]{32}")


class CertificateRequest(StrictModel):
    """A workload's request for a mesh certificate.

    Attributes:
        csr: certificate request (PKCS#10, PEM).
    """

    csr: Annotated[str, Field(max_length=MAX_REQUEST_BYTES)]


class Job(StrictModel):
    """A job, as the store keeps it.

    Attributes:
        driver: claims of the driver that opened it.
        workload: its name, when the job was opened.
        owners: whose keys the driver received then, and holds until it ends.
        expires: Unix seconds: end of the driver's certificate.
        authority: key and certificate (PEM) of the authority that vouches for this job's members, and for no others.
        secret: 64 hex digits that its members know, and nobody else.
    """

    driver: Claims
    workload: str
    owners: Annotated[tuple[str, ...], Field(strict=False)]
    expires: int
    authority: Annotated[str, Field(repr=False)]
    secret: Annotated[str, Field(repr=False)]


class MeshService:
    """Serves members of jobs from one store.

    Args:
        store: policies, jobs, audit log.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], int] = unix_now) -> None:
        self._store = store
        self._clock = clock
        self._decisions = Decisions(store, clock)
        self._domain = CertificateAuthority.of(store).fingerprint

    def issue(self, claims: Claims, body: bytes) -> dict[str, str]:
        """Return a mesh certificate and the job's secret, sealed to the workload's key.

        1. The request holds a key that signed it (`requested_key`).
        2. The owners' policies release something to the workload now (`rules.decide`).
        3. A driver names no job: its own is that of its key, workload and owners (`job_of`), and is opened once. Any
           other role names a job (launch parameter `mesh_job`).
        4. That job is known here, and has not ended.
        5. The owners' policies release something to its driver still. Workload name and owners are those of the job
           when it was opened, for the driver now and for the member: an owner who withdrew has no say in who sees what
           the driver received from it, so nobody does.
        6. A member that names itself (launch parameter `mesh_member`) has not joined this job before.
        7. The certificate ends with the release (a day from now, or with the first policy to end), and with the job.

        Raises:
            InvalidFormat: step 1.
            MeasurementRefused, PlatformRefused, LaunchRefused, PolicyRefused, KeyRefused: steps 2 and 5.
            NoGrant: steps 3 to 6.
        """
        with self._decisions.refusals(
            claims, (*REFUSALS, InvalidFormat), lambda: self._owners_of(claims.launch.get(JOB, ""))
        ):
            key = requested_key(_parse(body).csr)
            with self._store.transaction():
                answer = self._issue(claims, key)
        return seal_to(claims.tee_pubkey, json.dumps(answer).encode())

    def _issue(self, claims: Claims, key: ec.EllipticCurvePublicKey) -> dict[str, str]:
        """Decide and issue (steps 2 to 7), and put it into the audit log."""
        now = self._clock()
        release = self._decisions.release(claims)
        if claims.role == DRIVER:
            name, job = self._open(claims, key, release, now)
        else:
            name, job = self._join(claims, release, now)
        authority = CertificateAuthority.from_pem(job.authority.encode())
        member, expires = Member(self._domain, name, claims.role), min(release.expires, job.expires)
        certificate = issue_member(authority, key, member, now, expires)
        self._store.audit.append(
            audit_entries.mesh_certificate(claims, release, member.uri, certificate.serial_number, expires)
        )
        return {
            "certificate": certificate.public_bytes(Encoding.PEM).decode(),
            "authority": authority.certificate_pem.decode(),
            "secret": job.secret,
        }

    def _open(
        self, claims: Claims, key: ec.EllipticCurvePublicKey, release: Release, now: int
    ) -> tuple[str, Job]:
        named = claims.launch.get(JOB)
        if named is not None:
            raise NoGrant(f"step 3: a driver opens a job of its own, and cannot join {named[:64]!r}")
        name = job_of(key, release)
        authority = job_authority(name, now).to_pem().decode()
        job = Job(
            driver=claims,
            workload=release.workload,
            owners=release.owners,
            expires=release.expires,
            authority=authority,
            secret=secrets.token_hex(32),
        )
        self._store.open_job(name, job.model_dump_json().encode(), job.expires)
        return name, job

    def _join(self, claims: Claims, release: Release, now: int) -> tuple[str, Job]:
        named = claims.launch.get(JOB)
        if named is None or not _JOB.fullmatch(named):
            said = "is not there" if named is None else f"is {named[:64]!r}"
            raise NoGrant(f"step 3: role {claims.role} names no job: launch parameter {JOB} {said}")
        job = self._job(named, now)
        for who, now_released in (("driver", self._decisions.release(job.driver)), ("member", release)):
            if (now_released.workload, now_released.owners) != (job.workload, job.owners):
                raise NoGrant(
                    f"step 5: job {named} is {job.workload} of {', '.join(job.owners)}; the {who} is "
                    f"{now_released.workload} of {', '.join(now_released.owners)} now"
                )
        member = claims.launch.get(MEMBER)
        if member is not None:
            if len(member) > MAX_MEMBER_CHARS:
                raise NoGrant(
                    f"step 6: a name of {len(member)} characters, at most {MAX_MEMBER_CHARS} are allowed"
                )
            self._store.add_member(named, member, MAX_MEMBERS)
        return named, job

    def _owners_of(self, name: str) -> tuple[str, ...]:
        """Return the owners of a job, who read of it when somebody is refused there; nobody where there is none."""
        try:
            return Job.model_validate_json(self._store.job(name)).owners
        except ConfideError:
            return ()

    def _job(self, name: str, now: int) -> Job:
        job = Job.model_validate_json(self._store.job(name))
        if now >= job.expires:
            raise NoGrant(f"step 4: job {name} has ended")
        return job


def _parse(body: bytes) -> CertificateRequest:
    if len(body) > MAX_BODY_BYTES:
        raise InvalidFormat("step 1: request is too large")
    try:
        return CertificateRequest.from_json(body)
    except ValidationError as error:
        raise InvalidFormat(f"step 1: {describe(error)}") from None
