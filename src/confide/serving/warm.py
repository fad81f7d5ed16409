"""Warming a model before it is ready: it runs, its rows prove independent of one another, and a row is timed.

What is tried is ordinary rows, and ordinary rows beside one that no ordinary input has: by that, models are found that
take a measure of the whole batch, as dynamic quantisation does. No trial finds a model that mixes rows for an input
which nobody tried; such a model is its owner's to know, and `max_batch = 1` is for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from confide.errors import ConfideError
from confide.serving.cost import Cost
from confide.serving.runtime import Runtime
from confide.serving.tensors import BYTES, Array, TensorSpec, dtype_of

PROBE_ROWS = 8
FREE_SIZES = (1, 16, 224)
"""What is tried for dimensions of any size: a text, a picture."""
NEIGHBOURS = (1e6, -1e6, 0.0, float("inf"), float("nan"))
"""By what one row is multiplied beside the others."""
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
    """Return whether rows that run together come out as they do alone, whatever runs beside them."""
    rows = _inputs(runtime.inputs, PROBE_ROWS, size)
    try:
        alone = [_row(runtime, rows, row) for row in range(PROBE_ROWS)]
        if not _as_alone(runtime, rows, alone):
            return False
    except ConfideError:
        return False
    floats = [spec.name for spec in runtime.inputs if spec.datatype.startswith("FP")]
    for place, neighbour in enumerate(NEIGHBOURS):
        place %= PROBE_ROWS
        beside = {name: array.copy() for name, array in rows.items()}
        with np.errstate(over="ignore"):  # of FP16 it is infinite then
            for name in floats:
                beside[name][place] *= beside[name].dtype.type(neighbour)
        try:
            if not _as_alone(runtime, beside, [*alone[:place], None, *alone[place + 1 :]]):
                return False
        except ConfideError:
            continue  # a run that fails is made again, each request alone
    return True


def _row(runtime: Runtime, rows: Mapping[str, Array], row: int) -> list[Array]:
    return runtime.run({name: array[row : row + 1] for name, array in rows.items()})


def _as_alone(
    runtime: Runtime, rows: Mapping[str, Array], expected: Sequence[Sequence[Array] | None]
) -> bool:
    """Return whether a run of all rows has what is expected of each; None: whatever."""
    outputs = runtime.run(rows)
    if any(output.ndim == 0 or output.shape[0] != PROBE_ROWS for output in outputs):
        return False
    return all(
        _alike(one, output[row : row + 1])
        for row, alone in enumerate(expected)
        if alone is not None
        for one, output in zip(alone, outputs, strict=True)
    )


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
