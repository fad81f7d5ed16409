"""A PyFlink program whose task managers run in enclaves of their own: its results, one that is killed, who is kept out.

Flink starts slowly, so one run does it all: the operator attacks, and kills a task manager, while the program goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

from confide.data.folders import decrypt_files
from confide.data.sealed import SealedWriter
from confide.enclave.build import Recipe, build_cached
from confide.enclave.image import Limits
from confide.enclave.profile import ImageProfile
from confide.errors import AttestationRefused, FileChanged, LaunchRefused, MeasurementRefused, NoGrant
from confide.flink.image_spec import image_profile

from ...mesh import tls_server
from ..cluster.attacks.swapped_program import state
from ..cluster.stage import Stage, address, altered, listener
from .test_flink import pulses, seal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.flink,
    pytest.mark.timeout(1500),  # several JVMs, on a busy machine
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="Flink has wheels for Python 3.11 and 3.12"),
]

EXAMPLES = Path(__file__).parents[3] / "examples"
MARK = "NEEDLE-4711"
NUMBERS = 1500
UNLISTED = 200
NAMES = pa.table({"id": list(range(50)), "name": [f"{MARK}-{i % 7}" for i in range(50)]})
PROGRAM = f'''
import os
import re
import time

import stream, table
from pyflink.common import Configuration, Encoder, Types, WatermarkStrategy
from pyflink.datastream import KeyedProcessFunction, MapFunction, StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSink, FileSource, StreamFormat
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.java_gateway import get_gateway
from pyflink.table import DataTypes, EnvironmentSettings, TableEnvironment
from pyflink.table.udf import udf


def environment(**settings):
    configuration = Configuration()
    for name, value in settings.items():
        configuration.set_string(name.replace("__", "-").replace("_", "."), value)
    return StreamExecutionEnvironment.get_execution_environment(configuration)


def numbers(env, last):
    return env.from_source(NumberSequenceSource(0, last), WatermarkStrategy.no_watermarks(), "numbers", Types.LONG())


def write(stream, location):
    stream.sink_to(FileSink.for_row_format(location, Encoder.simple_string_encoder()).build())


class Slowly(MapFunction):
    """Says of each number in which enclave it was seen: each has a scratch space of its own."""

    def map(self, value):
        time.sleep(0.01)
        return f"{{value}} {{os.stat('/scratch').st_dev}}"


def exactly_once():
    env = environment(
        execution_checkpointing_interval="300 ms",
        execution_checkpointing_dir="file:///work/state/once",
    )
    write(numbers(env, {NUMBERS - 1}).map(Slowly(), Types.STRING()), "out/once")
    env.execute()
    return env.get_parallelism()


class Counts(KeyedProcessFunction):
    def open(self, context):
        self.count = context.get_state(ValueStateDescriptor("count", Types.LONG()))

    def process_element(self, value, context):
        count = (self.count.value() or 0) + 1
        self.count.update(count)
        yield f"{{context.get_current_key()}} {{count}}"


def keyed():
    env = environment()
    counted = numbers(env, 999).key_by(lambda value: value % 7, Types.LONG()).process(Counts(), Types.STRING())
    write(counted, "out/keyed")
    env.execute()


def again():
    """What task managers committed, read by the job manager and by others of them."""
    env = environment()
    source = FileSource.for_record_stream_format(StreamFormat.text_line_format(), "out/keyed").build()
    lines = env.from_source(source, WatermarkStrategy.no_watermarks(), "keyed")
    write(lines.map(lambda line: line + "!", Types.STRING()), "out/again")
    env.execute()


def sql():
    @udf(result_type=DataTypes.STRING())
    def reversed_(text):
        return text[::-1]

    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    tables.create_temporary_function("reversed_", reversed_)
    for name, path, form in (("t", "data/names", "parquet"), ("r", "out/names", "csv")):
        tables.execute_sql(
            f"CREATE TABLE {{name}} (id BIGINT, name STRING)"
            f" WITH ('connector' = 'filesystem', 'path' = '{{path}}', 'format' = '{{form}}')"
        )
    tables.execute_sql("INSERT INTO r SELECT id, reversed_(name) FROM t WHERE id >= 10").wait()


def collected():
    return list(numbers(environment(), 9).execute_and_collect())


def with_settings(**settings):
    env = environment(**settings)
    write(numbers(env, 9).map(str, Types.STRING()), "out/keyed")
    env.execute()


def look():
    def seen(_):
        found = []
        for path in ("/work/data/names", "data/names"):
            try:
                found.append(os.listdir(path))
            except Exception as error:
                found.append(type(error).__name__)
        return str((found, "beam" in __import__("sys").modules))

    env = environment()
    write(numbers(env, 0).map(seen, Types.STRING()), "out/look")
    env.execute()


def unlisted():
    """Files of the state's location that this program did not write, one after the other."""
    jvm = get_gateway().jvm
    fs = jvm.org.apache.flink.core.fs.FileSystem.get(jvm.java.net.URI("file:///work"))
    read = b""
    for number in range({UNLISTED}):
        stored = fs.open(jvm.org.apache.flink.core.fs.Path(f"file:///work/state/other/{{number}}"))
        read += bytes([stored.read()])
        stored.close()
    return read == b"." * {UNLISTED}


def attacks_end():
    jvm = get_gateway().jvm
    fs = jvm.org.apache.flink.core.fs.FileSystem.get(jvm.java.net.URI("file:///work"))
    for _ in range(600):
        if fs.exists(jvm.org.apache.flink.core.fs.Path("file:///work/go")):
            return
        time.sleep(1)


PARTS = {{
    "once": exactly_once,
    "stream": stream.main,
    "keyed": keyed,
    "state among files": lambda: with_settings(execution_checkpointing_dir="file:///work/out/keyed"),
    "again": again,
    "sql": sql,
    "look": look,
    "collected": collected,
    "batch insert": table.main,
    "process mode": lambda: with_settings(python_execution__mode="process"),
    "no TLS": lambda: with_settings(security_ssl_internal_enabled="false"),
    "other trust": lambda: with_settings(security_ssl_internal_truststore="/scratch/mine.p12"),
    "REST for anybody": lambda: with_settings(security_ssl_rest_authentication__enabled="false"),
    "REST elsewhere": lambda: with_settings(rest_bind__address="0.0.0.0"),
    "other job manager": lambda: with_settings(jobmanager_rpc_address="192.0.2.1"),
    "remote": lambda: with_settings(execution_target="remote"),
    "unlisted": unlisted,
    "attacks": attacks_end,
}}
for name, part in PARTS.items():
    try:
        print("TAKEN", name, part(), flush=True)
    except Exception as error:
        from confide.jvm.explanation import explain

        text = explain(error) or " ".join([repr(error), *re.findall("Caused by: .*", str(error))[-1:]])
        print("SAID", name, text.replace(chr(10), " ")[:1500], flush=True)
'''


def jvms(site, main: str) -> list[psutil.Process]:
    """Return the JVMs of that class: they see storage elsewhere than where the agents see it that started them."""
    found = {}
    with contextlib.suppress(psutil.NoSuchProcess):
        for agent in site.processes():
            for process in psutil.Process(agent).children(recursive=True):
                words = process.cmdline()
                if words and words[0].endswith("/java") and f"confide.flink.{main}" in words:
                    found[process.pid] = process
    return list(found.values())


class Operator:
    """Attacks the job of a site as soon as it is open, then kills a task manager that has written a checkpoint."""

    def __init__(self, site, owner, profile) -> None:
        self.site, self.owner, self.profile = site, owner, profile
        self.found: dict[str, object] = {}
        self.thread = threading.Thread(target=self._run, daemon=True)

    def say(self, line: str) -> None:
        """Take what is told to the driver's log."""

    def _run(self) -> None:
        try:
            opened = self._wait(lambda: next((s for s in self.site.said if s["state"] == "opened"), None))
            self.stage = Stage(self.site, self.owner, self, opened)
            self._wait(lambda: self._metadata() and len(jvms(self.site, "TaskManager")) == 2)
            self.found["ports"] = self._ports(opened["driver"])
            os.kill(jvms(self.site, "TaskManager")[0].pid, signal.SIGKILL)
            self._wait(lambda: any(said.get("executor") == 3 for said in self.site.said))
            self.found["attacks"] = dict(self._attacks())
        except BaseException as error:
            self.found["failed"] = error
        finally:
            (self.site.data / "go").mkdir()

    def _wait(self, condition):
        deadline = time.monotonic() + 500
        while time.monotonic() < deadline:
            if result := condition():
                return result
            time.sleep(0.2)
        raise AssertionError("it did not happen")

    def _metadata(self) -> bool:
        return any((self.site.data / "state/once").glob("*/chk-*/_metadata"))

    def _ports(self, driver: str) -> dict[int, tuple[str, str]]:
        """Return, of every port that a JVM of the job listens on, what it tells who has no certificate."""
        ports = set()
        for jvm in [*jvms(self.site, "TaskManager"), *jvms(self.site, "Gateway")]:
            ports |= {each.laddr for each in jvm.net_connections("tcp") if each.status == psutil.CONN_LISTEN}
        assert address(driver) in {tuple(each) for each in ports}, ports
        return {each.port: (plain(each), without_certificate(each)) for each in ports}

    def _attacks(self):
        stage = self.stage
        yield "another program", stage.attempt(stage.request("201", image=self._other_image()))
        for index, inside in enumerate(("app/job.py", "opt/confide/flink/confide.jar")):
            original = (self.site.executor_folder / "root" / inside).read_bytes()
            content = original[:-1] + bytes([original[-1] ^ 1])
            folder = altered(self.site.executor_folder, self.site.root / f"swapped-{index}", inside, content)
            yield f"changed {inside}", stage.attempt(stage.request(f"30{index}", image=folder))
            state(folder, inside, content)
            yield f"stated {inside}", stage.attempt(stage.request(f"31{index}", image=folder))
        yield "twice", stage.attempt(stage.request("2"))
        yield "flags", stage.attempt(stage.request("401", java_options="-agentlib:jdwp=transport=dt_socket"))
        other = stage.another_job()

        def another_job(connection) -> None:
            with contextlib.suppress(OSError):
                tls_server(other, mutual=False).wrap_socket(connection, server_side=True).close()

        with listener(another_job) as elsewhere:
            yield "false driver", stage.attempt(stage.request("501", driver=elsewhere))
        context = other.tls_client()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        yield "other job", handshake(context, address(stage.job["driver"]))

    def _other_image(self) -> Path:
        (self.site.root / "app/other.py").write_text("print('another program')\n")
        pinned = {name: served.ca for name, served in self.site.brokers.items()}
        recipe = Recipe(self.site.root / "app/other.py", self.profile, "job", pinned, role="executor")
        return build_cached(recipe, self.site.cache)[0]


def plain(where) -> str:
    """Return what a port answers to HTTP in clear."""
    with socket.create_connection(tuple(where), 30) as connection:
        connection.settimeout(5)
        try:
            connection.sendall(b"GET /jobs/overview HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return connection.recv(65536).decode(errors="backslashreplace")
        except OSError as error:
            return type(error).__name__


def without_certificate(where) -> str:
    """Return what a port answers to a TLS client that has no certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return handshake(context, tuple(where))


def handshake(context: ssl.SSLContext, where: tuple[str, int]) -> str:
    try:
        with socket.create_connection(where, 30) as plain, context.wrap_socket(plain) as tls:
            tls.settimeout(30)
            tls.sendall(b"GET /jobs/overview HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return repr(tls.recv(65536))
    except OSError as error:
        return str(error)


@pytest.fixture(scope="module")
def small_flink(cache) -> ImageProfile:
    profile = image_profile(cache)
    return ImageProfile(**{**vars(profile), "limits": Limits(memory_mib=1536, scratch_mib=256, cores=1)})


class Ran:
    def __init__(self, site, owner, operator, folder) -> None:
        self.site, self.owner, self.operator, self.folder = site, owner, operator, folder
        self.logs = site.logs(owner)
        self.log = next(log for log in self.logs if "TAKEN" in log or "SAID" in log)

    def line(self, part: str) -> str:
        return next(
            line for line in self.log.splitlines() if line.startswith((f"TAKEN {part} ", f"SAID {part} "))
        )

    def lines(self, location: str) -> list[str]:
        """Return the lines of what lies at a location, which must be what its listing says."""
        stored = self.owner.store.listing_at("clinic", location)
        target = self.folder / location.replace("/", "-")
        decrypt_files(self.site.data / location, stored.listing, self.owner.keyset, target)
        return [
            line for path in target.rglob("*") if path.is_file() for line in path.read_text().splitlines()
        ]


def seal_unlisted(owner, folder: Path) -> None:
    """Write what an earlier run's checkpoints would be: sealed for their location, and in no listing."""
    folder.mkdir(parents=True)
    table = hashlib.sha256(b"confide/v1/folder\0clinic\0state").hexdigest()[:32]
    for number in range(UNLISTED):
        with (
            (folder / str(number)).open("wb") as file,
            SealedWriter(file, owner.keyset, owner.key, table) as out,
        ):
            out.write(b".")


@pytest.fixture(scope="module")
def ran(site, new_owner, small_flink, tmp_path_factory) -> Ran:
    owner = new_owner("clinic", site.broker("local"), site.root)
    source = tmp_path_factory.mktemp("pulses")
    pulses().to_csv(source / "a.csv", header=False, index=False)
    seal(owner, site, source, "data/pulses")
    owner.encrypt(NAMES, site.data, "data/names")
    seal_unlisted(owner, site.data / "state/other")
    for name in ("stream", "table"):
        (example,) = EXAMPLES.glob(f"*_flink_{name}.py")
        (site.root / f"app/{name}.py").write_bytes(example.read_bytes())
    driver, executor = site.build(PROGRAM, small_flink), site.build_executor(PROGRAM, small_flink)
    written = ["once", "minutes", "alarms", "keyed", "again", "names", "look", "hours", "scaled"]
    owner.allow(
        driver,
        ("data/names", "read"),
        logs="clinic/data",
        files=[*(f"out/{name}" for name in written), "state", "go"],
        read_files=["data/pulses"],
        executor=executor,
    )
    operator = Operator(site, owner, small_flink)
    operator.thread.start()
    code = site.run_job()
    operator.thread.join(60)
    logs = "\n".join(site.logs(owner))
    assert code == 0, logs
    assert "failed" not in operator.found, (operator.found, logs)
    return Ran(site, owner, operator, tmp_path_factory.mktemp("clear"))


def test_the_stream_example_as_on_a_mini_cluster(ran):
    assert ran.line("stream").startswith("TAKEN"), ran.line("stream")
    frame = pulses()
    highest = frame.assign(minute=frame["second"] // 60).groupby(["minute", "patient"])["pulse"].max()
    expected = {f"{minute},{patient},{pulse}" for (minute, patient), pulse in highest.items()}
    assert sorted(ran.lines("out/minutes")) == sorted(expected)
    high = frame[frame["pulse"] > 140].copy()
    high["count"] = high.groupby("patient").cumcount() + 1
    alarms = high[high["count"] >= 3][["second", "patient", "count"]]
    expected = [f"{second},{patient},{count}" for second, patient, count in alarms.itertuples(index=False)]
    assert sorted(ran.lines("out/alarms")) == sorted(expected)


def test_each_number_once_though_a_task_manager_was_killed(ran):
    assert ran.line("once") == "TAKEN once 2"
    found = [line.split() for line in ran.lines("out/once")]
    assert sorted(int(number) for number, _ in found) == list(range(NUMBERS))
    assert len({enclave for _, enclave in found}) >= 2
    assert any(said.get("executor") == 3 and said["state"] == "started" for said in ran.site.said)


def test_keyed_state_spreads_and_its_results_are_read_again(ran):
    assert ran.line("keyed").startswith("TAKEN"), ran.line("keyed")
    expected = sorted(f"{key} {i + 1}" for key in range(7) for i in range(len(range(key, 1000, 7))))
    assert sorted(ran.lines("out/keyed")) == expected
    assert ran.line("again").startswith("TAKEN"), ran.line("again")
    assert sorted(ran.lines("out/again")) == sorted(f"{line}!" for line in expected)


def test_sql_reads_an_encrypted_table_and_calls_python(ran):
    assert ran.line("sql").startswith("TAKEN"), ran.line("sql")
    names = NAMES.to_pandas().query("id >= 10")
    expected = [f"{row.id},{row.name[::-1]}" for row in names.itertuples(index=False)]
    assert sorted(ran.lines("out/names")) == sorted(expected)


def test_a_function_sees_no_storage_and_there_is_no_process_mode(ran):
    assert ran.lines("out/look") == ["(['FileNotFoundError', 'FileNotFoundError'], False)"]


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("collected", "LaunchRefused: collecting results .* without TLS over a network"),
        ("batch insert", "LaunchRefused: the sink .* has the job manager give their names to files"),
        (
            "state among files",
            "LaunchRefused: execution.checkpointing.dir=file:///work/out/keyed: committed files",
        ),
        ("process mode", "LaunchRefused: python.execution-mode=process would weaken the protection"),
        ("no TLS", "LaunchRefused: security.ssl.internal.enabled=false would weaken the protection"),
        ("other trust", "LaunchRefused: security.ssl.internal.truststore=.* would weaken the protection"),
        ("REST for anybody", "LaunchRefused: security.ssl.rest.authentication-enabled=false would weaken"),
        ("REST elsewhere", "LaunchRefused: rest.bind-address=0.0.0.0 would weaken the protection"),
        ("other job manager", "LaunchRefused: jobmanager.rpc.address=192.0.2.1 would weaken"),
        ("remote", "LaunchRefused: execution.target=remote would weaken the protection"),
    ],
)
def test_refused_with_the_reason(ran, part, said):
    assert ran.line(part).startswith("SAID")
    assert re.search(said, ran.line(part)), ran.line(part)


@pytest.mark.parametrize(
    ("attack", "kind", "said"),
    [
        ("another program", MeasurementRefused, ""),
        ("changed app/job.py", FileChanged, "app/job.py"),
        ("stated app/job.py", MeasurementRefused, ""),
        ("changed opt/confide/flink/confide.jar", FileChanged, "confide.jar"),
        ("stated opt/confide/flink/confide.jar", MeasurementRefused, ""),
        ("twice", NoGrant, ""),
        ("flags", LaunchRefused, "java_options"),
        ("false driver", AttestationRefused, "no driver of this job"),
    ],
)
def test_the_operator_gets_no_task_manager_in(ran, attack, kind, said):
    error = ran.operator.found["attacks"][attack]
    assert isinstance(error, kind), error
    assert said in str(error)


def test_a_certificate_of_another_job_opens_nothing(ran):
    assert re.search("(?i)alert", ran.operator.found["attacks"]["other job"])


def test_no_port_answers_who_has_no_certificate(ran):
    ports = ran.operator.found["ports"]
    assert (
        len(ports) >= 8
    )  # of the driver RPC, metrics, blobs, REST, gateway; of a task manager RPC, metrics, data
    for port, (clear, without) in ports.items():
        assert "HTTP" not in clear or clear.startswith("HTTP/1.1 301 "), (port, clear)  # REST says: by https
        assert re.search("(?i)bad certificate|certificate required", without), (port, without)


def test_each_member_received_keys_of_its_own(ran):
    entries = ran.owner.store.audit.entries
    assert {entry.fields["role"] for entry in entries(kind="release")} == {"driver", "executor"}
    assert len(entries(kind="mesh-certificate")) >= 4


def test_files_in_no_listing_are_not_a_release_each(ran):
    assert ran.line("unlisted") == "TAKEN unlisted True"
    releases = [entry.fields["role"] for entry in ran.owner.store.audit.entries(kind="release")]
    assert releases.count("driver") < UNLISTED


def test_storage_holds_nothing_in_clear_and_nothing_runs_any_more(ran):
    assert ran.site.gone()
    sealed = 0
    for path in ran.site.data.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert MARK.encode() not in data, path
            assert data.startswith((b"CONFIDE", b"PARE")), path
            sealed += 1
    assert sealed > 10
