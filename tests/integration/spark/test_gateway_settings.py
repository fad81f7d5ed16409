"""Settings that would weaken are refused by name; functions of the program see no secret."""

import pytest

from confide.errors import LaunchRefused
from confide.spark.engine import installed

pytestmark = pytest.mark.spark

WEAKENING = {
    "spark.ui.enabled": "true",
    "spark.plugins": "",
    "spark.sql.extensions": "",
    "spark.master": "spark://10.0.0.1:7077",
    "spark.authenticate": "false",
    "spark.network.crypto.enabled": "false",
    "spark.python.unix.domain.socket.enabled": "false",
    "spark.python.daemon.module": "pyspark.daemon",
    "spark.eventLog.dir": "file:///work/events",
    "spark.hadoop.fs.file.impl": "org.apache.hadoop.fs.LocalFileSystem",
    "spark.hadoop.fs.hdfs.impl": "org.apache.hadoop.hdfs.DistributedFileSystem",
    "spark.hadoop.fs.mine.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "spark.hadoop.confide.folders": "https",
    "spark.hadoop.parquet.crypto.factory.class": "mine.Factory",
    "spark.hadoop.parquet.encryption.uniform.key": "k",
    "spark.sql.sources.commitProtocolClass": "mine.Protocol",
    "spark.files.ignoreCorruptFiles": "true",
    "spark.files.ignoreMissingFiles": "true",
    "spark.sql.files.ignoreCorruptFiles": "true",
    "spark.sql.files.ignoreMissingFiles": "true",
    "spark.jars.packages": "com.example:thing:1.0",
    "spark.jars": "/work/thing.jar",
    "spark.metrics.conf": "/work/metrics.properties",
    "spark.ui.store.path": "/work/out/report",
    "spark.driver.log.localDir": "/work/out/report",
    "spark.pyspark.python": "/usr/bin/python3",
    "spark.remote": "local",
}
if not installed().unix_sockets:
    del WEAKENING["spark.python.unix.domain.socket.enabled"]  # it has none

ALL = f"""
from pyspark import SparkConf, SparkContext
from pyspark.sql import SparkSession

for name, value in {WEAKENING!r}.items():
    makers = [lambda: SparkContext(conf=SparkConf().set(name, value))]
    if name != "spark.remote":  # there the builder asks for PySpark's Connect extra first
        makers.append(lambda: SparkSession.builder.config(name, value).getOrCreate().sparkContext)
    for make in makers:
        try:
            make().stop()
            print("TAKEN", name)
        except Exception as error:
            print("refused", name, type(error).__name__, str(error).splitlines()[0])
print("then", SparkSession.builder.config("spark.sql.shuffle.partitions", "3").getOrCreate().range(3).count())
"""

SESSION = """
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
frame = spark.range(3)
for name, value in {
    "parquet.crypto.factory.class": "mine.Factory",
    "spark.hadoop.parquet.crypto.factory.class": "mine.Factory",
    "fs.file.impl": "org.apache.hadoop.fs.LocalFileSystem",
    "spark.sql.sources.commitProtocolClass":
        "org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol",
    "parquet.encryption.footer.key": "k",
    "spark.sql.files.ignoreCorruptFiles": "true",
    "spark.sql.files.ignoreMissingFiles": "true",
}.items():
    before = spark.conf.get(name, None)
    try:
        spark.conf.set(name, value)
        spark.range(3).write.parquet("/tmp/never")
        print("TAKEN", name)
    except Exception as error:
        print("refused", name, "LaunchRefused: " + name in str(error))
    if before is None:
        spark.conf.unset(name)
    else:
        spark.conf.set(name, before)
try:
    spark.conf.set("spark.ui.enabled", "true")
    spark.range(3).count()
    print("TAKEN")
except Exception as error:
    print("refused core")
"""

READ = """
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
import tempfile

place = tempfile.mkdtemp()
spark.range(3).write.parquet(place + "/table")
spark.range(3).write.json(place + "/lines")
spark.read.option("ignoreCorruptFiles", "false").parquet(place + "/table").count()
for version in ("parquet,json", ""):
    spark.conf.set("spark.sql.sources.useV1SourceList", version)
    for option in ("ignoreCorruptFiles", "ignoremissingfiles"):
        for kind, path in (("parquet", place + "/table"), ("json", place + "/lines")):
            try:
                spark.read.option(option, "true").format(kind).load(path).count()
                print("TAKEN", option, kind, version)
            except Exception as error:
                print("refused", "LaunchRefused: spark.sql.files.ignore" in str(error))
"""

ENVIRONMENT = """
import os
from pyspark.sql import SparkSession

sc = SparkSession.builder.getOrCreate().sparkContext
def look(_):
    kept = open("/proc/self/environ").read().split(chr(0))
    parent = open(f"/proc/{os.getppid()}/environ").read().split(chr(0))
    return sorted({*os.environ, *(entry.partition("=")[0] for entry in kept + parent)})
for name in filter(None, sc.parallelize([1], 1).map(look).collect()[0]):
    print("sees", name)
"""


def test_weakening_settings_are_refused_by_name(run):
    ran = run(ALL)
    assert ran.code == 0, ran.output
    assert "TAKEN" not in ran.output
    for name, value in WEAKENING.items():
        assert f"refused {name} LaunchRefused {name}={value} would weaken the protection: " in ran.output
    assert "then 3" in ran.output


def test_uncaught_refusal_is_the_exit_code(run):
    ran = run(
        "from pyspark.sql import SparkSession\n"
        "SparkSession.builder.config('spark.ui.enabled', 'true').getOrCreate()\n"
    )
    assert ran.code == LaunchRefused.exit_code
    assert "LaunchRefused: spark.ui.enabled=true would weaken the protection: the web pages" in ran.output


def test_settings_of_a_session_are_refused_at_the_next_query(run):
    ran = run(SESSION)
    assert ran.code == 0, ran.output
    assert "TAKEN" not in ran.output
    assert ran.output.count(" True") == 7, ran.output
    assert "refused core" in ran.output


def test_options_of_a_read_that_leave_files_out_are_refused(run):
    ran = run(READ)
    assert ran.code == 0, ran.output
    assert "TAKEN" not in ran.output
    assert ran.output.count("refused True") == 8, ran.output


def test_the_jvm_refuses_without_the_drivers_check(run):
    ran = run(
        "from pyspark import SparkConf, SparkContext\n"
        "SparkContext()  # the gateway is there\n"
        "SparkContext._active_spark_context.stop()\n"
        "jvm = SparkContext._jvm\n"
        "conf = jvm.SparkConf(True).setAppName('x').set('spark.eventLog.dir', 'file:/work/x')\n"
        "jvm.JavaSparkContext(conf)\n"
    )
    assert ran.code == 1
    assert "LaunchRefused: spark.eventLog.dir=file:/work/x would weaken" in ran.output


LIBRARY = """
from pyspark import SparkContext

SparkContext._ensure_initialized()
jvm = SparkContext._jvm
hadoop, root = jvm.org.apache.hadoop, jvm.java.net.URI("file:///")
early = hadoop.conf.Configuration()
early.set("fs.file.impl", "org.apache.hadoop.fs.LocalFileSystem")
before = hadoop.fs.FileSystem.get(root, early)
SparkContext()
create = jvm.java.util.EnumSet.of(hadoop.fs.CreateFlag.CREATE)
options = SparkContext._gateway.new_array(hadoop.fs.Options.CreateOpts, 0)
for fs in (
    hadoop.fs.FileSystem.newInstance(root, hadoop.conf.Configuration(True)),
    hadoop.fs.FileSystem.newInstance(root, hadoop.conf.Configuration(False)),
    before,
    hadoop.fs.FileContext.getFileContext(root, hadoop.conf.Configuration()),
):
    def write(path):
        fs.create(path, create, options) if "FileContext" in str(fs.getClass()) else fs.create(path)

    for name in ("/etc/passwd", "/work-not/x"):
        for act in (fs.open, write):
            try:
                act(hadoop.fs.Path(name))
                print("TAKEN", name)
            except Exception as error:
                print("refused", "NoGrant" in str(error), "" if "NoGrant" in str(error) else str(error))
"""

FIRST = """
from pyspark import SparkContext

SparkContext._ensure_initialized()
jvm = SparkContext._jvm
hadoop = jvm.org.apache.hadoop
hadoop.fs.FileSystem.closeAll()
conf = hadoop.conf.Configuration()
conf.set("fs.file.impl", "org.apache.hadoop.fs.LocalFileSystem")
hadoop.fs.FileSystem.get(jvm.java.net.URI("file:///"), conf)
SparkContext()
"""


def test_a_configuration_of_a_librarys_own_is_guarded(run):
    ran = run(LIBRARY)
    assert ran.code == 0, ran.output
    assert "TAKEN" not in ran.output
    assert ran.output.count("refused True") == 16, ran.output


def test_spark_does_not_start_where_another_file_system_is_in_place_of_the_guard(run):
    ran = run(FIRST)
    assert ran.code == 1
    assert "LaunchRefused: fs.file.impl: org.apache.hadoop.fs.LocalFileSystem was opened" in ran.output


def test_functions_see_no_secret(run):
    ran = run(ENVIRONMENT)
    assert ran.code == 0, ran.output
    names = {line.split()[1] for line in ran.output.splitlines() if line.startswith("sees ")}
    assert "SPARK_REUSE_WORKER" in names
    if not installed().unix_sockets:
        names.remove("PYTHON_WORKER_FACTORY_SECRET")  # by which they know the JVM
    assert not {name for name in names if "SECRET" in name or "TOKEN" in name}
    assert not {name for name in names if name.startswith(("CONFIDE", "_SPARK"))}
