"""Logs: printed for their owner, and nothing else in their place."""

from __future__ import annotations

import base64
import os
import shutil

import pytest

from confide.broker.home import Home
from confide.broker.release import Release, ReleasedKey
from confide.enclave.log import LOG_FOLDER, log_id, workload_output
from confide.errors import InvalidFormat
from confide.keys.names import KeyName

from .conftest import PASSPHRASE


@pytest.fixture
def release(clinic):
    """What the workload `job` receives."""
    with Home.open(clinic.home, PASSPHRASE.encode()) as home:
        key = home.store.key(KeyName.parse("clinic/patients"))
    versions = {str(v): base64.b64encode(secret).decode() for v, secret in key.secrets.items()}
    released = ReleasedKey(current=key.current, versions=versions)
    return Release(
        workload="job",
        owners=("clinic",),
        keys={"clinic/patients": released},
        grants=(),
        logs="clinic/patients",
        expires=1,
    )


@pytest.fixture
def log(clinic, release):
    """What a run of the workload `job` printed."""
    with workload_output(release, clinic.folder) as output:
        os.write(output, b"what it printed\n")
    (path,) = (clinic.folder / LOG_FOLDER).iterdir()
    return path


def test_a_log_is_printed(clinic, log):
    assert clinic.ok("logs").out == "what it printed\n"


def test_executors_logs_are_asked_for(clinic, release, log):
    with workload_output(release, clinic.folder, "executor-12") as output:
        os.write(output, b"what an executor printed\n")
    assert clinic.ok("logs", "--last", "2").out == "what it printed\n"
    printed = clinic.ok("logs", "--last", "2", "--executors").out
    assert sorted(printed.splitlines()) == ["what an executor printed", "what it printed"]
    assert clinic.ok("logs", "--executors", "--grep", "printed", "--last", "1").out


def test_a_workload_that_is_called_like_a_member_of_another(clinic, release):
    with workload_output(release, clinic.folder, "executor-12") as output:
        os.write(output, b"what an executor of job printed\n")
    alike = release.model_copy(update={"workload": "job.executor-12"})
    with workload_output(alike, clinic.folder) as output:
        os.write(output, b"what another workload printed\n")
    member, other = sorted(path.name for path in (clinic.folder / LOG_FOLDER).iterdir())[::-1]
    assert log_id(member) != log_id(other)
    assert clinic.ok("logs", "--last", "2").out == "what another workload printed\n"


def test_another_workloads_log_in_its_place(clinic, log):
    log.rename(log.with_name(log.name.replace("job-", "other-")))
    said = clinic("logs")
    assert (said.code, said.out) == (91, "")


def test_another_sealed_file_in_its_place(clinic, log):
    (clinic.folder / "note.txt").write_text("not printed by any run\n")
    clinic.ok("encrypt", "note.txt", "data/notes", "--key", "clinic/patients", "--as", "files")
    shutil.copy(clinic.folder / "data" / "notes" / "note.txt", log)
    said = clinic("logs")
    assert (said.code, said.out) == (91, "")


@pytest.mark.parametrize(
    "name", ["job.log", "job-20260101T000000Z-0123456.log", "-20260101T000000Z-01234567.log"]
)
def test_names_that_no_log_has(name):
    with pytest.raises(InvalidFormat):
        log_id(name)


def test_a_log_of_another_home(clinic, log):
    clinic.home = clinic.folder / "elsewhere"
    clinic.ok("init", "lab")
    said = clinic("logs")
    assert (said.code, said.out) == (82, "")
    assert "sealed for clinic: only its home can open it" in said.err
