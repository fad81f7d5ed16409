"""The hardened Flink settings: one table, with the reason of each row; each job is compared with it before it runs."""

from __future__ import annotations

from pathlib import PurePosixPath

from confide.flink.cluster_settings import Job, addresses, of_job_manager, of_task_manager
from confide.jvm.settings import REMOTE_SCHEMES, Forbidden, Setting, Settings
from confide.jvm.stores import Stores

_CLEAR_NETWORK = "bytes would cross the network in clear"
_SCRATCH = "temporary data would leave the scratch space"
_GUARD = "files would bypass the guard"
_NO_CODE = "code that the measurement does not cover would be loaded"
_NO_JARS = f"{_NO_CODE}: give jars with --jars"


def settings(
    scratch: PurePosixPath,
    python: PurePosixPath,
    own: Stores,
    *,
    cores: int,
    job: Job | None = None,
    heap_mib: int = 0,
) -> Settings:
    """Return the table for one process.

    Args:
        scratch: the private scratch space; every temporary byte goes below it.
        python: the interpreter.
        own: key and certificate of this process, which nobody else trusts.
        cores: processors for tasks, at least 1; in a job, of each task manager.
        job: what is known of it, by a member; None: a mini cluster.
        heap_mib: of a task manager's JVM.
    """
    return Settings(
        fixed=(*_fixed(scratch, python), *addresses(job), *_STORAGE, *_tls(own, job.stores if job else own)),
        default=_defaults(cores, job, heap_mib),
        forbidden=FORBIDDEN,
    )


def _fixed(scratch: PurePosixPath, python: PurePosixPath) -> tuple[Setting, ...]:
    return (
        Setting("execution.target", "confide", "the job would run unchecked, or outside this enclave"),
        Setting("execution.attached", "true", "the program would not wait for its job"),
        # Process mode sends every record to another process over a plain connection.
        Setting("python.execution-mode", "thread", "records would be sent to other processes in clear"),
        Setting("python.executable", str(python), _NO_CODE),
        Setting("python.client.executable", str(python), _NO_CODE),
        # The second job of a JVM would load Python's library in a class loader of its own, which Java 17 refuses.
        Setting(
            "classloader.parent-first-patterns.additional",
            "pemja;org.apache.flink.api.python;org.apache.flink.streaming.api.operators.python",
            "Python's library would be loaded twice",
        ),
        *(
            Setting(name, "localhost", "Flink would be reachable from outside")
            for name in ("rest.address", "rest.bind-address")
        ),
        *(
            Setting(name, str(scratch / "tmp"), _SCRATCH)
            for name in (
                "io.tmp.dirs",
                "process.working-dir",
                "process.jobmanager.working-dir",
                "process.taskmanager.working-dir",
                "blob.storage.directory",
                "web.tmpdir",
                "execution.checkpointing.local-backup.dirs",
                "state.backend.rocksdb.localdir",
                "state.backend.rocksdb.log.dir",
                "state.backend.forst.local-dir",
                "state.backend.forst.log.dir",
                "state.backend.forst.cache.dir",
            )
        ),
        Setting("high-availability.type", "NONE", "the job's state would be kept by others"),
        Setting("queryable-state.enable", "false", "state would be told to who asks"),
        Setting("web.submit.enable", "false", _NO_CODE),
        Setting("rest.profiling.enabled", "false", "what the JVM does would be shown to who asks"),
    )


# What Flink has no file system of its own for, Hadoop opens, with these settings; it refuses schemes without any.
_STORAGE = (
    Setting("flink.hadoop.fs.file.impl", "confide.LocalGuard", _GUARD),
    *(
        Setting(f"flink.hadoop.fs.{scheme}.impl", "confide.GuardFileSystem", _GUARD)
        for scheme in REMOTE_SCHEMES
    ),
)


def _tls(own: Stores, members: Stores) -> tuple[Setting, ...]:
    rows = [
        Setting("security.ssl.protocol", "TLSv1.3", "an older protocol would be used"),
        Setting("security.ssl.algorithms", "TLS_AES_256_GCM_SHA384", "another cipher would be used"),
        Setting("security.ssl.rest.authentication-enabled", "true", "REST would answer anybody"),
    ]
    rows += [
        Setting(f"{part}.ssl.enabled", "true", _CLEAR_NETWORK)
        for part in ("taskmanager.data", "blob.service", "pekko")
    ]
    for side, store in (("internal", members), ("rest", own)):
        prefix = f"security.ssl.{side}"
        rows += [
            Setting(f"{prefix}.enabled", "true", _CLEAR_NETWORK),
            Setting(f"{prefix}.keystore", str(store.key), _CLEAR_NETWORK),
            Setting(f"{prefix}.truststore", str(store.trust), _CLEAR_NETWORK),
            Setting(f"{prefix}.keystore-type", "PKCS12", _CLEAR_NETWORK),
            Setting(f"{prefix}.truststore-type", "PKCS12", _CLEAR_NETWORK),
        ]
        rows += [
            Setting(f"{prefix}.{name}-password", store.secret, _CLEAR_NETWORK)
            for name in ("keystore", "key", "truststore")
        ]
    return tuple(rows)


def _defaults(cores: int, job: Job | None, heap_mib: int) -> tuple[Setting, ...]:
    port = Setting("rest.port", "0", "whichever is free; nobody else looks for it")
    if job is None:
        return (port, Setting("parallelism.default", str(cores), "all cores of the image"))
    if job.driver is None:
        return (port, *of_job_manager(job, cores))
    return (port, *of_task_manager(job, cores, heap_mib))


FORBIDDEN: tuple[Forbidden, ...] = (
    Forbidden(r"pipeline\.(jars|classpaths)", _NO_JARS),
    Forbidden(r"env\.java\..+", "the JVM would run with other options"),
    Forbidden(r"python\.(files|requirements|archives|pythonpath)", _NO_CODE),
    Forbidden(r"metrics\.reporters?(\..+)?", "metrics would be sent to who collects them"),
    Forbidden(r"(traces|events)\.reporters?(\..+)?", "traces would be sent to who collects them"),
    Forbidden(r"fs\.(default-scheme|allowed-fallback-filesystems|hdfs\..+)", _GUARD),
    Forbidden(rf"flink\.hadoop\.(?!fs\.(file|{'|'.join(REMOTE_SCHEMES)})\.impl$).+", _GUARD),
    Forbidden(r"(plugin|classloader)\.(?!parent-first-patterns\.additional$).+", _NO_CODE),
)
"""Settings that a program may not make."""
