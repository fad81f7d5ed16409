"""Where the parts of Spark lie inside the enclave, and what driver and executor make of them alike."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from confide.enclave import group_key, program_socket
from confide.enclave.enclave_needs import enclave_cores
from confide.enclave.image import JARS, WORK, Image
from confide.enclave.libos import GRAMINE, inside_libos
from confide.enclave.profile import Context
from confide.enclave.streamed import declared
from confide.enclave.workload_sandbox import sandbox_prefix
from confide.jvm.command import heap_mib
from confide.spark import jvm
from confide.spark.engine import SPARK, Engine
from confide.spark.worker import WORKERS, write_launcher

LOCAL, SOCKETS = "local", "sockets"
FILES = f"{LOCAL}/files"
"""Where an executor puts files that the program hands round (`addFile`, `addPyFile`): Spark's executors take their
working directory for that, and tell it to Python workers as `.`, so it is that of both."""
OWN_WORK = "work"
"""What a JVM finds at `/work` whose storage lies elsewhere: it may write there, and it is gone after the run."""
FOLDERS = ("tmp", SOCKETS, LOCAL, FILES, "hadoop", "warehouse", "derby", WORKERS, OWN_WORK)
CLASS = "class"
"""Setting of an image: the class whose `main` is the program, of its jars."""
LAUNCHER = "worker-python"
"""Beside the agent's socket, where its workers see it not: what Spark starts for the program's functions. At the same
place in driver and executors."""

Sandbox = Callable[[bool, Mapping[str, Path]], Sequence[str]]
"""Returns what to put before the argv of a Python process, which runs the user's code. The first argument says whether
that is the driver's program, which has the JVM do what it likes and may reach the agent's socket, or functions of it;
the other one what it sees of storage, as `streamed_folders` returns it."""


@dataclass(frozen=True)
class Installation:
    """Where the parts lie inside the enclave.

    Attributes:
        java: the `java` program.
        python: the interpreter.
        jars: Spark's jars.
        jar: our jar.
        last_jar: our services that must come last.
        log_config: log4j2's configuration.
        archive: of classes; need not exist.
        storage: where the data root lies for the JVM; None: where it lies for the agent.
        packages: of Python, whose jars are the program's; None: none are.
        engine: which Spark these are.
    """

    java: Path
    python: Path
    jars: Path
    jar: Path
    last_jar: Path
    log_config: Path
    archive: Path | None = None
    storage: Path | None = None
    packages: Path | None = None
    engine: Engine = SPARK

    def prepare(self, context: Context, sandbox: Sandbox) -> dict[str, str]:
        """Make the folders in scratch and the launcher of Python workers; return the environment of a JVM."""
        scratch = context.scratch
        for name in FOLDERS:
            (scratch / name).mkdir(mode=0o700)
        modules = Path(context.image.program).parent
        write_launcher(
            launcher_path(context),
            self.python,
            sandbox(False, streamed_folders(context)),
            modules,
            scratch / WORKERS,
            scratch / FILES,
        )
        return {
            **os.environ,
            **context.image.env,
            "CONFIDE_AGENT": str(context.socket),
            "HOME": str(scratch),
            "TMPDIR": str(scratch / "tmp"),
            "SPARK_LOCAL_DIRS": str(scratch / LOCAL),  # goes before spark.local.dir
        }

    def java_command(self, context: Context, *main: str, heap: int | None = None) -> list[str]:
        """Return the argv of a JVM that runs a class with arguments; the program's jars come after Spark's.

        Args:
            context: of the run.
            main: class and arguments.
            heap: MiB; None: of an enclave with one JVM.
        """
        archive, program = self.archive, Path(context.image.program)
        jars = [*self.jars.glob("*.jar")]
        own = [*([program] if program.suffix == ".jar" else []), *sorted(Path(JARS).glob("*.jar"))]
        own += [*self._package_jars(), self.last_jar]
        storage = self.storage or context.work
        return jvm.command(
            java=PurePosixPath(self.java),
            class_path=jvm.class_path(
                PurePosixPath(self.jar), map(PurePosixPath, jars), map(PurePosixPath, own)
            ),
            archive=PurePosixPath(archive) if archive and archive.exists() else None,
            log_config=PurePosixPath(self.log_config),
            scratch=PurePosixPath(context.scratch),
            heap_mib=heap or heap_mib(context.image.limits.memory_mib),
            main=main,
            enclave_cores=cores(context) if inside_libos() else None,
            spawn=inside_libos() != GRAMINE,
            storage=PurePosixPath(storage) if storage != Path(WORK) else None,
            options=self.engine.jvm_options,
        )

    def _package_jars(self) -> list[Path]:
        """Return the jars that come in packages of the program's, as BigDL's do; not Spark's."""
        if self.packages is None:
            return []
        return sorted(jar for jar in self.packages.rglob("*.jar") if not jar.is_relative_to(self.jars))


def launcher_path(context: Context) -> Path:
    """Return where the launcher of Python workers lies."""
    return context.socket.parent / LAUNCHER


def streamed_folders(context: Context) -> dict[str, Path]:
    """Return where the program finds the encrypted files of tables that it reads itself -> where they lie."""
    return {f"{WORK}/{location}": context.work / location for location in declared(context.image)}


def workers_sandbox(scratch: Path, tables: Mapping[str, Path]) -> list[str]:
    """Return what to put before the argv of Python workers.

    Of scratch they see what they need: broadcasts and files of the program, which the JVM puts among its blocks, to be
    read; sockets to the JVM; a folder of their own. Whatever else the JVM reads, runs or writes there is none of
    theirs: by a link or a library of theirs a function could have the JVM, which sees the data, do its work.
    Where there is something for ranks (`confide.spark.ranks`), they reach that, and nothing else of the agent. Of
    storage they see `tables`, encrypted.
    """
    own = {str(scratch / name): scratch / name for name in (SOCKETS, WORKERS)}
    folders = (scratch / LOCAL, *filter(Path.is_dir, map(Path, (group_key.FOLDER, program_socket.FOLDER))))
    shown = {**{str(folder): folder for folder in folders}, **tables}
    return sandbox_prefix(own, shown=shown, cwd=None)


def own_settings(image: Image) -> dict[str, str]:
    """Return the Spark settings of an image."""
    return {name: value for name, value in image.settings.items() if name.startswith("spark.")}


def cores(context: Context) -> int:
    """Return the processors for tasks."""
    asked = context.launch.get("cores")
    if inside_libos():  # its threads were counted when it was built
        most = enclave_cores(context.image.limits)
        return min(int(asked), most) if asked else most
    return int(asked) if asked else context.image.limits.cores or os.cpu_count() or 1
