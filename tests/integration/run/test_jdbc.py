"""Spark's `jdbc` source and a real PostgreSQL: TLS that verifies, and a password that the broker releases."""

from __future__ import annotations

import re
import threading
import time
from pathlib import Path

import pytest
from tests.postgres import PASSWORD, USER, postgres_server

from confide.broker.ca import CertificateAuthority
from confide.broker.listing_signing import sign_listing
from confide.data.folders import encrypt_files
from confide.data.sealed import SealedReader

pytestmark = [pytest.mark.spark, pytest.mark.slow]

DRIVER = Path("/usr/share/java/postgresql.jar")
PROGRAM = f"""
import sys

from pyspark.sql import SparkSession

url, other_url = sys.argv[1:]
spark = (
    SparkSession.builder.config("spark.eventLog.enabled", "true")
    .config("spark.eventLog.dir", "sealed:///work/events")
    .config("spark.eventLog.compress", "false")
    .getOrCreate()
)
password = spark.read.text("secrets/postgres").first().value
database = {{"user": "{USER}", "password": password, "sslmode": "verify-full", "sslrootcert": "/app/ca.pem"}}
patients = spark.read.jdbc(url, "patients", properties=database)
patients.explain(True)
patients.groupBy("ward").count().write.jdbc(url, "wards", properties=database)
wards = spark.read.jdbc(url, "wards", column="count", lowerBound=0, upperBound=9, numPartitions=2, properties=database)
wards.write.mode("overwrite").parquet("out/wards")
print("WARDS", sorted(map(tuple, wards.collect())))


def attempt(name, place=url, **changes):
    try:
        spark.read.jdbc(place, "patients", properties=database | changes).collect()
        print("TAKEN", name)
    except Exception as error:
        print("CASE", name, " ".join(f"{{error}} {{getattr(error, '_stackTrace', None)}}".split()))


attempt("wrong authority", sslrootcert="/app/other.pem")
attempt("wrong name", other_url)
attempt("wrong password", password="not it")
for mode in ("disable", "allow", "prefer", "require", "verify-ca"):
    attempt("mode " + mode, sslmode=mode)
attempt("mode in the url", url + "?sslmode=require")
attempt("no verification", sslfactory="org.postgresql.ssl.NonValidatingFactory")
attempt("any authority", sslfactory="org.postgresql.ssl.DefaultJavaSSLFactory")
attempt("authority in the url", url + "?sslrootcert=/work/ca.pem")
attempt("authority by a detour", sslrootcert="/app/../work/ca.pem")
attempt("no authority", sslrootcert="")
attempt("any name", sslhostnameverifier="mine.Verifier")
attempt("no TLS", gssEncMode="require")
del database["sslmode"]
attempt("no mode")
database["sslmode"] = "verify-full"
attempt("another provider", connectionProvider="postgres")
attempt("another database", "jdbc:derby:memory:x;create=true", driver="org.apache.derby.iapi.jdbc.AutoloadedDriver")
try:
    spark.conf.set("spark.sql.sources.disabledJdbcConnProviderList", "")
except Exception as error:
    print("not set", error)
attempt("another setting", sslmode="require")
"""


RECIPE = {
    "jars": (DRIVER,),
    "includes": (Path("ca.pem"), Path("other.pem")),
    "args": (r"jdbc:postgresql://127\.0\.0\.[12]:[0-9]+/[a-z0-9_]+",) * 2,
}


@pytest.fixture(scope="module")
def database():
    if not DRIVER.exists():
        pytest.skip("needs Debian's package libpostgresql-jdbc-java: CONFIDE_TEST_TOOLS=1 scripts/setup.sh")
    with postgres_server() as server:
        server.stop()
        server.present(["127.0.0.1"])
        server.start("listen_addresses=127.0.0.1,127.0.0.2", "ssl_min_protocol_version=TLSv1.3")
        name = server.new_database()
        server.run(
            "CREATE TABLE patients AS SELECT * FROM (VALUES ('a', 1), ('b', 2), ('a', 3)) t(ward, stay)", name
        )
        server.run(f"ALTER TABLE patients OWNER TO {USER}", name)
        server.name = name
        yield server


@pytest.fixture(scope="module")
def clinic(site, database, new_owner, small_spark):
    owner = new_owner("clinic", site.broker("local"), site.root)
    plain = site.root / "password"
    plain.write_text(PASSWORD)
    (site.data / "secrets").mkdir()
    (site.data / "events").mkdir()
    listing = encrypt_files(
        plain, site.data / "secrets/postgres", owner.keyset, owner.key, location="secrets/postgres"
    )
    owner.store.commit_listing(listing, sign_listing(listing, owner._signing_key, "clinic"), 0)
    plain.unlink()
    (site.root / "app/ca.pem").write_bytes(database.authority.certificate_pem)
    other = CertificateAuthority.create(int(time.time()))
    (site.root / "app/other.pem").write_bytes(other.certificate_pem)
    site.build(PROGRAM, small_spark, **RECIPE)
    return owner


@pytest.fixture(scope="module")
def arguments(database):
    return [f"jdbc:postgresql://127.0.0.{host}:{database.port}/{database.name}" for host in (1, 2)]


class Watch:
    """Looks at what the operator sees of a run's processes."""

    def __init__(self, site):
        self._site, self._over = site, threading.Event()
        self.seen: set[bytes] = set()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _look(self):
        while not self._over.wait(0.3):
            for process in self._site.processes():
                for what in ("environ", "cmdline"):
                    try:
                        self.seen.add(Path(f"/proc/{process}/{what}").read_bytes())
                    except OSError:
                        continue


@pytest.fixture(scope="module")
def ran(site, clinic, arguments):
    """The sealed log of one run, and what was seen meanwhile."""
    grants = [("out/wards", "write")]
    clinic.allow(site.image, *grants, read_files=["secrets/postgres"], files=["events"], logs="clinic/data")
    with Watch(site) as watch:
        code = site.run(*arguments)
    log = site.log(clinic)
    assert code == 0, log
    return log, watch.seen


def case(log, name):
    found = re.search(rf"^CASE {name} (.*)$", log, re.MULTILINE)
    assert found, log
    return found[1]


def test_a_database_is_read_and_written(site, clinic, database, ran):
    assert "WARDS [('a', 2), ('b', 1)]" in ran[0]
    assert sorted(clinic.read(site.data, "out/wards")["ward"].to_pylist()) == ["a", "b"]
    assert sorted(database.run("SELECT ward, count FROM wards", database.name)) == [("a", 2), ("b", 1)]
    assert "TAKEN" not in ran[0]


def test_a_server_of_another_authority_is_refused(ran):
    assert "PKIX path" in case(ran[0], "wrong authority")


def test_a_server_of_another_name_is_refused(ran):
    assert "127.0.0.2" in case(ran[0], "wrong name")
    assert "could not be verified" in case(ran[0], "wrong name")


@pytest.mark.parametrize(
    ("name", "setting"),
    [
        *(
            (f"mode {mode}", f"sslmode={mode}")
            for mode in ("disable", "allow", "prefer", "require", "verify-ca")
        ),
        ("mode in the url", "sslmode=require"),
        ("no mode", "sslmode="),
        ("no verification", "sslfactory=org.postgresql.ssl.NonValidatingFactory"),
        ("any authority", "sslfactory=org.postgresql.ssl.DefaultJavaSSLFactory"),
        ("authority in the url", "sslrootcert=/work/ca.pem"),
        ("authority by a detour", "sslrootcert=/app/../work/ca.pem"),
        ("no authority", "sslrootcert="),
        ("any name", "sslhostnameverifier=mine.Verifier"),
        ("no TLS", "gssEncMode=require"),
    ],
)
def test_what_would_not_verify_is_refused_by_name(ran, name, setting):
    assert f"LaunchRefused: {setting} of the database would weaken the protection" in case(ran[0], name)


def test_other_ways_to_databases_are_refused(ran):
    assert "LaunchRefused: jdbc: only PostgreSQL is spoken to" in case(ran[0], "another database")
    assert "postgres" in case(ran[0], "another provider")
    assert "LaunchRefused: " in case(ran[0], "another setting")


def test_the_password_is_nowhere(site, clinic, ran):
    log, seen = ran
    assert "password authentication failed" in case(log, "wrong password")
    assert PASSWORD not in log
    assert any(b"confide.spark.Gateway" in said for said in seen)  # the JVM, among others
    assert not [said for said in seen if PASSWORD.encode() in said]
    events = [path for path in (site.data / "events").rglob("*") if path.is_file() and path.stat().st_size]
    assert events
    told = []
    for path in events:
        assert b"SparkListener" not in path.read_bytes()
        with path.open("rb") as file, SealedReader(file, clinic.keyset) as reader:
            told.append(bytes(reader.readall()).decode())
    assert "SparkListenerSQLExecutionStart" in "".join(told)  # plans are in there
    assert PASSWORD not in "".join(told)
    for path in site.data.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes()


def test_without_the_owners_grant_there_is_no_password(site, clinic, arguments):
    clinic.allow(site.image, ("out/wards", "write"), files=["events"], logs="clinic/data")
    assert site.run(*arguments) == 1
    assert (
        site.log(clinic)
        .rstrip()
        .splitlines()[-1]
        .startswith("confide: NoGrant: no grant for secrets/postgres")
    )


@pytest.mark.slow
def test_executors_speak_to_the_database_alike(site, clinic, database, arguments, small_spark):
    database.run("DROP TABLE IF EXISTS wards", database.name)
    executor = site.build_executor(PROGRAM, small_spark, **RECIPE)
    grants = {"read_files": ["secrets/postgres"], "files": ["events"], "logs": "clinic/data"}
    clinic.allow(site.image, ("out/wards", "write"), executor=executor, **grants)
    with Watch(site) as watch:
        code = site.run_job(*arguments, executors=1)
    logs = site.logs(clinic)
    log = next(log for log in logs if "CASE" in log)
    assert code == 0, log
    assert "WARDS [('a', 2), ('b', 1)]" in log
    assert "TAKEN" not in log
    assert "PKIX path" in case(log, "wrong authority")
    assert sorted(database.run("SELECT ward, count FROM wards", database.name)) == [("a", 2), ("b", 1)]
    assert any(b"confide.spark.ExecutorProcess" in said for said in watch.seen)
    for said in (*(each.encode() for each in logs), *watch.seen):
        assert PASSWORD.encode() not in said
