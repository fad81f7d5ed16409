"""CSV in, encrypted, CSV out: no cell changes, whatever it looks like; bad files are refused with the place."""

import csv
import gzip
import io
import tempfile
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.data import csv_source
from confide.data.csv_source import CsvOptions
from confide.data.csv_types import parse_type
from confide.data.parquet import TableReader
from confide.data.tables import decrypt_table, encrypt_table
from confide.errors import InvalidFormat, Misuse
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName

KEY = KeyName("clinic", "patients")
KEYSET = Keyset({KEY: NamedKey(KEY, 1, {1: b"\x01" * 32})})


def through(folder, content, options=None, name="in.csv"):
    """Encrypt and decrypt; return the encrypted table, and the decrypted CSV's cells."""
    source, target, back = folder / name, folder / "out", folder / "back.csv"
    source.write_bytes(content if isinstance(content, bytes) else content.encode())
    listing = encrypt_table(source, target, KEYSET, KEY, location="t", csv=options, overwrite=True)
    decrypt_table(target, listing, KEYSET, back, overwrite=True)
    with back.open(encoding="utf-8", newline="") as file:
        return TableReader(target, listing, KEYSET).read(), list(csv.reader(file))


def column_type(folder, *cells):
    table, _ = through(folder, "c,other\n" + "".join(f'"{cell}",x\n' if cell else ",x\n" for cell in cells))
    return table.schema.field("c").type


def text_of(cells):
    """Write CSV as RFC 4180 has it; None is an empty cell, and the empty text is quoted."""

    def quoted(cell):
        return "" if cell is None else '"' + cell.replace('"', '""') + '"'

    return "".join(",".join(map(quoted, row)) + "\r\n" for row in cells)


def same(before, after, kind):
    """Whether a cell came back: the same text, or of a typed column the same value."""
    if (before or "") == after:
        return True
    if before is None or not after:
        return False
    if pa.types.is_timestamp(kind):
        return before.replace("T", " ", 1) in (after, after.replace(".000", "", 1))
    try:
        return pa.types.is_floating(kind) and Decimal(before) == Decimal(after)
    except InvalidOperation:
        return False


NUMBERS = st.one_of(
    st.integers(-(2**66), 2**66).map(str),
    st.integers(0, 10**4).map("{:05d}".format),
    st.floats().map(repr),
    st.floats().map("{:.17e}".format),
    st.decimals(allow_nan=False, allow_infinity=False, places=2).map(str),
    st.from_regex(r"[-+]?0{0,2}[0-9]{0,21}(\.[0-9]{0,20})?([eE][-+]?[0-9]{1,3})?", fullmatch=True),
    st.sampled_from(
        ["-0", "-0.0", "1e5", "0x1F", "1_000", "1,5", " 1", "1 ", "nan", "inf", "-inf", "1e999", ".5"]
    ),
)
DATES = st.one_of(
    st.dates().map(str),
    st.datetimes().map(str),
    st.datetimes().map(lambda at: at.isoformat(timespec="seconds")),
    st.datetimes().map(lambda at: at.isoformat(" ", "milliseconds") + "Z"),
    st.sampled_from(
        ["2024-02-30", "20240101", "1/2/2024", "2024-01-01T24:00:00", "2024-01-01T00:00:00+02:00"]
    ),
)
WORDS = st.sampled_from(
    ["true", "false", "True", "TRUE", "1", "0", "NA", "NULL", "null", "None", "#N/A", "", " "]
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
CELLS = st.sampled_from([NUMBERS, DATES, WORDS, TEXTS])


@st.composite
def columns(draw):
    kinds = draw(st.lists(CELLS, min_size=1, max_size=5))
    rows = draw(st.integers(0, 6))
    return [
        draw(st.lists(st.one_of(kind, kind, kind, st.none()), min_size=rows, max_size=rows)) for kind in kinds
    ]


@pytest.mark.exhaustive
@given(columns())
def test_no_cell_changes(cells):
    header = [f"c{i}" for i in range(len(cells))]
    rows = [list(row) for row in zip(*cells, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        table, back = through(Path(folder), text_of([header, *rows]))
    assert back[0] == header
    assert table.num_rows == len(rows)
    for name, column in zip(header, cells, strict=True):
        kind, values = table.schema.field(name).type, table.column(name).to_pylist()
        assert [value is None for value in values] == [cell is None for cell in column]
        if kind == pa.string():
            assert values == column
    after = [row or [""] for row in back[1:]]
    for before, row in zip(rows, after, strict=True):
        for value, cell, field in zip(before, row, table.schema, strict=True):
            assert same(value, cell, field.type), (value, cell, field)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["0", "-5", "9223372036854775807", "-9223372036854775808"], pa.int64()),
        (["1", "9223372036854775808"], pa.string()),
        (["01234", "90210"], pa.string()),
        (["+49", "1"], pa.string()),
        (["1", "0x10"], pa.string()),
        (["1", "1.5", "-0.25"], pa.float64()),
        (["1.50", "2.00", "-0.0"], pa.float64()),
        (["0.30000000000000004", repr(1 / 81007), "1.0E-7", "1e+300"], pa.float64()),
        (["0.300000000000000044", "1"], pa.string()),
        (["12345678901234567.5"], pa.string()),
        (["1.5", "12345678901234567"], pa.string()),
        (["1e5", "2"], pa.string()),
        (["1.5", "NaN"], pa.string()),
        (["1.5", "inf"], pa.string()),
        (["1.5", "1.0e999"], pa.string()),
        (["1.5", "1.0e-999"], pa.string()),
        (["1.5", ".5"], pa.string()),
        (["1.5", "5."], pa.string()),
        (["1.5", "007.5"], pa.string()),
        (["1.5", " 2.5"], pa.string()),
        (["2024-02-29", "0001-01-01"], pa.date32()),
        (["2024-02-30"], pa.string()),
        (["2024-1-1"], pa.string()),
        (["1/2/2024"], pa.string()),
        (["20240101"], pa.int64()),
        (["2024-01-01T10:00:00", "2024-01-01 10:00:01"], pa.timestamp("ms")),
        (["2024-01-01 10:00:00.123"], pa.timestamp("ms")),
        (["2024-01-01 10:00:00.123456"], pa.timestamp("us")),
        (["2024-01-01T10:00:00Z"], pa.timestamp("ms", "UTC")),
        (["2024-01-01T10:00:00+01:00"], pa.string()),
        (["2024-01-01T10:00:00.123456789"], pa.string()),
        (["2024-01-01 10:00:00", "2024-01-01 10:00:00.5"], pa.string()),
        (["2024-01-01 10:00"], pa.string()),
        (["2024-01-01", "2024-01-01 10:00:00"], pa.string()),
        (["true", "false"], pa.bool_()),
        (["True", "False"], pa.string()),
        (["true", "1"], pa.string()),
        (["NULL", "1"], pa.string()),
        (["NA"], pa.string()),
        (["", "7"], pa.int64()),
        (["", ""], pa.string()),
    ],
)
def test_types_that_are_found(cells, expected, tmp_path):
    assert column_type(tmp_path, *cells) == expected


def test_an_empty_cell_is_null_and_a_quoted_one_is_not(tmp_path):
    table, _ = through(tmp_path, 'a,n,m\n,,""\n"",7,8\n')
    assert table.to_pydict() == {"a": [None, ""], "n": [None, 7], "m": ["", "8"]}
    given_type, _ = through(tmp_path, 'n\n""\n7\n\n', CsvOptions({"n": pa.int64()}))
    assert given_type.to_pydict() == {"n": [None, 7, None]}


def test_empty_lines_are_rows_of_a_single_column_only(tmp_path):
    assert through(tmp_path, 'a\nx\n\n""\n')[0].to_pydict() == {"a": ["x", None, ""]}
    assert through(tmp_path, "a,b\nx,y\n\n\n")[0].num_rows == 1


@pytest.mark.parametrize(
    ("kind", "cell", "expected"),
    [
        ("int64", "007", 7),
        ("double", "1e5", 1e5),
        ("double", "inf", float("inf")),
        ("string", "7", "7"),
        ("date", "2024-01-01", date(2024, 1, 1)),
        ("timestamp", "2024-01-01T10:00:00.5", datetime(2024, 1, 1, 10, 0, 0, 500000)),
        ("bool", "True", True),
        ("decimal(12,2)", "1.5", Decimal("1.50")),
        ("decimal(38, 0)", "9" * 38, Decimal("9" * 38)),
    ],
)
def test_given_types(kind, cell, expected, tmp_path):
    table, _ = through(tmp_path, f"c,d\n{cell},x\n,y\n", CsvOptions({"c": parse_type(kind)}))
    assert table.column("c").to_pylist() == [expected, None]


@pytest.mark.parametrize(
    ("kind", "cell"),
    [
        ("int64", "1.5"),
        ("int64", "9223372036854775808"),
        ("double", "canary"),
        ("double", "1e999"),
        ("date", "1/2/2024"),
        ("timestamp", "2024-01-01 10:00:00.123456789"),
        ("bool", "yes"),
        ("decimal(4,2)", "123.45"),
        ("decimal(4,2)", "1.234"),
    ],
)
def test_values_that_a_given_type_does_not_hold(kind, cell, tmp_path):
    with pytest.raises(InvalidFormat, match=r"in.csv: row 4, column 'c'") as caught:
        through(
            tmp_path,
            f"c,d\n1,\n,x\n{cell},x\n".replace("1,\n", ",\n", 1),
            CsvOptions({"c": parse_type(kind)}),
        )
    assert cell not in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name",
    [
        "",
        "int",
        "INT64",
        "decimal",
        "decimal(0,0)",
        "decimal(39,2)",
        "decimal(2,3)",
        "decimal(2)",
        "list(int64)",
    ],
)
def test_names_of_no_type(name):
    with pytest.raises(Misuse, match="no type"):
        parse_type(name)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a,b\n1,2\n3\n", "row 3 .* 1 cells, not 2"),
        (b'a,b\n1,"x\ny"\n1,2,canary\n', "row 3 .* 3 cells, not 2"),
        (b"a,b,a\n1,2,3\n", "two columns named 'a'"),
        (b"a,b\n1,2\nx,caf\xe9\n", "not UTF-8 text: column 'b', row 3"),
        (b"a,\xe9\n1,2\n", "not UTF-8 text: row 1"),
        ("a,b\n1,2\n".encode("utf-16"), "not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "not UTF-8"),
        (b"a;b\n1;2\n", "name the delimiter"),
        (b"a\tb\n1\t2\n", "name the delimiter"),
        (b'a,b\n"1,2\n' + b"3,4\n" * 2000, "row 2 "),
        (b"a,b\n1," + b"x" * 20_000 + b"\n", "row of more than 4096 bytes"),
        (b"", "no rows"),
    ],
)
def test_files_that_are_refused(content, words, tmp_path, monkeypatch):
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 4096)
    with pytest.raises(InvalidFormat, match=words) as caught:
        through(tmp_path, content)
    assert "canary" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_ragged_row_far_down_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_source, "BLOCK_BYTES", 4096)
    with pytest.raises(InvalidFormat, match=r"row 5002 "):
        through(tmp_path, "a,b\n" + "1,2\n" * 5000 + "1\n")
    packed = gzip.compress(b"a,b\n" + b"1,2\n" * 5000 + b"1\n")
    with pytest.raises(InvalidFormat, match=r"row 5002 "):
        through(tmp_path, packed, name="in.csv.gz")
    with pytest.raises(InvalidFormat):
        through(tmp_path, packed[:-20], name="in.csv.gz")


@pytest.mark.parametrize("delimiter", [";", "\t", "|", " "])
def test_delimiters(delimiter, tmp_path):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([["a", "b"], ["1,5", f"x{delimiter}y"], ["2", '"']])
    table, _ = through(tmp_path, out.getvalue(), CsvOptions({}, delimiter))
    assert table.to_pydict() == {"a": ["1,5", "2"], "b": [f"x{delimiter}y", '"']}


def test_one_column_with_the_delimiter_in_its_name_if_told(tmp_path):
    table, _ = through(tmp_path, "a;b\nx\n", CsvOptions({}, ","))
    assert table.to_pydict() == {"a;b": ["x"]}


@pytest.mark.parametrize("delimiter", ["", ";;", '"', "\n", "\r", "\0", "é"])
def test_no_delimiter(delimiter):
    with pytest.raises(Misuse, match="delimiter"):
        CsvOptions({}, delimiter)


def test_byte_order_mark_and_line_ends(tmp_path):
    table, _ = through(tmp_path, b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n')
    assert table.to_pydict() == {"a": [1], "b": ["x\r\ny"]}


@pytest.mark.parametrize("row", ['"x"y,z', '"x" ,z', '""x,z', 'z,"x'])
@pytest.mark.parametrize("name", ["in.csv", "in.csv.gz"])
def test_a_quotation_mark_out_of_place(tmp_path, row, name):
    content = f"a,b\n1,2\n{row}\n".encode()
    with pytest.raises(InvalidFormat, match=r"quotation mark out of place.* at line 3"):
        through(tmp_path, gzip.compress(content) if name.endswith(".gz") else content, name=name)
