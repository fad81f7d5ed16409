"""The hardened Spark settings: one table, with the reason of each row, which `confide.spark.Hardening` enforces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from confide.jvm.settings import REMOTE_SCHEMES, STORES, Forbidden, Setting, Settings
from confide.jvm.stores import Stores
from confide.spark import cluster_settings, local_cluster, network_settings, server_settings, web_pages
from confide.spark.engine import SPARK, Engine
from confide.spark.web_pages import WebPages


def settings(
    scratch: PurePosixPath,
    *,
    cores: int,
    job: cluster_settings.Job | None = None,
    own: Mapping[str, str] | None = None,
    enclave: bool = False,
    stores: Stores | None = None,
    server: server_settings.Server | None = None,
    pages: WebPages | None = None,
    executor: bool = False,
    engine: Engine = SPARK,
    cluster: local_cluster.LocalCluster | None = None,
) -> Settings:
    """Return the table for one run.

    Args:
        scratch: the private scratch space; every temporary byte goes below it.
        cores: processors for tasks, at least 1.
        job: with executors in enclaves of their own; None: local mode.
        own: settings of the image.
        enclave: a library OS runs it.
        stores: for local mode whose loopback device the host carries; None: the device is the sandbox's or the
            guest's own.
        server: clients send the queries; None: a program does.
        pages: that Spark shows of the run; None: none.
        executor: takes over the driver's settings, those of pages too, and shows none.
        engine: which Spark.
        cluster: with executors beside the driver; None: as `job` says.
    """
    master: tuple[Setting, ...]
    tls = stores if job is None else job.stores
    credentials = {} if tls is None else network_settings.credentials(tls)
    if job is None:
        channel = network_settings.AES if stores is None else network_settings.tls(stores)
        master, network, default = (_local(cores),), (*network_settings.ALONE, *channel), _defaults(scratch)
    else:
        master, network = (cluster_settings.master(job),), cluster_settings.network(job)
        default = (*_defaults(scratch), cluster_settings.WAIT)
    if cluster is not None:
        master, default = cluster.settings(), (*default, *local_cluster.WAIT)
        own = {name: value for name, value in (own or {}).items() if name != local_cluster.MASTER}
        credentials[network_settings.SECRET] = cluster.secret
    if server is not None:
        credentials |= server_settings.credentials(server)
    if pages is not None:
        credentials |= pages.credentials()
    forbidden = FORBIDDEN
    sockets = _sockets(scratch) if engine.unix_sockets else ()
    shown = (web_pages.NONE,) if pages is None else pages.settings()
    if executor:
        shown, forbidden = (), (_SSL_OF_OTHERS, *FORBIDDEN[1:])
    fixed = (*_fixed(scratch, master), *sockets, *shown, *network, *STORAGE, *(ENCLAVE if enclave else ()))
    if server is None:
        fixed = (*fixed, DATABASES)
    else:
        fixed = (*fixed, *server_settings.fixed(scratch, server))
        forbidden = (*forbidden, *server_settings.FORBIDDEN)
    return Settings(fixed, default, forbidden, own or {}, credentials)


_CLEAR_NETWORK = "bytes would cross the loopback network in clear"
_SCRATCH = "temporary data would leave the scratch space"
_UNCHECKED = "the other settings would go unchecked"
_NO_CODE = "code that the measurement does not cover would be loaded"


COMPLETE = tuple(
    f"spark.{area}files.ignore{kind}Files" for area in ("", "sql.") for kind in ("Corrupt", "Missing")
)
"""Settings that let a read leave files out."""


def _local(cores: int) -> Setting:
    # One process: executors elsewhere need an attestation of their own.
    return Setting(
        "spark.master", f"local[{cores}]", "tasks would run outside this enclave", r"local(\[[0-9*, ]+\])?"
    )


def _fixed(scratch: PurePosixPath, master: Iterable[Setting]) -> tuple[Setting, ...]:
    return (
        Setting("spark.plugins", "confide.spark.Hardening", _UNCHECKED),
        Setting("spark.sql.extensions", "confide.spark.SessionHardening", _UNCHECKED),
        *master,
        network_settings.PASSWORDS,
        # Spark writes event logs of the scheme `file` past its file systems.
        Setting(
            "spark.eventLog.dir",
            "sealed:///work/spark-events",
            "events hold literals, plans and texts of exceptions",
            r"sealed:.+",
        ),
        Setting("spark.driver.log.persistToDfs.enabled", "false", "logs hold texts of exceptions"),
        # Python <-> JVM.
        Setting("spark.python.use.daemon", "true", "Python workers would start outside their sandbox"),
        Setting(
            "spark.python.daemon.module", "confide.spark.daemon", "functions would see the run's secrets"
        ),
        Setting("spark.python.worker.module", "pyspark.worker", "functions would see the run's secrets"),
        # Spark would answer from the files that are left. A read's own option is refused likewise (in Java).
        *(
            Setting(name, "false", "a changed or missing file would be left out without a word")
            for name in COMPLETE
        ),
        # Places.
        Setting("spark.hadoop.hadoop.tmp.dir", str(scratch / "hadoop"), _SCRATCH),
    )


def _sockets(scratch: PurePosixPath) -> tuple[Setting, ...]:
    return (
        Setting("spark.python.unix.domain.socket.enabled", "true", _CLEAR_NETWORK),
        Setting("spark.python.unix.domain.socket.dir", str(scratch / "sockets"), _SCRATCH),
    )


_FEW_THREADS = "more threads would start than the enclave has"

ENCLAVE: tuple[Setting, ...] = (
    *(
        Setting(f"spark.{module}.io.mode", "NIO", "library OSes lack what epoll needs")
        for module in ("rpc", "shuffle", "files")
    ),
    # Pools that start up to 128 threads by themselves; EnclaveNeeds counts these.
    Setting("spark.sql.broadcastExchange.maxThreadThreshold", "8", _FEW_THREADS),
    Setting("spark.sql.subquery.maxThreadThreshold", "4", _FEW_THREADS),
    Setting("spark.storage.memoryMapThreshold", "1g", "encrypted scratch files would be mapped"),
    # Executors with fewer direct buffers than this do not start; the JVM of an enclave has at least twice as much.
    Setting(
        "spark.network.maxRemoteBlockSizeFetchToMem",
        "32m",
        "blocks would be fetched into memory that there is not",
    ),
)
"""Settings for an enclave that a library OS runs."""

_GUARD = "files would bypass the guard, so plain bytes could be written and unlisted ones read"

STORAGE: tuple[Setting, ...] = (
    # One guard before every storage; it refuses schemes of which there is none.
    Setting("spark.hadoop.fs.file.impl", "confide.LocalGuard", _GUARD),
    *(
        Setting(f"spark.hadoop.fs.{scheme}.impl", "confide.GuardFileSystem", _GUARD)
        for scheme in REMOTE_SCHEMES
    ),
    Setting("spark.hadoop.confide.folders", ",".join(STORES), _GUARD),
    Setting(
        "spark.hadoop.mapreduce.outputcommitter.factory.class",
        "org.apache.hadoop.mapreduce.lib.output.FileOutputCommitterFactory",
        "files would bypass the commit",  # Hadoop's own for s3a and abfs are of jars that Spark does not bring
    ),
    Setting("spark.hadoop.fs.sealed.impl", "confide.SealedFileSystem", _GUARD),
    *(
        Setting(f"spark.hadoop.fs.AbstractFileSystem.{scheme}.impl", "confide.GuardFs", _GUARD)
        for scheme in ("file", "sealed", *REMOTE_SCHEMES)
    ),
    Setting("spark.sql.sources.commitProtocolClass", "confide.CommitProtocol", "tables would not be listed"),
    Setting(
        "spark.hadoop.parquet.crypto.factory.class",
        "confide.ParquetCrypto",
        "tables would not be encrypted as granted",
    ),
)
"""Settings that lead every file through the guard, and every Parquet file through encryption."""


DATABASES = Setting(
    "spark.sql.sources.disabledJdbcConnProviderList",
    server_settings.JDBC_PROVIDERS,
    "databases would be spoken to that nobody verified",
)
"""What is left is `confide.spark.VerifiedConnections`."""


def _defaults(scratch: PurePosixPath) -> tuple[Setting, ...]:
    return (
        Setting("spark.app.name", "confide", "a context needs some name"),
        Setting("spark.submit.deployMode", "client", "as spark-submit sets it"),
        Setting("spark.sql.warehouse.dir", f"file:{scratch / 'warehouse'}", "unnamed tables are temporary"),
        Setting(
            "spark.hadoop.javax.jdo.option.ConnectionURL",
            "jdbc:derby:memory:metastore;create=true",
            "a metastore on disk would hold names of columns",
        ),
        Setting("spark.sql.parquet.compression.codec", "zstd", "smaller files, sooner encrypted"),
        Setting("spark.eventLog.enabled", "false", "nobody granted a place for it"),
        Setting("spark.ui.showConsoleProgress", "false", "nobody watches the console"),
        Setting(
            "spark.redaction.regex",
            server_settings.REDACTED,
            "values of such settings are masked in what Spark prints",
        ),
    )


_SSL_OF_OTHERS = Forbidden(r"spark\.ssl\.(?!ui\.).+", network_settings.STRANGERS)

FORBIDDEN: tuple[Forbidden, ...] = (
    Forbidden(r"spark\.ssl\..+", network_settings.STRANGERS),
    Forbidden(r"spark\.jars(\..+)?", _NO_CODE),
    Forbidden(r"spark\.(files|archives|submit\.pyFiles)", _NO_CODE),
    Forbidden(r"spark\.(driver|executor)\.(extraClassPath|extraLibraryPath|userClassPathFirst)", _NO_CODE),
    Forbidden(r"spark\.(pyspark(\.driver)?\.python)", "Python workers would start outside their sandbox"),
    Forbidden(r"spark\.metrics\..+", "metrics would be written where anybody reads them"),
    Forbidden(r"spark\.(remote|api\.mode|connect\..+)", "Spark Connect listens in clear"),
    Forbidden(r"spark\.python\.profile\.dump", _SCRATCH),
    # Written past Hadoop's file systems, whether there are web pages or not: plans with literals, texts of exceptions.
    Forbidden(r"spark\.(ui\.store\.path|driver\.log\.localDir)", _SCRATCH),
    Forbidden(r"spark\.hadoop\.fs\..+\.impl(\.disable\.cache)?", _GUARD),
    Forbidden(r"spark\.hadoop\.parquet\.(crypto|encryption)\..+", "tables would not be encrypted as granted"),
    Forbidden(r"spark\.sql\.parquet\.output\.committer\.class", "files would bypass the commit"),
    Forbidden(r"spark\.sql\.streaming\.checkpointFileManagerClass", _GUARD),
    Forbidden(r"spark\.sql\.analyzer\.singlePassResolver\..+", _UNCHECKED),
)
