"""Decisions over one store: the owners' newest policies applied to claims, and refusals put into the audit log."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from confide.attestation.claims import Claims
from confide.broker import audit_entries
from confide.broker.policy import Policy, parse_policy
from confide.broker.release import Release
from confide.broker.rules import decide, owners_concerned
from confide.broker.store import Store
from confide.data.listing import Listing
from confide.errors import CollateralUnavailable, ConfideError, Refused

REFUSALS: tuple[type[ConfideError], ...] = (Refused, CollateralUnavailable)


class Decisions:
    """What `rules.decide` says, given a store.

    Args:
        store: policies, keys, listings, audit log.
        clock: Unix seconds.
    """

    def __init__(self, store: Store, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock

    def policies(self) -> list[Policy]:
        """Return the newest policy of every owner."""
        return [parse_policy(stored.toml) for stored in self._store.policies()]

    def release(self, claims: Claims) -> Release:
        """Return what the workload may receive now.

        Raises:
            AttestationRefused, MeasurementRefused, PlatformRefused, LaunchRefused, PolicyRefused, KeyRefused.
        """

        def listing_at(owner: str, location: str) -> Listing | None:
            stored = self._store.listing_at(owner, location)
            return stored.listing if stored else None

        return decide(claims, self.policies(), self._store.key, listing_at, self._clock())

    @contextmanager
    def refusals(
        self,
        claims: Claims,
        kinds: tuple[type[ConfideError], ...] = REFUSALS,
        others: Callable[[], Iterable[str]] = tuple,
    ) -> Iterator[None]:
        """Put refusals of these kinds that leave the block into the audit log; outside any transaction.

        Args:
            claims: of whom they concern.
            kinds: of refusals.
            others: owners who read of it besides those whose policies name the measurement.
        """
        try:
            yield
        except kinds as error:
            owners = sorted({*owners_concerned(claims, self.policies()), *others()})
            self._store.audit.append(audit_entries.refusal(error, claims, owners))
            raise
