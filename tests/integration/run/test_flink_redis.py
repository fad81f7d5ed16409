"""Streams of sealed records in a real Redis (TLS 1.3, ACL) as sources and sinks of Flink; the Redis is not trusted.

Flink starts slowly, so one run does most of it: the program goes from one part to the next and says what came of each.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.redis_server import redis_server

from confide.broker.ca import CertificateAuthority
from confide.broker.listing_signing import sign_listing
from confide.data.folders import encrypt_files
from confide.data.records import RecordSealer
from confide.data.streams import StreamWriter, read_stream
from confide.enclave.image import Limits
from confide.enclave.profile import ImageProfile
from confide.errors import Unavailable
from confide.flink.image_spec import image_profile

from .test_flink_workers import jvms

pytestmark = [
    pytest.mark.slow,
    pytest.mark.flink,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="Flink has wheels for Python 3.11 and 3.12"),
]

MARK = "NEEDLE-4711"
PASSWORD = "a-password-of-the-stream"
USER = "~* +xread +xrevrange +eval +xadd +hget +hset"
"""What docs/how-to/flink.md says that a user needs, for all streams."""
ROWS = [{"patient": f"{MARK}-{n % 3}", "rate": 40 + n} for n in range(700)]
NUMBERS = 2000
FILLING = "x" * 4000
"""Few rows fit between two tasks of Flink, so a checkpoint does not wait until all have been worked on."""
PROGRAM = """
# /// script
# [tool.confide]
# args = ["all|spread|killed", "[0-9]+", "[0-9]+", "new|state/killed/[0-9a-f]{32}/chk-[0-9]+"]
# ///
import re, socket, sys, time
from pathlib import Path

from pyflink.common import Configuration
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
from pyflink.table.udf import udf

part, port, plain_port, checkpoint = sys.argv[1:5]
PULSES = "patient STRING, rate INT"


def environment(**settings):
    configuration = Configuration()
    for name, value in settings.items():
        configuration.set_string(name.replace("__", "-").replace("_", "."), value)
    configuration.set_string("parallelism.default", "2")
    return TableEnvironment.create(
        EnvironmentSettings.new_instance().in_streaming_mode().with_configuration(configuration).build()
    )


def declare(tables, name, columns=PULSES, *, at=None, **options):
    given = {
        "connector": "confide-redis",
        "stream": at or f"rediss://localhost:{port}/{name}",
        "ca": "/app/ca.pem",
        "username": "flink",
        "password-file": "secrets/redis/password",
        "format": "json",
    }
    given |= {key.replace("__", "-").replace("_", "."): value for key, value in options.items()}
    said = ", ".join(f"'{key}' = '{value}'" for key, value in given.items() if value)
    tables.execute_sql(f"CREATE TABLE `{name}` ({columns}) WITH ({said})")


def now(tables, name, **options):
    declare(tables, name, **{"scan_bounded_mode": "latest-offset", **options})


def rows(tables, query):
    with tables.execute_sql(query).collect() as found:
        return sorted(tuple(row) for row in found)


def read(name="pulses", **options):
    tables = environment()
    now(tables, name, **options)
    return len(rows(tables, f"SELECT * FROM `{name}`"))


def both():
    tables = environment()
    now(tables, "pulses")
    declare(tables, "highest")
    declare(tables, "back", scan_bounded_mode="latest-offset", at=f"rediss://localhost:{port}/highest")
    tables.execute_sql("INSERT INTO highest SELECT patient, rate FROM pulses WHERE rate >= 700").wait()
    found = rows(tables, "SELECT * FROM back")
    return len(found), max(rate for _, rate in found)


@udf(result_type=DataTypes.INT())
def fails_once(n):
    time.sleep(0.002)
    failed = Path("/scratch/failed")
    if n == 1500 and not failed.exists():
        failed.touch()
        raise RuntimeError("as a machine fails")
    return n


@udf(result_type=DataTypes.INT())
def slow(n):
    time.sleep(0.01)
    return n


def copy(function, state, **settings):
    tables = environment(
        execution_checkpointing_interval="200 ms",
        execution_checkpointing_dir=f"file:///work/state/{state}",
        restart__strategy_type="fixed-delay",
        restart__strategy_fixed__delay_delay="100 ms",
        **settings,
    )
    tables.create_temporary_function("f", function)
    now(tables, "numbers", columns="n INT, filling STRING")
    declare(tables, state, "n INT")
    tables.execute_sql(f"INSERT INTO `{state}` SELECT f(n) FROM numbers").wait()


def exactly_once():
    copy(fails_once, "once")
    return Path("/scratch/failed").exists()


def spread():
    copy(slow, "spread", restart__strategy_fixed__delay_attempts="100")


def killed():
    settings = {"execution_checkpointing_externalized__checkpoint__retention": "RETAIN_ON_CANCELLATION"}
    if checkpoint != "new":
        settings["execution_state__recovery_path"] = f"file:///work/{checkpoint}"
    copy(slow, "killed", **settings)


def write(name, **options):
    tables = environment()
    declare(tables, name, **options)
    tables.execute_sql(f"INSERT INTO `{name}` VALUES ('x', 1)").wait()


def elsewhere():
    said = []
    for asked in (f"localhost:{plain_port}0", "localhost:x", "-", ""):
        with socket.socket(socket.AF_UNIX) as way:
            way.connect("/run/confide/outside.sock")
            way.sendall(f"{asked}\\n".encode())
            said.append("NoGrant" in way.makefile().readline())
    with socket.socket() as direct:
        direct.settimeout(5)
        said.append(direct.connect_ex(("127.0.0.1", int(port))) != 0)
    return said


PARTS = {
    "count": read,
    "both": both,
    "exactly once": exactly_once,
    "lost": lambda: copy(fails_once, "lost"),
    "elsewhere": elsewhere,
    "read with the right to write": lambda: read("highest"),
    "whole of a trimmed one": lambda: read("trimmed"),
    "trimmed": lambda: read("trimmed", scan_startup_mode="trimmed"),
    "from now on": lambda: read("pulses", scan_startup_mode="latest-offset"),
    "empty": lambda: read("empty"),
    **{name: lambda name=name: read(name) for name in ("changed", "swapped", "repeated")},
    **{name: lambda name=name: read(name) for name in ("reordered", "dropped", "plain")},
    "other authority": lambda: read(ca="/app/other.pem"),
    "other name": lambda: read(at=f"rediss://127.0.0.1:{port}/elsewhere"),
    "no TLS there": lambda: read(at=f"rediss://localhost:{plain_port}/clear"),
    "no TLS asked": lambda: read(at=f"redis://localhost:{plain_port}/pulses"),
    "authority of the storage": lambda: read(ca="/work/ca.pem"),
    "authority by a detour": lambda: read(ca="/app/../work/ca.pem"),
    "no password": lambda: read(username=None, password__file=None),
    "other user": lambda: read(username="nobody"),
    "not granted": lambda: read("others"),
    "only to read": lambda: write("pulses"),
    "no such mode": lambda: read(scan_startup_mode="somewhere"),
}


def attempt(name, part):
    try:
        print("TAKEN", name, part(), flush=True)
    except Exception as error:
        from confide.jvm.explanation import explain

        causes = re.findall("Caused by: (.*)", str(error))
        text = explain(error) or " ".join([repr(error).splitlines()[0][:200], *causes])
        print("SAID", name, text.replace(chr(10), " ")[-1500:], flush=True)


for name, each in (PARTS if part == "all" else {part: globals()[part]}).items():
    attempt(name, each)
"""


@pytest.fixture(scope="module")
def redis(tmp_path_factory):
    with redis_server(tmp_path_factory.mktemp("redis") / "server") as server:
        with server.operator() as client:
            client.execute_command("ACL", "SETUSER", "flink", "on", f">{PASSWORD}", *USER.split())
            client.execute_command("ACL", "SAVE")
        yield server


@pytest.fixture(scope="module")
def plain_port():
    """A Redis without TLS."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", "/tmp"],
        stdout=subprocess.DEVNULL,
    )
    yield port
    process.kill()
    process.wait()


def add(client, stream, *entries):
    for entry in entries:
        client.xadd(stream, {"record": entry})


def fill(client, owner):
    """Put in what the owner's own programs would, and what an operator makes of it."""

    def writer(stream):
        return StreamWriter(client, stream, owner.keyset, owner.key)

    writer("pulses").send([json.dumps(row).encode() for row in ROWS])
    writer("numbers").send([json.dumps({"n": n, "filling": FILLING}).encode() for n in range(NUMBERS)])
    row = json.dumps(ROWS[0]).encode()

    def sealed(stream):
        sealer = RecordSealer(owner.keyset, owner.key, stream)
        return [sealer.seal(row) for _ in range(3)]

    first, second, third = sealed("changed")
    add(client, "changed", first, second[:-1] + bytes([second[-1] ^ 1]), third)
    first, second, third = sealed("repeated")
    add(client, "repeated", first, second, second, third)
    first, second, third = sealed("reordered")
    add(client, "reordered", first, third, second)
    first, second, third = sealed("dropped")
    add(client, "dropped", first, third)
    add(client, "trimmed", *sealed("trimmed")[1:])
    add(client, "swapped", *sealed("changed"))
    client.xadd("plain", {"record": row})


GRANTED = {
    **dict.fromkeys(
        (
            "pulses",
            "numbers",
            "trimmed",
            "empty",
            "changed",
            "swapped",
            "repeated",
            "reordered",
            "dropped",
            "plain",
        ),
        "read",
    ),
    **dict.fromkeys(("highest", "once", "lost", "spread", "killed"), "write"),
}


class Clinic:
    """The owner, the Redis, and the runs of the program."""

    def __init__(self, site, owner, redis, plain_port) -> None:
        self.site, self.owner, self.redis, self.plain_port = site, owner, redis, plain_port

    def arguments(self, part: str, checkpoint: str = "new") -> list[str]:
        return [part, str(self.redis.port), str(self.plain_port), checkpoint]

    def rows(self, stream: str) -> list[dict]:
        with self.redis.operator() as client:
            return [
                json.loads(row)
                for _, row, _ in read_stream(client, stream, self.owner.keyset, self.owner.key)
            ]


@pytest.fixture(scope="module")
def clinic(site, new_owner, cache, redis, plain_port, tmp_path_factory):
    owner = new_owner("clinic", site.broker("local"), site.root)
    secret = tmp_path_factory.mktemp("secret") / "password"
    secret.write_text(PASSWORD + "\n")
    (site.data / "secrets").mkdir()
    listing = encrypt_files(
        secret, site.data / "secrets/redis", owner.keyset, owner.key, location="secrets/redis"
    )
    owner.store.commit_listing(listing, sign_listing(listing, owner._signing_key, owner.name), 0)
    (site.root / "app/ca.pem").write_bytes(redis.authority.certificate_pem)
    (site.data / "ca.pem").write_bytes(redis.authority.certificate_pem)
    (site.root / "app/other.pem").write_bytes(CertificateAuthority.create(int(time.time())).certificate_pem)
    profile = image_profile(cache)
    small = ImageProfile(**{**vars(profile), "limits": Limits(memory_mib=1536, scratch_mib=256, cores=2)})
    included = (Path("ca.pem"), Path("other.pem"))
    image = site.build(PROGRAM, small, includes=included)
    executor = site.build_executor(PROGRAM, small, includes=included)
    with redis.operator() as client:
        fill(client, owner)
    streams = [(f"rediss://localhost:{redis.port}/{name}", access) for name, access in GRANTED.items()]
    streams.append((f"rediss://127.0.0.1:{redis.port}/elsewhere", "read"))
    streams.append((f"rediss://localhost:{plain_port}/clear", "read"))
    owner.allow(
        image,
        logs="clinic/data",
        files=["state"],
        read_files=["secrets/redis"],
        streams=streams,
        executor=executor,
    )
    return Clinic(site, owner, redis, plain_port)


class Forgets(threading.Thread):
    """Makes the Redis forget, again and again, how far the producers of a stream were."""

    def __init__(self, redis, stream: str) -> None:
        super().__init__(daemon=True)
        self.redis, self.stream, self.over = redis, stream, threading.Event()

    def run(self) -> None:
        with self.redis.operator() as client:
            while not self.over.wait(0.05):
                client.delete(f"{{{self.stream}}}:producers")

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


@pytest.fixture(scope="module")
def log(clinic):
    with Forgets(clinic.redis, "lost"):
        code = clinic.site.run(*clinic.arguments("all"))
    log = clinic.site.log(clinic.owner)
    assert code == 0, log[-6000:]
    return log


def line(log: str, part: str) -> str:
    found = [each for each in log.splitlines() if re.match(f"(TAKEN|SAID) {part} ", each)]
    assert len(found) == 1, log[-6000:]
    return found[0]


def test_rows_that_python_sealed_are_read(log):
    assert line(log, "count") == f"TAKEN count {len(ROWS)}"


def test_rows_that_flink_sealed_are_read_by_flink_and_by_python(clinic, log):
    high = [row for row in ROWS if row["rate"] >= 700]
    assert line(log, "both") == f"TAKEN both ({len(high)}, {high[-1]['rate']})"
    by_rate = sorted(clinic.rows("highest"), key=lambda row: row["rate"])
    assert by_rate == high


def test_a_job_that_fails_and_restarts_writes_each_row_once(clinic, log):
    assert line(log, "exactly once") == "TAKEN exactly once True"
    assert sorted(row["n"] for row in clinic.rows("once")) == list(range(NUMBERS))


def test_a_redis_that_forgets_is_found_out(log):
    assert line(log, "lost").startswith("SAID")
    assert re.search("Tampered: the Redis has lost records of rediss://[^ ]*/lost: GAP", line(log, "lost"))


def test_the_sandbox_reaches_granted_addresses_and_no_other(log):
    assert line(log, "elsewhere") == "TAKEN elsewhere [True, True, True, True, True]"


def test_where_reading_begins(log):
    assert "records are missing: number 2 of producer" in line(log, "whole of a trimmed one")
    assert line(log, "trimmed") == "TAKEN trimmed 2"
    assert line(log, "from now on") == "TAKEN from now on 0"
    assert line(log, "empty") == "TAKEN empty 0"


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        ("changed", "Tampered: sealed record does not authenticate"),
        ("swapped", "Tampered: wrapped key does not authenticate"),
        ("repeated", "Tampered: a record was repeated, or is out of order: number 2 of producer"),
        ("reordered", "Tampered: records are missing: number 3 of producer"),
        ("dropped", "Tampered: records are missing: number 3 of producer"),
        ("plain", "NotEncrypted: not a sealed record"),
        ("other authority", "PKIX path"),
        ("other name", "127.0.0.1"),
        ("no TLS there", "SSL"),
        ("no TLS asked", "LaunchRefused: stream=redis://localhost"),
        ("authority of the storage", "LaunchRefused: ca=/work/ca.pem would weaken the protection"),
        ("authority by a detour", "LaunchRefused: ca=/app/../work/ca.pem would weaken the protection"),
        ("no password", "NOAUTH"),
        ("other user", "WRONGPASS"),
        ("not granted", "NoGrant: no grant for the stream rediss://localhost"),
        ("only to read", "is to read, not to write"),
        ("no such mode", "scan.startup.mode is earliest-offset, trimmed or latest-offset"),
    ],
)
def test_what_is_refused(log, part, reason):
    said = line(log, part)
    assert said.startswith("SAID")
    assert reason in said


def test_neither_redis_nor_storage_sees_a_row_or_the_password(clinic, log):
    assert PASSWORD not in log
    files = [
        path
        for folder in (clinic.redis.folder, clinic.site.data)
        for path in folder.rglob("*")
        if path.is_file()
    ]
    appended = b"".join(path.read_bytes() for path in files)
    assert b"CONFIDR" in appended
    assert MARK.encode() in json.dumps(ROWS).encode()
    for secret in (b"patient", PASSWORD.encode()):
        assert secret not in appended.replace(
            json.dumps(ROWS[0]).encode(), b""
        )  # which an operator put into `plain`


class Meanwhile:
    """Does something to a run once its sink's stream has so many records."""

    def __init__(self, clinic, stream: str, *steps) -> None:
        self.clinic, self.stream, self.steps = clinic, stream, steps
        self.reached: list[int] = []
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            for number, step in enumerate(self.steps, 1):
                self._wait(number * NUMBERS // (len(self.steps) + 1))
                step()
        except BaseException as error:
            self.failure = error

    def _wait(self, records: int) -> None:
        deadline = time.monotonic() + 500
        while time.monotonic() < deadline:
            with self.clinic.redis.operator() as client:
                found = client.xlen(self.stream)
            if found >= records:
                self.reached.append(found)
                return
            time.sleep(0.05)
        raise AssertionError(f"{records} records are not reached")

    def __enter__(self) -> Meanwhile:
        self.thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.thread.join(0 if any(error) else 60)


@pytest.mark.slow
def test_a_task_manager_and_a_redis_that_are_killed_lose_and_repeat_nothing(clinic):
    def kill_one() -> None:
        os.kill(jvms(clinic.site, "TaskManager")[0].pid, signal.SIGKILL)

    def kill_redis() -> None:
        clinic.redis.kill()
        clinic.redis.start()

    with Meanwhile(clinic, "spread", kill_one, kill_redis) as meanwhile:
        code = clinic.site.run_job(*clinic.arguments("spread"))
    logs = "\n".join(clinic.site.logs(clinic.owner))
    assert code == 0, logs[-6000:]
    assert meanwhile.failure is None, logs[-6000:]
    assert "TAKEN spread None" in logs, logs[-6000:]
    assert len(meanwhile.reached) == 2
    assert meanwhile.reached[-1] < NUMBERS
    assert sum(said.get("state") == "started" and "executor" in said for said in clinic.site.said) == 3
    assert sorted(row["n"] for row in clinic.rows("spread")) == list(range(NUMBERS))


@pytest.mark.slow
def test_a_killed_run_that_is_started_again_writes_each_row_once(clinic):
    def kill_all() -> None:
        for process in clinic.site.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    with (
        Meanwhile(clinic, "killed", kill_all) as meanwhile,
        pytest.raises(Unavailable, match="before it finished"),
    ):
        clinic.site.run(*clinic.arguments("killed"))
    assert meanwhile.failure is None
    assert clinic.site.gone()
    assert 0 < len(clinic.rows("killed")) < NUMBERS
    complete = [path.parent for path in (clinic.site.data / "state/killed").rglob("_metadata")]
    newest = max(complete, key=lambda path: int(path.name.removeprefix("chk-")))
    checkpoint = str(newest.relative_to(clinic.site.data))
    assert clinic.site.run(*clinic.arguments("killed", checkpoint)) == 0
    assert line(clinic.site.log(clinic.owner), "killed") == "TAKEN killed None"
    assert sorted(row["n"] for row in clinic.rows("killed")) == list(range(NUMBERS))
