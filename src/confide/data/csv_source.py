"""CSV files as record batches in constant memory, with column types that hold for every row.

Read twice, each time as text: the first pass finds the types that change no value (csv_types), the second
converts. A cell with nothing in it is null; the quoted empty text `""` is an empty text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pc

from confide.data.atomic import storage_errors
from confide.data.csv_quotes import Quotes
from confide.data.csv_types import CANDIDATES, TEXT, convert, narrow
from confide.errors import InvalidFormat, Misuse, StorageUnavailable

BLOCK_BYTES = 1 * 1024 * 1024
"""A row has at most so many bytes."""
_OTHER_DELIMITERS = (";", "\t", "|")
_RAGGED = re.compile(r"(?:Row #(\d+): )?Expected (\d+) columns, got (\d+)")
_NOT_UTF8 = re.compile(r"In CSV column #(\d+): (?:Row #(\d+): )?.*invalid UTF8 data", re.DOTALL)

Report = Callable[[int], None]


@dataclass(frozen=True)
class CsvOptions:
    """How CSV files are read.

    Attributes:
        types: of columns whose type is not to be found.
        delimiter: one character; None is a comma, and files that seem to have another are refused.
    """

    types: Mapping[str, pa.DataType]
    delimiter: str | None = None

    def __post_init__(self) -> None:
        if self.delimiter is not None and (
            len(self.delimiter) != 1 or not self.delimiter.isascii() or self.delimiter in '"\r\n\0'
        ):
            raise Misuse(f"a delimiter is one ASCII character: {self.delimiter!r} is none")


def find_schema(paths: Sequence[Path], options: CsvOptions, report: Report) -> pa.Schema:
    """Return the schema that every row of every file fits; columns without any value are text.

    Args:
        paths: CSV files (`.csv`, `.csv.gz`) with the same header line.
        options: given types, and the delimiter.
        report: called with the bytes read since its last call.

    Raises:
        InvalidFormat: no CSV, not UTF-8, rows of different lengths, files with different columns.
        StorageUnavailable: a file cannot be read.
    """
    names = _header(paths[0], options)
    unknown = sorted(set(options.types) - set(names))
    if unknown:
        raise InvalidFormat(f"no such column in the CSV file: {', '.join(unknown)}")
    possible = {name: list(CANDIDATES) for name in names if name not in options.types}
    empty = set(possible)
    for path in paths:
        if _header(path, options) != names:
            raise InvalidFormat(f"{path.name} has other columns than {paths[0].name}")
        _check_quotes(path, options)
        for batch in _read(path, names, options, report):
            for name in [name for name, kinds in possible.items() if kinds]:
                column = batch.column(name)
                if column.null_count < len(column):
                    empty.discard(name)
                    possible[name] = narrow(column, possible[name])
    found = {name: TEXT if name in empty else [*kinds, TEXT][0] for name, kinds in possible.items()}
    return pa.schema([(name, options.types.get(name) or found[name]) for name in names])


def read_batches(
    path: Path, schema: pa.Schema, options: CsvOptions, report: Report
) -> Iterator[pa.RecordBatch]:
    """Yield a CSV file's rows with the types of `schema`.

    Raises:
        InvalidFormat: as `find_schema`, or a value that a given type does not fit.
        StorageUnavailable: the file cannot be read.
    """
    row = 2  # the header is row 1
    for batch in _read(path, schema.names, options, report):
        columns = [
            _converted(text, field, path, row) for text, field in zip(batch.columns, schema, strict=True)
        ]
        yield pa.record_batch(columns, schema=schema)
        row += batch.num_rows


def _converted(text: pa.Array[Any], field: pa.Field[Any], path: Path, row: int) -> pa.Array[Any]:
    try:
        return convert(text, field.type)
    except pa.ArrowInvalid:  # its text quotes data
        for index in range(len(text)):
            try:
                convert(text.slice(index, 1), field.type)
            except pa.ArrowInvalid:
                what = f"row {row + index}, column {field.name!r}"
                raise InvalidFormat(f"{path.name}: {what}: no value of type {field.type}") from None
        raise AssertionError("a column fails, but none of its values") from None


def _header(path: Path, options: CsvOptions) -> list[str]:
    with _errors(path), _Counted(path) as source:
        start = source.stream.read(4)
        if b"\0" in start or start.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InvalidFormat(f"{path.name} is not UTF-8 text")
    with _errors(path), _Counted(path) as source:
        try:
            names = _open(source, pc.ConvertOptions(), options).schema.names
        except UnicodeDecodeError:
            raise InvalidFormat(f"{path.name} is not UTF-8 text: row 1") from None
    for name in names:
        if names.count(name) > 1:
            raise InvalidFormat(f"{path.name} has two columns named {name!r}")
    if len(names) == 1 and options.delimiter is None:
        for delimiter in _OTHER_DELIMITERS:
            if delimiter in names[0]:
                raise InvalidFormat(
                    f"{path.name} has no comma in its first row, but {delimiter!r}: name the delimiter"
                )
    return names


def _check_quotes(path: Path, options: CsvOptions) -> None:
    quotes = Quotes(options.delimiter or ",")
    with _errors(path), _Counted(path) as source:
        while True:
            chunk = source.stream.read(BLOCK_BYTES)
            try:
                waiting = quotes.take(chunk)
            except ValueError:
                waiting = BLOCK_BYTES + 1
            if waiting > BLOCK_BYTES:
                raise InvalidFormat(
                    f"{path.name} has a quotation mark out of place, or a row of more than {BLOCK_BYTES} bytes, at "
                    f"line {quotes.line}: in a quoted cell, a mark is written twice"
                )
            if not chunk:
                return


def _read(path: Path, names: Sequence[str], options: CsvOptions, report: Report) -> Iterator[pa.RecordBatch]:
    """Yield a file's rows as text."""
    convert_options = pc.ConvertOptions(
        column_types=dict.fromkeys(names, TEXT),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    with _errors(path, names), _Counted(path, report) as source:
        for batch in _open(source, convert_options, options, empty_rows=len(names) == 1):
            source.count()
            yield batch


def _open(
    source: _Counted, convert_options: pc.ConvertOptions, options: CsvOptions, *, empty_rows: bool = False
) -> pc.CSVStreamingReader:
    return pc.open_csv(
        source.stream,  # type: ignore[arg-type]  # the stubs leave out pyarrow's own streams
        # Without threads, errors name the row; there is little to share out, since nothing is converted.
        read_options=pc.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
        parse_options=pc.ParseOptions(
            delimiter=options.delimiter or ",",
            newlines_in_values=True,
            ignore_empty_lines=not empty_rows,  # of one column, an empty line is a row with an empty cell
        ),
        convert_options=convert_options,
    )


class _Counted:
    """An open CSV file, unpacked if need be, that tells how much of it was read."""

    def __init__(self, path: Path, report: Report | None = None) -> None:
        self._file, self._report, self._told = pa.OSFile(str(path), "rb"), report, 0
        packed = path.suffix == ".gz"
        self.stream = pa.CompressedInputStream(self._file, "gzip") if packed else self._file

    def count(self) -> None:
        """Report what was read since the last call."""
        if self._report is not None:
            position = self._file.tell()
            self._report(position - self._told)
            self._told = position

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


@contextmanager
def _errors(path: Path, names: Sequence[str] = ()) -> Iterator[None]:
    """Translate pyarrow's errors; their texts quote data, so they are not passed on."""
    try:
        with storage_errors(f"cannot read {path.name}"):
            yield
    except StorageUnavailable as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno is None:  # from unpacking
            raise InvalidFormat(f"{path.name} is damaged") from None
        raise
    except pa.ArrowInvalid as error:
        raise InvalidFormat(f"{path.name} {_reason(str(error), names)}") from None


def _reason(message: str, names: Sequence[str]) -> str:
    if ragged := _RAGGED.search(message):
        row = f"row {ragged[1]} (1 is the header)" if ragged[1] else "a row"
        return f"is no table: {row} has {ragged[3]} cells, not {ragged[2]}"
    if bad := _NOT_UTF8.search(message):
        name = repr(names[int(bad[1])]) if int(bad[1]) < len(names) else bad[1]
        return f"is not UTF-8 text: column {name}" + (f", row {bad[2]}" if bad[2] else "")
    if "straddling" in message:
        return f"has a row of more than {BLOCK_BYTES} bytes, or a quotation mark that is not closed"
    if "Empty CSV" in message:
        return "is no CSV file: it has no rows"
    return "is no CSV file that can be read"
