"""Rows of a table as PyTorch has them: a tensor for each column, or a list where their sizes differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import pyarrow as pa
import torch

from confide.errors import Misuse
from confide.training.memory import bytes_of

Column: TypeAlias = torch.Tensor | list[Any]

_NUMBERS: Mapping[pa.DataType, torch.dtype] = {
    pa.bool_(): torch.bool,
    pa.int8(): torch.int8,
    pa.int16(): torch.int16,
    pa.int32(): torch.int32,
    pa.int64(): torch.int64,
    pa.uint8(): torch.uint8,
    pa.uint16(): torch.uint16,
    pa.uint32(): torch.uint32,
    pa.uint64(): torch.uint64,
    pa.float16(): torch.float16,
    pa.float32(): torch.float32,
    pa.float64(): torch.float64,
}


@dataclass(frozen=True)
class Rows:
    """Some rows.

    Attributes:
        columns: name -> values.
        count: of rows.
    """

    columns: Mapping[str, Column]
    count: int

    @property
    def nbytes(self) -> int:
        """Bytes that the values take, about."""
        return sum(_nbytes(column) for column in self.columns.values())

    def take(self, order: torch.Tensor) -> Rows:
        """Return the rows of these numbers, in this order."""
        numbers = order.tolist()
        taken = {
            name: column.index_select(0, order)
            if isinstance(column, torch.Tensor)
            else [column[i] for i in numbers]
            for name, column in self.columns.items()
        }
        return Rows(taken, len(numbers))

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows from `start` on, before `stop`, in the same memory."""
        return Rows({name: column[start:stop] for name, column in self.columns.items()}, stop - start)

    def each(self) -> Iterator[dict[str, Any]]:
        """Yield each row: name -> value."""
        names = list(self.columns)
        columns = [c.unbind(0) if isinstance(c, torch.Tensor) else c for c in self.columns.values()]
        for values in zip(*columns, strict=True):
            yield dict(zip(names, values, strict=True))


def joined(several: Sequence[Rows]) -> Rows:
    """Return all rows of several, at least one of which is given."""
    if len(several) == 1:
        return several[0]
    columns: dict[str, Column] = {}
    for name, first in several[0].columns.items():
        values = [rows.columns[name] for rows in several]
        columns[name] = (
            torch.cat(values)
            if isinstance(first, torch.Tensor)
            else [one for column in values for one in column]
        )
    return Rows(columns, sum(rows.count for rows in several))


def check_type(name: str, kind: pa.DataType) -> None:
    """Return if PyTorch has something for a column of this type.

    Raises:
        Misuse: it has not.
    """
    if isinstance(kind, pa.FixedShapeTensorType):
        kind = kind.storage_type
    if isinstance(kind, pa.BaseExtensionType):
        raise _unfit(name, kind)
    _column(name, pa.array([], kind))


def to_rows(batch: pa.RecordBatch) -> Rows:
    """Return the rows of a batch of Arrow's.

    Numbers and booleans become one-dimensional tensors; lists of a fixed size, `fixed_shape_tensor` and binary of a
    fixed width tensors of more dimensions; text and binary lists of `str` and `bytes`; lists of numbers of any length
    lists of tensors.

    Raises:
        Misuse: a type that is none of these, or a null where a tensor has none.
    """
    columns = {
        name: _column(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
    return Rows(columns, batch.num_rows)


def _column(name: str, array: Any) -> Column:
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    kind = array.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return list(array.to_pylist())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return list(array.to_pylist())
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        _no_nulls(name, array)
        return list(_tensor(name, array.flatten()).split(array.value_lengths().to_pylist()))
    return _tensor(name, array)


def _tensor(name: str, array: Any) -> torch.Tensor:
    shape = [len(array)]
    if isinstance(array.type, pa.FixedShapeTensorType):
        if array.type.permutation not in (None, sorted(array.type.permutation or ())):
            raise _unfit(name, array.type)
        inner, array = list(array.type.shape), array.storage
        _no_nulls(name, array)
        shape, array = shape + inner, array.flatten()
    while pa.types.is_fixed_size_list(array.type):
        _no_nulls(name, array)
        shape.append(array.type.list_size)
        array = array.flatten()
    _no_nulls(name, array)
    if pa.types.is_fixed_size_binary(array.type):
        shape.append(array.type.byte_width)
        dtype = torch.uint8
    elif array.type in _NUMBERS:
        dtype = _NUMBERS[array.type]
    else:
        raise _unfit(name, array.type)
    if dtype == torch.bool:  # Arrow packs them into bits
        return _filled(array.cast(pa.uint8()), shape, torch.uint8).bool()
    return _filled(array, shape, dtype)


def _filled(array: Any, shape: Sequence[int], dtype: torch.dtype) -> torch.Tensor:
    tensor = torch.empty(shape, dtype=dtype)
    if tensor.numel():
        memory = bytes_of(tensor)
        start = array.offset * (len(memory) // len(array))
        memory[:] = memoryview(array.buffers()[1]).cast("B")[start : start + len(memory)]
    return tensor


def _no_nulls(name: str, array: Any) -> None:
    if array.null_count:
        raise Misuse(f"column {name!r} has nulls, and a tensor has none: fill them, or leave the column out")


def _unfit(name: str, kind: pa.DataType) -> Misuse:
    return Misuse(f"column {name!r} is of type {kind}, for which PyTorch has nothing: leave it out")


def _nbytes(column: Column) -> int:
    if isinstance(column, torch.Tensor):
        return int(column.nbytes)
    return sum(one.nbytes if isinstance(one, torch.Tensor) else len(one or "") for one in column)
