"""Owners with tables, brokers that serve, an image, and its runs: everything real but the TEE."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from confide.broker.ca import CertificateAuthority
from confide.broker.home import Home
from confide.broker.listing_signing import sign_listing
from confide.broker.policy_signing import sign_policy
from confide.broker.server import EmbeddedBroker
from confide.data.listing import Listing
from confide.data.parquet import FileSizes
from confide.data.parquet_reader import TableReader
from confide.data.sealed import SealedReader
from confide.data.tables import encrypt_table
from confide.enclave.build import Recipe, build_cached
from confide.enclave.executors import run_job
from confide.enclave.image import Image, Limits, measurement
from confide.enclave.profile import ImageProfile
from confide.enclave.run import RunRequest, run
from confide.enclave.simulated.host import host_key
from confide.keys.material import Keyset
from confide.keys.names import KeyName
from confide.keys.passphrase_file import Argon2Cost
from confide.keys.signing import generate_signing_key, raw_public
from confide.spark.image_spec import image_profile as spark_profile

CHEAP = Argon2Cost(memory_kib=19 * 1024, iterations=2, lanes=1)


@dataclass
class Served:
    """A broker's home, and where it serves."""

    home: Home
    url: str
    ca: str


class Owner:
    """An owner enrolled at one broker, with one key."""

    def __init__(self, name: str, served: Served, folder: Path) -> None:
        self.name, self.store, self._folder = name, served.home.store, folder
        self.key = KeyName(name, "data")
        self._signing_key = generate_signing_key()
        self._serial = 0
        self.store.put_owner(name, raw_public(self._signing_key.public_key()))
        self.keyset = Keyset({self.key: self.store.create_key(self.key)})

    def encrypt(self, table: pa.Table, data: Path, location: str, sizes: FileSizes | None = None) -> Listing:
        plain = self._folder / f"{self.name}-{location.replace('/', '-')}.parquet"
        pq.write_table(table, plain)
        folder = data / location.replace("://", "/")
        folder.parent.mkdir(parents=True, exist_ok=True)
        listing = encrypt_table(plain, folder, self.keyset, self.key, location=location, sizes=sizes)
        self._commit(listing)
        return listing

    def commit_again(self, location: str) -> None:
        """Commit what lies at a location once more, under the next serial."""
        stored = self.store.listing_at(self.name, location)
        assert stored is not None
        self._commit(stored.listing.model_copy(update={"serial": stored.listing.serial + 1}))

    def _commit(self, listing: Listing) -> None:
        signed = sign_listing(listing, self._signing_key, self.name)
        self.store.commit_listing(listing, signed, listing.serial - 1)

    def allow(
        self,
        image: Image,
        *grants: tuple[str, str, str] | tuple[str, str],
        logs: str | None = None,
        until: str = "2120-01-01T00:00:00Z",
        files: Sequence[str] = (),
        read_files: Sequence[str] = (),
        streams: Sequence[tuple[str, str]] = (),
        key: str | None = None,
        tee: str = "simulated",
        platform: str = "",
        executor: Image | None = None,
    ) -> None:
        """Put a policy into force: grants are (location, access[, key]) of tables.

        Args:
            files: locations of files that may be written, under `key`.
            read_files: locations of files that may be read.
            streams: (location, access) of streams of sealed records.
            key: of `files`; None: the owner's own.
            executor: image of the executors; None: there are none.
        """
        self._serial += 1
        lines = [
            f'version = 1\nowner = "{self.name}"\nserial = {self._serial}',
            f"not_before = 2020-01-01T00:00:00Z\nnot_after = {until}",
            f'[[workload]]\nname = "job"\ntee = "{tee}"\nmeasurements = ["{measurement(image)}"]',
            f'logs = "{logs}"' if logs else "",
            f"[workload.platform]\n{platform}" if platform else "",
        ]
        if executor is not None:
            lines.append(f'[[workload]]\nname = "job"\ntee = "{tee}"\nrole = "executor"')
            lines.append(f'measurements = ["{measurement(executor)}"]')
            lines.append(f'logs = "{logs}"' if logs else "")
        for location, access, *under in grants:
            lines.append(f'[[grant]]\nworkload = "job"\nlocation = "{location}"\naccess = "{access}"')
            lines.append(f'format = "table"\nkey = "{under[0] if under else self.key}"')
        for access, locations in (("write", files), ("read", read_files)):
            for location in locations:
                lines.append(f'[[grant]]\nworkload = "job"\nlocation = "{location}"\naccess = "{access}"')
                lines.append(f'format = "files"\nkey = "{key or self.key}"')
        for location, access in streams:
            lines.append(f'[[grant]]\nworkload = "job"\nlocation = "{location}"\naccess = "{access}"')
            lines.append(f'format = "stream"\nkey = "{self.key}"')
        toml = "\n".join(lines).encode()
        self.store.put_policy(self.name, self._serial, sign_policy(toml, self._signing_key), toml)

    def read(self, data: Path, location: str) -> pa.Table:
        stored = self.store.listing_at(self.name, location)
        assert stored is not None
        return TableReader(data / location.replace("://", "/"), stored.listing, self.keyset).read()


@dataclass
class Site:
    """The operator's machine: a data root, a host key, a cache, and a program's image."""

    root: Path
    cache: Path
    stack: contextlib.ExitStack
    brokers: dict[str, Served] = field(default_factory=dict)
    said: list[Mapping[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("data", "host", "app"):
            (self.root / name).mkdir()
        self.data, self.host = self.root / "data", self.root / "host"

    def broker(self, name: str) -> Served:
        """Start a broker that the images built afterwards pin."""
        home = self.stack.enter_context(Home.create(self.root / f"broker-{name}", b"passphrase", CHEAP))
        home.store.enroll_host(raw_public(host_key(self.host).public_key()))
        server = self.stack.enter_context(EmbeddedBroker(home.store, allow_simulated=True))
        self.brokers[name] = Served(home, server.url, server.ca_pem.decode())
        return self.brokers[name]

    def build(self, program: str, profile: ImageProfile, **recipe: Any) -> Image:
        self.folder, self.image = self._build(program, profile, recipe)
        return self.image

    def build_executor(self, program: str, profile: ImageProfile, **recipe: Any) -> Image:
        self.executor_folder, self.executor = self._build(program, profile, {"role": "executor", **recipe})
        return self.executor

    def _build(self, program: str, profile: ImageProfile, recipe: dict[str, Any]) -> tuple[Path, Image]:
        (self.root / "app/job.py").write_text(program)
        pinned = recipe.pop("pinned", {name: served.ca for name, served in self.brokers.items()})
        return build_cached(Recipe(self.root / "app/job.py", profile, "job", pinned, **recipe), self.cache)

    def request(self, arguments: Sequence[str] = (), **changes: Any) -> RunRequest:
        brokers = {name: served.url for name, served in self.brokers.items()}
        settings = {"image": self.folder, "tee": "simulated", "home": self.host, "brokers": brokers}
        return RunRequest(**{**settings, "data_root": self.data, "arguments": arguments, **changes})

    def run(self, *arguments: str, **changes: Any) -> int:
        return run(self.request(arguments, **changes), self.said.append)

    def run_job(self, *arguments: str, executors: int = 2, **changes: Any) -> int:
        """Run the image with executors on this machine."""
        driver, executor = self.members(*arguments, executors=executors, **changes)
        end_alone = self.image.profile != "flink"
        return run_job(driver, executor, executors, self.said.append, end_alone=end_alone)

    def members(self, *arguments: str, executors: int = 2, **changes: Any) -> tuple[RunRequest, RunRequest]:
        """Return how a job's driver and its executors are run."""
        launch = {"host": "127.0.0.1", "cores": "1"}
        driver = self.request(arguments, launch={**launch, "executors": str(executors)}, **changes)
        return driver, self.request(launch=launch, image=self.executor_folder)

    def log(self, owner: Owner) -> str:
        """Return what the newest run printed."""
        return _read(self._log_files()[-1], owner)

    def logs(self, owner: Owner) -> list[str]:
        """Return what every run printed, the newest last."""
        return [_read(path, owner) for path in self._log_files()]

    def _log_files(self) -> list[Path]:
        return sorted((self.data / "confide-logs").iterdir(), key=lambda path: path.stat().st_mtime_ns)

    def processes(self) -> list[int]:
        """Return the processes that see this site's data root: those of its enclaves."""
        found = []
        for mounts in Path("/proc").glob("[0-9]*/mountinfo"):
            with contextlib.suppress(OSError):
                if f"{self.data} /work " in mounts.read_text():
                    found.append(int(mounts.parent.name))
        return found

    def processes_below(self, word: bytes) -> list[int]:
        """Return those that enclaves started, which may not see the data root, with a word in their arguments."""
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        below = set(self.processes())
        while more := {pid for pid, parent in parents.items() if parent in below} - below:
            below |= more
        found = []
        for pid in sorted(below):
            with contextlib.suppress(OSError):
                found += [pid] * (word in Path(f"/proc/{pid}/cmdline").read_bytes())
        return found

    def gone(self) -> bool:
        """Wait until the enclaves' last processes have ended: Linux ends them one after the other."""
        deadline = time.monotonic() + 30
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return not left


def _read(path: Path, owner: Owner) -> str:
    with path.open("rb") as file, SealedReader(file, owner.keyset) as reader:
        return bytes(reader.readall()).decode()


@pytest.fixture(scope="session")
def cache(pytestconfig: pytest.Config) -> Path:
    """Layers are kept between test runs: their key tells whether anything in them changed."""
    assert pytestconfig.cache is not None
    return pytestconfig.cache.mkdir("confide")


@pytest.fixture(scope="session")
def new_owner() -> type[Owner]:
    return Owner


@pytest.fixture(scope="module")
def new_site(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Site]:
    """Make further sites, with brokers of their own."""
    return lambda: Site(tmp_path_factory.mktemp("site"), site.cache, site.stack)


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The certificate of a broker that nobody runs."""
    with Home.create(tmp_path_factory.mktemp("other") / "home", b"passphrase", CHEAP) as home:
        return CertificateAuthority.of(home.store).certificate_pem.decode()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Site]:
    with contextlib.ExitStack() as stack:
        yield Site(tmp_path_factory.mktemp("site"), cache, stack)


@pytest.fixture(scope="session")
def small_spark(cache: Path) -> ImageProfile:
    """The Spark profile with little memory and scratch."""
    profile = spark_profile(cache / "jvm")
    limits = Limits(memory_mib=1536, scratch_mib=64, cores=2)
    return ImageProfile(**{**vars(profile), "limits": limits})
