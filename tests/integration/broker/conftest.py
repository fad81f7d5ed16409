"""A real broker over HTTPS on a port of its own, an owner with keys, policy and a listing, and an issuer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from confide.attestation.evidence import RuntimeData
from confide.attestation.simulated import STATEMENT_TYP, SimulatedStatement
from confide.broker.client import KbsClient, OwnerClient
from confide.broker.listing_signing import sign_listing
from confide.broker.policy_signing import sign_policy
from confide.broker.server import EmbeddedBroker
from confide.broker.store import Store
from confide.canonical import canonical_json
from confide.data.listing import Format, ListedFile, Listing
from confide.keys.material import unwrap_with, wrap_with
from confide.keys.names import KeyName
from confide.keys.provider import KeyProvider
from confide.keys.signing import generate_signing_key, key_id, raw_public, sign_jws

MEASUREMENT = "a" * 64
TABLE = "1" * 32

POLICY = """version = 1
owner = "{owner}"
serial = {serial}
not_before = 2020-01-01T00:00:00Z
not_after = 2999-01-01T00:00:00Z
[[workload]]
name = "study"
tee = "simulated"
measurements = ["{measurement}"]
launch = {{ args = "--year 20[0-9]{{2}}" }}
logs = "clinic/logs"
[[grant]]
workload = "study"
location = "data/patients"
access = "read"
format = "table"
key = "clinic/patients"
columns = {{ ssn = "clinic/identifiers" }}
[[grant]]
workload = "study"
location = "out"
access = "write"
format = "table"
key = "clinic/results"
"""


class PlainProvider:
    """A key provider for tests: its key is in the process."""

    def __init__(self) -> None:
        self._key = os.urandom(32)

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        return wrap_with(self._key, secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return unwrap_with(self._key, wrapped, context)


@dataclass
class Host:
    """Issues simulated evidence and remembers it."""

    key: Ed25519PrivateKey = field(default_factory=generate_signing_key)
    measurement: str = MEASUREMENT
    role: str = "driver"
    svn: int = 0
    debug: bool = False
    issued: list[dict[str, Any]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return key_id(self.key.public_key())

    def issue(self, runtime_data: RuntimeData) -> Mapping[str, Any]:
        return self.sign(runtime_data.report_data())

    def sign(self, report_data: bytes) -> Mapping[str, Any]:
        statement = SimulatedStatement.of(
            measurement=self.measurement,
            role=self.role,
            svn=self.svn,
            debug=self.debug,
            report_data=report_data,
            host=self.id,
        )
        evidence = sign_jws(
            self.key, canonical_json(statement.wire()), {"kid": self.id, "typ": STATEMENT_TYP}
        )
        self.issued.append(evidence)
        return evidence


@dataclass
class Clinic:
    """The owner `clinic` in a broker's store."""

    store: Store
    provider: KeyProvider
    host: Host = field(default_factory=Host)
    signing_key: Ed25519PrivateKey = field(default_factory=generate_signing_key)

    def policy(self, serial: int = 1, measurement: str = MEASUREMENT, owner: str = "clinic") -> bytes:
        return POLICY.format(owner=owner, serial=serial, measurement=measurement).encode()

    def listing(self, serial: int = 1, location: str = "data/patients", table: str = TABLE) -> Listing:
        return Listing(
            table=table,
            owner="clinic",
            location=location,
            format=Format.TABLE,
            serial=serial,
            key="clinic/patients",
            columns={"ssn": "clinic/identifiers"},
            files=(ListedFile(path="part-0.parquet", size=100, binding="b" * 64),),
        )

    def put_policy(self, toml: bytes, serial: int) -> None:
        self.store.put_policy("clinic", serial, sign_policy(toml, self.signing_key), toml)

    def refusals(self) -> list[str]:
        return [entry.fields["error"] for entry in self.store.audit.entries(kind="refusal")]

    def furnish(self) -> None:
        """Enroll the owner and its host; make its keys, policy and a listing."""
        self.store.put_owner("clinic", raw_public(self.signing_key.public_key()))
        self.store.enroll_host(raw_public(self.host.key.public_key()))
        for name in ("patients", "identifiers", "results", "logs", "unrelated"):
            self.store.create_key(KeyName("clinic", name))
        self.put_policy(self.policy(), 1)
        self.store.commit_listing(self.listing(), sign_listing(self.listing(), self.signing_key, "clinic"), 0)


@pytest.fixture
def clinic(tmp_path: Path) -> Iterator[Clinic]:
    provider = PlainProvider()
    clinic = Clinic(Store.create(tmp_path / "store.db", provider), provider)
    clinic.furnish()
    yield clinic
    clinic.store.close()


@pytest.fixture
def broker(clinic: Clinic) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(clinic.store, allow_simulated=True) as running:
        yield running


@pytest.fixture
def client(broker: EmbeddedBroker) -> Iterator[KbsClient]:
    client = KbsClient(broker.url, broker.ca_pem)
    yield client
    client.close()


@pytest.fixture
def owner(broker: EmbeddedBroker, clinic: Clinic) -> Iterator[OwnerClient]:
    client = OwnerClient(broker.url, broker.ca_pem, "clinic", clinic.signing_key)
    yield client
    client.close()
