"""A trained model as it leaves: safetensors, and ONNX with its signature, which `confide serve` serves as it is.

Where it comes from is no word of this module's: the broker's log has it (`confide audit provenance`).
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from confide.errors import MissingDependency, Misuse

BATCH = "batch"
"""What the signature calls the first dimension of each tensor, which stays open."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_MAX_PROTOBUF_BYTES = 1 << 30
"""Weights of more lie beside the model, as a protobuf holds 2 GiB at most."""


@dataclass(frozen=True)
class TensorSignature:
    """A tensor that the model takes or gives.

    Attributes:
        name: by which requests name it.
        dtype: as numpy calls it, for instance `float32`.
        shape: sizes; a name where a size is open.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class Signature:
    """What the model in ONNX takes and gives.

    Attributes:
        inputs, outputs: in its own order.
    """

    inputs: tuple[TensorSignature, ...]
    outputs: tuple[TensorSignature, ...]


def export_model(
    model: nn.Module,
    example: Mapping[str, torch.Tensor],
    folder: str | Path,
    *,
    outputs: Sequence[str] = ("output",),
    name: str = "model",
) -> Signature:
    """Write a model as `NAME.safetensors` and `NAME.onnx`, replacing what is there; by one rank.

    Under `confide run` the folder is a location that the policy lets the program write (`--write-files`), and the
    model leaves it sealed; `confide serve` serves that very location. Rows of a batch may be any number.

    Example::

        export_model(model, {"pixels": pixels[:2]}, "out/model", outputs=["digit"])

    Args:
        model: takes the tensors of `example` in their order; one that DDP wraps is unwrapped. It is exported as it
            infers (`eval()`).
        example: name -> tensor whose first dimension is the batch. Types and other sizes matter, values do not.
        folder: of the model.
        outputs: names of what the model returns, in order.
        name: of the files.

    Raises:
        MissingDependency: onnxscript or safetensors is not installed (`confide[torch]`).
        Misuse: `example` is no batch, the model returns another number of tensors, or torch cannot export it.
    """
    try:
        import onnxscript  # noqa: F401 - what torch exports with
        from safetensors.torch import save_model
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"exporting a model needs {error.name}: install the extra `confide[torch]`"
        ) from None
    if isinstance(model, nn.parallel.DistributedDataParallel):
        model = model.module
    batch, folder = _batch(example), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".confide-", suffix=".tmp") as text:
        made = Path(text)
        save_model(model, str(made / f"{name}.safetensors"))
        signature = _write_onnx(model, batch, outputs, made / f"{name}.onnx")
        for path in sorted(made.iterdir()):
            path.replace(folder / path.name)
    return signature


def _batch(example: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the example with two rows or more: of a batch of one, torch takes the one for a constant."""
    sizes = {tensor.shape[0] if tensor.dim() else 0 for tensor in example.values()}
    if len(sizes) != 1 or 0 in sizes:
        raise Misuse("an example is a batch: tensors with the same number of rows, one at least")
    return {name: torch.cat([tensor, tensor]).detach().cpu() for name, tensor in example.items()}


def _write_onnx(
    model: nn.Module, batch: Mapping[str, torch.Tensor], outputs: Sequence[str], path: Path
) -> Signature:
    modes = [(module, module.training) for module in model.modules()]
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # of transformers that infer: ONNX has nothing for it
    try:
        with torch.no_grad():
            program = torch.onnx.export(
                model.eval(),
                tuple(batch.values()),
                input_names=list(batch),
                output_names=list(outputs),
                dynamic_shapes=tuple({0: BATCH} for _ in batch),
                dynamo=True,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        raise Misuse(f"torch cannot export this model to ONNX: {_reason(error)}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, training in modes:  # of each: parts may be frozen
            module.training = training
    weights = sum(tensor.nbytes for tensor in model.state_dict().values())
    program.save(path, external_data=weights > _MAX_PROTOBUF_BYTES)
    graph = program.model.graph
    if len(graph.outputs) != len(outputs):
        raise Misuse(f"the model returns {len(graph.outputs)} tensors, {len(outputs)} are named")
    return Signature(tuple(map(_signature, graph.inputs)), tuple(map(_signature, graph.outputs)))


def _reason(error: BaseException) -> str:
    """Return the first line of what went wrong at first, without the colours in it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return _COLOUR.sub("", str(error)).strip().partition("\n")[0]


def _signature(value: Any) -> TensorSignature:
    sizes = (size if isinstance(size, int) else str(size) for size in value.shape)
    return TensorSignature(value.name, str(value.dtype.numpy()), tuple(sizes))
