import os
import subprocess
import sys
from pathlib import Path

import pytest

from confide.spark.installation import workers_sandbox
from confide.spark.worker import launcher, write_launcher

SHOW = "import os, sys; print(sorted(os.environ)); print(open('/proc/self/environ').read())"


def launch(tmp_path, environment, sandbox=(), show=SHOW, cwd=None):
    path, files = tmp_path / "worker-python", tmp_path / "files"
    files.mkdir(exist_ok=True)
    write_launcher(path, Path(sys.executable), sandbox, Path("/app"), Path("/scratch/workers"), files)
    return subprocess.run(
        [path, "-c", show],
        env={**os.environ, **environment},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


@pytest.mark.parametrize(
    "name",
    [
        "_SPARK_AUTH_SECRET",
        "_SPARK_SSL_RPC_KEY_PASSWORD",
        "CONFIDE_AGENT",
        "PYSPARK_GATEWAY_SECRET",
        "SPARK_CONNECT_AUTHENTICATE_TOKEN",
        "PYTHON_FAULTHANDLER_DIR",
    ],
)
def test_secrets_are_in_no_environment(tmp_path, name):
    assert "canary" not in launch(tmp_path, {name: "canary"})


def test_workers_with_unix_sockets_get_no_secret(tmp_path):
    given = {"PYTHON_WORKER_FACTORY_SECRET": "canary"}
    assert "canary" not in launch(tmp_path, {**given, "PYTHON_UNIX_DOMAIN_ENABLED": "true"})
    assert "canary" in launch(tmp_path, given)  # by which they know the JVM


@pytest.mark.parametrize("name", ["PYTHON_UNIX_DOMAIN_ENABLED", "PYTHONPATH", "SPARK_REUSE_WORKER"])
def test_what_workers_need_stays(tmp_path, name):
    assert "canary" in launch(tmp_path, {name: "canary"})


def test_the_program_s_modules_are_found_last(tmp_path):
    assert "PYTHONPATH=mine:/app\0" in launch(tmp_path, {"PYTHONPATH": "mine"})


@pytest.mark.parametrize("name", ["HOME", "TMPDIR", "SPARK_LOCAL_DIRS"])
def test_workers_write_in_a_folder_of_their_own(tmp_path, name):
    assert f"{name}=/scratch/workers\0" in launch(tmp_path, {name: "/scratch"})


def test_workers_see_of_scratch_what_they_need_and_write_less():
    prefix = workers_sandbox(Path("/scratch"), {})
    mounts = {(prefix[i], prefix[i + 2]) for i, word in enumerate(prefix) if word in ("--bind", "--ro-bind")}
    assert {(how, path) for how, path in mounts if path.startswith(("/scratch", "/run", "/work"))} == {
        ("--ro-bind", "/scratch/local"),
        ("--bind", "/scratch/sockets"),
        ("--bind", "/scratch/workers"),
    }


def test_workers_begin_where_files_of_the_program_are_put(tmp_path):
    """In an executor's own folder, where it has one."""
    files, here = tmp_path / "files", "import os; print(os.getcwd())"
    for folder in (files / "executor-2", tmp_path / "files-2"):
        folder.mkdir(parents=True)
    assert launch(tmp_path, {}, show=here).strip() == str(files)
    assert launch(tmp_path, {}, show=here, cwd=tmp_path / "files-2").strip() == str(files)
    assert launch(tmp_path, {}, show=here, cwd=files / "executor-2").strip() == str(files / "executor-2")
    assert "--chdir" not in workers_sandbox(Path("/scratch"), {})


def test_sandbox_stands_in_front(tmp_path):
    assert "canary" not in launch(tmp_path, {"DROPPED": "canary"}, ["/usr/bin/env", "-u", "DROPPED"])


def test_launcher_is_closed_to_writing(tmp_path):
    launch(tmp_path, {})
    assert (tmp_path / "worker-python").stat().st_mode & 0o777 == 0o500


def test_text_depends_on_its_arguments_only():
    given = Path("/p"), ["/b"], Path("/app"), Path("/w"), Path("/f")
    assert launcher(*given) == launcher(*given)
    assert launcher(*given).startswith("#!/p -IS\n")
