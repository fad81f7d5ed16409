"""Executors that do not start: the job ends, and does not wait for them."""

from __future__ import annotations

from pathlib import Path

from confide.enclave import executors
from confide.enclave.executors import _Executors
from confide.enclave.run import RunRequest
from confide.errors import Unavailable

OPENED = {"job": "1" * 32, "driver": "127.0.0.1:1", "application": "app-1"}
TOO_LONG = Path("x" * 5000)
"""Which the operating system does not look up: it raises, as it does where it has no more processes."""


class Driver:
    def __init__(self):
        self.said, self.stopped = [], False

    def say(self, line):
        self.said.append(line)

    def stop(self):
        self.stopped = True


def test_an_error_of_the_operating_system_ends_the_job(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "PAUSE_SECONDS", 0.0)
    request = RunRequest(image=tmp_path, tee="simulated", home=tmp_path, brokers={}, data_root=TOO_LONG)
    driver, told = Driver(), []
    started = _Executors(driver, request, 1, told.append)
    started.begin(OPENED)
    for thread in started._threads:
        thread.join(60)
    assert driver.stopped
    assert isinstance(started.failure, Unavailable)
    assert "File name too long" in str(started.failure)
    assert [status["executor"] for status in told] == [1, 2, 3, 4]
    assert driver.said[0].startswith("executor 1 ended: OSError")


class Executor:
    """An executor that looks for its driver until somebody ends it."""

    def __init__(self, asked):
        self._asked = asked

    def stop(self):
        self._asked.append("stop")

    def kill(self):
        self._asked.append("kill")


def test_executors_that_do_not_end_by_themselves_are_asked_to_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(executors, "GRACE_SECONDS", 0.0)
    request = RunRequest(image=tmp_path, tee="simulated", home=tmp_path, brokers={}, data_root=tmp_path)
    monkeypatch.setattr(executors.Enclave, "stop", Executor.stop)
    monkeypatch.setattr(executors.Enclave, "kill", Executor.kill)
    for end_alone, waits in ((True, 1), (False, 0)):
        asked = []
        started = _Executors(Driver(), request, 1, lambda _: None, end_alone=end_alone)
        started._running[1] = Executor(asked)
        started.end()
        assert asked == ["stop", "kill"]
        assert len(started._last_words) == waits + 2
