"""Models in ONNX, by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime

from confide.errors import InvalidFormat
from confide.serving.failures import ModelFailed
from confide.serving.tensors import BYTES, Array, TensorSpec

_DATATYPES = {
    "tensor(bool)": "BOOL",
    **{
        f"tensor({kind.lower()}{bits})": f"{kind}{bits}"
        for kind in ("INT", "UINT")
        for bits in (8, 16, 32, 64)
    },
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": BYTES,
}
_SILENT = 4  # onnxruntime logs nothing below "fatal": its messages may hold values


class OnnxModel:
    """A model in ONNX (`confide.serving.runtime.Runtime`)."""

    platform = "onnx_onnxv1"

    def __init__(self, session: Any) -> None:
        self._session = session
        self.inputs = tuple(_spec(tensor, "input") for tensor in session.get_inputs())
        self.outputs = tuple(_spec(tensor, "output") for tensor in session.get_outputs())
        self._texts = frozenset(spec.name for spec in self.inputs if spec.datatype == BYTES)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Return all outputs for these inputs.

        Raises:
            ModelFailed: onnxruntime failed on them.
        """
        if self._texts:
            inputs = {name: _text(array) if name in self._texts else array for name, array in inputs.items()}
        try:
            outputs: list[Array] = self._session.run(None, inputs)
        except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own, and texts with values
            raise ModelFailed(f"onnxruntime: {type(error).__name__}") from None
        return outputs


def open_model(path: Path, cores: int | None) -> OnnxModel:
    """Load a model.

    Raises:
        InvalidFormat: onnxruntime does not take it, or it has inputs or outputs that are no tensors.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    # Spinning threads wait faster and burn a processor for it.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if cores is not None:
        options.intra_op_num_threads = cores
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - onnxruntime raises classes of its own
        raise InvalidFormat(f"{path.name}: onnxruntime does not take it ({type(error).__name__})") from None
    return OnnxModel(session)


def _spec(tensor: Any, side: str) -> TensorSpec:
    datatype = _DATATYPES.get(tensor.type)
    if datatype is None:
        raise InvalidFormat(
            f"{side} {tensor.name!r} is of type {tensor.type}, which is no tensor of the protocol. Of scikit-learn "
            "models, convert with options={'zipmap': False}"
        )
    shape = tuple(size if isinstance(size, int) and size > 0 else -1 for size in tensor.shape)
    return TensorSpec(tensor.name, datatype, shape)


def _text(array: Array) -> Array:
    """Return texts of bytes: onnxruntime takes `str`."""
    try:
        texts = [each.decode() for each in array.ravel().tolist()]
    except UnicodeDecodeError:
        raise ModelFailed("a BYTES element is not UTF-8") from None
    result = array.copy()
    result.ravel()[:] = texts
    return result
