"""The bytes of tensors, without a copy."""

from __future__ import annotations

import ctypes

import torch

from confide.errors import Misuse


def bytes_of(tensor: torch.Tensor) -> memoryview:
    """Return the memory of a contiguous tensor; valid as long as the tensor is kept."""
    size = tensor.numel() * tensor.element_size()
    if size == 0:
        return memoryview(bytearray())
    return memoryview((ctypes.c_ubyte * size).from_address(tensor.data_ptr())).cast("B")


def dense(tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor, or a contiguous copy of it.

    Raises:
        Misuse: it lies on an accelerator, or is sparse.
    """
    if tensor.device.type != "cpu" or tensor.layout != torch.strided:
        raise Misuse(
            f"the backend confide moves dense tensors on the CPU, not {tensor.layout} on {tensor.device}: "
            "move it with .cpu(), or .to_dense()"
        )
    return tensor.contiguous()
