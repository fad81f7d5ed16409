"""Nothing of the data is left anywhere by `confide run`; the same program without it leaves it everywhere."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd
import pytest

from confide.broker.home import Home
from confide.keys.names import KeyName
from confide.spark.engine import installed

pytestmark = [
    pytest.mark.spark,
    pytest.mark.canary,
    pytest.mark.skipif(os.geteuid() != 0, reason="packet capture and fanotify need root"),
]

HERE = Path(__file__).parent
TABLES = {
    "people": "DATA",
    "literal": "LITERAL",
    "parallel": "PARALLEL",
    "token": "TOKEN",
    "failure": "FAILURE",
}
MEMORY = ("/scratch", "/tmp", "/run/confide")
EVENTS = "sealed:///work/state/events"
KINDS_OF_FILES = ("blockmgr", "temp_shuffle", "checkpoints", "state/stream", "events", "out/text", "deleted")
DONE = (
    "joined 20000",
    "checked 500",
    "streamed 100",
    "local 2000",
    "small",
    "grouped 50",
    "failed as it should",
    "the program ends",
)
"""What the program says on its way."""
ARGUMENTS = ("--profile", installed().profile, "--arg=--fail", f"--arg={EVENTS}")


@pytest.fixture(scope="module")
def needles() -> dict[str, str]:
    names = [*TABLES.values(), "KEY", "PASSPHRASE"]
    return {name: f"CNRY{name[:4]}{secrets.token_hex(12)}" for name in names}


def write_tables(folder: Path, needles: dict[str, str]) -> None:
    folder.mkdir(parents=True)
    for table, name in TABLES.items():
        rows = 20_000 if table == "people" else 1
        values = [f"{needles[name]}-{i}" if rows > 1 else needles[name] for i in range(rows)]
        pd.DataFrame({"id": range(rows), "value": values}).to_parquet(
            folder / f"{table}.parquet", compression="none"
        )


def watched(folder: Path, spec: dict) -> dict:
    path = folder / "spec.json"
    path.write_text(json.dumps({"mounts": ["/", "/dev/shm"], "ui": True, "input": None, **spec}))
    done = subprocess.run(
        [sys.executable, str(HERE / "run_watched.py"), str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def control(tmp_path_factory, needles) -> dict:
    """The program on plain tables, with plain Spark."""
    return plain_run(tmp_path_factory.mktemp("control"), needles)


@pytest.fixture(scope="module")
def hardened(tmp_path_factory, needles) -> dict:
    """The same program on encrypted tables, with `confide run`."""
    return confined_run(tmp_path_factory.mktemp("hardened"), tmp_path_factory.mktemp("owner"), needles)


def plain_run(
    folder: Path,
    needles: dict[str, str],
    settings: Sequence[str] = (),
    changed: Mapping[str, str] = {},
    more: Sequence[str] = (),
) -> dict:
    """Run the program on plain tables, with settings of Spark, a changed environment, and more arguments."""
    write_tables(folder / "plain", needles)
    (folder / "data").mkdir()
    for table in TABLES:
        (folder / "plain" / f"{table}.parquet").rename(folder / "data" / table)
    (folder / "state" / "events").mkdir(parents=True)
    options = " ".join(f"--conf {setting}" for setting in (f"spark.example.key={needles['KEY']}", *settings))
    environment = {
        **os.environ,
        **changed,
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_SUBMIT_ARGS": f"{options} pyspark-shell",
        "EXAMPLE_PASSPHRASE": needles["PASSPHRASE"],
    }
    argv = [sys.executable, str(HERE / "program.py"), "state/events", "--fail", *more]
    return watched(folder, {"argv": argv, "cwd": str(folder), "env": environment, "needles": needles})


def command_line(folder: Path, source: Path, passphrase: str) -> Callable[..., str]:
    """Return `confide` as an owner whose home lies in `source` runs it in `folder`; it returns what it prints."""
    (source / "passphrase").write_text(passphrase)

    def confide(*arguments: str) -> str:
        with (source / "passphrase").open("rb") as file:
            done = subprocess.run(
                [sys.executable, "-m", "confide", *arguments],
                cwd=folder,
                env={
                    **os.environ,
                    "CONFIDE_HOME": str(source / "home"),
                    "CONFIDE_PASSPHRASE_FD": str(file.fileno()),
                },
                pass_fds=(file.fileno(),),
                stdout=subprocess.PIPE,
                check=True,
            )
        return done.stdout.decode(errors="replace")

    return confide


def key_values(source: Path, passphrase: str) -> dict[str, str]:
    """Return the owner's key itself, in hex, to be searched for."""
    with Home.open(source / "home", passphrase.encode()) as home:
        versions = home.store.key(KeyName("clinic", "patients")).secrets
    return {f"the key itself, version {version}": key.hex() for version, key in versions.items()}


def confined_run(
    folder: Path,
    source: Path,
    needles: dict[str, str],
    allow: Sequence[str] = (),
    run: Sequence[str] = (),
    more: Sequence[str] = (),
) -> dict:
    """Run the program on encrypted tables with `confide run`, options of `policy allow` and `run`, and arguments."""
    write_tables(source / "plain", needles)
    (folder / "program.py").write_bytes((HERE / "program.py").read_bytes())
    environment = {**os.environ, "CONFIDE_HOME": str(source / "home")}
    confide = command_line(folder, source, needles["PASSPHRASE"])
    confide("init", "clinic")
    confide("key", "create", "clinic/patients")
    grants = []
    for table in TABLES:
        confide(
            "encrypt", str(source / "plain" / f"{table}.parquet"), f"data/{table}", "--key", "clinic/patients"
        )
        grants += ["--read", f"data/{table}"]
    (folder / "state" / "events").mkdir(parents=True)
    confide(
        "policy", "allow", "program.py", *grants, *ARGUMENTS, *allow,
        "--write", "out/table=clinic/patients", "--write-files", "out/text=clinic/patients",
        "--write-files", "state=clinic/patients", "--logs", "clinic/patients",
    )  # fmt: skip
    confide("policy", "apply", "policy.toml")
    command = ["run", "--tee", "simulated", *ARGUMENTS, *run, "program.py", EVENTS, "--fail", *more]
    argv = [sys.executable, "-m", "confide", *command]
    spec = {
        "argv": argv,
        "cwd": str(folder),
        "env": environment,
        "needles": needles,
        "keys": key_values(source, needles["PASSPHRASE"]),
        "input": needles["PASSPHRASE"],
    }
    result = watched(folder, spec)
    assert "finished" in result["output"], result["output"]
    result["logs"] = confide("logs")
    return result


PLACES = """
import base64, os, socket, sys, tempfile, time, zlib
text, key = sys.argv[1].encode(), bytes.fromhex(sys.argv[2])
def connect(family, address):
    with socket.create_server((address, 0), family=family) as server:
        with socket.create_connection(server.getsockname()[:2]) as client, server.accept()[0] as taken:
            client.sendall(base64.b64encode(text))
            taken.recv(100)
if sys.argv[3] in ("ipv6", "inside"):
    time.sleep(sys.argv[3] == "inside")
    connect(socket.AF_INET6, "::1")
elif sys.argv[3] == "ipv4":
    connect(socket.AF_INET, "127.0.0.1")
elif sys.argv[3] == "datagram":
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as client:
        client.sendto(text, ("::1", 9))
elif sys.argv[3] == "memory":
    with open("/dev/shm/watched", "wb") as file:
        os.unlink(file.name)
        file.write(text)
else:
    with tempfile.TemporaryFile() as file:
        file.write({"deleted": text, "compressed": b"head" + zlib.compress(text * 3), "key": key}[sys.argv[3]])
"""


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("ipv4", "traffic"),
        ("ipv6", "traffic"),
        ("datagram", "traffic"),
        ("inside", "inside"),
        ("deleted", "files"),
        ("compressed", "files"),
        ("memory", "files"),
        ("key", "files"),
    ],
)
def test_the_watchers_see(tmp_path, kind, place):
    """Each kind of place on its own: Spark's leaks need not go through all of them."""
    text, key = secrets.token_hex(16), secrets.token_hex(32)
    network = ["bwrap", "--unshare-user", "--unshare-net", "--dev-bind", "/", "/"] if kind == "inside" else []
    argv = [*network, sys.executable, "-c", PLACES, text, key, kind]
    spec = {"argv": argv, "cwd": str(tmp_path), "env": dict(os.environ), "ui": False}
    found = watched(tmp_path, {**spec, "needles": {"TEXT": text}, "keys": {"KEY": key}})
    assert set(found["hits"].get(place, {})) == {"KEY" if kind == "key" else "TEXT"}


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("files", {"DATA", "PARALLEL", "LITERAL", "TOKEN", "FAILURE", "KEY"}),
        ("traffic", {"DATA", "PARALLEL", "LITERAL", "TOKEN", "FAILURE", "KEY"}),
        ("interface", {"LITERAL", "KEY"}),
        ("output", {"DATA", "FAILURE"}),
        ("cmdline", {"KEY"}),
        ("environ", {"KEY", "PASSPHRASE"}),
    ],
)
def test_the_control_leaks(control, place, names):
    """Without this the test below would prove nothing."""
    assert set(control["hits"].get(place, {})) >= names, control["searched"]


@pytest.mark.parametrize("kind", KINDS_OF_FILES)
def test_the_control_leaks_into_every_kind_of_file(control, kind):
    assert any(kind in path for path in control["where"]["files"]), control["where"]["files"]


def test_the_hardened_run_did_the_same_work(control, hardened):
    assert control["exit_code"] == hardened["exit_code"] == 1
    for line in DONE:
        assert line in control["output"], control["output"][-3000:]
        assert line in hardened["logs"], "\n".join(
            text for text in (hardened["output"] + hardened["logs"]).splitlines() if not text.startswith("\t")
        )


@pytest.mark.parametrize("place", ["files", "traffic", "interface", "output", "cmdline", "environ"])
def test_the_hardened_run_leaves_nothing(hardened, place):
    print(f"searched {hardened['searched']}; left out: {', '.join(MEMORY)}, which are memory of the sandbox")
    assert hardened["hits"].get(place, {}) == {}, hardened["where"].get(place)
