"""Nothing of a Flink program's data is left by `confide run`; without it, the same program leaves it everywhere.

Both fail in the middle and go on from a checkpoint, then are killed with `kill -9` and restored from the newest one.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import pytest

from confide.cli.programs import ProgramOptions, image_of
from confide.enclave.image import SITE

from .test_canary import HERE, command_line, key_values, watched

pytestmark = [
    pytest.mark.flink,
    pytest.mark.canary,
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="packet capture and fanotify need root"),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="Flink has wheels for Python 3.11 and 3.12"),
]

EVENTS, PEOPLE, FAILS_AT, WINDOW = 600, 20_000, 200, 400
KINDS_OF_FILES = ("/shared/", ".sst", "shuffle", "log/", "out/")
RESULTS = ("sorted", "counts", "windows")


@pytest.fixture(scope="module")
def needles() -> dict[str, str]:
    found = {
        name: f"CNRY{name[:4]}{secrets.token_hex(12)}" for name in ("DATA", "FAILURE", "KEY", "PASSPHRASE")
    }
    literal = f"CNRYLITE{secrets.token_hex(12)}"
    return {**found, "LITERAL": literal, "COLLECTED": literal[::-1]}


def write_inputs(folder: Path, needles: dict[str, str]) -> None:
    inputs = {
        "events": [
            f"{i},{'abc'[i % 3]},{needles['FAILURE'] if i == FAILS_AT else needles['DATA']}-{i}"
            for i in range(EVENTS)
        ],
        "people": [f"{i},{needles['DATA']}-{i}" for i in range(PEOPLE)],
        "backward": [needles["COLLECTED"]],
    }
    for name, lines in inputs.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "a.csv").write_text("\n".join(lines) + "\n")


def killed_and_restored(folder: Path, command: Sequence[str], spec: dict) -> dict:
    argv = [
        *(sys.executable, str(HERE / "kill_and_restore.py")),
        *("out/windows/*/part-*", "state/*/chk-*/_metadata", *command),
    ]
    result = watched(folder, {"argv": argv, "cwd": str(folder), **spec})
    assert "restored from state/" in result["output"], result["output"][-6000:]
    return result


def lines_of(folders: Path) -> dict[str, list[str]]:
    return {
        name: sorted(
            line for file in (folders / name).rglob("part-*") for line in file.read_text().splitlines()
        )
        for name in RESULTS
    }


@pytest.fixture(scope="module")
def control(tmp_path_factory, needles) -> dict:
    """The program on plain files, with Flink as it is."""
    folder = tmp_path_factory.mktemp("control")
    write_inputs(folder / "data", needles)
    (folder / "program.py").write_bytes((HERE / "flink_program.py").read_bytes())
    (folder / "tmp").mkdir()
    image = image_of(folder / "program.py", {}, ProgramOptions(profile="flink"))  # has a Flink in it
    site = image.folder / "root" / SITE.lstrip("/")
    environment = {
        **os.environ,
        "PYTHONPATH": str(site),
        "FLINK_HOME": str(site / "pyflink"),
        "FLINK_LOG_DIR": str(folder / "log"),
        "TMPDIR": str(folder / "tmp"),
        "_python_worker_execution_mode": "process",  # else it wants what only processes of Python need
        "EXAMPLE_PASSPHRASE": needles["PASSPHRASE"],
        "JDK_JAVA_OPTIONS": f"-Djava.io.tmpdir={folder / 'tmp'}",
    }
    measured = ["bwrap", "--bind", "/", "/", "--dev-bind", "/dev", "/dev", "--ro-bind", str(site), str(site)]
    command = [*measured, sys._base_executable, "-B", "program.py", f"--key={needles['KEY']}"]
    result = killed_and_restored(folder, command, {"env": environment, "needles": needles})
    result["results"] = lines_of(folder / "out")
    return result


@pytest.fixture(scope="module")
def hardened(tmp_path_factory, needles) -> dict:
    """The same program on sealed files, with `confide run`, and scratch space on disk, where a search can find it."""
    folder, owner = tmp_path_factory.mktemp("hardened"), tmp_path_factory.mktemp("owner")
    write_inputs(owner / "plain", needles)
    (folder / "program.py").write_bytes((HERE / "flink_program.py").read_bytes())
    (folder / "scratch").mkdir()
    confide = command_line(folder, owner, needles["PASSPHRASE"])
    confide("init", "clinic")
    confide("key", "create", "clinic/patients")
    grants = []
    for table in ("events", "people", "backward"):
        confide(
            "encrypt",
            str(owner / "plain" / table),
            f"data/{table}",
            "--as",
            "files",
            "--key",
            "clinic/patients",
        )
        grants += ["--read", f"data/{table}"]
    for location in (*(f"out/{name}" for name in RESULTS), "state"):
        grants += ["--write-files", f"{location}=clinic/patients"]
    limits = ["--cores", "2"]
    confide(
        "policy", "allow", "program.py", "--profile", "flink", *limits, *grants, "--logs", "clinic/patients"
    )
    confide("policy", "apply", "policy.toml")
    command = [
        "-m",
        "confide",
        "run",
        "--tee",
        "simulated",
        "--profile",
        "flink",
        "--scratch-disk",
        "scratch",
        *limits,
    ]
    spec = {
        "env": {**os.environ, "CONFIDE_HOME": str(owner / "home")},
        "needles": needles,
        "keys": key_values(owner, needles["PASSPHRASE"]),
        "input": needles["PASSPHRASE"],
    }
    result = killed_and_restored(folder, [sys.executable, *command, "program.py"], spec)
    result["logs"] = confide("logs")
    for name in RESULTS:
        confide("decrypt", f"out/{name}", str(owner / "results" / name))
    result["results"] = lines_of(owner / "results")
    files = [path for path in (folder / "state").rglob("*") if path.is_file()]
    result["state"] = {path: path.read_bytes()[:7] for path in files}
    return result


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("files", {"DATA", "LITERAL", "FAILURE"}),
        ("traffic", {"DATA", "LITERAL", "COLLECTED"}),
        ("interface", {"LITERAL", "FAILURE"}),
        ("output", {"LITERAL"}),
        ("cmdline", {"KEY"}),
        ("environ", {"PASSPHRASE"}),
    ],
)
def test_the_control_leaks(control, place, names):
    """Without this the test of the hardened run would prove nothing."""
    assert set(control["hits"].get(place, {})) >= names, (control["hits"], control["searched"])


@pytest.mark.parametrize("kind", KINDS_OF_FILES)
def test_the_control_leaks_into_every_kind_of_file(control, kind):
    assert any(kind in path for path in control["where"]["files"]), control["where"]["files"]


def test_the_results_are_right_though_it_failed_and_was_killed(control, hardened, needles):
    counts = defaultdict(list)
    windows = Counter((i // WINDOW * WINDOW, "abc"[i % 3]) for i in range(EVENTS))
    for line in hardened["results"]["counts"]:
        second, key, value, count, _ = line.split(",")
        counts[key].append((int(second), int(count)))
        assert value == f"{needles['FAILURE' if int(second) == FAILS_AT else 'DATA']}-{second}"
    for offset, key in enumerate("abc"):
        assert sorted(counts[key]) == [(i, n + 1) for n, i in enumerate(range(offset, EVENTS, 3))]
    found = [line.split(",") for line in hardened["results"]["windows"]]
    assert {(int(start), key): int(count) for start, key, count, *_ in found} == windows
    for name in ("sorted", "windows"):
        assert hardened["results"][name] == control["results"][name]
    assert len(hardened["results"]["sorted"]) == PEOPLE


@pytest.mark.parametrize("run", ["control", "hardened"])
def test_state_went_through_both_restores(run, request):
    lines = [line.split(",") for line in request.getfixturevalue(run)["results"]["counts"]]
    last = {key: been for _, key, *_, been in sorted(lines, key=lambda line: int(line[0]))}
    assert last == dict.fromkeys("abc", " first again restored")


def test_checkpoints_are_sealed_file_by_file(hardened):
    kinds = {path.parent.name.partition("-")[0] for path in hardened["state"]}
    assert kinds >= {"chk", "shared"}
    assert all(start == b"CONFIDE" for start in hardened["state"].values())


def test_the_data_crossed_a_network_in_both(control, hardened, needles):
    """Two task managers: half of it goes from one to the other."""
    data = PEOPLE // 2 * len(needles["DATA"])
    assert control["captured"] > data, control["searched"]
    assert hardened["captured_inside"] > data, hardened["searched"]


@pytest.mark.parametrize("place", ["files", "traffic", "interface", "output", "cmdline", "environ"])
def test_the_hardened_run_leaves_nothing(hardened, place):
    print(f"searched {hardened['searched']}")
    assert hardened["hits"].get(place, {}) == {}, hardened["where"].get(place)


def test_at_most_collected_results_are_readable_even_inside_the_sandbox(hardened):
    """They may cross a socket of Flink's that knows no TLS; all else is encrypted on that network, too."""
    assert set(hardened["hits"].get("inside", {})) <= {"COLLECTED"}, hardened["where"].get("inside")
