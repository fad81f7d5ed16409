"""The jar that an engine loads: compiled once for each set of sources, engine jars and compiler.

The Java is compiled where it is used, against the very jars it will run with, so no binary is shipped and
none can be out of step with the engine.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from confide.errors import MissingDependency

_EPOCH = (1980, 1, 1, 0, 0, 0)
_COMPILE_SECONDS = 300


def build_jar(
    cache: Path,
    engine: str,
    sources: Sequence[Path],
    jars: Sequence[Path],
    services: Mapping[str, str] = MappingProxyType({}),
    files: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """Return the jar of `confide.*` classes, building it in the folder `cache` if it is not there yet.

    The name holds a hash of the sources, of the engine jars' names (which carry their versions) and of the
    compiler's version. Equal inputs give equal bytes.

    Args:
        cache: where it is kept.
        engine: whose jars these are, for messages.
        sources: what to compile.
        jars: of the engine, to compile against.
        services: interface -> classes of ours that implement it, a line each (`java.util.ServiceLoader`).
        files: path in the jar -> content, of what else it holds.

    Raises:
        MissingDependency: no Java compiler, or the sources do not compile against this engine.
    """
    javac = _javac()
    files = {**_listed(services), **files}
    target = cache / f"confide-{_identity(sources, jars, files, javac)[:32]}.jar"
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            classes = Path(scratch, "classes")
            _compile(javac, engine, sources, jars, classes)
            _write(files, classes)
            _zip(classes, Path(scratch, "jar"))
            Path(scratch, "jar").replace(target)
    return target


def services_jar(cache: Path, services: Mapping[str, str]) -> Path:
    """Return a jar that names services alone, building it in the folder `cache` if it is not there yet.

    Args:
        cache: where it is kept.
        services: as of `build_jar`, of classes that another jar holds.
    """
    target = (
        cache / f"services-{hashlib.sha256(repr(sorted(services.items())).encode()).hexdigest()[:32]}.jar"
    )
    if not target.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            _write(_listed(services), Path(scratch, "listed"))
            _zip(Path(scratch, "listed"), Path(scratch, "jar"))
            Path(scratch, "jar").replace(target)
    return target


def java_sources(spark: str, without: Sequence[str] = ()) -> list[Path]:
    """Return the Java sources, from the installed package or from the repository.

    Args:
        spark: folder of those for one version of Spark alone, and of the Hadoop that comes with it.
        without: beginnings of paths below `confide/` to leave out: what belongs to another engine.

    Raises:
        MissingDependency: this installation holds none.
    """
    package = Path(str(resources.files("confide")))
    for folder in (package / "jvm", package.parent.parent / "jvm"):
        found = [
            path
            for sources in (folder / "src" / "confide", folder / spark / "confide")
            for path in sorted(sources.rglob("*.java"))
            if not path.relative_to(sources).as_posix().startswith(tuple(without))
        ]
        if found:
            return found
    raise MissingDependency("the Java sources of confide are not installed")


def spark_jars() -> list[Path]:
    """Return the jars of the installed pyspark.

    Raises:
        MissingDependency: pyspark is not installed, or without its jars.
    """
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise MissingDependency("pyspark is not installed (extra: confide[spark])")
    found = sorted(Path(spec.origin).parent.joinpath("jars").glob("*.jar"))
    if not found:
        raise MissingDependency("the installed pyspark has no jars")
    return found


def _javac() -> str:
    home = os.environ.get("JAVA_HOME")
    candidate = Path(home, "bin", "javac") if home else None
    found = str(candidate) if candidate and candidate.exists() else shutil.which("javac")
    if found is None:
        raise MissingDependency("no Java compiler (javac) of a JDK 17 or newer on PATH or in JAVA_HOME")
    return found


def _identity(sources: Sequence[Path], jars: Sequence[Path], files: Mapping[str, str], javac: str) -> str:
    digest = hashlib.sha256()
    version = subprocess.run([javac, "-version"], capture_output=True, check=True, timeout=60)
    digest.update(version.stdout + version.stderr)
    for source in sources:
        digest.update(f"{source.name}\0{hashlib.sha256(source.read_bytes()).hexdigest()}\n".encode())
    for jar in jars:
        digest.update(f"{jar.name}\n".encode())
    for path, text in sorted(files.items()):
        digest.update(f"{path}\0{text}\n".encode())
    return digest.hexdigest()


def _compile(javac: str, engine: str, sources: Sequence[Path], jars: Sequence[Path], classes: Path) -> None:
    argv = [javac, "--release", "17", "-nowarn", "-proc:none", "-encoding", "UTF-8", "-d", str(classes)]
    argv += ["-cp", os.pathsep.join(map(str, jars)), *map(str, sources)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_COMPILE_SECONDS)
    if done.returncode != 0:
        raise MissingDependency(
            f"a JDK and {engine} that confide compiles with; javac says: {done.stderr[-2000:]}"
        )


def _listed(services: Mapping[str, str]) -> dict[str, str]:
    return {f"META-INF/services/{interface}": names for interface, names in services.items()}


def _write(files: Mapping[str, str], folder: Path) -> None:
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _zip(classes: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as jar:
        for file in sorted(path for path in classes.rglob("*") if path.is_file()):
            entry = zipfile.ZipInfo(file.relative_to(classes).as_posix(), _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            jar.writestr(entry, file.read_bytes())
