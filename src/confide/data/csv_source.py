"""CSV files as record batches in constant memory, with column types that hold for every row.

pyarrow infers types from the first block only. So a first pass reads everything and widens a column's type
where a later row does not fit; the second pass reads with the types that were found.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pc

from confide.data.atomic import storage_errors
from confide.errors import InvalidFormat

BLOCK_BYTES = 1 * 1024 * 1024
_MISFIT = re.compile(r"In CSV column #(\d+): .*CSV conversion error to", re.DOTALL)
_WIDER: dict[pa.DataType, pa.DataType] = {
    pa.null(): pa.int64(),
    pa.int64(): pa.float64(),
    pa.date32(): pa.timestamp("s"),
    pa.timestamp("s"): pa.timestamp("ns"),
}

Types = dict[str, pa.DataType]
Report = Callable[[int], None]


def find_schema(paths: Sequence[Path], fixed: Mapping[str, pa.DataType], report: Report) -> pa.Schema:
    """Return the schema that every row of every file fits; columns without any value are text.

    Args:
        paths: CSV files (`.csv`, `.csv.gz`) with the same header line.
        fixed: types that are not to be inferred.
        report: called with the bytes read since its last call.

    Raises:
        InvalidFormat: no CSV, not UTF-8, files with different columns, or a row that a fixed type does not fit.
        StorageUnavailable: a file cannot be read.
    """
    types: Types = dict(fixed)
    names: list[str] = []
    for path in paths:
        fits, header = False, names
        while not fits:
            header, fits = _try(path, types, fixed, header, report)
        if names and header != names:
            raise InvalidFormat(f"{path.name} has other columns than {paths[0].name}")
        names = header
    unknown = sorted(set(fixed) - set(names))
    if unknown:
        raise InvalidFormat(f"no such column in the CSV file: {', '.join(unknown)}")
    fields = [(name, pa.string() if types[name] == pa.null() else types[name]) for name in names]
    return pa.schema(fields)


def read_batches(path: Path, schema: pa.Schema, report: Report) -> Iterator[pa.RecordBatch]:
    """Yield a CSV file's rows with the types of `schema`. Raises as `find_schema`."""
    with _errors(path), _Counted(path, report) as source:
        for batch in _open(source, dict(zip(schema.names, schema.types, strict=True))):
            source.count()
            yield batch


def _try(
    path: Path, types: Types, fixed: Mapping[str, pa.DataType], names: list[str], report: Report
) -> tuple[list[str], bool]:
    """Read a file through; where a row does not fit, widen that column's type and return False.

    `names` are the columns as far as they are known: a misfit in the first block comes before the header.
    """
    with _errors(path), _Counted(path, report) as source:
        try:
            reader = _open(source, types)
            names = reader.schema.names
            if len(set(names)) != len(names):
                raise InvalidFormat(f"{path.name} has two columns of the same name")
            for field in reader.schema:
                types.setdefault(field.name, field.type)
            if pa.binary() in types.values():
                raise InvalidFormat(f"{path.name} is not UTF-8")
            for _ in reader:
                source.count()
        except pa.ArrowInvalid as error:
            match = _MISFIT.match(str(error))
            name = names[int(match[1])] if match and names else None
            if name is None or name in fixed or types[name] == pa.string():
                raise
            types[name] = _WIDER.get(types[name], pa.string())
            return names, False
    return names, True


def _open(source: _Counted, types: Types) -> pc.CSVStreamingReader:
    return pc.open_csv(
        source.stream,  # type: ignore[arg-type]  # the stubs leave out pyarrow's own streams
        read_options=pc.ReadOptions(block_size=BLOCK_BYTES),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=pc.ConvertOptions(column_types=types),
    )


class _Counted:
    """An open CSV file, unpacked if need be, that tells how much of it was read."""

    def __init__(self, path: Path, report: Report) -> None:
        self._file, self._report, self._told = pa.OSFile(str(path), "rb"), report, 0
        packed = path.suffix == ".gz"
        self.stream = pa.CompressedInputStream(self._file, "gzip") if packed else self._file

    def count(self) -> None:
        """Report what was read since the last call."""
        position = self._file.tell()
        self._report(position - self._told)
        self._told = position

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextmanager
def _errors(path: Path) -> Iterator[None]:
    """Translate pyarrow's errors; their texts quote data, so they are not passed on."""
    try:
        with storage_errors(f"cannot read {path.name}"):
            yield
    except pa.ArrowInvalid as error:
        raise InvalidFormat(f"{path.name} is no CSV file that can be read: {_reason(str(error))}") from None


def _reason(message: str) -> str:
    for pattern in (r"Empty CSV file", r"Expected \d+ columns, got \d+", r"invalid UTF8 data"):
        found = re.search(pattern, message)
        if found:
            return found[0]
    return "a row does not fit"
