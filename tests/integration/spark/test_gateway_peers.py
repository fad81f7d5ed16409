"""Who may speak to the gateway: the one driver, and nobody else."""

import pytest

from confide.spark.engine import installed

pytestmark = pytest.mark.spark

PRELUDE = """
import datetime, json, os, socket, ssl
from pathlib import Path
from cryptography.hazmat.primitives.serialization import Encoding
from pyspark import SparkContext
from confide.spark import gateway
from confide.jvm.agent import ask
from confide.jvm.certificates import Identity

secret = ask(Path(os.environ["CONFIDE_AGENT"]), "driver")
port = SparkContext._gateway.gateway_parameters.port
stranger = Identity.new("driver", datetime.datetime.now(datetime.UTC))
forged = {
    "key": stranger.key_bytes(Encoding.PEM).decode(),
    "certificate": stranger.certificate.public_bytes(Encoding.PEM).decode(),
}

def attempt(name, call):
    try:
        print(name, "TAKEN", call())
    except Exception as error:
        print(name, "refused", type(error).__name__)
"""

PEERS = (
    PRELUDE
    + """
def speak(**changes):
    return gateway.connect(port, {**secret, **changes}).jvm.System.currentTimeMillis() > 0

def raw(context=None, send=b"c\\n"):
    with socket.create_connection(("127.0.0.1", port), timeout=20) as plain:
        wrapped = context.wrap_socket(plain, server_hostname="127.0.0.1") if context else plain
        wrapped.sendall(send)
        answer = wrapped.recv(100)
        if not answer or answer[0] == 21:  # closed, or a TLS alert
            raise ConnectionError
        return answer

def context(**options):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=secret["peer"])
    for name, value in options.items():
        setattr(made, name, value)
    return made

print("own certificate and token", speak())
attempt("another certificate", lambda: speak(**forged))
attempt("another token", lambda: speak(token="0" * 64))
attempt("no token", lambda: speak(token=""))
attempt("another server", lambda: speak(peer=forged["certificate"]))
attempt("no certificate", lambda: raw(context()))
attempt("TLS 1.2", lambda: raw(context(maximum_version=ssl.TLSVersion.TLSv1_2)))
attempt("plain", lambda: raw())
print("still there", speak())
"""
)

CALLBACKS = (
    PRELUDE
    + """
from pyspark.java_gateway import ensure_callback_server_started
from pyspark.sql import SparkSession

spark = SparkSession.builder.getOrCreate()
ensure_callback_server_started(SparkContext._gateway)
back = SparkContext._gateway._callback_server.port

def speak(certificate=None, plain=False):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(cadata=secret["certificate"])
    if certificate:
        Path(os.environ["TMPDIR"], "pem").write_text(certificate["key"] + certificate["certificate"])
        made.load_cert_chain(Path(os.environ["TMPDIR"], "pem"))
    with socket.create_connection(("127.0.0.1", back), timeout=20) as raw:
        peer = raw if plain else made.wrap_socket(raw, server_hostname="127.0.0.1")
        peer.sendall(b"c\\np0\\n")
        answer = peer.recv(100)
        if not answer or answer[0] == 21:
            raise ConnectionError
        return answer

attempt("stranger", lambda: speak(forged))
attempt("nobody", lambda: speak())
attempt("plain", lambda: speak(plain=True))
seen = []
query = (
    spark.readStream.format("rate-micro-batch").option("rowsPerBatch", 5).load()
    .writeStream.foreachBatch(lambda frame, number: seen.append(number))
    .option("checkpointLocation", os.environ["TMPDIR"] + "/c").start()
)
while not seen and query.isActive:
    query.awaitTermination(0.1)
query.stop()
print("callback", seen[0])
"""
)


def test_only_the_driver_reaches_the_jvm(run):
    ran = run(PEERS)
    assert ran.code == 0, ran.output
    assert "TAKEN" not in ran.output
    assert ran.output.count(" refused ") == 7
    assert "another certificate refused" in ran.output
    assert "another token refused Py4JAuthenticationError" in ran.output
    assert "another server refused SSLCertVerificationError" in ran.output
    assert "still there True" in ran.output


def test_only_the_jvm_reaches_the_driver(run):
    ran = run(CALLBACKS)
    assert ran.code == 0, ran.output
    assert "TAKEN" not in ran.output
    assert ran.output.count(" refused ") == 3
    assert "callback 0" in ran.output


SOCKETS = """
import os
from pathlib import Path
from pyspark.sql import SparkSession, functions as F

spark = SparkSession.builder.getOrCreate()
jvm = spark._jvm.java.lang.ProcessHandle.current().pid()
own = {str(jvm): "jvm", str(os.getpid()): "driver"}
inodes = {}
def sample(moment):
    for pid, name in own.items():
        for fd in Path("/proc", pid, "fd").iterdir():
            try:
                link = os.readlink(fd)
            except OSError:
                continue
            if link.startswith("socket:["):
                inodes[link[8:-1]] = name
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            cells = line.split()
            if cells[9] in inodes:
                state = "LISTENS" if cells[3] == "0A" else "CONNECTED"
                ports = [int(cell.split(":")[1], 16) for cell in cells[1:3]]
                print(state, inodes[cells[9]], *ports)

def slow(rows):
    import time
    time.sleep(0.2)
    return rows

print("gateway", spark.sparkContext._gateway.gateway_parameters.port)
rows = spark.range(20).repartition(2).mapInPandas(slow, "id long").toLocalIterator(prefetchPartitions=True)
sample("while rows arrive")
print(len(list(rows)))
sample("after")
"""


@pytest.mark.skipif(not installed().unix_sockets, reason="all of it is TCP, in a network of its own")
def test_all_tcp_connections_are_the_gateways(run):
    ran = run(SOCKETS)
    assert ran.code == 0, ran.output
    lines = [line.split() for line in ran.output.splitlines()]
    gateway = next(line[1] for line in lines if line[0] == "gateway")
    connections = [line for line in lines if line[0] == "CONNECTED"]
    assert connections
    assert all(gateway in line[2:] for line in connections)
    # The gateway, and two of Spark's own with authentication and AES-GCM, which nothing in local mode uses.
    assert len({line[2] for line in lines if line[0] == "LISTENS" and line[1] == "jvm"}) == 3
    assert not [line for line in lines if line[0] == "LISTENS" and line[1] == "driver"]
