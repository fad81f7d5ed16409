"""What the images of Spark programs hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from confide.enclave.image import SCRATCH, Limits
from confide.enclave.java_sources import java_home
from confide.enclave.launch import CORES, EXECUTOR, EXECUTOR_LAUNCH, EXECUTORS, HOST
from confide.enclave.profile import ImageProfile
from confide.errors import InvalidImage, Misuse
from confide.jvm.core_site import CORE_SITE
from confide.jvm.jar import build_jar, java_sources, services_jar, spark_jars
from confide.jvm.stores import Stores
from confide.spark.archive import build_archive
from confide.spark.cluster_settings import Job
from confide.spark.engine import SPARK, Engine, installed, require
from confide.spark.local_cluster import MASTER, LocalCluster
from confide.spark.server import LAUNCH as SERVER_LAUNCH
from confide.spark.server_configuration import ServerConfiguration
from confide.spark.server_settings import Server
from confide.spark.server_store import KeyStore
from confide.spark.settings import settings
from confide.spark.web_pages import LAUNCH as PAGES_LAUNCH
from confide.spark.web_pages import sample

FOLDER = "/opt/confide/spark"
"""Where our own parts lie inside the enclave, besides the Python."""

JAR = f"{FOLDER}/confide.jar"
LAST_JAR = f"{FOLDER}/file-systems.jar"
LOG_CONFIG = f"{FOLDER}/log4j2.properties"
ARCHIVE = f"{FOLDER}/classes.jsa"
LIMITS = Limits(memory_mib=4096, scratch_mib=4096)

_DATABASES = {"org.apache.spark.sql.jdbc.JdbcConnectionProvider": "confide.spark.VerifiedConnections\n"}
_FILE_SYSTEMS = {"org.apache.hadoop.fs.FileSystem": "confide.LocalGuard\n"}
"""Hadoop takes the last that is named for a scheme: so the guard is that of `file` in configurations without defaults,
too, which hold no `core-site.xml`."""
_MASTERS = {"org.apache.spark.scheduler.ExternalClusterManager": "confide.spark.ClusterManager\n"}


def check_settings(
    own: Mapping[str, str], *, server: bool = False, engine: Engine = SPARK, memory_mib: int | None = None
) -> None:
    """Return if an image may hold these settings, whether it will run in local mode, with executors elsewhere, or with
    web pages.

    Args:
        own: the settings.
        server: the program is a server.
        engine: which Spark.
        memory_mib: of the image; None: the profile's.

    Raises:
        Misuse: not a setting of Spark.
        LaunchRefused: names one that would weaken the protection, and why; or executors do not fit into the memory.
    """
    for name in own:
        if not name.startswith("spark."):
            raise Misuse(f"not a setting of Spark: {name}")
    cluster = None if engine.unix_sockets else LocalCluster.of(own)
    if cluster is not None:
        cluster.driver_mib(memory_mib or LIMITS.memory_mib)
        own = {name: value for name, value in own.items() if name != MASTER}
    somewhere = Job("127.0.0.1", 1, Stores(Path("/"), Path("/"), ""))
    serving = Server("127.0.0.1", 0, KeyStore(Path("/"), "")) if server else None
    for job, pages in ((None, None), (somewhere, None), (None, sample())):
        settings(
            PurePosixPath(SCRATCH),
            cores=1,
            job=job,
            server=serving,
            pages=pages,
            engine=engine,
            cluster=cluster,
        ).check(own)


def read_server(program: Path) -> ServerConfiguration:
    """Return what a program that is a server says.

    Raises:
        InvalidImage: it cannot be read.
        InvalidFormat: it has faults.
    """
    try:
        return ServerConfiguration.from_toml(program.read_bytes())
    except OSError as error:
        raise InvalidImage(f"{program}: {error.strerror}") from None


def server_profile(profile: ImageProfile, program: Path) -> ImageProfile:
    """Return the Spark profile of a program that is a server.

    Raises:
        InvalidImage, InvalidFormat: as `read_server`.
    """
    read_server(program)
    others = {name: pattern for name, pattern in profile.launch.items() if name not in PAGES_LAUNCH}
    return replace(profile, launch={**others, **SERVER_LAUNCH})


def spark_jar(cache: Path) -> Path:
    """Return our jar for the installed Spark, building it in the folder `cache` if it is not there yet.

    Raises:
        MissingDependency: no Spark that there is a profile for, or no Java compiler.
    """
    engine = installed()
    sources = java_sources(engine.java, without=("flink/",))
    return build_jar(cache, "Spark", sources, spark_jars(), {**_DATABASES, **_MASTERS}, CORE_SITE)


def last_jar(cache: Path) -> Path:
    """Return the jar that stands last on the class path, building it in the folder `cache` if it is not there yet."""
    return services_jar(cache, _FILE_SYSTEMS)


def image_profile(jar_cache: Path, engine: Engine | None = None, *, enclave: bool = False) -> ImageProfile:
    """Return a profile of Spark, building the jar and the class archive first if they are not in the cache.

    Args:
        jar_cache: folder for both.
        engine: which Spark; None: the one that is installed.
        enclave: for an enclave of a library OS: without the class archive, whose bytes are of this one machine, and
            without pandas, which takes 2,000 files along; the program's own imports bring it. There, ranks have no key.

    Raises:
        MissingDependency: another Spark is installed, or none, or no Java compiler.
    """
    engine = engine or installed()
    require(engine)
    jar = spark_jar(jar_cache)
    files = {
        JAR: jar,
        LAST_JAR: last_jar(jar_cache),
        LOG_CONFIG: Path(__file__).with_name("log4j2.properties"),
    }
    if not enclave and (archive := build_archive(jar_cache, jar, java_home(), PurePosixPath(JAR))):
        files[ARCHIVE] = archive
    profile = ImageProfile(
        name=engine.profile,
        entry="confide.spark.entry",
        distributions=("confide", "pyspark", "numpy") if enclave else (f"confide[{engine.extra}]",),
        java=True,
        launch={"cores": CORES, "executors": EXECUTORS, "host": HOST, **PAGES_LAUNCH},
        members={EXECUTOR: EXECUTOR_LAUNCH},
        files={path.lstrip("/"): file for path, file in files.items()},
        limits=LIMITS,
        streams=engine.unix_sockets and not enclave,
    )
    if engine.unix_sockets:
        return profile
    return replace(profile, entry="confide.spark.entry35", launch={"cores": CORES}, members={})
