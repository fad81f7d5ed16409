"""Warming a model before it is ready: it runs, its rows prove independent of one another, and a row is timed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from confide.errors import ConfideError
from confide.serving.cost import Cost
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
        cost: what runs are expected to take.
    """

    ran: bool
    batchable: bool
    cost: Cost


def warm(runtime: Runtime, max_batch: int) -> Warmed:
    """Run a model on made-up inputs."""
    for size in FREE_SIZES:
        try:
            one = runtime.run(_inputs(runtime.inputs, 1, size))
        except ConfideError:
            continue
        single_s = _timed(runtime, 1, size)
        batchable = max_batch > 1 and _has_rows(runtime, one) and _independent(runtime, size)
        if not batchable:
            return Warmed(ran=True, batchable=False, cost=Cost(0.0, single_s))
        row_s = max(0.0, _timed(runtime, max_batch, size) - single_s) / (max_batch - 1)
        return Warmed(ran=True, batchable=True, cost=Cost(single_s - row_s, row_s))
    return Warmed(ran=False, batchable=False, cost=Cost(0.0, 1.0))


def _timed(runtime: Runtime, rows: int, size: int) -> float:
    """Return the shortest of a few runs: what it takes when nothing disturbs it."""
    inputs = _inputs(runtime.inputs, rows, size)
    found = []
    for _ in range(_RUNS):
        began = time.monotonic()
        runtime.run(inputs)
        found.append(time.monotonic() - began)
    return min(found)


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
