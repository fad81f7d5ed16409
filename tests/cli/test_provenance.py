"""`confide audit provenance` of what an owner encrypted; of a model that a workload made, with the torch tests."""

from __future__ import annotations

import hashlib
import json
import sqlite3

import pytest

from confide.errors import FileChanged, Misuse, Tampered


@pytest.fixture
def model(clinic):
    """Sealed files at data/model."""
    (clinic.folder / "model").mkdir()
    (clinic.folder / "model/weights.bin").write_bytes(b"weights" * 100_000)
    clinic.ok("encrypt", "model", "data/model", "--key", "clinic/patients", "--as", "files")
    return clinic


def test_files_and_who_encrypted_them(model):
    told = json.loads(model.ok("audit", "provenance", "data/model", "--json").out)
    digest = hashlib.sha256(b"weights" * 100_000).hexdigest()
    assert told["files"] == {"weights.bin": digest}
    (step,) = told["steps"]
    assert (step["location"], step["serial"], step["made_by"]) == ("data/model", 1, "owner")
    assert told["log"]["size"] == len(json.loads(model.ok("audit", "--json").out))
    said = model.ok("audit", "provenance", "data/model")
    assert digest in said.out
    assert "by its owner" in said.out


def test_a_table_has_a_provenance_too(clinic):
    told = json.loads(clinic.ok("audit", "provenance", "data/patients", "--json").out)
    assert list(told["files"].values()) == [None]
    assert told["steps"][0]["made_by"] == "owner"


def test_a_changed_file_has_none(model):
    (path,) = (model.folder / "data/model").glob("*.bin")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert model("audit", "provenance", "data/model").code == Tampered.exit_code
    path.write_bytes(data[:-1])
    assert model("audit", "provenance", "data/model").code == FileChanged.exit_code


def test_a_changed_log_tells_nothing(model):
    with sqlite3.connect(model.home / "store.db") as database:
        database.execute("UPDATE audit_entry SET leaf = replace(leaf, 'encrypt', 'eNcrypt')")
    said = model("audit", "provenance", "data/model")
    assert (said.code, said.out) == (Tampered.exit_code, "")


def test_a_broker_needs_its_authority(model):
    said = model("audit", "provenance", "data/model", "--broker", "https://127.0.0.1:1")
    assert said.code == Misuse.exit_code
