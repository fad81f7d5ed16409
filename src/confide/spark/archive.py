"""The class archive: classes of Spark and ours, parsed and checked beforehand, for the JVM to map (JEP 350).

It only saves time: a JVM that finds it not to fit starts without. Its bytes hold addresses and so are not the
same twice; it is recorded once for each set of jars and Java, and kept. It is a measured file like any other: where
it cannot be recorded that is kept too, or the next image would have another measurement than the one approved.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from confide.enclave.image import JAVA, SITE
from confide.enclave.layers import set_time
from confide.jvm.jar import spark_jars
from confide.spark import jvm

_SECONDS = 600
_TRIES = 3  # Java 17 crashes now and then while it writes an archive
_FORMAT = "1"
_OUT = "/opt/confide/out"
_MAX_SAID = 64 * 1024
_LOG = logging.getLogger(__name__)


def build_archive(cache: Path, jar: Path, java_home: Path, inside_jar: PurePosixPath) -> Path | None:
    """Return the archive, recording it in the folder `cache` if it is not there yet.

    None if Java cannot, now or at an earlier try: a file `classes-*.failed` in the folder says so and holds what
    Java said; delete it to try again.

    Args:
        cache: where it is kept.
        jar: our jar.
        java_home: of the Java that images take along.
        inside_jar: path of our jar inside the enclave.
    """
    jars = spark_jars()
    target = cache / f"classes-{_identity(jar, jars, java_home)[:32]}.jsa"
    failed = target.with_suffix(".failed")
    bwrap = shutil.which("bwrap")
    if target.exists():
        return target
    if bwrap is None or failed.exists():
        return None
    with tempfile.TemporaryDirectory(dir=cache) as text:
        scratch = Path(text)
        _copy(jars, scratch / "jars")
        _copy([jar], scratch / "own", inside_jar.name)
        argv = [bwrap, *_places(scratch, java_home, inside_jar), "--", *_command(jars, inside_jar)]
        for _ in range(_TRIES):
            fault = _record(argv, scratch / "out")
            if fault is None:
                (scratch / "out" / "classes.jsa").replace(target)
                return target
    failed.write_text(fault or "", encoding="utf-8")
    _LOG.warning("no class archive, so Spark starts slower: Java could not record it (%s)", failed)
    return None


def _record(argv: Sequence[str], out: Path) -> str | None:
    """Run Java once with an empty folder `out`; return what it said if it left no archive there."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    try:
        done = subprocess.run(argv, capture_output=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0 and (out / "classes.jsa").exists():
        return None
    said = (done.stdout + done.stderr)[-_MAX_SAID:].decode(errors="replace")
    return f"exit code {done.returncode}\n{said}"


def _identity(jar: Path, jars: Sequence[Path], java_home: Path) -> str:
    lines = [_FORMAT, jar.name, *jvm.MODULE_OPTIONS, *(path.name for path in jars)]
    for name in ("release", "lib/modules", "lib/server/libjvm.so"):
        path = java_home / name
        if path.exists():
            status = path.stat()
            lines.append(f"{name} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _copy(files: Sequence[Path], folder: Path, name: str | None = None) -> None:
    """Copy with the time that files of images have: the JVM compares it."""
    folder.mkdir()
    for file in files:
        copy = folder / (name or file.name)
        shutil.copyfile(file, copy)
        set_time(copy)


def _places(scratch: Path, java_home: Path, inside_jar: PurePosixPath) -> list[str]:
    """The paths of the enclave; the JVM compares them too."""
    binds = {
        JAVA: java_home,
        f"{SITE}/pyspark/jars": scratch / "jars",
        str(inside_jar.parent): scratch / "own",
    }
    argv = ["--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "--tmpfs", "/tmp", "--tmpfs", "/opt"]  # noqa: S108
    for inside, folder in binds.items():
        argv += ["--ro-bind", str(folder), inside]
    argv += ["--bind", str(scratch / "out"), _OUT, "--chdir", _OUT]
    return [*argv, "--unshare-net", "--unshare-pid", "--die-with-parent", "--new-session", "--clearenv"]


def _command(jars: Sequence[Path], inside_jar: PurePosixPath) -> list[str]:
    inside = [PurePosixPath(SITE, "pyspark/jars", jar.name) for jar in jars]
    return [
        f"{JAVA}/bin/java",
        *jvm.MODULE_OPTIONS,
        "-Xmx1g",
        f"-XX:ArchiveClassesAtExit={_OUT}/classes.jsa",
        f"-Djava.io.tmpdir={_OUT}",
        f"-Duser.home={_OUT}",
        "-Djava.net.preferIPv4Stack=true",
        "-cp",
        jvm.class_path(inside_jar, inside),
        "confide.spark.Rehearsal",
        _OUT,
    ]
