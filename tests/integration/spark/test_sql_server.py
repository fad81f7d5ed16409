"""The server of SQL as Hive's JDBC driver meets it; only the enclave is missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from .conftest import JARS
from .servers import Server, authority, serving, token_of

pytestmark = pytest.mark.spark

Beeline = Callable[..., tuple[int, str]]
OPEN_SESSION = Path(__file__).with_name("OpenSession.java")


@pytest.fixture(scope="module")
def sql_server(profile, module_context) -> Iterator[Server]:
    with serving(profile, *module_context, 'version = 1\nserver = "sql"\n') as server:
        yield server


@pytest.fixture(scope="module")
def client(sql_server, tmp_path_factory) -> Path:
    """A folder with a store that trusts the server: `ca.p12`."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "ca.pem").write_bytes(authority(sql_server))
    keytool = ["keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", str(folder / "ca.pem")]
    keytool += ["-keystore", str(folder / "ca.p12"), "-storetype", "PKCS12", "-storepass", "public"]
    subprocess.run(keytool, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def beeline(sql_server, client) -> Beeline:
    """Run statements through JDBC; return exit code and output."""
    trusted = f"{sql_server.url};sslTrustStore={client / 'ca.p12'};trustStorePassword=public"

    def run(*statements: str, password: str = token_of(1), url: str = trusted) -> tuple[int, str]:
        (client / "password").write_text(password)
        argv = [shutil.which("java") or "java", "-cp", f"{JARS}/*", "org.apache.hive.beeline.BeeLine"]
        argv += ["-u", url, "-n", "anybody", "-w", str(client / "password")]
        argv += ["--outputformat=csv2", "--force=true"]
        argv += [word for statement in statements for word in ("-e", statement)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout + done.stderr

    return run


def test_sql_over_jdbc(beeline):
    code, said = beeline("SELECT id % 2 AS k, count(*) AS n FROM range(7) GROUP BY k ORDER BY k")
    assert code == 0, said
    assert "0,4" in said
    assert "1,3" in said


def test_clients_run_no_code_and_read_no_secret(beeline):
    refused = {
        "SELECT java_method('java.lang.System', 'getenv', 'HOME')": "reflect, java_method",
        "SELECT TRANSFORM(id) USING 'cat' AS x FROM range(1)": "TRANSFORM ... USING",
        "ADD JAR '/tmp/x.jar'": "ADD JAR: code",
        "SET spark.sql.variable.substitute=true": "variable.substitute=true would weaken",
        "SELECT * FROM text.`/proc/self/environ`": "NoGrant",
    }
    _, said = beeline(
        *refused, "SET spark.hadoop.hive.server2.keystore.password", "SELECT 123456788 + 2 AS last"
    )
    for reason in refused.values():
        assert reason in said
    assert "redacted" in said, said
    assert "123456790" in said


def test_who_has_no_token_is_not_served(beeline):
    code, said = beeline("SELECT 123456788 + 2 AS x", password="0" * 64)
    assert "123456790" not in said
    assert code != 0, said


def test_nothing_is_said_in_clear(beeline, sql_server):
    code, said = beeline("SELECT 123456788 + 2 AS x", url=sql_server.url.removesuffix(";ssl=true"))
    assert code != 0, said
    assert "123456790" not in said


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("set:hivevar:ward", "7", "SUCCESS"),
        ("set:hiveconf:spark.sql.shuffle.partitions", "7", "SUCCESS"),
        ("set:system:hive.server2.custom.authentication.class", "java.lang.Object", "nothing else"),
        ("set:metaconf:hive.metastore.uris", "thrift://127.0.0.1:1", "nothing else"),
        ("hive.exec.scratchdir", "/tmp", "nothing else"),
        ("set:hiveconf:hive.exec.scratchdir", "/tmp", "nothing else"),
        ("set:hivevar:spark.sql.shuffle.partitions", "7", "nothing else"),
        ("set:hivevar:x", "${system:user.home}", "put together"),
        ("set:hiveconf:spark.sql.variable.substitute", "true", "would weaken"),
    ],
)
def test_what_a_session_sets_as_it_opens(sql_server, client, name, value, status):
    port = str(urlsplit(sql_server.url.removeprefix("jdbc:")).port)
    argv = [shutil.which("java") or "java", "-cp", f"{JARS}/*", str(OPEN_SESSION)]
    argv += [port, str(client / "ca.p12"), token_of(1), name, value]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert status in done.stdout, done.stderr
