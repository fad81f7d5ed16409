"""Reductions of tensors over ranks, chunk by chunk, and who brought a NaN."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch.distributed import ReduceOp

from confide.errors import Misuse

_IN_PLACE: Mapping[Any, tuple[str, Callable[[torch.Tensor, torch.Tensor], object]]] = MappingProxyType(
    {
        ReduceOp.SUM: ("sum", torch.Tensor.add_),
        ReduceOp.AVG: ("avg", torch.Tensor.add_),
        ReduceOp.PRODUCT: ("product", torch.Tensor.mul_),
        ReduceOp.MIN: ("min", lambda to, other: torch.minimum(to, other, out=to)),
        ReduceOp.MAX: ("max", lambda to, other: torch.maximum(to, other, out=to)),
        ReduceOp.BAND: ("band", torch.Tensor.bitwise_and_),
        ReduceOp.BOR: ("bor", torch.Tensor.bitwise_or_),
        ReduceOp.BXOR: ("bxor", torch.Tensor.bitwise_xor_),
    }
)


_SUMMED_BYTES = 4
"""Of integers that are averaged, at least: they are summed as they are."""


class NaNWarning(RuntimeWarning):
    """A rank brought a NaN to a reduction."""


class Reduction:
    """One kind of reduction.

    Args:
        op: of torch.
        dtype: of the tensors.

    Raises:
        Misuse: it is not supported, or not for that type.
    """

    def __init__(self, op: Any, dtype: torch.dtype) -> None:
        for known, (name, function) in _IN_PLACE.items():
            if op == known:
                self.name, self.into = name, function
                break
        else:
            raise Misuse(f"the backend confide does not reduce by {op}")
        inexact = dtype.is_floating_point or dtype.is_complex
        if self.name == "avg" and not inexact and dtype.itemsize < _SUMMED_BYTES:
            raise Misuse(f"no average of {dtype}: its sum may not fit; average int32 or int64")
        self._inexact = inexact

    def finish(self, tensor: torch.Tensor, ranks: int) -> None:
        """Complete the reduction of all ranks' parts."""
        if self.name == "avg":  # of integers towards zero, as by nccl
            tensor.div_(ranks, rounding_mode=None if self._inexact else "trunc")

    def has_nan(self, tensor: torch.Tensor) -> bool:
        """Return whether there is a NaN in it."""
        if not self._inexact:
            return False
        # Cheaper than looking for one; infinities of both signs make one, too.
        return math.isnan(abs(tensor.sum().item())) and bool(tensor.isnan().any())


def name_nan(rank: int, operation: object) -> None:
    """Warn of a NaN. Loops that scale gradients expect some, so it does not end the job."""
    warnings.warn(f"rank {rank} brings a NaN to {operation}", NaNWarning, stacklevel=2)
