"""The command line of Flink's JVM. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from confide.jvm.command import CLOSED
from confide.jvm.enclave import enclave_options

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

_OPEN_LOOPBACK = (
    # The loopback device is the host's, which listens: nothing of Flink may cross it without TLS.
    "-Dconfide.loopback=open",
    "-Dorg.apache.flink.shaded.netty4.io.netty.transport.noNative=true",
)

DIRECT_MIB = 128
"""Direct buffers of a mini cluster, however large the heap: 64 MiB for the network, 64 MiB to read batches again."""

GATEWAY_CLASS = "confide.flink.Gateway"
TASK_MANAGER_CLASS = "confide.flink.TaskManager"

_OF_MEMBERS = (
    # The certificates of a job's members hold no addresses: whoever runs the cluster chooses them.
    "-Dorg.apache.flink.shaded.netty4.io.netty.handler.ssl.defaultEndpointVerificationAlgorithm=NONE",
    "-Dconfide.loopback=open",
)


def command(
    *,
    java: PurePosixPath,
    class_path: Iterable[PurePosixPath],
    log_config: PurePosixPath,
    scratch: PurePosixPath,
    storage: PurePosixPath,
    heap_mib: int,
    main: str,
    hosts: PurePosixPath | None = None,
    member: bool = False,
    enclave_cores: int | None = None,
    spawn: bool = True,
) -> list[str]:
    """Return the argv of the JVM, without the arguments of its class; it holds no secret.

    Args:
        java: the `java` program.
        class_path: our jars and Flink's.
        log_config: log4j2 configuration.
        scratch: private scratch space.
        storage: where the data root lies for the guard.
        heap_mib: largest Java heap, MiB.
        main: class.
        hosts: file of the host names that there are, as `/etc/hosts`; None: those of the system.
        member: whether it is one of a job's members, which reach one another over a network.
        enclave_cores: cores in an enclave that a library OS runs; None: this is none.
        spawn: as of `enclave_options`.
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
        *((f"-Djdk.net.hosts.file={hosts}",) if hosts else ()),
        # The JVM's own messages would come before the port.
        "-XX:+DisplayVMOutputToStderr",
        "-Xlog:disable",
        "-Xlog:all=warning:stderr",
        *(
            (*enclave_options(heap_mib, enclave_cores, spawn, DIRECT_MIB), *_OPEN_LOOPBACK)
            if enclave_cores
            else ()
        ),
        *(_OF_MEMBERS if member else ()),
        "-cp",
        ":".join(map(str, class_path)),
        main,
    ]
