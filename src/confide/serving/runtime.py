"""Runtimes: what runs a model of one format. The table says which exist; each is one small file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from confide.errors import InvalidFormat
from confide.serving.tensors import Array, TensorSpec

RUNTIMES: Mapping[str, str] = {
    ".onnx": "confide.serving.onnx_runtime",
}
"""Ending of a model's file -> module with `open_model(path: Path, cores: int | None) -> Runtime`."""
_TORCH = "torch.onnx.export(model, args, 'model.onnx', dynamo=True)"
_SKLEARN = "skl2onnx.to_onnx(model, x[:1], options={'zipmap': False})"
_XGBOOST = "onnxmltools.convert_xgboost(model, initial_types=...)"
_TENSORFLOW = "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"
CONVERSIONS: Mapping[str, str] = {
    ".pt": _TORCH,
    ".pth": _TORCH,
    ".pt2": _TORCH,
    ".pkl": _SKLEARN,
    ".pickle": _SKLEARN,
    ".joblib": _SKLEARN,
    ".ubj": _XGBOOST,
    ".lgb": "onnxmltools.convert_lightgbm(model, initial_types=...)",
    ".pb": _TENSORFLOW,
    ".keras": "python -m tf2onnx.convert --keras MODEL --output model.onnx",
    ".h5": "python -m tf2onnx.convert --keras MODEL --output model.onnx",
    ".bigdl": "export it from BigDL as a TensorFlow model, then " + _TENSORFLOW,
}
"""Ending of a model's file that is not served -> what makes ONNX of it. A pickle would be code of whoever made it."""


def conversion(path: Path) -> str:
    """Return what to do about a file that is no model that is served, as the end of a sentence; may be empty."""
    how = CONVERSIONS.get(path.suffix)
    return f": convert it to ONNX first: {how}" if how else ""


class Runtime(Protocol):
    """A loaded model.

    Attributes:
        platform: name of the format, as model metadata have it, for instance `onnx_onnxv1`.
        inputs, outputs: its tensors, in its own order.
    """

    platform: str
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Return all outputs, in their order, for inputs that were checked.

        Raises:
            ModelFailed: the runtime failed on them.
        """
        ...


def open_model(path: Path, cores: int | None) -> Runtime:
    """Load a model.

    Args:
        path: its file; what else belongs to it lies beside it.
        cores: processors that it may use; None: all.

    Raises:
        InvalidFormat: no model of a format that is known, or one that cannot be served; the message says what to do.
    """
    module = RUNTIMES.get(path.suffix)
    if module is None:
        raise InvalidFormat(
            f"{path.name}: not a model that is served (there are: {', '.join(RUNTIMES)}){conversion(path)}"
        )
    return cast(Runtime, import_module(module).open_model(path, cores))
