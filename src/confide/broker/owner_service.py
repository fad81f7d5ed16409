"""What a broker does for owners: calls signed by the owner's pinned key (as RFC 8555 section 6 has it)."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, ValidationError

from confide.attestation.evidence import describe
from confide.broker import audit_entries
from confide.broker.audit import AuditEntry
from confide.broker.listing_signing import verify_listing
from confide.broker.owner_call import CALL_TYP
from confide.broker.policy_signing import verify_policy
from confide.broker.release import Release, ReleasedKey
from confide.broker.sessions import Nonces
from confide.broker.store import Store, unix_now
from confide.broker.strangers import Strangers
from confide.data.listing import MAX_LISTING_BYTES
from confide.document import StrictModel
from confide.errors import InvalidFormat, Misuse, Refused, SignatureRefused, UnknownKey
from confide.keys.names import KeyName, parse_owner
from confide.keys.signing import open_jws, public_key_from_raw

MAX_CALL_BYTES = 1024 * 1024
MAX_LISTING_CALL_BYTES = MAX_LISTING_BYTES * 4 // 3 + MAX_CALL_BYTES
AUDIT_PAGE = 1000

Jws = Annotated[dict[str, str], Field(max_length=3)]
Serial = Annotated[int, Field(ge=0, le=2**53 - 1)]


class PutKey(StrictModel):
    """Stores a key of the owner."""

    name: Annotated[str, Field(max_length=64)]
    key: ReleasedKey


class RevokeKey(StrictModel):
    """Revokes one version of a key, or the whole key."""

    name: Annotated[str, Field(max_length=64)]
    version: Annotated[int, Field(ge=1)] | None = None


class PutPolicy(StrictModel):
    """Stores the owner's policy."""

    policy: Jws


class PutListing(StrictModel):
    """Stores a listing that the owner signed; the broker's may be any older one."""

    listing: Jws


class NewestListing(StrictModel):
    """Asks for the newest listing of a location of the owner."""

    location: Annotated[str, Field(max_length=1024)]


class AuditEntries(StrictModel):
    """Asks for the owner's entries from index `first` on."""

    first: Serial = 0


class AuditCheckpoint(StrictModel):
    """Asks for the log's signed state."""


class AuditProofs(StrictModel):
    """Asks for the inclusion of entry `index`, or the consistency of size `old`, in the log of `size` entries."""

    size: Serial
    index: Serial | None = None
    old: Serial | None = None


class OwnerService:
    """Serves owners from one store.

    Args:
        store: where everything is kept.
        names: host names of this broker; a call signed for another is refused.
        authority: `authority_id` of this broker; so is one signed for another authority, as two brokers may
            share a host name.
        clock: Unix seconds.
        monotonic: seconds of a clock that never goes back.
    """

    def __init__(
        self,
        store: Store,
        *,
        names: Collection[str],
        authority: str,
        clock: Callable[[], int] = unix_now,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._names = frozenset(names)
        self._authority = authority
        self._clock = clock
        self.nonces = Nonces(monotonic)
        self._strangers = Strangers(store, monotonic)

    def call(self, owner: str, action: str, url: str, jws: Mapping[str, Any]) -> dict[str, Any]:
        """Verify and do a call.

        1. The JWS verifies under the pinned key of `owner`, for the purpose of a call.
        2. Its `url` is the one called, at one of this broker's names, and its `aud` this broker's authority.
        3. Its nonce was issued here and not used before.
        4. Its payload is exactly what the action takes.

        Args:
            owner: from the path; pinned here.
            action: last part of the path.
            url: the whole URL that was called.
            jws: the body.

        Raises:
            UnknownKey: there is no such action, or not an owner's name.
            SignatureRefused: steps 1 to 3.
            InvalidFormat: step 4.
            ConfideError: what the action itself refuses.
        """
        try:
            model, handler = _ACTIONS[action]
            parse_owner(owner)
        except (
            KeyError,
            Misuse,
        ):  # nobody's affair: not in the audit log, which keeps what it is given for good
            raise UnknownKey("no such owner or action") from None
        try:
            key = public_key_from_raw(self._store.owner(owner))
            verified = open_jws(jws, {owner: key}, CALL_TYP, MAX_LISTING_CALL_BYTES)
            if verified.header.get("url") != url or urlsplit(url).hostname not in self._names:
                raise SignatureRefused(f"call signed for another URL than {url}")
            if verified.header.get("aud") != self._authority:
                raise SignatureRefused("call signed for another broker")
            self.nonces.take(verified.header.get("nonce", ""))
            try:
                request = model.from_json(verified.payload)
            except ValidationError as error:
                raise InvalidFormat(f"{action}: {describe(error)}") from None
        except Refused as error:
            self._strangers.refused(error, [owner], call=action)
            raise
        try:
            with self._store.transaction():
                answer: dict[str, Any] = handler(self, owner, request)
        except Refused as error:
            self._store.audit.append({**audit_entries.refusal(error, None, [owner]), "call": action})
            raise
        return answer

    def _put_key(self, owner: str, request: PutKey) -> dict[str, Any]:
        name = KeyName.parse(f"{owner}/{request.name}")
        try:
            keys = Release(
                workload="", owners=(owner,), keys={str(name): request.key}, grants=(), expires=0
            ).keyset()
        except ValueError:
            raise InvalidFormat(f"key {name}: versions are numbers, secrets base64") from None
        key = keys.key(name)
        self._store.put_key(key)
        self._log("key-put", owner, key=str(name), version=key.current or 0)
        return {}

    def _revoke_key(self, owner: str, request: RevokeKey) -> dict[str, Any]:
        name = KeyName.parse(f"{owner}/{request.name}")
        self._store.revoke_key(name, request.version)
        self._log("key-revoke", owner, key=str(name), version=request.version or 0)
        return {}

    def _put_policy(self, owner: str, request: PutPolicy) -> dict[str, Any]:
        keys = {owner: public_key_from_raw(self._store.owner(owner))}
        policy, toml = verify_policy(request.policy, keys, self._clock())
        self._store.put_policy(owner, policy.serial, request.policy, toml)
        self._log("policy", owner, serial=policy.serial)
        return {"serial": policy.serial}

    def _put_listing(self, owner: str, request: PutListing) -> dict[str, Any]:
        keys = {owner: public_key_from_raw(self._store.owner(owner))}
        listing = verify_listing(request.listing, keys)
        if listing.owner != owner:
            raise SignatureRefused(f"listing of {listing.owner} is signed by {owner}")
        self._store.put_listing(listing, request.listing)
        self._log("listing", owner, **audit_entries.listed(listing))
        return {"serial": listing.serial}

    def _newest_listing(self, owner: str, request: NewestListing) -> dict[str, Any]:
        stored = self._store.listing_at(owner, request.location)
        return {"listing": stored.jws if stored else None}

    def _audit_entries(self, owner: str, request: AuditEntries) -> dict[str, Any]:
        page = self._store.audit.entries(request.first, AUDIT_PAGE)
        shown = [
            {"index": entry.index, "time": entry.time, "kind": entry.kind, "fields": entry.fields}
            for entry in page
            if _concerns(owner, entry)
        ]
        return {"entries": shown, "next": page[-1].index + 1 if page else request.first, "end": not page}

    def _audit_checkpoint(self, owner: str, request: AuditCheckpoint) -> dict[str, Any]:
        del owner, request
        return {"checkpoint": self._store.audit.checkpoint(), "key": self._store.audit.verifier_key()}

    def _audit_proofs(self, owner: str, request: AuditProofs) -> dict[str, Any]:
        del owner
        log, answer = self._store.audit, {}
        if request.index is not None:
            answer["inclusion"] = [node.hex() for node in log.inclusion_proof(request.index, request.size)]
        if request.old is not None:
            answer["consistency"] = [node.hex() for node in log.consistency_proof(request.old, request.size)]
        return answer

    def _log(self, kind: str, owner: str, **fields: str | int) -> None:
        self._store.audit.append({"kind": kind, "owner": owner, "remote": True, **fields})


_ACTIONS: Mapping[str, tuple[type[StrictModel], Callable[..., dict[str, Any]]]] = {
    "put-key": (PutKey, OwnerService._put_key),
    "revoke-key": (RevokeKey, OwnerService._revoke_key),
    "put-policy": (PutPolicy, OwnerService._put_policy),
    "put-listing": (PutListing, OwnerService._put_listing),
    "newest-listing": (NewestListing, OwnerService._newest_listing),
    "audit-entries": (AuditEntries, OwnerService._audit_entries),
    "audit-checkpoint": (AuditCheckpoint, OwnerService._audit_checkpoint),
    "audit-proofs": (AuditProofs, OwnerService._audit_proofs),
}
"""Action (last part of the path) -> payload and what is done with it."""


def _concerns(owner: str, entry: AuditEntry) -> bool:
    """Tell whether an entry is for the owner's eyes; refusals that concern no owner at all are for everyone's."""
    owners = entry.fields.get("owners")
    if owners is None:
        return entry.fields.get("owner") == owner
    return owner in owners or (not owners and entry.kind == "refusal")
