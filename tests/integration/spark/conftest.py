"""A real JVM, gateway and driver, run by the profile itself; only the enclave around them is missing."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyspark
import pytest

import confide.spark
from confide.attestation.evidence import StatedImage
from confide.broker.release import Release
from confide.enclave.agent_socket import AgentSocket
from confide.enclave.attester import OwnEvidence
from confide.enclave.image import Image, Limits
from confide.enclave.profile import Context
from confide.spark.engine import installed
from confide.spark.image_spec import last_jar, spark_jar
from confide.spark.installation import Installation
from confide.spark.profile import SparkProfile

LOG_CONFIG = Path(confide.spark.__file__).with_name("log4j2.properties")
JARS = Path(pyspark.__file__).parent / "jars"
if not installed().unix_sockets:
    collect_ignore = ["servers.py", "test_connect.py", "test_sql_server.py"]  # it has no servers


@dataclass(frozen=True)
class Ran:
    """Exit code and everything that was printed."""

    code: int
    output: str


@pytest.fixture(scope="session")
def jar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our jar, built from this tree."""
    return spark_jar(tmp_path_factory.mktemp("jar"))


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a name short enough for Unix sockets."""
    with tempfile.TemporaryDirectory(prefix="cf-") as folder:
        yield Path(folder)


def _no_commit(*_: object) -> object:
    raise AssertionError("nothing is committed here")


@pytest.fixture
def make_context(short_path: Path) -> Iterator[Callable[..., Context]]:
    """Make the context of a program, with a live agent socket."""
    with contexts(short_path) as make:
        yield make


@contextlib.contextmanager
def contexts(short_path: Path) -> Iterator[Callable[..., Context]]:
    """Yield what makes the context of a program in a folder, with a live agent socket."""
    sockets: list[AgentSocket] = []

    def make(program: str, *arguments: str, output: int = 1) -> Context:
        (short_path / "job.py").write_text(program)
        for name in ("work", "scratch", "run"):
            (short_path / name).mkdir(mode=0o700)
        image = Image.model_construct(
            program=str(short_path / "job.py"),
            env={"PYTHONPATH": os.environ.get("PYTHONPATH", "")},
            limits=Limits(memory_mib=1600, scratch_mib=512, cores=2),
        )
        release = Release(workload="test", owners=("clinic",), keys={}, grants=(), expires=2**40)
        socket = short_path / "run" / "agent.sock"
        secrets: dict[str, object] = {}
        scratch = short_path / "scratch"
        sockets.append(
            AgentSocket(socket, release, str(short_path / "work"), str(scratch), secrets, _no_commit)
        )
        return Context(
            image=image,
            launch={},
            arguments=arguments,
            release=release,
            work=short_path / "work",
            scratch=scratch,
            socket=socket,
            output=output,
            secrets=secrets,
            commit=_no_commit,
            started=lambda: None,
            mesh=_no_commit,
            tell=lambda *_, **__: None,
            evidence=OwnEvidence("simulated", StatedImage(measurement="ab" * 32, role="driver", svn=0), dict),
            renew=lambda: release,
        )

    yield make
    for socket in sockets:
        socket.close()


@pytest.fixture(scope="module")
def module_context() -> Iterator[tuple[Callable[..., Context], Path]]:
    """Make the context of a program that a whole module uses, in this folder."""
    with tempfile.TemporaryDirectory(prefix="cf-") as folder, contexts(Path(folder)) as make:
        yield make, Path(folder)


@pytest.fixture(scope="session")
def profile(jar: Path, tmp_path_factory: pytest.TempPathFactory) -> SparkProfile:
    """The profile, without a sandbox around Python."""
    java = Path(shutil.which("java") or "java")
    last = last_jar(tmp_path_factory.mktemp("last"))
    installation = Installation(java, Path(sys.executable), JARS, jar, last, LOG_CONFIG, engine=installed())
    return SparkProfile(installation, lambda *_: ())


@pytest.fixture
def run(profile: SparkProfile, make_context: Callable[..., Context], short_path: Path) -> Callable[..., Ran]:
    """Run a program through the profile."""

    def run(program: str, *arguments: str) -> Ran:
        log = short_path / "log"
        with log.open("wb") as output:
            code = profile.run(make_context(program, *arguments, output=output.fileno()))
        return Ran(code, log.read_text())

    return run
