from __future__ import annotations

import json

import pytest

from confide.enclave.job_file import MAX_BYTES, told_in, wait_for_job
from confide.errors import Misuse, Unavailable

OPENED = {"state": "opened", "job": "1f", "driver": "10.0.0.5:4012", "application": "app-1"}


def test_an_executor_finds_its_driver_with_a_number_of_its_own(tmp_path):
    path, told = tmp_path / "jobs" / "job.json", []
    with told_in(path, told.append) as tell:
        tell({"state": "attested"})
        assert not path.exists()
        tell(OPENED)
        first, second = wait_for_job(path), wait_for_job(path)
    assert {name: first[name] for name in first if name != "mesh_member"} == {
        "mesh_job": "1f",
        "driver": "10.0.0.5:4012",
        "application": "app-1",
    }
    assert first["mesh_member"] != second["mesh_member"]
    assert 1 <= int(first["mesh_member"]) < 10**9
    assert [each["state"] for each in told] == ["attested", "opened"]


def test_an_older_file_is_gone_before_the_driver_runs_and_its_own_afterwards(tmp_path):
    path = tmp_path / "job.json"
    path.write_text("older")
    with told_in(path, lambda _: None) as tell:
        assert not path.exists()
        tell(OPENED)
        assert path.exists()
    assert not path.exists()


def test_without_a_file_states_are_told_as_ever(tmp_path):
    told = []
    with told_in(None, told.append) as tell:
        tell(OPENED)
    assert told == [OPENED]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        json.dumps({"mesh_job": "1f", "driver": "x"}),
        json.dumps({"mesh_job": "1f", "driver": "x", "application": "y", "host": "z"}),
        json.dumps({"mesh_job": "1f", "driver": "x", "application": "y" * MAX_BYTES}),
    ],
)
def test_another_file_is_refused(tmp_path, text):
    path = tmp_path / "job.json"
    path.write_text(text)
    with pytest.raises(Misuse):
        wait_for_job(path)


def test_a_driver_that_does_not_come_is_not_waited_for_without_end(tmp_path):
    with pytest.raises(Unavailable, match="no driver"):
        wait_for_job(tmp_path / "job.json", seconds=0)
