"""Warming a model before it is ready: it runs, its rows prove independent of one another, and a row is timed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from confide.errors import ConfideError
from confide.serving.runtime import Runtime
from confide.serving.tensors import BYTES, Array, TensorSpec, dtype_of

PROBE_ROWS = 3
FREE_SIZES = (1, 16, 224)
"""What is tried for dimensions of any size: a text, a picture."""
_RUNS = 3


@dataclass(frozen=True)
class Warmed:
    """What warming a model showed.

    Attributes:
        ran: it ran at all on inputs that were made up.
        batchable: rows of several requests may go into one run: each comes out as it would alone.
        row_s: seconds of a run of one row.
    """

    ran: bool
    batchable: bool
    row_s: float


def warm(runtime: Runtime, max_batch: int) -> Warmed:
    """Run a model on made-up inputs."""
    for size in FREE_SIZES:
        try:
            one = runtime.run(_inputs(runtime.inputs, 1, size))
        except ConfideError:
            continue
        began = time.monotonic()
        for _ in range(_RUNS):
            runtime.run(_inputs(runtime.inputs, 1, size))
        row_s = (time.monotonic() - began) / _RUNS
        batchable = max_batch > 1 and _has_rows(runtime, one) and _independent(runtime, size)
        if batchable:
            runtime.run(_inputs(runtime.inputs, max_batch, size))
        return Warmed(ran=True, batchable=batchable, row_s=row_s)
    return Warmed(ran=False, batchable=False, row_s=1.0)


def _has_rows(runtime: Runtime, one: Sequence[Array]) -> bool:
    specs = (*runtime.inputs, *runtime.outputs)
    return all(spec.shape and spec.shape[0] == -1 for spec in specs) and all(
        output.ndim and output.shape[0] == 1 for output in one
    )


def _independent(runtime: Runtime, size: int) -> bool:
    """Return whether rows that run together come out as they do alone."""
    together = _inputs(runtime.inputs, PROBE_ROWS, size)
    try:
        outputs = runtime.run(together)
        if any(output.ndim == 0 or output.shape[0] != PROBE_ROWS for output in outputs):
            return False
        for row in range(PROBE_ROWS):
            alone = runtime.run({name: array[row : row + 1] for name, array in together.items()})
            if not all(
                _alike(one, output[row : row + 1]) for one, output in zip(alone, outputs, strict=True)
            ):
                return False
    except ConfideError:
        return False
    return True


def _alike(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    if one.dtype.kind == "f":
        # Kernels for one row and for several round differently.
        return bool(np.allclose(one, other, rtol=1e-3, atol=1e-5, equal_nan=True))
    return bool(np.array_equal(one, other))


def _inputs(specs: Sequence[TensorSpec], rows: int, size: int) -> dict[str, Array]:
    made: dict[str, Array] = {}
    random = np.random.default_rng(rows)
    for spec in specs:
        free = [rows, *[size] * len(spec.shape)]
        shape = [free[place] if wanted == -1 else wanted for place, wanted in enumerate(spec.shape)]
        if spec.datatype == BYTES:
            made[spec.name] = np.full(shape, b"", np.object_)
        elif spec.datatype.startswith("FP"):
            made[spec.name] = random.standard_normal(shape).astype(dtype_of(spec.datatype))
        else:
            made[spec.name] = random.integers(0, 2, shape).astype(dtype_of(spec.datatype))
    return made
