"""What the images of Spark programs hold."""

from __future__ import annotations

from pathlib import Path

from confide.enclave.image import Limits
from confide.enclave.profile import ImageProfile
from confide.spark.jar import build_jar

FOLDER = "/opt/confide/spark"
"""Where our own parts lie inside the enclave, besides the Python."""

CORES = r"[1-9][0-9]{0,2}"


def image_profile(jar_cache: Path) -> ImageProfile:
    """Return the Spark profile, building the jar first if it is not in the cache.

    Raises:
        MissingDependency: no Spark, or no Java compiler.
    """
    return ImageProfile(
        name="spark",
        entry="confide.spark.entry",
        distributions=("confide[spark]",),
        java=True,
        launch={"cores": CORES},
        files={
            f"{FOLDER.lstrip('/')}/confide.jar": build_jar(jar_cache),
            f"{FOLDER.lstrip('/')}/log4j2.properties": Path(__file__).with_name("log4j2.properties"),
        },
        limits=Limits(memory_mib=4096, scratch_mib=4096),
    )
