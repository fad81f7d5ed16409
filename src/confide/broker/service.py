"""What a broker does for workloads, without HTTP: challenge, attest, release, commit.

Every release, and every refusal of whom the broker knows, is in the audit log before its answer leaves: a release is
appended in the transaction that decided it, so that it either stands in the log or did not happen. Of strangers the
log takes so many refusals and no more (`strangers`), and none of who has no challenge to answer.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any

from joserfc.jwk import OKPKey
from pydantic import Field, ValidationError

from confide.attestation.claims import Claims, Tee
from confide.attestation.evidence import MAX_REQUEST_BYTES, Attestation, Challenge, Request, describe
from confide.attestation.trust import HardwareTrust, Trust
from confide.attestation.verify import VERIFIERS, verify
from confide.broker import audit_entries
from confide.broker.approved_reports import for_workloads
from confide.broker.decisions import REFUSALS, Decisions
from confide.broker.identity import listing_key, token_key
from confide.broker.jwe import seal_to
from confide.broker.listing_signing import sign_listing
from confide.broker.release import Access, Release
from confide.broker.rules import owners_concerned
from confide.broker.sessions import Sessions
from confide.broker.store import Store, unix_now
from confide.broker.strangers import Strangers
from confide.broker.tokens import TokenIssuer
from confide.data.listing import MAX_FILES, MAX_LISTING_BYTES, Format, ListedFile, Listing, TableId
from confide.document import StrictModel
from confide.errors import (
    AttestationRefused,
    InvalidFormat,
    NoGrant,
    UnknownKey,
)
from confide.keys.names import KeyName
from confide.keys.signing import key_id

DEFAULT_ROLE = "default"


class CommitRequest(StrictModel):
    """A workload's commit: the complete new list of files of a location.

    Attributes:
        location: as its grant names it.
        table: id of the table or folder.
        base_serial: serial of the listing this one replaces; 0 if there is none.
        files: every file, sorted by path.
    """

    location: Annotated[str, Field(min_length=1, max_length=1024)]
    table: TableId
    base_serial: Annotated[int, Field(ge=0, le=2**53 - 2)]
    files: Annotated[tuple[ListedFile, ...], Field(max_length=MAX_FILES, strict=False)]


class WorkloadService:
    """Serves workloads from one store.

    Args:
        store: keys, policies, listings, hosts, audit log.
        issuer: URL that tokens name.
        allow_simulated: whether simulated evidence is accepted.
        allow_tpm: whether evidence of an enrolled TPM is, although the machine's memory is not confidential.
        hardware: what evidence of hardware is anchored to; None: it is not accepted.
        clock: Unix seconds.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        store: Store,
        *,
        issuer: str,
        allow_simulated: bool,
        allow_tpm: bool = False,
        hardware: HardwareTrust | None = None,
        clock: Callable[[], int] = unix_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._clock = clock
        self._decisions = Decisions(store, clock)
        self._trust = Trust(
            simulated_host=store.host if allow_simulated else None,
            hardware=hardware and for_workloads(hardware, self._decisions.policies, clock),
            tpm_key=store.host if allow_tpm else None,
        )
        self._sessions = Sessions(monotonic)
        self._strangers = Strangers(store, monotonic)
        self.tokens = TokenIssuer(token_key(store), issuer)
        self._listing_key = listing_key(store)

    def idle(self) -> bool:
        """Return whether the store is free right now, so that a short piece of work would not wait."""
        return self._store.idle()

    def challenge(self, body: bytes) -> tuple[str, dict[str, Any]]:
        """Answer a KBS `Request`; return the session's identifier and the challenge.

        Raises:
            InvalidFormat: not a request.
            AttestationRefused: of a TEE that no broker knows, or from a client without SHA-384.
        """
        request = Request.parse(body, MAX_REQUEST_BYTES)
        if request.tee not in VERIFIERS:
            raise AttestationRefused(f"no TEE called {request.tee!r}")
        if not request.has_sha384:
            raise AttestationRefused("the client cannot make report data with SHA-384")
        session, nonce = self._sessions.challenge(request.tee, request.version)
        return session, Challenge(nonce=nonce, extra_params="").wire()

    def may_take_long(self, session: str) -> bool:
        """Return whether this session's evidence may have to wait for endorsements that are fetched for it."""
        return self._sessions.challenged_tee(session) not in (None, Tee.SIMULATED, Tee.TPM)

    def attest(self, session: str, body: bytes) -> str:
        """Verify a KBS `Attestation` against the session's challenge; return a token.

        Raises:
            InvalidFormat: not an attestation.
            AttestationRefused: the evidence or the challenge is not accepted.
            CollateralUnavailable: what it is verified with is missing or has expired.
        """
        challenge = self._sessions.take_challenge(session)
        try:
            attestation = Attestation.parse(body)
            claims = verify(
                attestation,
                tee=challenge.tee,
                nonce=challenge.nonce,
                version=challenge.version,
                trust=self._trust,
                now=self._clock(),
            )
        except REFUSALS as error:
            self._strangers.refused(error)
            raise
        known = bool(owners_concerned(claims, self._decisions.policies()))
        self._sessions.attested(session, claims, known=known)
        return self.tokens.issue(claims, challenge.nonce, known=known, now=self._clock())

    def claims(self, session: str | None, token: str | None) -> Claims:
        """Return who asks: by token, or else by session.

        Raises:
            AttestationRefused: neither is good.
        """
        if token is not None:
            return self.tokens.verify(token, self._clock())
        return self._sessions.claims(session or "")

    def resource(self, claims: Claims, repository: str, kind: str, tag: str) -> dict[str, str]:
        """Return a resource, encrypted to the workload's key.

        `confide/release/<role>` is the whole release; `<owner>/key/<name>` one key of it.

        Raises:
            UnknownKey: no such resource.
            MeasurementRefused, LaunchRefused, PolicyRefused, KeyRefused: the owners' policies do not allow it.
        """
        with self._decisions.refusals(claims), self._store.transaction():
            release = self._decisions.release(claims)
            plaintext, keys = _select(release, claims.role, repository, kind, tag)
            self._store.audit.append(
                audit_entries.release(claims, release, keys, f"{repository}/{kind}/{tag}")
            )
        return seal_to(claims.tee_pubkey, plaintext)

    def commit(self, claims: Claims, body: bytes) -> dict[str, Any]:
        """Commit a new listing of a location that the workload may write.

        Returns:
            `listing` and its signature `jws`.

        Raises:
            InvalidFormat: not a commit.
            NoGrant: the workload may not write there, or another table lies there.
            Conflict: someone else committed meanwhile.
        """
        request = _parse_commit(body)
        with self._decisions.refusals(claims), self._store.transaction():
            release = self._decisions.release(claims)
            listing = _next_listing(release, request)
            jws = sign_listing(listing, self._listing_key, key_id(self._listing_key.public_key()))
            self._store.commit_listing(listing, jws, request.base_serial)
            self._store.audit.append(audit_entries.commit(claims, release.workload, listing))
        return {"listing": listing.model_dump(mode="json"), "jws": jws}

    def jwks(self) -> dict[str, Any]:
        """Return the keys that verify tokens and committed listings (JWK Set, RFC 7517 section 5)."""
        public = self._listing_key.public_key()
        listing = {**OKPKey(public, public).as_dict(private=False), "kid": key_id(public), "use": "sig"}
        return {"keys": [self.tokens.jwk(), listing]}


def _select(
    release: Release, role: str, repository: str, kind: str, tag: str
) -> tuple[bytes, tuple[str, ...]]:
    if (repository, kind) == ("confide", "release"):
        if tag not in (DEFAULT_ROLE, role):
            raise NoGrant(f"release for role {tag!r} asked for by role {role!r}")
        return release.model_dump_json().encode(), tuple(release.keys)
    if kind != "key":
        raise UnknownKey(f"no resource {repository}/{kind}/{tag}")
    name = str(KeyName(repository, tag))
    if name not in release.keys:
        raise NoGrant(f"key {name} is not granted to this workload")
    return release.keys[name].model_dump_json().encode(), (name,)


def _parse_commit(body: bytes) -> CommitRequest:
    if len(body) > MAX_LISTING_BYTES:
        raise InvalidFormat("commit: too large")
    try:
        return CommitRequest.from_json(body)
    except ValidationError as error:
        raise InvalidFormat(f"commit: {describe(error)}") from None


def _next_listing(release: Release, request: CommitRequest) -> Listing:
    for grant in release.grants:
        if grant.location == request.location and grant.access is Access.WRITE:
            break
    else:
        raise NoGrant(f"no grant to write {request.location}")
    if grant.format is Format.STREAM:
        raise NoGrant(f"{request.location} is a stream, which has no listing")
    if grant.table not in (None, request.table):
        raise NoGrant(f"at {request.location} lies table {grant.table}, not {request.table}")
    try:
        return Listing(
            table=request.table,
            owner=grant.owner,
            location=grant.location,
            format=grant.format,
            serial=request.base_serial + 1,
            key=grant.key,
            columns=grant.columns,
            files=request.files,
        )
    except ValidationError as error:
        raise InvalidFormat(f"commit: {describe(error)}") from None
