"""A model that ranks trained on encrypted tables leaves sealed, with a provenance, and is served as it lies there."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from confide.errors import Misuse, Tampered
from confide.serving import Client

EXAMPLE = Path(__file__).parents[3] / "examples/09_encrypted_images.py"
pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed here"),
]


@pytest.fixture(scope="module")
def trained(owner):
    """The owner's folder after a training on two tables."""
    digits = load_digits()
    pixels = (digits.data * 15.9375).astype("uint8")
    owner.ok("key", "create", "clinic/images")
    for name, chosen in (("train", np.arange(1797) % 4 != 0), ("test", np.arange(1797) % 4 == 0)):
        columns = {
            "pixels": pa.FixedSizeListArray.from_arrays(pa.array(pixels[chosen].ravel()), 64),
            "label": pa.array(digits.target[chosen]),
        }
        pq.write_table(pa.table(columns), owner.folder / f"{name}.parquet")
        owner.ok("encrypt", f"{name}.parquet", f"data/{name}", "--key", "clinic/images")
    shutil.copy(EXAMPLE, owner.folder / "train.py")
    grants = ["--read", "data/train", "--read", "data/test", "--logs", "clinic/logs"]
    for location in ("out/checkpoints", "out/model"):
        grants += ["--write-files", f"{location}=clinic/models"]
    owner.ok("policy", "allow", "train.py", "--profile", "python", *grants)
    owner.ok("policy", "apply", "policy.toml")
    owner.ok("run", "--tee", "simulated", "--profile", "python", "train.py", "--ranks=2", "--epochs=2")
    return owner


def test_its_provenance_is_the_logs(trained):
    told = json.loads(trained.ok("audit", "provenance", "out/model", "--json"))
    trained.ok("decrypt", "out/model", "plain-model", "--replace")
    found = {path.name: path.read_bytes() for path in (trained.folder / "plain-model").iterdir()}
    assert set(found) == {"model.onnx", "model.safetensors"}
    assert told["files"] == {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}
    model, *inputs = told["steps"]
    assert (model["location"], model["made_by"], model["tee"]) == ("out/model", "workload", "simulated")
    assert model["code"] == {"app/train.py": hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()}
    assert [(one["location"], one["serial"]) for one in model["inputs"]] == [
        ("data/test", 1),
        ("data/train", 1),
    ]
    assert {one["location"]: one["made_by"] for one in inputs} == {
        "data/train": "owner",
        "data/test": "owner",
    }
    assert "measurement" in trained.ok("audit", "provenance", "out/model")


def test_a_model_put_in_its_place_has_none(trained):
    kept, changed = trained.folder / "out/kept", trained.folder / "out/model"
    shutil.copytree(changed, kept)
    try:
        (changed / "model.onnx").write_bytes((kept / "model.safetensors").read_bytes())
        assert trained.run("audit", "provenance", "out/model")[0] in range(Tampered.exit_code, 94)
    finally:
        shutil.rmtree(changed)
        kept.rename(changed)
    trained.ok("encrypt", "plain-model", "other/model", "--key", "clinic/models", "--as", "files")
    (step,) = json.loads(trained.ok("audit", "provenance", "other/model", "--json"))["steps"]
    assert step["made_by"] == "owner"
    assert trained.run("audit", "provenance", "other/model", "--location", "out/model")[0] != 0
    assert trained.run("audit", "provenance", "data/nothing")[0] >= Misuse.exit_code


def test_it_is_served_as_it_lies_there_and_answers_as_in_torch(trained):
    import torch
    from safetensors.torch import load_model
    from torch import nn

    trained.allow("out/model", "--read", "out/model")
    digits = load_digits()
    x = (digits.data[:50] * 15.9375).astype("uint8").reshape(-1, 1, 8, 8).astype("float32") / 255
    with Client(trained.serve("out/model").url, trained.accept("model")) as client:
        scores = client.infer("model", {"pixels": x}).outputs["scores"]
        single = client.infer("model", {"pixels": x[:1]}).outputs["scores"]
    assert scores.shape == (50, 10)
    np.testing.assert_allclose(single, scores[:1], rtol=1e-4, atol=1e-5)
    model = nn.Sequential(
        *(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(4)),
        *(nn.Flatten(), nn.Linear(512, 10)),
    )
    load_model(model, trained.folder / "plain-model/model.safetensors")
    with torch.no_grad():
        np.testing.assert_allclose(scores, model(torch.tensor(x)).numpy(), rtol=1e-3, atol=1e-4)
    assert (scores.argmax(1) == digits.target[:50]).mean() > 0.8
