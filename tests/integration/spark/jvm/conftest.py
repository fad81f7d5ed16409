"""One local Spark with the guard in it, and an agent that commits in memory."""

from __future__ import annotations

import base64
import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from pyspark import SparkContext
from pyspark.sql import SparkSession

from confide.broker.release import Access, Grant, Release, ReleasedKey
from confide.canonical import canonical_json
from confide.data.listing import Format, ListedFile, Listing
from confide.data.parquet_reader import TableReader
from confide.data.parquet_writer import TableKeys, write_table
from confide.enclave.agent_socket import AgentSocket, JobCalls
from confide.errors import Conflict, NoGrant
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName
from confide.spark.image_spec import spark_jar

VECTORS = Path(__file__).parents[3] / "vectors" / "sealed"
RECORDS = json.loads((VECTORS.parent / "records" / "records.json").read_text("utf-8"))
STREAM, READ_STREAM = "rediss://redis.example:6380/pulses", "rediss://elsewhere.example:6380/pulses"
VECTOR_FOLDERS = ("00112233445566778899aabbccddeeff", "ffeeddccbbaa99887766554433221100")
KEY, COLUMN_KEY, ABSENT_KEY = "clinic/patients", "clinic/identifiers", "clinic/unreleased"
SETTINGS = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.hadoop.fs.file.impl": "confide.LocalGuard",
    "spark.hadoop.fs.AbstractFileSystem.file.impl": "confide.GuardFs",
    "spark.hadoop.fs.sealed.impl": "confide.SealedFileSystem",
    "spark.hadoop.fs.AbstractFileSystem.sealed.impl": "confide.GuardFs",
    **{f"spark.hadoop.fs.{scheme}.impl": "confide.GuardFileSystem" for scheme in ("s3a", "hdfs", "gs")},
    **{f"spark.hadoop.fs.AbstractFileSystem.{scheme}.impl": "confide.GuardFs" for scheme in ("s3a", "hdfs")},
    "spark.hadoop.confide.folders": "s3a,hdfs",
    "spark.hadoop.mapreduce.outputcommitter.factory.class": (
        "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory"
    ),
    "spark.hadoop.parquet.crypto.factory.class": "confide.ParquetCrypto",
    "spark.sql.sources.commitProtocolClass": "confide.CommitProtocol",
    "spark.sql.parquet.compression.codec": "zstd",
}


class AgentStub:
    """The agent's socket with a release made by the test and commits in memory."""

    def __init__(self, folder: Path, keys: dict[str, ReleasedKey]) -> None:
        self.root, self.scratch = folder / "work", folder / "scratch"
        self.path = folder / "agent.sock"
        self.keys = keys
        self.grants: dict[str, Grant] = {}
        self.listings: dict[str, Listing] = {}
        self.fail_next: Exception | None = None
        for path in (self.root, self.scratch):
            path.mkdir()

    def grant(
        self,
        location: str,
        *,
        access: Access = Access.WRITE,
        kind: Format = Format.TABLE,
        key: str = KEY,
        columns: dict[str, str] | None = None,
        listing: Listing | None = None,
        table: str | None = None,
    ) -> None:
        self.grants[location] = Grant(
            owner="clinic",
            location=location,
            access=access,
            format=kind,
            key=key,
            columns=columns or {},
            table=listing.table if listing else table,
            listing=listing,
        )
        if listing:
            self.listings[location] = listing

    def start(self) -> None:
        self.release = Release(
            workload="test",
            owners=("clinic",),
            keys=self.keys,
            grants=tuple(self.grants.values()),
            expires=2**40,
        )
        job = JobCalls(lambda: self.release, lambda *_: None)
        self._socket = AgentSocket(
            self.path, self.release, str(self.root), str(self.scratch), {}, self.commit, job
        )

    def close(self) -> None:
        self._socket.close()

    def commit(
        self, location: str, table: str, base: int, files: Sequence[ListedFile]
    ) -> tuple[Listing, dict[str, str]]:
        if self.fail_next:
            error, self.fail_next = self.fail_next, None
            raise error
        grant, current = self.grants[location], self.listings.get(location)
        if grant.access is not Access.WRITE:
            raise NoGrant(location)
        if base != (current.serial if current else 0):
            raise Conflict(location)
        new = Listing(
            table=table,
            owner=grant.owner,
            location=location,
            format=grant.format,
            serial=base + 1,
            key=grant.key,
            columns=grant.columns,
            files=tuple(files),
        )
        self.listings[location] = new
        payload = base64.urlsafe_b64encode(canonical_json(new.model_dump(mode="json"))).decode().rstrip("=")
        return new, {"payload": payload, "protected": "test", "signature": "test"}


def folder_of(location: str) -> str:
    """Return where a location lies below the data root."""
    return location.replace("://", "/")


class World:
    """What a test needs: Spark, the agent, and fresh locations."""

    def __init__(self, agent: AgentStub, keyset: Keyset) -> None:
        self.agent, self.keyset = agent, keyset
        self.spark: SparkSession
        self._next = {"tables": 0, "uniform": 0, "files": 0}

    def enforced(self, value: bool) -> None:
        """Say whether the settings of this JVM passed the check."""
        hardening = self.spark._jvm.java.lang.Class.forName("confide.spark.Hardening")
        field = hardening.getDeclaredField("enforced")
        field.setAccessible(True)
        field.setBoolean(None, value)

    def fresh(self, kind: str) -> str:
        """Return an unused location: of `tables` (column key for ssn), `uniform` tables or `files`."""
        number = self._next[kind]
        self._next[kind] += 1
        return f"{kind}/{number}"

    def path(self, location: str) -> Path:
        return self.agent.root / folder_of(location)

    def uri(self, location: str) -> str:
        return str(self.path(location))

    def listing(self, location: str) -> Listing:
        return self.agent.listings[location]

    def python(self, location: str) -> pa.Table:
        """Read a table with pyarrow, as its owner would."""
        return TableReader(self.path(location), self.listing(location), self.keyset).read()

    def data_file(self, location: str, number: int = 0) -> Path:
        return self.path(location) / self.listing(location).files[number].path


def write_python(
    agent: AgentStub,
    keyset: Keyset,
    location: str,
    table: pa.Table,
    columns: dict[str, str] | None = None,
    access: Access = Access.READ,
    split: int | None = None,
) -> None:
    """Write a table with pyarrow, as its owner would, and grant it."""
    folder = agent.root / folder_of(location)
    folder.mkdir(parents=True)
    keys = {name: KeyName.parse(key) for name, key in (columns or {}).items()}
    table_id = secrets.token_hex(16)
    parts = [table] if split is None else [table.slice(i, split) for i in range(0, table.num_rows, split)]
    files = [
        file
        for part in parts
        for file in write_table(
            part.to_batches(), table.schema, folder, TableKeys(keyset, table_id, KeyName.parse(KEY), keys)
        )
    ]
    listing = Listing(
        table=table_id,
        owner="clinic",
        location=location,
        format=Format.TABLE,
        serial=1,
        key=KEY,
        columns=columns or {},
        files=tuple(sorted(files, key=lambda file: file.path)),
    )
    agent.grant(location, access=access, columns=columns, listing=listing)


PEOPLE = pa.table(
    {
        "id": list(range(1000)),
        "name": [f"Zoë {i}" for i in range(1000)],
        "ssn": [f"{i:09}" for i in range(1000)],
    }
)
STORES = ("s3a://bucket", "hdfs://namenode:8020/user")
TAMPERED = ("flip", "footer", "truncate", "swap", "repeat", "missing", "plain", "unlisted", "foreign", "old")


def _grants(agent: AgentStub, keyset: Keyset) -> None:
    for i in range(60):
        agent.grant(f"tables/{i}", columns={"ssn": COLUMN_KEY})
        agent.grant(f"uniform/{i}")
        agent.grant(f"files/{i}", kind=Format.FILES)
    for folder in VECTOR_FOLDERS:
        agent.grant(f"vectors/{folder}", kind=Format.FILES, table=folder)
    agent.grant("read/nothing", access=Access.READ)
    agent.grant(STREAM, kind=Format.STREAM, key=RECORDS["key"])
    agent.grant(READ_STREAM, kind=Format.STREAM, key=RECORDS["key"], access=Access.READ)
    write_python(agent, keyset, "read/uniform", PEOPLE)
    write_python(agent, keyset, "read/columns", PEOPLE, {"ssn": COLUMN_KEY})
    write_python(agent, keyset, "read/refused", PEOPLE, {"ssn": ABSENT_KEY})
    write_python(agent, keyset, "write/python", PEOPLE, {"ssn": COLUMN_KEY}, Access.WRITE)
    write_python(agent, keyset, "read/empty", PEOPLE.slice(0, 0))
    for store in STORES:
        write_python(agent, keyset, f"{store}/read", PEOPLE, split=500)
        agent.grant(f"{store}/table")
        agent.grant(f"{store}/files", kind=Format.FILES)
    agent.grant("s3a://elsewhere/table")
    write_python(agent, keyset, "claims/another", PEOPLE)
    claimed = agent.grants["claims/another"].listing
    assert claimed is not None
    agent.grant("claims/another", listing=claimed.model_copy(update={"table": secrets.token_hex(16)}))
    for name in TAMPERED:
        write_python(agent, keyset, f"tampered/{name}", PEOPLE, split=500)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Spark with the guard, for the whole session: it takes long to start."""
    folder = Path(tempfile.mkdtemp(prefix="cf-"))
    document = json.loads((VECTORS / "sealed.json").read_text())["keys"] | RECORDS["keys"]
    released = {name: ReleasedKey.model_validate(key) for name, key in document.items()}
    for name in (COLUMN_KEY, ABSENT_KEY):
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        released[name] = ReleasedKey(current=1, versions={"1": secret})
    keyset = Keyset({KeyName.parse(name): _named(name, key) for name, key in released.items()})
    agent = AgentStub(folder, {name: key for name, key in released.items() if name != ABSENT_KEY})
    _grants(agent, keyset)
    agent.start()
    world = World(agent, keyset)
    jar = spark_jar(tmp_path_factory.mktemp("jar"))
    builder = SparkSession.builder.appName("test")
    options = f"-Dconfide.agent={agent.path} -Djava.io.tmpdir={agent.scratch}"
    settings = SETTINGS | {
        "spark.driver.extraClassPath": str(jar),
        "spark.driver.extraJavaOptions": options,
        "spark.local.dir": str(agent.scratch / "local"),
        "spark.sql.warehouse.dir": f"file:{agent.scratch}/warehouse",
    }
    for name, value in settings.items():
        builder = builder.config(name, value)
    world.spark = builder.getOrCreate()
    world.spark.sparkContext.setLogLevel("OFF")
    world.enforced(True)  # in confide's own gateway, the plugin says so after comparing all settings
    yield world
    world.spark.stop()
    gateway = SparkContext._gateway
    if gateway is not None:
        gateway.shutdown()
        SparkContext._gateway = SparkContext._jvm = None
    agent.close()
    shutil.rmtree(folder, ignore_errors=True)


def _named(name: str, key: ReleasedKey) -> NamedKey:
    versions = {int(v): base64.b64decode(s) for v, s in key.versions.items()}
    return NamedKey(KeyName.parse(name), key.current, versions, frozenset(key.revoked))
