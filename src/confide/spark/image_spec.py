"""What the images of Spark programs hold."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from confide.enclave.image import Limits
from confide.enclave.java_sources import java_home
from confide.enclave.profile import ImageProfile
from confide.jvm.jar import build_jar, java_sources, spark_jars
from confide.spark.archive import build_archive

FOLDER = "/opt/confide/spark"
"""Where our own parts lie inside the enclave, besides the Python."""

JAR = f"{FOLDER}/confide.jar"
LOG_CONFIG = f"{FOLDER}/log4j2.properties"
ARCHIVE = f"{FOLDER}/classes.jsa"

CORES = r"[1-9][0-9]{0,2}"


def spark_jar(cache: Path) -> Path:
    """Return our jar for Spark, building it in the folder `cache` if it is not there yet.

    Raises:
        MissingDependency: no Spark, or no Java compiler.
    """
    return build_jar(cache, "spark", java_sources(without=("flink/",)), spark_jars())


def image_profile(jar_cache: Path) -> ImageProfile:
    """Return the Spark profile, building the jar and the class archive first if they are not in the cache.

    Raises:
        MissingDependency: no Spark, or no Java compiler.
    """
    jar = spark_jar(jar_cache)
    files = {JAR: jar, LOG_CONFIG: Path(__file__).with_name("log4j2.properties")}
    if archive := build_archive(jar_cache, jar, java_home(), PurePosixPath(JAR)):
        files[ARCHIVE] = archive
    return ImageProfile(
        name="spark",
        entry="confide.spark.entry",
        distributions=("confide[spark]",),
        java=True,
        launch={"cores": CORES},
        files={path.lstrip("/"): file for path, file in files.items()},
        limits=Limits(memory_mib=4096, scratch_mib=4096),
    )
