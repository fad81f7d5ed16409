"""Nothing of the data is left anywhere by a Flink program under `confide run`; plain, it leaves it everywhere."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from confide.cli.programs import ProgramOptions, image_of

pytestmark = [
    pytest.mark.flink,
    pytest.mark.canary,
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(os.geteuid() != 0, reason="packet capture and fanotify need root"),
]

HERE = Path(__file__).parent
PROGRAM = HERE / "flink_program.py"
THREAD_MODE = "\npython.execution-mode: thread\npython.executable: {python}\n"


@pytest.fixture(scope="module")
def needle() -> str:
    return f"CNRYDATA{secrets.token_hex(12)}"


def write_people(folder: Path, needle: str) -> None:
    folder.mkdir(parents=True)
    rows = "".join(f"{i},{needle}-{i}\n" for i in range(2000))
    (folder / "a.csv").write_text(rows)


def watched(folder: Path, spec: dict) -> dict:
    path = folder / "spec.json"
    path.write_text(json.dumps({"mounts": ["/", "/dev/shm"], "ui": False, "input": None, **spec}))
    done = subprocess.run(
        [sys.executable, str(HERE / "run_watched.py"), str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def control(tmp_path_factory, needle) -> dict:
    """The program on plain files, with the very Flink that images have."""
    folder = tmp_path_factory.mktemp("control")
    write_people(folder / "data/people", needle)
    built = image_of(PROGRAM, {}, ProgramOptions(profile="flink"))
    site = built.folder / "root/opt/confide/site"
    shutil.copytree(site / "pyflink/conf", folder / "conf", copy_function=shutil.copyfile)
    with (folder / "conf/config.yaml").open("a") as config:
        config.write(THREAD_MODE.format(python=sys.executable))
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "FLINK_CONF_DIR": str(folder / "conf"),
        "FLINK_LOG_DIR": str(folder),
        "_python_worker_execution_mode": "process",
    }
    argv = [sys.executable, str(PROGRAM), str(folder)]
    return watched(
        folder, {"argv": argv, "cwd": str(folder), "env": environment, "needles": {"DATA": needle}}
    )


@pytest.fixture(scope="module")
def hardened(tmp_path_factory, needle) -> dict:
    """The same program on sealed files, with `confide run`."""
    folder = tmp_path_factory.mktemp("hardened")
    source = tmp_path_factory.mktemp("owner")
    write_people(source / "people", needle)
    (folder / "program.py").write_bytes(PROGRAM.read_bytes())
    passphrase = source / "passphrase"
    passphrase.write_text("a passphrase of the test")
    environment = {**os.environ, "CONFIDE_HOME": str(source / "home")}

    def confide(*arguments: str) -> str:
        with passphrase.open("rb") as file:
            done = subprocess.run(
                [sys.executable, "-m", "confide", *arguments],
                cwd=folder,
                env={**environment, "CONFIDE_PASSPHRASE_FD": str(file.fileno())},
                pass_fds=(file.fileno(),),
                stdout=subprocess.PIPE,
                check=True,
            )
        return done.stdout.decode(errors="replace")

    confide("init", "clinic")
    confide("key", "create", "clinic/people")
    confide("encrypt", str(source / "people"), "data/people", "--as", "files", "--key", "clinic/people")
    program = ("--profile", "flink", "--arg=/work", "program.py")
    grants = ("--read", "data/people", "--write-files", "out/longest=clinic/people")
    confide(
        "policy",
        "allow",
        *program,
        *grants,
        "--write-files",
        "state=clinic/people",
        "--logs",
        "clinic/people",
    )
    confide("policy", "apply", "policy.toml")
    argv = [sys.executable, "-m", "confide", "run", "--tee", "simulated", *program, "/work"]
    spec = {
        "argv": argv,
        "cwd": str(folder),
        "env": environment,
        "needles": {"DATA": needle},
        "input": passphrase.read_text(),
    }
    result = watched(folder, spec)
    result["logs"] = confide("logs")
    return result


@pytest.mark.parametrize("place", ["files", "traffic", "output"])
def test_the_control_leaks(control, place):
    """Without this the test below would prove nothing."""
    assert "DATA" in control["hits"].get(place, {}), control["output"][-3000:]


@pytest.mark.parametrize("kind", ["state/", "out/longest"])
def test_the_control_leaks_into_every_kind_of_file(control, kind):
    assert any(kind in path for path in control["where"]["files"]), control["where"]["files"]


def test_the_hardened_run_did_the_same_work(control, hardened):
    assert control["exit_code"] == hardened["exit_code"] == 1
    for line in ("collected", "failed as it should", "the program ends"):
        assert line in control["output"], control["output"][-3000:]
        assert line in hardened["logs"], hardened["output"] + hardened["logs"][-3000:]


def test_the_hardened_run_leaks_nothing(hardened):
    assert hardened["hits"] == {}, hardened["where"]
