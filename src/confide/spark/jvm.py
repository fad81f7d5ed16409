"""The command line of the JVM, with every flag's reason. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

from confide.jvm.command import CLOSED

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

GATEWAY_CLASS = "confide.spark.Gateway"
PROGRAM_CLASS = "confide.spark.JavaProgram"
EXECUTOR_CLASS = "confide.spark.ExecutorProcess"

METASPACE_MIB, CLASS_SPACE_MIB, CODE_CACHE_MIB = 512, 128, 160
"""Bounds of the JVM's own memory in an enclave, whose size is fixed before it starts."""


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
        spawn: in an enclave: start processes by `posix_spawn`, as Occlum wants it; not: by `vfork`.
    """
    return [
        str(java),
        *MODULE_OPTIONS,
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
        *(enclave_options(heap_mib, enclave_cores, spawn) if enclave_cores else ()),
        "-cp",
        class_path,
        *main,
    ]


def class_path(jar: PurePosixPath, jars: Iterable[PurePosixPath], own: Iterable[PurePosixPath] = ()) -> str:
    """Return the class path, on every machine alike: our jar, Spark's in the order of their names, the program's."""
    return ":".join(map(str, [jar, *sorted(jars), *own]))


def enclave_options(heap_mib: int, cores: int, spawn: bool) -> list[str]:
    """Return the options for an enclave: every part of its memory and its threads bounded, nothing of the kernel's.

    Args:
        heap_mib: largest Java heap.
        cores: that it may use; the machine's are not counted.
        spawn: start processes by `posix_spawn`, as Occlum wants it; not: by `vfork`, which Gramine's manifest removes,
            so that it fails at once. Hadoop and Spark try at times whether there is a program, and go on without.
    """
    return [
        f"-XX:ActiveProcessorCount={cores}",
        "-XX:+UseParallelGC",  # as many threads as cores, and no more beside them
        f"-XX:MaxMetaspaceSize={METASPACE_MIB}m",
        f"-XX:CompressedClassSpaceSize={CLASS_SPACE_MIB}m",
        f"-XX:ReservedCodeCacheSize={CODE_CACHE_MIB}m",
        f"-XX:MaxDirectMemorySize={direct_mib(heap_mib)}m",
        "-Xss1m",
        "-Dio.netty.transport.noNative=true",  # epoll of Netty's own wants timers that library OSes lack
        f"-Djdk.lang.Process.launchMechanism={'posix_spawn' if spawn else 'vfork'}",
    ]


def direct_mib(heap_mib: int) -> int:
    """Return the memory outside the heap that buffers may take in an enclave."""
    return max(64, heap_mib // 8)
