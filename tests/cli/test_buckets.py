"""Encrypt to S3, decrypt and inspect from it: a server of its API (moto), and storage that lies."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from tests.s3 import S3, s3_server

PLACE = "s3a://bucket/tables/patients"


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with s3_server() as server:
        yield server


@pytest.fixture
def bucket(server, clinic, monkeypatch) -> Iterator[S3]:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    server.call("PUT", "/bucket")
    clinic.ok("encrypt", "patients.csv", PLACE, "--key", "clinic/patients")
    yield server
    server.call("POST", "/moto-api/reset")


def data_file(bucket: S3) -> str:
    return next(name for name in bucket.names("bucket") if name.endswith(".parquet"))


def refused(said, code: int, *words: str) -> None:
    assert said.code == code, said.err
    for word in words:
        assert word in said.err
    assert "Traceback" not in said.err


def test_a_table_comes_back(clinic, bucket):
    clinic.ok("decrypt", PLACE, "back.csv")
    assert len((clinic.folder / "back.csv").read_text().splitlines()) == 1001
    document = json.loads(clinic.ok("inspect", PLACE, "--json").out)
    assert (document["location"], document["serial"]) == (PLACE, 1)


def test_only_encrypted_files_are_there(clinic, bucket):
    for name in bucket.names("bucket"):
        content = bucket.call("GET", f"/bucket/{name}")
        assert b"patient 7" not in content
        assert b"value" not in content
    names = bucket.names("bucket")
    assert len(names) == 2
    assert "tables/patients/_confide.listing" in names


def test_files_of_any_kind(clinic, bucket):
    (clinic.folder / "scans/one").mkdir(parents=True)
    (clinic.folder / "scans/one/a b.bin").write_bytes(b"canary")
    clinic.ok("encrypt", "scans", "s3://bucket/scans", "--key", "clinic/patients", "--as", "files")
    assert b"canary" not in bucket.call("GET", "/bucket/scans/one/a%20b.bin")
    clinic.ok("decrypt", "s3://bucket/scans", "back")
    assert (clinic.folder / "back/one/a b.bin").read_bytes() == b"canary"


def test_what_lies_there_is_replaced_only_when_asked(clinic, bucket):
    old = data_file(bucket)
    (clinic.folder / "patients.csv").write_text("id,name,value\n1,one,1\n")
    again = ("encrypt", "patients.csv", PLACE, "--key", "clinic/patients")
    refused(clinic(*again), 68, "exists already", "--replace")
    assert data_file(bucket) == old
    clinic.ok(*again, "--replace")
    assert old not in bucket.names("bucket")
    assert len(bucket.names("bucket")) == 2
    clinic.ok("decrypt", PLACE, "back.csv")
    assert len((clinic.folder / "back.csv").read_text().splitlines()) == 2


@pytest.mark.parametrize("how", ["flip", "missing", "more", "plain", "old"])
def test_storage_that_lies(clinic, bucket, how):
    name = data_file(bucket)
    content = bucket.call("GET", f"/bucket/{name}")
    if how == "flip":
        at = len(content) // 2
        bucket.call("PUT", f"/bucket/{name}", content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        code, word = 90, ""
    elif how == "missing":
        bucket.call("DELETE", f"/bucket/{name}")
        code, word = 92, name.rpartition("/")[2]
    elif how == "more":
        bucket.call("PUT", "/bucket/tables/patients/more.parquet", content)
        code, word = 93, "more.parquet"
    elif how == "plain":
        bucket.call("PUT", f"/bucket/{name}", b"PAR1" + content[4:-4] + b"PAR1")
        code, word = 94, ""
    else:
        clinic.ok("encrypt", "patients.csv", PLACE, "--key", "clinic/patients", "--replace")
        for newer in bucket.names("bucket"):
            bucket.call("DELETE", f"/bucket/{newer}")
        bucket.call("PUT", f"/bucket/{name}", content)
        code, word = 92, ""
    refused(clinic("decrypt", PLACE, "back.csv"), code, word)
    assert not (clinic.folder / "back.csv").exists()


def test_a_name_that_leads_elsewhere(clinic, bucket):
    bucket.call("PUT", "/bucket/tables/patients/../../../../leaked", b"x")
    said = clinic("decrypt", PLACE, "back.csv")
    refused(said, 91, "no listing names a file")


@pytest.mark.parametrize("command", ["decrypt", "inspect"])
def test_nothing_there(clinic, bucket, command):
    more = ("back.csv",) if command == "decrypt" else ()
    refused(clinic(command, "s3a://bucket/nothing", *more), 94, "nothing lies at s3a://bucket/nothing")


def test_no_such_bucket(clinic, bucket):
    said = clinic("encrypt", "patients.csv", "s3a://nobody/x", "--key", "clinic/patients")
    refused(said, 73, "s3a://nobody/x: ", "hint:")
    assert "a-secret-of-the-tests" not in said.err
    # Nothing was committed at home: the next try is the first.
    said = clinic("inspect", "s3a://nobody/x")
    assert said.code != 0


@pytest.mark.parametrize("place", ["gs://bucket/x", "hdfs://namenode/x", "http://127.0.0.1/x"])
def test_other_stores(clinic, place):
    said = clinic("encrypt", "patients.csv", place, "--key", "clinic/patients")
    refused(said, 64, "only s3a:// is reached from here")
    assert not (clinic.folder / place.split("/")[0]).exists()
