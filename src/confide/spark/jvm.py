"""The command line of the JVM, with every flag's reason. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from confide.jvm.command import CLOSED
from confide.jvm.enclave import enclave_options

MODULE_OPTIONS: tuple[str, ...] = (
    # org.apache.spark.launcher.JavaModuleOptions of Spark 4.3; a test compares.
    "-XX:+IgnoreUnrecognizedVMOptions",
    "--add-modules=jdk.incubator.vector",
    *(
        f"--add-opens={package}=ALL-UNNAMED"
        for package in (
            "java.base/java.lang",
            "java.base/java.lang.invoke",
            "java.base/java.lang.reflect",
            "java.base/java.io",
            "java.base/java.net",
            "java.base/java.nio",
            "java.base/java.util",
            "java.base/java.util.concurrent",
            "java.base/java.util.concurrent.atomic",
            "java.base/jdk.internal.ref",
            "java.base/sun.nio.ch",
            "java.base/sun.nio.cs",
            "java.base/sun.security.action",
            "java.base/sun.util.calendar",
            "java.security.jgss/sun.security.krb5",
        )
    ),
    "-Dio.netty.tryReflectionSetAccessible=true",
    "-Dio.netty.allocator.type=pooled",
    "-Dio.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
)

_NO_EPOLL = ("-Dio.netty.transport.noNative=true",)
"""epoll of Netty's own wants timers that library OSes lack."""

GATEWAY_CLASS = "confide.spark.Gateway"
PROGRAM_CLASS = "confide.spark.JavaProgram"
EXECUTOR_CLASS = "confide.spark.ExecutorProcess"
CONNECT_CLASS = "confide.spark.ConnectServer"
SQL_CLASS = "confide.spark.SqlServer"


def command(
    *,
    java: PurePosixPath,
    class_path: str,
    archive: PurePosixPath | None,
    log_config: PurePosixPath,
    scratch: PurePosixPath,
    heap_mib: int,
    main: Sequence[str],
    enclave_cores: int | None = None,
    spawn: bool = True,
    storage: PurePosixPath | None = None,
    options: Sequence[str] = (),
) -> list[str]:
    """Return the argv of the JVM; it holds no secret. What it prints on standard output is the gateway's port.

    Args:
        java: the `java` program.
        class_path: as `class_path` returns it.
        archive: of classes (`confide.spark.archive`), if there is one.
        log_config: log4j2 configuration.
        scratch: private scratch space.
        heap_mib: largest Java heap, MiB.
        main: class and arguments.
        enclave_cores: cores in an enclave that a library OS runs; None: this is none.
        spawn: as of `enclave_options`.
        storage: where the data root lies for the guard; None: at the path that programs know.
        options: of the engine (`Engine.jvm_options`).
    """
    return [
        str(java),
        *MODULE_OPTIONS,
        *options,
        f"-Xmx{heap_mib}m",
        "-Xshare:auto",  # an archive that does not fit is left aside
        *((f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off") if archive else ()),
        *CLOSED,
        f"-XX:ErrorFile={scratch / 'jvm-error.log'}",
        f"-Djava.io.tmpdir={scratch / 'tmp'}",
        f"-Dderby.system.home={scratch / 'derby'}",
        f"-Duser.home={scratch}",
        f"-Dlog4j2.configurationFile={log_config}",
        "-Dfile.encoding=UTF-8",
        "-Djava.net.preferIPv4Stack=true",
        # The JVM's own messages would come before the port.
        "-XX:+DisplayVMOutputToStderr",
        "-Xlog:disable",
        "-Xlog:all=warning:stderr",
        *((*enclave_options(heap_mib, enclave_cores, spawn), *_NO_EPOLL) if enclave_cores else ()),
        *((f"-Dconfide.storage={storage}",) if storage else ()),
        "-cp",
        class_path,
        *main,
    ]


def class_path(jar: PurePosixPath, jars: Iterable[PurePosixPath], own: Iterable[PurePosixPath] = ()) -> str:
    """Return the class path, on every machine alike: our jar, Spark's in the order of their names, the program's."""
    return ":".join(map(str, [jar, *sorted(jars), *own]))
