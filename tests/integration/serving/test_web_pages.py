"""Spark's web pages of a run: over TLS 1.3, for whoever has the token, and for nobody else."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.spark, pytest.mark.exhaustive]

SECRET = "hunter2-4711"
PROGRAM = f"""
import time
from pyspark.sql import SparkSession

spark = SparkSession.builder.config("spark.example.password", "{SECRET}").getOrCreate()
print(spark.read.parquet("data/patients").groupBy("ward").count().collect())
spark.range(1).write.parquet("out/done")
time.sleep(600)
"""
PAGES = ("/", "/jobs/", "/SQL/", "/environment/", "/executors/", "/static/webui.css", "/api/v1/applications")
NOWHERE = ("/nothing", "/metrics/json/", "/metrics/executors/prometheus/", "/static/../jobs/", "//jobs/")
READY_S = 180.0


@dataclass
class Pages:
    """Those of a running program."""

    port: int
    process: subprocess.Popen[str]
    authority: str
    token: str

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, bytes]:
        context = ssl.create_default_context(cadata=self.authority)
        connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=context, timeout=60)
        with contextlib.closing(connection):
            connection.request(method, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()

    def seen(self, path: str) -> str:
        status, page = self.get(path, Authorization=basic(self.token))
        assert status == 200, (path, status)
        return page.decode()


def basic(token: str, user: str = "anybody") -> str:
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def token(owner) -> str:
    for key in ("patients", "results", "viewers", "others"):
        owner.ok("key", "create", f"clinic/{key}")
    (owner.folder / "patients.csv").write_text("name,ward\nAda,north\nBea,south\n")
    owner.ok("encrypt", "patients.csv", "data/patients", "--key", "clinic/patients")
    (owner.folder / "study.py").write_text(PROGRAM)
    return owner.ok("spark", "token", "clinic/viewers").strip()


def allow(owner, *more: str) -> None:
    granted = ("--read", "data/patients", "--write", "out/done=clinic/results", "--logs", "clinic/logs")
    owner.ok("policy", "allow", "study.py", *granted, *more)
    owner.ok("policy", "apply", "policy.toml")


@pytest.fixture(scope="module")
def pages(owner, token) -> Iterator[Pages]:
    allow(owner, "--requests", "clinic/viewers")
    accepted = owner.folder / "study.accept.toml"
    accepted.write_text(owner.ok("spark", "accept", "study"))
    port = free_port()
    argv = [
        *(sys.executable, "-m", "confide", "run", "--tee", "simulated", "--ui", f"127.0.0.1:{port}"),
        "study.py",
    ]
    process = subprocess.Popen(argv, **owner._started)
    try:
        deadline = time.monotonic() + READY_S
        while not (owner.folder / "out/done/_confide.listing").exists():
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < deadline
            time.sleep(0.2)
        said = owner.ok("spark", "verify", f"https://127.0.0.1:{port}", "--accept", str(accepted), "--json")
        yield Pages(port, process, json.loads(said)["authority"], token)
    finally:
        process.kill()
        process.wait()


def test_whoever_has_the_token_sees_them(pages):
    assert "Spark Jobs" in pages.seen("/jobs/")
    assert "count" in pages.seen("/SQL/execution/?id=0")
    [application] = json.loads(pages.seen("/api/v1/applications"))
    assert json.loads(pages.seen(f"/api/v1/applications/{application['id']}/jobs"))
    assert pages.get("/jobs/", Authorization=f"Bearer {pages.token}")[0] == 200


def test_secrets_among_the_settings_are_not_shown(pages):
    [application] = json.loads(pages.seen("/api/v1/applications"))
    told = pages.seen(f"/api/v1/applications/{application['id']}/environment")
    assert "spark.example.password" in told
    for shown in (told, pages.seen("/environment/")):
        assert SECRET not in shown
        assert pages.token not in shown
        assert not re.search(r"\b[0-9a-f]{64}\b", shown)


@pytest.mark.parametrize("path", PAGES + NOWHERE)
def test_nobody_else_sees_any(pages, path):
    status, page = pages.get(path)
    assert status in (400, 401), status
    assert b"patients" not in page
    assert b"Spark Jobs" not in page


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Bearer",
        "Bearer ",
        basic(""),
        basic("0" * 64),
        "Basic {token}",
        "Digest {token}",
        "Bearer {token}0",
        "Bearer x{token}",
        "{token}",
    ],
)
def test_no_token_of_theirs(pages, header):
    assert pages.get("/jobs/", Authorization=header.format(token=pages.token))[0] == 401


def test_a_token_of_another_key(pages, owner):
    other = owner.ok("spark", "token", "clinic/others").strip()
    assert pages.get("/jobs/", Authorization=basic(other))[0] == 401


def test_viewers_end_nothing(pages):
    for path in ("/jobs/job/kill/?id=0", "/stages/stage/kill/?id=0"):
        assert pages.get(path, "POST", Authorization=basic(pages.token))[0] in (403, 404, 405)


def test_tls_of_version_1_2_is_refused(pages):
    context = ssl.create_default_context(cadata=pages.authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with (
        socket.create_connection(("127.0.0.1", pages.port)) as connection,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(connection, server_hostname="127.0.0.1")


def test_no_port_answers_in_clear(pages):
    ports = listening(pages.process.pid)
    assert pages.port in ports
    for port in ports:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.settimeout(5)
            connection.sendall(b"GET /jobs/ HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = b""
            with contextlib.suppress(OSError):
                answer = connection.recv(4096)
            assert not answer.startswith(b"HTTP/1.1 "), (port, answer)


def test_a_port_that_is_taken(owner, token):
    allow(owner, "--requests", "clinic/viewers")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, said = owner.run("run", "--tee", "simulated", "--ui", f"127.0.0.1:{port}", "study.py")
    assert code == 1, said
    assert f"{port} is taken" in owner.ok("logs", "--last", "1")


def test_without_a_key_for_tokens(owner, token):
    allow(owner)
    code, said = owner.run("run", "--tee", "simulated", "--ui", f"127.0.0.1:{free_port()}", "study.py")
    assert code == 84, said
    assert "--requests" in said


def test_settings_that_a_program_asks_for(owner, token):
    for setting in ("spark.ui.enabled=true", "spark.ssl.ui.enabled=false", "spark.ui.filters="):
        code, said = owner.run("run", "--tee", "simulated", "--conf", setting, "study.py")
        assert code == 95, said
        assert setting.partition("=")[0] in said


@pytest.mark.parametrize(
    "options",
    [
        ("--name", "spark.clinic.example"),
        ("--ui", "127.0.0.1:4440", "--libos", "gramine"),
        ("--ui", "127.0.0.1:4440", "--guest", "guest"),
    ],
)
def test_where_there_are_none(owner, token, options):
    code, said = owner.run("run", "--tee", "simulated", *options, "study.py")
    assert code == 64, said
    assert f"confide: Misuse: {options[0]}" in said


@pytest.mark.parametrize("address", ["4440", "0.0.0.0:4440", "x:y", "127.0.0.1:99999"])
def test_addresses_that_are_none(owner, token, address):
    code, said = owner.run("run", "--tee", "simulated", "--ui", address, "study.py")
    assert code == 64, said


def listening(parent: int) -> set[int]:
    """Return the TCP ports that a process and its descendants listen on."""
    inodes, family = set(), {parent}
    for _ in range(8):
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1]) in family:
                    family.add(int(folder.name))
    for pid in family:
        with contextlib.suppress(OSError):
            inodes |= {os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in inodes:
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports
