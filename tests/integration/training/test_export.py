"""What a model leaves as: its signature, the same answers for batches of any size, and what cannot leave."""

from __future__ import annotations

import numpy as np
import pytest

from confide.errors import Misuse

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")

from safetensors.torch import load_file  # noqa: E402
from torch import nn  # noqa: E402

from confide.training import export_model  # noqa: E402
from confide.training.export import Signature, TensorSignature  # noqa: E402

pytestmark = pytest.mark.torch


class Two(nn.Module):
    """Two inputs, two outputs, weights that are shared, and layers that behave otherwise in training."""

    def __init__(self):
        super().__init__()
        self.words, self.mixed, self.back = (
            nn.Embedding(50, 8),
            nn.Linear(11, 8),
            nn.Linear(8, 50, bias=False),
        )
        self.back.weight = self.words.weight
        self.norm, self.drop = nn.BatchNorm1d(8), nn.Dropout(0.5)

    def forward(self, word, numbers):
        x = self.norm(self.mixed(torch.cat([self.words(word), numbers], 1)))
        return self.back(self.drop(x)), x.sum(1)


def test_files_signature_and_answers(tmp_path):
    torch.manual_seed(1)
    model = Two()
    example = {"word": torch.tensor([3]), "numbers": torch.randn(1, 3)}
    signature = export_model(model, example, tmp_path / "out", outputs=["scores", "total"], name="words")
    assert signature == Signature(
        (
            TensorSignature("word", "int64", ("batch",)),
            TensorSignature("numbers", "float32", ("batch", 3)),
        ),
        (
            TensorSignature("scores", "float32", ("batch", 50)),
            TensorSignature("total", "float32", ("batch",)),
        ),
    )
    assert model.training
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["words.onnx", "words.safetensors"]
    session = onnxruntime.InferenceSession(tmp_path / "out/words.onnx")
    model.eval()
    for rows in (1, 2, 7):
        word, numbers = torch.randint(50, (rows,)), torch.randn(rows, 3)
        found = session.run(None, {"word": word.numpy(), "numbers": numbers.numpy()})
        for one, other in zip(found, model(word, numbers), strict=True):
            np.testing.assert_allclose(one, other.detach().numpy(), rtol=1e-4, atol=1e-5)
    weights = load_file(tmp_path / "out/words.safetensors")
    assert torch.equal(weights["mixed.weight"], model.mixed.weight)


def test_a_transformer_leaves_without_what_torch_has_for_its_own_speed(tmp_path):
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    model = nn.Sequential(nn.Embedding(50, 8), nn.TransformerEncoder(layer, 2))
    fast = torch.backends.mha.get_fastpath_enabled()
    export_model(model, {"text": torch.ones(2, 5, dtype=torch.int64)}, tmp_path)
    assert torch.backends.mha.get_fastpath_enabled() == fast
    session, text = onnxruntime.InferenceSession(tmp_path / "model.onnx"), torch.randint(50, (3, 5))
    (found,) = session.run(None, {"text": text.numpy()})
    np.testing.assert_allclose(found, model.eval()(text).detach().numpy(), rtol=1e-3, atol=1e-4)


def test_what_is_there_is_replaced_and_stays_where_nothing_can_leave(tmp_path):
    export_model(nn.Linear(3, 2), {"x": torch.ones(2, 3)}, tmp_path)
    before = (tmp_path / "model.onnx").read_bytes()
    export_model(second := nn.Linear(3, 2), {"x": torch.ones(2, 3)}, tmp_path)
    after = (tmp_path / "model.onnx").read_bytes()
    assert after != before
    with pytest.raises(Misuse, match="returns 1 tensors, 2 are named"):
        export_model(second, {"x": torch.ones(2, 3)}, tmp_path, outputs=["a", "b"])
    assert (tmp_path / "model.onnx").read_bytes() == after
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.onnx", "model.safetensors"]


class Branches(nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x - 1


def test_a_model_that_torch_cannot_export(tmp_path):
    with pytest.raises(Misuse, match="torch cannot export this model to ONNX: ") as refused:
        export_model(Branches(), {"x": torch.ones(2, 3)}, tmp_path)
    assert "\n" not in str(refused.value)
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize(
    "example",
    [{}, {"x": torch.tensor(1.0)}, {"x": torch.ones(0, 3)}, {"x": torch.ones(2, 3), "y": torch.ones(3, 3)}],
    ids=["nothing", "no dimension", "no row", "other numbers of rows"],
)
def test_examples_that_are_no_batch(tmp_path, example):
    with pytest.raises(Misuse, match="an example is a batch"):
        export_model(nn.Linear(3, 2), example, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_parts_that_are_frozen_stay_so(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    model[1].eval()
    export_model(model, {"x": torch.randn(2, 3)}, tmp_path / "out")
    assert [module.training for module in model.modules()] == [True, True, False, True]
