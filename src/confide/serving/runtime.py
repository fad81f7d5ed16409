"""Runtimes: what runs a model of one format. The table says which exist; each is one small file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Protocol, cast

from confide.errors import InvalidFormat

if TYPE_CHECKING:
    from confide.serving.tensors import Array, TensorSpec  # builders of images may not have numpy


@dataclass(frozen=True)
class Kind:
    """A runtime that exists.

    Attributes:
        name: by which the owner's configuration calls it.
        module: has `open_model(path: Path, cores: int | None) -> Runtime`.
        library: module of what runs its models.
        extra: of `confide` that brings it.
    """

    name: str
    module: str
    library: str
    extra: str


_ONNX = Kind("onnx", "confide.serving.onnx_runtime", "onnxruntime", "serving")
_XGBOOST = Kind("xgboost", "confide.serving.xgboost_runtime", "xgboost", "xgboost")
_LIGHTGBM = Kind("lightgbm", "confide.serving.lightgbm_runtime", "lightgbm", "lightgbm")
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in (_ONNX, _XGBOOST, _LIGHTGBM)}
RUNTIMES: Mapping[str, Kind] = {".onnx": _ONNX, ".ubj": _XGBOOST, ".lgb": _LIGHTGBM}
"""Ending of a model's file -> what runs it."""
COMMON: Mapping[str, Kind] = {"model.json": _XGBOOST, "model.txt": _LIGHTGBM}
"""The same for files whose ending says nothing: other files have it too."""
PLACES = (*RUNTIMES, *COMMON)
_TORCH = "torch.onnx.export(model, args, 'model.onnx', dynamo=True)"
_PICKLED = (
    "convert it to ONNX first, where it was made (it is a pickle: code of whoever made it, and is not read): "
)
_SKLEARN = f"{_PICKLED}skl2onnx.to_onnx(model, x[:1], options={{'zipmap': False}})"
_SAVED_XGBOOST = "save it as UBJSON: booster.save_model('model.ubj')"
_TENSORFLOW = "convert it to ONNX first: python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"
_KERAS = "convert it to ONNX first: python -m tf2onnx.convert --keras MODEL --output model.onnx"
CONVERSIONS: Mapping[str, str] = {
    ".pt": _PICKLED + _TORCH,
    ".pth": _PICKLED + _TORCH,
    ".pt2": "convert it to ONNX first (torch.export.load evaluates texts in it as Python, and reads pickles, so it is "
    f"code of whoever made it): {_TORCH}",
    ".pkl": _SKLEARN,
    ".pickle": _SKLEARN,
    ".joblib": _SKLEARN,
    ".bst": _SAVED_XGBOOST,
    ".xgb": _SAVED_XGBOOST,
    ".json": "a model of XGBoost is called model.json, or NAME.ubj as booster.save_model writes it",
    ".txt": "a model of LightGBM is called model.txt, or NAME.lgb",
    ".pb": _TENSORFLOW,
    ".tflite": _TENSORFLOW,
    ".keras": _KERAS,
    ".h5": _KERAS,
    ".bigdl": "export it from BigDL as a TensorFlow model, then "
    + _TENSORFLOW.removeprefix("convert it to ONNX first: "),
}
"""Ending of a model's file that is not served -> what makes one of it that is."""


def kind_of(path: PurePath) -> Kind | None:
    """Return what runs the model in a file, by its name; None: it is called like none."""
    return COMMON.get(path.name) or RUNTIMES.get(path.suffix)


def conversion(path: PurePath) -> str:
    """Return what to do about a file that is no model that is served, as the end of a sentence; may be empty."""
    how = CONVERSIONS.get(path.suffix)
    return f": {how}" if how else ""


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
    kind = kind_of(path)
    if kind is None:
        raise InvalidFormat(
            f"{path.name}: not a model that is served (there are: {', '.join(PLACES)}){conversion(path)}"
        )
    try:
        module = import_module(kind.module)
    except ModuleNotFoundError:
        raise InvalidFormat(
            f"{path.name}: this image holds no {kind.library}; serving.toml says what runs sealed models: "
            f'runtimes = ["{kind.name}"]'
        ) from None
    return cast(Runtime, module.open_model(path, cores))
