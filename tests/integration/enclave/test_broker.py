"""From image to exit code with a real broker: attestation, release, refusals, commit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from confide.broker.home import Home
from confide.broker.listing_signing import sign_listing
from confide.broker.policy_signing import sign_policy
from confide.broker.server import EmbeddedBroker
from confide.data.folders import encrypt_files
from confide.data.sealed import SealedReader
from confide.enclave.build import Recipe, build_image
from confide.enclave.image import Limits, measurement
from confide.enclave.run import RunRequest, run
from confide.enclave.simulated.host import host_key
from confide.errors import AttestationRefused, BrokerUntrusted, MeasurementRefused, NoGrant
from confide.keys.material import Keyset
from confide.keys.names import KeyName
from confide.keys.passphrase_file import Argon2Cost
from confide.keys.signing import generate_signing_key, raw_public
from confide.python.image_spec import image_profile

KEY = KeyName("clinic", "notes")
PROGRAM = "import sys\nopen('out/copy.txt', 'w').write(open('notes/a.txt').read() + ' '.join(sys.argv[1:]))\n"


@dataclass
class Clinic:
    """An owner with a home that serves as broker, one location of sealed files, and an image."""

    root: Path
    cache: Path
    home: Home
    broker: EmbeddedBroker
    serial: int = 0
    said: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.signing_key = generate_signing_key()
        self.home.store.put_owner("clinic", raw_public(self.signing_key.public_key()))
        self.home.store.enroll_host(raw_public(host_key(self.home.path).public_key()))
        self.keyset = Keyset({KEY: self.home.store.create_key(KEY)})
        (self.root / "plain").mkdir()
        (self.root / "plain/a.txt").write_text("hello ")
        (self.root / "data").mkdir()
        listing = encrypt_files(
            self.root / "plain", self.root / "data/notes", self.keyset, KEY, location="notes"
        )
        self.home.store.commit_listing(listing, sign_listing(listing, self.signing_key, "clinic"), 0)

    def build(self, program: str = PROGRAM, **recipe: Any) -> Path:
        (self.root / "job.py").write_text(program)
        brokers = recipe.pop("brokers", {"local": self.broker.ca_pem.decode()})
        limits = Limits(memory_mib=512, scratch_mib=64)
        made = Recipe(
            self.root / "job.py", image_profile(), "job", brokers, limits=limits, args=("[a-z]+",), **recipe
        )
        folder = self.root / f"image-{len(list(self.root.iterdir()))}"
        self.image = build_image(made, folder, self.cache)
        return folder

    def allow(self, approved: str) -> None:
        self.serial += 1
        toml = f"""
version = 1
owner = "clinic"
serial = {self.serial}
not_before = 2020-01-01T00:00:00Z
not_after = 2120-01-01T00:00:00Z
[[workload]]
name = "copy"
tee = "simulated"
measurements = ["{approved}"]
minimum_svn = 0
[[grant]]
workload = "copy"
location = "notes"
access = "read"
format = "files"
key = "clinic/notes"
[[grant]]
workload = "copy"
location = "out"
access = "write"
format = "files"
key = "clinic/notes"
""".encode()
        self.home.store.put_policy("clinic", self.serial, sign_policy(toml, self.signing_key), toml)

    def run(self, folder: Path, arguments: tuple[str, ...] = ()) -> int:
        request = RunRequest(
            folder, "simulated", self.home.path, {"local": self.broker.url}, self.root / "data", arguments
        )
        return run(request, self.said.append)

    def output(self) -> bytes:
        with (self.root / "data/out/copy.txt").open("rb") as file, SealedReader(file, self.keyset) as reader:
            return bytes(reader.readall())


@pytest.fixture
def clinic(tmp_path: Path, cache: Path) -> Iterator[Clinic]:
    cost = Argon2Cost(memory_kib=19 * 1024, iterations=2, lanes=1)
    with (
        Home.create(tmp_path / "home", b"passphrase", cost) as home,
        EmbeddedBroker(home.store, allow_simulated=True) as broker,
    ):
        yield Clinic(tmp_path, cache, home, broker)


def test_approved_program_reads_and_writes(clinic: Clinic) -> None:
    folder = clinic.build()
    clinic.allow(measurement(clinic.image))
    assert clinic.run(folder, ("world",)) == 0
    assert clinic.output() == b"hello world"
    assert [s["state"] for s in clinic.said] == ["verified", "attested", "released", "started", "finished"]
    stored = clinic.home.store.listing_at("clinic", "out")
    assert stored is not None
    assert stored.listing.serial == 1
    assert clinic.run(folder, ("again",)) == 0
    assert clinic.output() == b"hello again"


def test_changed_program_is_refused(clinic: Clinic) -> None:
    clinic.build()
    clinic.allow(measurement(clinic.image))
    changed = clinic.build(PROGRAM + "print()\n")
    with pytest.raises(MeasurementRefused):
        clinic.run(changed)
    assert not (clinic.root / "data/out").exists()


def test_host_that_is_not_enrolled_is_refused(clinic: Clinic) -> None:
    folder = clinic.build()
    clinic.allow(measurement(clinic.image))
    for host in clinic.home.store.hosts():
        clinic.home.store.remove_host(host)
    with pytest.raises(AttestationRefused):
        clinic.run(folder)


def test_broker_of_another_authority_is_not_trusted(clinic: Clinic, tmp_path: Path) -> None:
    with Home.create(
        tmp_path / "other", b"passphrase", Argon2Cost(memory_kib=19 * 1024, iterations=2, lanes=1)
    ) as other:
        from confide.broker.ca import CertificateAuthority

        pem = CertificateAuthority.of(other.store).certificate_pem.decode()
    folder = clinic.build(brokers={"local": pem})
    clinic.allow(measurement(clinic.image))
    with pytest.raises(BrokerUntrusted):
        clinic.run(folder)


def test_owner_that_the_image_asks_for_must_grant(clinic: Clinic) -> None:
    folder = clinic.build(owners=("clinic", "lab"))
    clinic.allow(measurement(clinic.image))
    with pytest.raises(NoGrant, match="lab"):
        clinic.run(folder)
