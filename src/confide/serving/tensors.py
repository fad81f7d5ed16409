"""Tensors of the Open Inference Protocol: its datatypes, and their JSON and binary forms as numpy arrays.

Source: Open Inference Protocol v2, "Tensor Data"; its binary tensor data extension. BYTES elements are a
four-byte little-endian length and the bytes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from confide.serving.failures import InvalidRequest

Array: TypeAlias = NDArray[Any]

BYTES = "BYTES"
MAX_DIMENSIONS = 16
MAX_ELEMENTS = 2**40
_LENGTH_BYTES = 4

_NUMPY: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    **{
        f"{kind}{bits}": np.dtype(f"{kind.lower()}{bits}")
        for kind in ("INT", "UINT")
        for bits in (8, 16, 32, 64)
    },
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    BYTES: np.dtype(np.object_),
}
_NAMES = {dtype: name for name, dtype in _NUMPY.items()}
_JSON_KINDS: Mapping[str, frozenset[type]] = {
    "b": frozenset({bool}),
    "i": frozenset({int}),
    "u": frozenset({int}),
    "f": frozenset({int, float}),
    "O": frozenset({str}),
}
"""Kind of numpy's type -> what its elements are in JSON."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of a model.

    Attributes:
        name: of the tensor.
        datatype: of the protocol, for instance `FP32`.
        shape: -1 where a dimension may have any size.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def wire(self) -> dict[str, Any]:
        """Return it as model metadata have it."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}

    def check(self, datatype: str, shape: Sequence[int]) -> None:
        """Return if the model takes such a tensor here.

        Raises:
            InvalidRequest: another datatype or shape.
        """
        if datatype != self.datatype:
            raise InvalidRequest(f"input {self.name!r}: datatype {datatype}, {self.datatype} is expected")
        if len(shape) != len(self.shape) or any(
            wanted not in (-1, size) for wanted, size in zip(self.shape, shape, strict=True)
        ):
            raise InvalidRequest(
                f"input {self.name!r}: shape {list(shape)[:MAX_DIMENSIONS]}, {list(self.shape)} is expected "
                "(-1: any size)"
            )


def dtype_of(datatype: str) -> np.dtype[Any]:
    """Return the numpy dtype of a datatype of the protocol."""
    return _NUMPY[datatype]


def datatype_of(dtype: np.dtype[Any]) -> str:
    """Return the protocol's name of a numpy dtype.

    Raises:
        InvalidRequest: it has none.
    """
    if dtype.kind in "SU":
        return BYTES
    try:
        return _NAMES[dtype]
    except KeyError:
        raise InvalidRequest(f"no datatype of the protocol for arrays of {dtype}") from None


def element_count(name: str, datatype: str, shape: Sequence[int]) -> int:
    """Return how many elements a tensor of a request has.

    Raises:
        InvalidRequest: no such datatype, or no such shape.
    """
    if datatype not in _NUMPY:
        raise InvalidRequest(f"input {name!r}: no datatype {datatype!r}")
    # Numpy refuses what would be too large without the dimensions that are 0.
    if (
        len(shape) > MAX_DIMENSIONS
        or min(shape, default=0) < 0
        or math.prod(filter(None, shape)) > MAX_ELEMENTS
    ):
        raise InvalidRequest(f"input {name!r}: shape {list(shape)[:MAX_DIMENSIONS]} is none")
    return math.prod(shape)


def from_binary(name: str, datatype: str, shape: Sequence[int], data: memoryview) -> Array:
    """Return the array of binary tensor data; it shares their memory, except for BYTES.

    Raises:
        InvalidRequest: names the tensor.
    """
    count = element_count(name, datatype, shape)
    if datatype == BYTES:
        return from_elements(name, shape, _read_bytes(name, data))
    dtype = _NUMPY[datatype]
    if len(data) != count * dtype.itemsize:
        raise InvalidRequest(
            f"input {name!r}: {len(data)} bytes, a {datatype} tensor of shape {list(shape)} "
            f"has {count * dtype.itemsize}"
        )
    if datatype == "BOOL" and count and np.frombuffer(data, np.uint8).max() > 1:
        raise InvalidRequest(f"input {name!r}: a BOOL is 0 or 1")
    return np.frombuffer(data, dtype).reshape(shape)


def from_json(name: str, datatype: str, shape: Sequence[int], data: Any) -> Array:
    """Return the array of JSON tensor data: flat in row-major order, or nested.

    Raises:
        InvalidRequest: names the tensor.
    """
    count = element_count(name, datatype, shape)
    if not isinstance(data, list):
        raise InvalidRequest(f"input {name!r}: data is not a list")
    flat = _flattened(name, data)
    if len(flat) != count:
        raise InvalidRequest(
            f"input {name!r}: {len(flat)} elements, a tensor of shape {list(shape)} has {count}"
        )
    dtype = _NUMPY[datatype]
    # What numpy makes of elements of several kinds can be as large as the largest, for each of them.
    if not _JSON_KINDS[dtype.kind].issuperset(map(type, flat)):
        raise InvalidRequest(f"input {name!r}: data are not all {datatype}")
    try:
        array: Array = np.empty(count, dtype)
        with np.errstate(over="ignore"):
            array[:] = [each.encode() for each in flat] if datatype == BYTES else flat
    except (ValueError, OverflowError):
        raise InvalidRequest(f"input {name!r}: data are not all {datatype}") from None
    return array.reshape(shape)


def from_elements(name: str, shape: Sequence[int], elements: Sequence[bytes]) -> Array:
    """Return the array of the elements of a BYTES tensor, in row-major order.

    Raises:
        InvalidRequest: names the tensor.
    """
    count = element_count(name, BYTES, shape)
    if len(elements) != count:
        raise InvalidRequest(f"input {name!r}: {len(elements)} elements, its shape has {count}")
    array: Array = np.empty(count, np.object_)
    array[:] = elements
    return array.reshape(shape)


def to_binary(array: Array) -> bytes:
    """Return binary tensor data."""
    if array.dtype.kind in "OSU":
        parts = []
        for element in as_bytes(array):
            parts += [len(element).to_bytes(_LENGTH_BYTES, "little"), element]
        return b"".join(parts)
    return array.tobytes()


def to_json(array: Array) -> list[Any]:
    """Return JSON tensor data, flat in row-major order.

    Raises:
        InvalidRequest: bytes that are no text; the binary form carries them.
    """
    if array.dtype.kind in "OSU":
        try:
            return [element.decode() for element in as_bytes(array)]
        except UnicodeDecodeError:
            raise InvalidRequest(
                "an output holds bytes that are not UTF-8: ask for it in binary form"
            ) from None
    return list(array.ravel().tolist())


def as_bytes(array: Array) -> list[bytes]:
    """Return the elements of an array of texts or bytes, flat in row-major order."""
    return [each if isinstance(each, bytes) else str(each).encode() for each in array.ravel().tolist()]


def _read_bytes(name: str, data: memoryview) -> list[bytes]:
    elements, place = [], 0
    while place < len(data):
        start = place + _LENGTH_BYTES
        end = start + int.from_bytes(data[place:start], "little")
        if end > len(data) or start > len(data):
            raise InvalidRequest(f"input {name!r}: a BYTES element is cut off")
        elements.append(bytes(data[start:end]))
        place = end
    return elements


def _flattened(name: str, data: list[Any]) -> list[Any]:
    for _ in range(MAX_DIMENSIONS):
        if list not in map(type, data):
            return data
        if set(map(type, data)) != {list} or len(set(map(len, data))) != 1:
            break
        data = list(itertools.chain.from_iterable(data))
    raise InvalidRequest(f"input {name!r}: data are nested, but not as an array")
