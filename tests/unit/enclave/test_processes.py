"""Programs started as children, and by children that were forked before: to a profile they are alike."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from confide.enclave import early
from confide.enclave.processes import EarlyStarter, Program, start_child
from confide.errors import Misuse

SHOUT = "import sys; print(sys.stdin.read().upper(), end=''); print('warned', file=sys.stderr); sys.exit(3)"


@pytest.fixture
def starter(monkeypatch, tmp_path):
    """Children as Gramine's start makes them; a file takes the key of its mounts."""
    (tmp_path / "key").touch()
    monkeypatch.setattr(early, "_KEY", tmp_path / "key")
    monkeypatch.setenv("CONFIDE_LIBOS", "gramine")
    monkeypatch.setenv("CONFIDE_CHILDREN", "2")
    children = early.prepare()
    assert len((tmp_path / "key").read_bytes()) == 16
    yield EarlyStarter(children)
    for child in children:
        for descriptor in (child.order, child.stdin):
            try:
                os.close(descriptor)
            except OSError:
                pass  # taken by a program
        try:
            os.waitpid(child.pid, 0)
        except ChildProcessError:
            pass


def program(code: str, out: int, err: int, stdin: int | None = None, **changes) -> Program:
    given = {"argv": [sys.executable, "-c", code], "env": {"WORD": "x"}, "cwd": Path("/"), "stdin": stdin}
    return Program(**{**given, "stdout": out, "stderr": err, **changes})


@pytest.fixture
def ends(tmp_path):
    with (tmp_path / "out").open("w+b") as out, (tmp_path / "err").open("w+b") as err:
        yield out, err


@pytest.fixture(params=["child", "early"])
def start(request):
    return start_child if request.param == "child" else request.getfixturevalue("starter")


def test_streams_environment_folder_and_exit_code(start, ends, tmp_path):
    out, err = ends
    (tmp_path / "in").write_text("hello")
    with (tmp_path / "in").open("rb") as stdin:
        process = start(program(SHOUT, out.fileno(), err.fileno(), stdin.fileno()))
        assert process.wait() == 3
    assert (tmp_path / "out").read_text() == "HELLO"
    assert (tmp_path / "err").read_text() == "warned\n"
    code = "import os; print(os.environ.get('WORD'), os.getcwd(), 'CONFIDE_LIBOS' in os.environ)"
    assert start(program(code, out.fileno(), err.fileno())).wait() == 0
    assert (tmp_path / "out").read_text() == "HELLOx / False\n"


def test_it_lives_until_its_input_is_closed(start, ends, tmp_path):
    out, err = ends
    process = start(program("import sys; sys.stdin.read(); print('done')", out.fileno(), err.fileno()))
    with pytest.raises(TimeoutError):
        process.wait(0.2)
    process.close_stdin()
    assert process.wait() == 0
    assert (tmp_path / "out").read_text() == "done\n"


def test_it_can_be_ended(start, ends):
    out, err = ends
    process = start(program("import time; time.sleep(600)", out.fileno(), err.fileno()))
    process.kill()
    assert process.wait() == -9


def test_it_inherits_nothing_but_its_streams(starter, ends, tmp_path):
    out, err = ends
    code = "import os; print(len(os.listdir('/proc/self/fd')))"
    assert starter(program(code, out.fileno(), err.fileno())).wait() == 0
    assert (tmp_path / "out").read_text() == "4\n"  # and the one that lists them


def test_a_program_that_is_not_there(starter, ends, tmp_path):
    out, err = ends
    assert starter(program("", out.fileno(), err.fileno(), argv=["/none"])).wait() == 127
    assert "did not start: FileNotFoundError" in (tmp_path / "err").read_text()


def test_no_more_programs_than_were_said(starter, ends):
    out, err = ends
    for _ in range(2):
        assert starter(program("", out.fileno(), err.fileno())).wait() == 0
    with pytest.raises(Misuse, match="more programs"):
        starter(program("", out.fileno(), err.fileno()))


def test_outside_of_a_library_os_nothing_is_forked(monkeypatch):
    monkeypatch.delenv("CONFIDE_LIBOS", raising=False)
    assert early.prepare() == []


def test_under_occlum_which_has_no_fork_nothing_is_forked(monkeypatch):
    monkeypatch.setenv("CONFIDE_LIBOS", "occlum")
    monkeypatch.setenv("CONFIDE_CHILDREN", "2")
    assert early.prepare() == []


def test_what_comes_before_the_fork_loads_next_to_nothing():
    code = "import sys; before = set(sys.modules); import confide.enclave.early; print(*(set(sys.modules) - before))"
    said = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(said.stdout.split())
    assert not {"pydantic", "cryptography", "pyarrow", "subprocess", "confide.errors"} & loaded


def test_a_key_that_the_library_os_does_not_take(monkeypatch):
    monkeypatch.setenv("CONFIDE_LIBOS", "gramine")
    with pytest.raises(OSError, match="attestation"):
        early.prepare()
