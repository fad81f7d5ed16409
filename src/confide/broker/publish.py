"""Sending an owner's keys, policy and listings from a home to another broker."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass

from confide.broker.client import OwnerClient
from confide.broker.listing_signing import trust_listing_keys
from confide.broker.release import ReleasedKey
from confide.broker.store import Store
from confide.errors import UnknownKey


@dataclass(frozen=True)
class Published:
    """What was sent: numbers of keys and listings, and the policy's serial if there is one."""

    keys: int
    listings: int
    policy: int | None


def publish(store: Store, owner: str, client: OwnerClient) -> Published:
    """Send everything of `owner`; what the broker has already is not an error.

    Keys go first, so that a policy never names one that the broker lacks. From then on this home accepts
    listings of the owner that the broker signed: it commits what workloads write.

    Raises:
        BrokerUnavailable, BrokerUntrusted: the broker cannot be reached, or is not the pinned one.
        SignatureRefused: the broker did not enroll this owner, or with another key.
        Rollback: the broker has a newer policy or listing.
    """
    client.audit_checkpoint()  # signed: who is not enrolled there learns it, even with nothing to send
    keys = store.keys(owner)
    for summary in keys:
        if summary.revoked is not None:
            with contextlib.suppress(UnknownKey):  # never sent: nothing to revoke
                client.revoke_key(summary.name.name)
            continue
        key = store.key(summary.name)
        secrets = {str(v): base64.b64encode(secret).decode() for v, secret in key.secrets.items()}
        client.put_key(
            summary.name.name,
            ReleasedKey(current=key.current, versions=secrets, revoked=tuple(sorted(key.revoked))),
        )
    listings = store.listings(owner)
    for stored in listings:
        client.put_listing(stored.listing)
    policy = store.policy(owner)
    if policy is not None:
        client.put_policy(policy.jws)
    trust_listing_keys(store, owner, client.listing_keys())
    return Published(len(keys), len(listings), policy.serial if policy else None)
