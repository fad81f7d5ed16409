"""The command line of Flink's JVM. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from confide.jvm.command import CLOSED

MODULE_OPTIONS: tuple[str, ...] = (
    # env.java.opts.all of conf/config.yaml of Flink 2.3, less what has no compiler to open.
    "--add-exports=java.rmi/sun.rmi.registry=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang",
            "java.net",
            "java.io",
            "java.nio",
            "sun.nio.ch",
            "java.lang.reflect",
            "java.text",
            "java.time",
            "java.util",
            "java.util.concurrent",
            "java.util.concurrent.atomic",
            "java.util.concurrent.locks",
        )
    ),
)

GATEWAY_CLASS = "confide.flink.Gateway"


def command(
    *,
    java: PurePosixPath,
    class_path: Iterable[PurePosixPath],
    log_config: PurePosixPath,
    scratch: PurePosixPath,
    storage: PurePosixPath,
    heap_mib: int,
) -> list[str]:
    """Return the argv of the JVM, without the file for the gateway's port, which comes last; it holds no secret.

    Args:
        java: the `java` program.
        class_path: our jars and Flink's.
        log_config: log4j2 configuration.
        scratch: private scratch space.
        storage: where the data root lies for the guard.
        heap_mib: largest Java heap, MiB.
    """
    return [
        str(java),
        *MODULE_OPTIONS,
        f"-Xmx{heap_mib}m",
        *CLOSED,
        f"-XX:ErrorFile={scratch / 'jvm-error.log'}",
        f"-Djava.io.tmpdir={scratch / 'tmp'}",
        f"-Duser.home={scratch}",
        f"-Dlog4j2.configurationFile={log_config}",
        f"-Dlog4j.configurationFile={log_config}",
        f"-Dconfide.storage={storage}",
        "-Dfile.encoding=UTF-8",
        "-Djava.net.preferIPv4Stack=true",
        "-cp",
        ":".join(map(str, class_path)),
        GATEWAY_CLASS,
    ]
