"""What the store has of collateral: only what was verified, and never what is older than what it has."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from confide.broker.collateral.intel_platform import IntelPlatform
from confide.broker.collateral.item import AnyItem, Item, Roots, check_now, expiry, iso
from confide.broker.collateral.revocation import heeding
from confide.broker.store_collateral import StoredCollateral
from confide.errors import CollateralUnavailable, EvidenceRefused, InvalidFormat

Value = TypeVar("Value")


class CollateralStore(Protocol):
    """The part of a store that is needed here."""

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context whose changes are kept all or not at all."""
        ...

    def put_collateral(self, name: str, document: bytes, *, source: str, expires: int) -> None:
        """Keep collateral, replacing the one of that name."""
        ...

    def put_collateral_failure(self, name: str, reason: str) -> None:
        """Remember why collateral that is kept could not be refreshed."""
        ...

    def collateral(self, name: str) -> StoredCollateral | None:
        """Return what is kept under a name."""
        ...

    def collaterals(self) -> list[StoredCollateral]:
        """Return all that is kept."""
        ...


class Cache:
    """Collateral in a store.

    Args:
        store: where it is kept.
        clock: Unix seconds.
        roots: what it must lead to.

    Attributes:
        now: the clock.
    """

    def __init__(self, store: CollateralStore, clock: Callable[[], int], roots: Roots | None = None) -> None:
        self._store = store
        self._roots = Roots() if roots is None else roots
        self.now = clock

    def get(self, item: Item[Value]) -> Value:
        """Return what is kept. Whom it revokes, whoever verifies evidence with it will see.

        Raises:
            CollateralUnavailable: nothing is kept, or it is not valid now.
        """
        stored = self._store.collateral(item.name)
        if stored is None:
            raise CollateralUnavailable(f"no {item.title} is kept here")
        value = item.read(stored.document)
        try:
            check_now(item.parts(value), self.now())
        except CollateralUnavailable as error:
            failure = (
                f"; the refresh at {iso(stored.failed)} failed: {stored.failure}" if stored.failed else ""
            )
            raise CollateralUnavailable(f"{item.title}: {error}{failure}") from None
        return value

    def put(
        self,
        item: Item[Value],
        document: bytes,
        source: str,
        before_keeping: Callable[[Value], None] = lambda _: None,
    ) -> Value:
        """Verify a document and keep it; return its value.

        Args:
            item: what it is said to be.
            document: nothing in it is trusted.
            source: where it comes from, for people.
            before_keeping: is given the value once it is verified; what it raises passes through, and nothing is kept.

        Raises:
            CollateralUnavailable: it is not the item, not the maker's, not valid now, or older than what is kept.
                Nothing changed then, but that a revocation which it proves counts.
        """
        with self._refusals(item, document, source):
            value = item.read(document)
            item.verify(value, self.now(), self._roots)
        before_keeping(value)
        with self._refusals(item, document, source), self._store.transaction():
            self._check_newer(item, value)
            self._keep(item, document, source)
        return value

    @contextlib.contextmanager
    def _refusals(self, item: AnyItem, document: bytes, source: str) -> Iterator[None]:
        try:
            yield
        except (EvidenceRefused, InvalidFormat, CollateralUnavailable) as error:
            if isinstance(error, EvidenceRefused):
                self._heed(item, document)
            raise CollateralUnavailable(f"{item.title} from {source}: {error}") from None

    def failed(self, item: AnyItem, reason: str) -> None:
        """Remember why a refresh failed."""
        self._store.put_collateral_failure(item.name, reason)

    def all(self) -> list[StoredCollateral]:
        """Return all that is kept, sorted by name."""
        return self._store.collaterals()

    def _keep(self, item: AnyItem, document: bytes, source: str) -> None:
        expires = expiry(item.parts(item.read(document)))
        self._store.put_collateral(item.name, document, source=source, expires=expires)

    def _heed(self, item: AnyItem, refused: bytes) -> None:
        """Let a revocation count that collateral proves which is refused. AMD's is never refused for one."""
        if not isinstance(item, IntelPlatform):
            return
        with self._store.transaction(), contextlib.suppress(CollateralUnavailable):
            revoking = heeding(self.get(item), item.read(refused), self.now(), self._roots.intel)
            if revoking is not None:
                self._keep(item, revoking.to_json(), "a CRL that revokes its signer")

    def _check_newer(self, item: Item[Value], value: Value) -> None:
        """Refuse what is older than what is kept and valid: who serves it may have reasons to."""
        try:
            kept = item.parts(self.get(item))
        except CollateralUnavailable:
            return
        issued = {part.name: part.issued for part in kept}
        for part in item.parts(value):
            if part.issued < issued.get(part.name, part.issued):
                raise CollateralUnavailable(
                    f"its {part.name} is of {iso(part.issued)}, older than what is kept, "
                    f"which is of {iso(issued[part.name])}"
                )
