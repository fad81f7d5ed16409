"""The versions of Spark that there are profiles for, and what differs between them.

An environment holds one: what is installed beside `confide` where an image is built is what our Java is compiled
against, and what the image takes along.
"""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from confide.errors import MissingDependency


@dataclass(frozen=True)
class Engine:
    """A version of Spark.

    Attributes:
        profile: name of the profile of its images.
        version: beginning of its version.
        extra: of `confide`, which installs it.
        java: folder in `jvm/` of the Java that is for it alone.
        jvm_options: what its own launcher gives a JVM besides what Spark 4.3 gives.
        java_imports: what `pyspark.java_gateway.launch_gateway` imports in it.
        unix_sockets: whether JVM and Python processes speak over Unix sockets. Where not, rows cross the loopback
            device in clear, so that must be the program's own: then executors share the driver's enclave, and there
            are no servers, and no enclaves of library OSes, whose device is the host's.
        python: first version of Python that it does not run on.
    """

    profile: str
    version: str
    extra: str
    java: str
    java_imports: tuple[str, ...]
    jvm_options: tuple[str, ...] = ()
    unix_sockets: bool = True
    python: tuple[int, int] = (3, 14)


SPARK = Engine(
    profile="spark",
    version="4.3.",
    extra="spark",
    java="spark43",
    java_imports=(
        "org.apache.spark.SparkConf",
        "org.apache.spark.api.java.*",
        "org.apache.spark.api.python.*",
        "org.apache.spark.ml.python.*",
        "org.apache.spark.mllib.api.python.*",
        "org.apache.spark.resource.*",
        "org.apache.spark.sql.Encoders",
        "org.apache.spark.sql.OnSuccessCall",
        "org.apache.spark.sql.functions",
        "org.apache.spark.sql.classic.*",
        "org.apache.spark.sql.api.python.*",
        "org.apache.spark.sql.hive.*",
        "scala.Tuple2",
    ),
)
SPARK35 = Engine(
    profile="spark35",
    version="3.5.",
    extra="spark35",
    java="spark35",
    java_imports=(
        "org.apache.spark.SparkConf",
        "org.apache.spark.api.java.*",
        "org.apache.spark.api.python.*",
        "org.apache.spark.ml.python.*",
        "org.apache.spark.mllib.api.python.*",
        "org.apache.spark.resource.*",
        "org.apache.spark.sql.*",
        "org.apache.spark.sql.api.python.*",
        "org.apache.spark.sql.hive.*",
        "scala.Tuple2",
    ),
    jvm_options=("-Djdk.reflect.useDirectMethodHandle=false",),
    unix_sockets=False,
    python=(3, 12),  # without `distutils`
)
NO_LIBOS = (
    "rows cross the loopback device in clear between JVM and Python, and under a library OS that device is the host's. "
    "What works: a confidential VM (--tee tdx, snp), or Spark 4.3 (--profile spark)"
)
NO_EXECUTORS = (
    "it knows no TLS between them and the driver, and without, whoever controls the network can repeat messages or "
    "leave them out. What works: executors within the enclave (--conf 'spark.master=local-cluster[2,1,1024]', and no "
    "--workers), or Spark 4.3 (--profile spark)"
)
ENGINES: Mapping[str, Engine] = {engine.profile: engine for engine in (SPARK, SPARK35)}
"""By profile."""


def installed() -> Engine:
    """Return the engine that is installed beside `confide`.

    Raises:
        MissingDependency: none, or one that there is no profile for.
    """
    try:
        return engine_of(importlib.metadata.version("pyspark"))
    except importlib.metadata.PackageNotFoundError:
        raise MissingDependency("pyspark is not installed (extra: confide[spark])") from None


def engine_of(version: str) -> Engine:
    """Return the engine of that version of pyspark.

    Raises:
        MissingDependency: there is no profile for it.
    """
    for engine in ENGINES.values():
        if version.startswith(engine.version):
            return engine
    known = " and ".join(engine.version.rstrip(".") for engine in ENGINES.values())
    raise MissingDependency(f"there are profiles for pyspark {known}, and here is {version}")


def require(engine: Engine) -> None:
    """Return if this engine is the one that is installed, and runs here.

    Raises:
        MissingDependency: says what to install.
    """
    found = installed()
    if found is not engine:
        raise MissingDependency(
            f"profile {engine.profile} needs pyspark {engine.version.rstrip('.')} beside confide, and here is "
            f"{found.version.rstrip('.')}: pip install 'confide[{engine.extra}]' in an environment of its own, "
            f"or give --profile {found.profile}"
        )
    if sys.version_info >= engine.python:
        raise MissingDependency(f"Spark {engine.version.rstrip('.')} does not run on this version of Python")
