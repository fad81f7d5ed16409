"""What the images of Flink programs hold."""

from __future__ import annotations

import sysconfig
from collections.abc import Sequence
from pathlib import Path

from confide.data.streams import APPEND
from confide.enclave.image import PYTHON, SITE, Limits
from confide.enclave.launch import CORES, EXECUTOR, EXECUTOR_LAUNCH, EXECUTORS, HOST
from confide.enclave.locked import locked_wheels, wheel_layers
from confide.enclave.profile import ImageProfile
from confide.enclave.script_metadata import read_metadata
from confide.errors import MissingDependency
from confide.flink.installation import FOLDER, LOG_CONFIG
from confide.jvm.core_site import CORE_SITE
from confide.jvm.jar import build_jar, java_sources, spark_jars

ENGINE = Path(__file__).with_name("engine.py")
"""Declares and locks the distributions of the engine."""

_HADOOP = (
    "hadoop-client-api",
    "hadoop-client-runtime",
    "jackson-annotations",
    "jackson-core",
    "jackson-databind",
)
_NEEDED = (*_HADOOP, "parquet-", "jts-core", "tink", "zstd-jni")
_SERVICES = {
    "org.apache.flink.core.fs.FileSystemFactory": "confide.flink.GuardedFileSystem$Factory\n",
    "org.apache.flink.core.execution.PipelineExecutorFactory": "confide.flink.CheckedExecutorFactory\n",
    "org.apache.flink.table.factories.Factory": (
        "confide.flink.TableFormatFactory\nconfide.flink.redis.StreamTableFactory\n"
        "confide.flink.kafka.SealedFormatFactory\n"
    ),
}
_OF_SPARK = ("spark/", "ListedCommit.java", "CommitProtocol.java")
_SPARK = "spark43"
"""Of our Java, for the Hadoop that comes with that Spark."""


def image_profile(cache: Path) -> ImageProfile:
    """Return the Flink profile, fetching the locked engine and building our jar unless the cache has them.

    Args:
        cache: of images.

    Raises:
        MissingDependency: no uv, no pyspark (whose jars the guard needs), no Java compiler, or a Python without
            its shared library.
        InvalidImage: no wheel of the engine for this Python and platform.
    """
    read_metadata(ENGINE)  # says which Pythons there are wheels for, where this is none of them
    jars = _support_jars()
    sources, engine = java_sources(_SPARK, _OF_SPARK), [*jars, *engine_jars(cache)]
    held = {**CORE_SITE, "confide/append.lua": APPEND}
    jar = build_jar(cache / "jvm", "Flink", sources, engine, _SERVICES, held)
    files = {f"{FOLDER}/confide.jar": jar, LOG_CONFIG: Path(__file__).with_name("log4j2.properties")}
    files |= {f"{FOLDER}/{path.name}": path for path in jars}
    return ImageProfile(
        name="flink",
        entry="confide.flink.entry",
        engine=ENGINE,
        java=True,
        launch={"cores": CORES, "executors": EXECUTORS, "host": HOST},
        members={EXECUTOR: EXECUTOR_LAUNCH},
        files={path.lstrip("/"): file for path, file in files.items()} | _shared_python(),
        limits=Limits(memory_mib=4096, scratch_mib=4096),
    )


def engine_jars(cache: Path) -> list[Path]:
    """Return the jars of the locked Flink.

    Raises:
        MissingDependency: no uv.
        InvalidImage: no wheel of the engine for this Python and platform, or it cannot be fetched.
    """
    layers = wheel_layers(locked_wheels(ENGINE), ENGINE, cache)
    home = f"{SITE.lstrip('/')}/pyflink"
    return sorted(
        path
        for layer in layers
        for folder in ("lib", "opt")
        for path in layer.root.glob(f"{home}/{folder}/*.jar")
    )


def _support_jars() -> Sequence[Path]:
    """Hadoop's file system, Tink and Parquet, which the guard is written against; they come with pyspark."""
    return [path for path in spark_jars() if path.name.startswith(_NEEDED)]


def _shared_python() -> dict[str, Path]:
    """Python's own library, which Flink's JVM loads; an interpreter that is linked with it brings it along."""
    if sysconfig.get_config_var("Py_ENABLE_SHARED"):
        return {}
    name = str(sysconfig.get_config_var("INSTSONAME") or "")
    if not name.startswith("libpython"):
        name = f"libpython{sysconfig.get_python_version()}.so.1.0"
    folder = str(sysconfig.get_config_var("LIBDIR"))
    for place in (Path(folder, str(sysconfig.get_config_var("MULTIARCH") or "")), Path(folder)):
        if (place / name).is_file():
            return {f"{PYTHON.lstrip('/')}/lib/{name}": (place / name).resolve()}
    raise MissingDependency(f"Flink runs Python inside its JVM, which takes {name} (Debian: libpython3.x)")
