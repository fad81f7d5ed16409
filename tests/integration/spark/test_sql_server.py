"""The server of SQL as Hive's JDBC driver meets it; only the enclave is missing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from .conftest import JARS
from .servers import Server, authority, serving, token_of

pytestmark = pytest.mark.spark

Beeline = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def sql_server(profile, module_context) -> Iterator[Server]:
    with serving(profile, *module_context, 'version = 1\nserver = "sql"\n') as server:
        yield server


@pytest.fixture(scope="module")
def beeline(sql_server, tmp_path_factory) -> Beeline:
    """Run statements through JDBC; return exit code and output."""
    folder = tmp_path_factory.mktemp("client")
    (folder / "ca.pem").write_bytes(authority(sql_server))
    keytool = ["keytool", "-importcert", "-noprompt", "-alias", "ca", "-file", str(folder / "ca.pem")]
    keytool += ["-keystore", str(folder / "ca.p12"), "-storetype", "PKCS12", "-storepass", "public"]
    subprocess.run(keytool, check=True, capture_output=True)
    trusted = f"{sql_server.url};sslTrustStore={folder / 'ca.p12'};trustStorePassword=public"

    def run(*statements: str, password: str = token_of(1), url: str = trusted) -> tuple[int, str]:
        (folder / "password").write_text(password)
        argv = [shutil.which("java") or "java", "-cp", f"{JARS}/*", "org.apache.hive.beeline.BeeLine"]
        argv += ["-u", url, "-n", "anybody", "-w", str(folder / "password")]
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
    _, said = beeline(*refused, "SET spark.hadoop.hive.server2.keystore.password", "SELECT 40 + 2 AS last")
    for reason in refused.values():
        assert reason in said
    assert "redacted" in said, said
    assert "42" in said


def test_who_has_no_token_is_not_served(beeline):
    code, said = beeline("SELECT 40 + 2 AS x", password="0" * 64)
    assert "42" not in said
    assert "not a token of this server" in said or code != 0, said


def test_nothing_is_said_in_clear(beeline, sql_server):
    code, said = beeline("SELECT 40 + 2 AS x", url=sql_server.url.removesuffix(";ssl=true"))
    assert code != 0, said
    assert "42" not in said
