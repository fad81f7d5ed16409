"""What collateral there can be: an item is one thing that is fetched, verified, kept and renewed as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from confide.attestation.amd.report import Product
from confide.attestation.amd.verify_certificates import PINNED
from confide.attestation.intel.collateral import Part
from confide.attestation.intel.roots import SGX_ROOT
from confide.broker.collateral.sources import Sources
from confide.errors import CollateralUnavailable

Value = TypeVar("Value")


@dataclass(frozen=True)
class Roots:
    """What collateral must lead to.

    Attributes:
        intel: certificate (DER).
        amd: product -> SHA-256 (hex) of its root's certificate.
    """

    intel: bytes = field(default_factory=lambda: SGX_ROOT)
    amd: Mapping[Product, str] = field(default_factory=lambda: PINNED)


class Item(Protocol[Value]):
    """One thing. Its document is what stands in files and in the store; its value, what evidence is verified with."""

    @property
    def name(self) -> str:
        """Unique; `item_named` reads it."""
        ...

    @property
    def title(self) -> str:
        """What it is, for people."""
        ...

    @property
    def options(self) -> str:
        """Options of `confide collateral fetch` that name it."""
        ...

    def server(self, sources: Sources) -> str | None:
        """Return the URL of the server that has it; None: none is asked."""
        ...

    def fetch(self, sources: Sources) -> bytes:
        """Return its document, not verified.

        Raises:
            CollateralUnavailable: no server, or none that answers as it should.
        """
        ...

    def read(self, document: bytes) -> Value:
        """Return a document's value.

        Raises:
            InvalidFormat: not a document of this kind.
        """
        ...

    def parts(self, value: Value) -> tuple[Part, ...]:
        """Return what in it expires, by names that tell what a newer one replaces."""
        ...

    def verify(self, value: Value, now: int, roots: Roots) -> None:
        """Return if this is the item, published by the maker of the hardware, and valid now.

        Raises:
            EvidenceRefused: it is not the maker's.
            CollateralUnavailable: it is another item, or has expired.
        """
        ...


AnyItem = Item[Any]


def check_now(parts: tuple[Part, ...], now: int) -> None:
    """Return if everything is valid.

    Raises:
        CollateralUnavailable: names the part that is not.
    """
    for part in parts:
        if now < part.issued:
            raise CollateralUnavailable(
                f"its {part.name} was issued at {iso(part.issued)}, later than now; is the clock right?"
            )
        if now >= part.expires:
            raise CollateralUnavailable(f"its {part.name} expired at {iso(part.expires)}")


def expiry(parts: tuple[Part, ...]) -> int:
    """Return when the first part expires, in Unix seconds."""
    return min(part.expires for part in parts)


def iso(seconds: int) -> str:
    """Return a time as in RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
