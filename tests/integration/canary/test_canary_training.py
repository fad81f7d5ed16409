"""Nothing of a training's pixels, labels, parameters and gradients is left by `confide run`; a plain run leaves all."""

from __future__ import annotations

import importlib.util
import os
import secrets
import struct
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .test_canary import HERE, command_line, key_values, watched

pytestmark = [
    pytest.mark.torch,
    pytest.mark.canary,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason="packet capture and fanotify need root"),
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed here"),
]

ROWS = 512
PLANTED = {"PIXELS", "LABELS", "PARAMETERS", "GRADIENTS"}
LOCATIONS = ("out/checkpoints", "out/model", "out/report")


@pytest.fixture(scope="module")
def planted() -> dict[str, bytes]:
    """Values of which a rank, a file or a packet holds the very bytes."""
    floats = [struct.pack("<8f", *(secrets.randbelow(2**24) / 2**24 for _ in range(8))) for _ in range(2)]
    return {
        "PIXELS": secrets.token_bytes(64),
        "LABELS": secrets.token_bytes(16),
        "PARAMETERS": floats[0],
        "GRADIENTS": floats[1],
    }


def table(planted: dict[str, bytes]) -> pa.Table:
    def column(name: str, kind: pa.DataType) -> pa.Array:
        values = pa.Array.from_buffers(
            kind, ROWS * len(planted[name]) * 8 // kind.bit_width, [None, pa.py_buffer(planted[name] * ROWS)]
        )
        return pa.FixedSizeListArray.from_arrays(values, len(values) // ROWS)

    names = {"pixels": "PIXELS", "label": "LABELS", "parameters": "PARAMETERS", "gradients": "GRADIENTS"}
    kinds = {"pixels": pa.uint8(), "label": pa.uint8(), "parameters": pa.float32(), "gradients": pa.float32()}
    return pa.table({column_name: column(name, kinds[column_name]) for column_name, name in names.items()})


def spec(planted: dict[str, bytes], passphrase: str, **more: object) -> dict:
    values = {name: value.hex() for name, value in planted.items()}
    return {"ui": False, "needles": {"PASSPHRASE": passphrase}, "keys": values, **more}


@pytest.fixture(scope="module")
def passphrase() -> str:
    return f"CNRYPASS{secrets.token_hex(12)}"


@pytest.fixture(scope="module")
def control(tmp_path_factory, planted, passphrase) -> dict:
    """The program on plain Parquet files, with gloo as it is; it ignores its arguments and environment."""
    folder = tmp_path_factory.mktemp("control")
    (folder / "data/train").mkdir(parents=True)
    pq.write_table(table(planted), folder / "data/train/part.parquet")
    (folder / "program.py").write_bytes((HERE / "training_program.py").read_bytes())
    values = [passphrase, *(value.hex() for value in planted.values())]
    given = {f"GIVEN_{number}": value for number, value in enumerate(values)}
    argv = [sys.executable, "program.py", *values]
    return watched(folder, spec(planted, passphrase, argv=argv, cwd=str(folder), env={**os.environ, **given}))


@pytest.fixture(scope="module")
def hardened(tmp_path_factory, planted, passphrase) -> dict:
    """The same program on an encrypted table, with `confide run`."""
    folder, owner = tmp_path_factory.mktemp("hardened"), tmp_path_factory.mktemp("owner")
    pq.write_table(table(planted), owner / "train.parquet")
    (folder / "program.py").write_bytes((HERE / "training_program.py").read_bytes())
    confide = command_line(folder, owner, passphrase)
    confide("init", "clinic")
    confide("key", "create", "clinic/patients")
    confide("encrypt", str(owner / "train.parquet"), "data/train", "--key", "clinic/patients")
    grants = ["--read", "data/train", "--logs", "clinic/patients"]
    for location in LOCATIONS:
        grants += ["--write-files", f"{location}=clinic/patients"]
    confide("policy", "allow", "program.py", "--profile", "python", *grants)
    confide("policy", "apply", "policy.toml")
    run = ["run", "--tee", "simulated", "--profile", "python", "program.py"]
    made = spec(
        planted,
        passphrase,
        argv=[sys.executable, "-m", "confide", *run],
        cwd=str(folder),
        env={**os.environ, "CONFIDE_HOME": str(owner / "home")},
        input=passphrase,
    )
    made["keys"] |= key_values(owner, passphrase)
    result = watched(folder, made)
    result["logs"] = confide("logs")
    for location in LOCATIONS:
        confide("decrypt", location, str(owner / location))
    result["left"] = {
        location: b"".join(path.read_bytes() for path in sorted(Path(owner / location).iterdir()))
        for location in LOCATIONS
    }
    return result


def test_both_trained(control, hardened, planted):
    assert control["exit_code"] == 0, control["output"][-6000:]
    assert hardened["exit_code"] == 0, hardened["output"][-6000:] + hardened["logs"][-6000:]
    assert "trained 2 ranks" in control["output"]
    assert "trained 2 ranks, backend confide" in hardened["logs"]
    assert planted["PIXELS"].hex() in hardened["logs"]
    for location, name in zip(LOCATIONS, ("GRADIENTS", "PARAMETERS", "LABELS"), strict=True):
        assert planted[name] in hardened["left"][location], f"the owner finds {name} in {location}"


@pytest.mark.parametrize(
    ("place", "names"),
    [
        ("files", PLANTED),
        ("traffic", PLANTED),
        ("output", {"PIXELS", "LABELS"}),
        ("cmdline", {*PLANTED, "PASSPHRASE"}),
        ("environ", {*PLANTED, "PASSPHRASE"}),
    ],
)
def test_the_control_leaks(control, place, names):
    """Without this the test of the hardened run would prove nothing."""
    assert set(control["hits"].get(place, {})) >= names, (control["hits"], control["searched"])


@pytest.mark.parametrize("kind", [*LOCATIONS])
def test_the_control_leaks_into_every_kind_of_file(control, kind):
    assert any(kind in path for path in control["where"]["files"]), control["where"]["files"]


def test_ranks_sent_as_much_in_both(control, hardened):
    """Gradients of two ranks crossed a network that was captured."""
    sent = hardened["captured"] + hardened["captured_inside"]
    assert sent > control["captured"] / 2 > 500_000, (control["searched"], hardened["searched"])


@pytest.mark.parametrize("place", ["files", "traffic", "inside", "output", "cmdline", "environ"])
def test_the_hardened_run_leaves_nothing(hardened, place):
    print(f"searched {hardened['searched']}")
    assert hardened["hits"].get(place, {}) == {}, hardened["where"].get(place)
