"""Servers of Intel's and AMD's, a store, and what finds collateral in and between them; the time is `NOW`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from confide.attestation.amd.report import Product
from confide.broker.collateral.cache import Cache
from confide.broker.collateral.endorsements import FoundEndorsements
from confide.broker.collateral.finder import Finder
from confide.broker.collateral.item import Roots
from confide.broker.collateral.kds import Kds
from confide.broker.collateral.pcs import Pcs
from confide.broker.collateral.sources import Sources
from confide.broker.collateral.web import tls_context
from confide.broker.store import Store
from confide.keys.material import unwrap_with, wrap_with

from ...unit.attestation.amd import synthetic as amd
from ...unit.attestation.intel import synthetic as intel
from .publisher import Publisher, WebAuthority

NOW = intel.NOW


class PlainProvider:
    """A key provider for tests: its key is in the process."""

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        return wrap_with(self._key, secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return unwrap_with(self._key, wrapped, context)


@dataclass
class Clock:
    """Says what time it is."""

    now: int = NOW

    def __call__(self) -> int:
        return self.now


@dataclass
class Site:
    """A broker's side: its store, and where it asks.

    Attributes:
        clock: of the store and of everything that is verified.
        monotonic: of what is remembered for a while.
    """

    store: Store
    clock: Clock
    sources: Sources
    roots: Roots
    monotonic: Clock = field(default_factory=Clock)

    @property
    def cache(self) -> Cache:
        return Cache(self.store, self.clock, self.roots)

    def finder(self, **changed) -> Finder:
        given = {"cache": self.cache, "sources": self.sources, "monotonic": self.monotonic}
        return Finder(**given | changed)

    def endorsements(self, **changed) -> FoundEndorsements:
        return FoundEndorsements(self.finder(**changed), self.roots)


@pytest.fixture(scope="session")
def authority():
    """In Intel's place."""
    return intel.Authority()


@pytest.fixture(scope="session")
def amd_authority():
    return amd.Authority()


@pytest.fixture
def machine(amd_authority):
    return amd.Machine(amd_authority, Product.MILAN)


@pytest.fixture(scope="session")
def web_authority():
    return WebAuthority()


@pytest.fixture
def server(web_authority, tmp_path):
    with Publisher(web_authority.server_context(tmp_path)) as publisher:
        yield publisher


@pytest.fixture
def tls(web_authority):
    return tls_context(web_authority.pem)


@pytest.fixture
def site(tmp_path: Path, server, tls, authority, machine):
    clock = Clock()
    store = Store.create(tmp_path / "store.db", PlainProvider(), clock)
    sources = Sources(Pcs.at(server.url, tls, timeout_s=20), Kds.at(server.url, tls, timeout_s=20))
    yield Site(store, clock, sources, Roots(authority.root_der, machine.roots()))
    store.close()
