from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from cryptography.hazmat.primitives import hmac
from cryptography.hazmat.primitives.hashes import SHA256

from confide.enclave import group_key, program_socket
from confide.spark.installation import workers_sandbox
from confide.spark.ranks import job_key

SECRET = "42" * 32


def test_the_key_of_a_job_is_what_its_format_says():
    """HKDF-SHA-256 by hand (RFC 5869): no salt is a salt of zeros, and one block is enough."""

    def digest(key: bytes, data: bytes) -> bytes:
        mac = hmac.HMAC(key, SHA256())
        mac.update(data)
        return mac.finalize()

    extracted = digest(bytes(32), bytes.fromhex(SECRET))
    assert job_key(SECRET) == digest(extracted, b"confide collectives 1 job\x01")


def test_each_job_has_its_own():
    assert job_key(SECRET) != job_key("43" * 32)
    assert bytes.fromhex(SECRET) != job_key(SECRET)


def test_functions_reach_what_is_served_to_ranks_and_nothing_else_of_the_agent(tmp_path, monkeypatch):
    folders = [tmp_path / "group", tmp_path / "program"]
    for module, folder in zip((group_key, program_socket), folders, strict=True):
        monkeypatch.setattr(module, "FOLDER", str(folder))
        assert str(folder) not in workers_sandbox(tmp_path, {})
        folder.mkdir()
    prefix = workers_sandbox(tmp_path, {})
    for folder in folders:
        assert prefix[prefix.index(str(folder)) - 1] == "--ro-bind"
    assert not [word for word in prefix if word.startswith("/run")]


def test_functions_see_tables_that_the_program_reads_itself_and_write_none(tmp_path):
    prefix = workers_sandbox(tmp_path, {"/work/data/digits": Path("/elsewhere/data/digits")})
    at = prefix.index("/work/data/digits")
    assert prefix[at - 2 : at] == ["--ro-bind", "/elsewhere/data/digits"]
    assert "/work/data/digits" not in workers_sandbox(tmp_path, {})


def test_what_ranks_print_is_not_sent_to_the_driver():
    """By PySpark's own module it would be, in clear, and whoever connects could write into the driver's log."""
    program = (
        "from confide.spark import rank_output; rank_output.install()\n"
        "from pyspark.ml.torch import distributor\n"
        "server = distributor.LogStreamingServer(); server.start(spark_host_address='127.0.0.1')\n"
        "client = distributor.LogStreamingClient('127.0.0.1', server.port)\n"
        "client.send('line'); print(server.port, client.failed); server.shutdown()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "-1 True\n"
