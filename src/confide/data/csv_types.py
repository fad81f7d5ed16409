"""Types of CSV columns: the narrowest one that changes no value.

A type fits a column if each of its values, read as that type and printed again, is the same text. So `007` and
`+7` stay text, and so does `9223372036854775808`, which 64 bits do not hold. Allowed are `T` between date and
time, where a space is printed; `.000` behind whole seconds, since Parquet has no unit longer than milliseconds;
and, for doubles, another text of exactly the same number (`1.50`, `1E-7`). Pure: Arrow arrays in, types and
arrays out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute

from confide.errors import Misuse

pc: Any = pyarrow.compute  # the stubs do not know which of its calls return arrays

TEXT = pa.string()
CANDIDATES: tuple[pa.DataType, ...] = (
    pa.bool_(),
    pa.int64(),
    pa.float64(),
    pa.date32(),
    *(pa.timestamp(unit, zone) for zone in (None, "UTC") for unit in ("s", "ms", "us")),
)
"""What is tried for a column without a given type, the first that fits is taken; text fits always."""

_NAMED: dict[str, pa.DataType] = {
    "int64": pa.int64(),
    "double": pa.float64(),
    "string": TEXT,
    "date": pa.date32(),
    "timestamp": pa.timestamp("us"),
    "bool": pa.bool_(),
}
_DECIMAL_TYPE = re.compile(r"decimal\(([0-9]{1,2}), ?([0-9]{1,2})\)")
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+([eE][+-]?[0-9]+)?|[eE][+-][0-9]+)?$"
"""Decimal numbers as programs print them. `1e5` is more likely a code: an exponent needs a sign or a point."""
_NOT_SIGNIFICANT = r"^-?0*\.?0*|\.|[eE].*$"
_SAFE_DIGITS = 15
"""A decimal of so many digits is the shortest text of its double, so that it prints as the same number."""
_SMALLEST = 1e-290
"""Below, doubles get coarser, and then are zero."""
_FEW = 64


def parse_type(text: str) -> pa.DataType:
    """Return the type called `int64`, `double`, `string`, `date`, `timestamp`, `bool` or `decimal(p,s)`.

    Raises:
        Misuse: no such type.
    """
    match = _DECIMAL_TYPE.fullmatch(text)
    if match:
        precision, scale = int(match[1]), int(match[2])
        if 1 <= precision <= 38 and scale <= precision:
            return pa.decimal128(precision, scale)
    elif text in _NAMED:
        return _NAMED[text]
    raise Misuse(
        f"no type of a CSV column: {text!r} (there are {', '.join(_NAMED)}, decimal(p,s) with p up to 38)"
    )


def narrow(text: pa.Array[Any], kinds: Iterable[pa.DataType]) -> list[pa.DataType]:
    """Return those of `kinds` that fit every value of `text`; nulls fit any."""
    return [kind for kind in kinds if _fits(text, kind)]


def convert(text: pa.Array[Any], kind: pa.DataType) -> pa.Array[Any]:
    """Read text as `kind`, whether that is lossless or not; outside text columns, the empty text is null.

    Raises:
        pa.ArrowInvalid: a value is no `kind`, out of its range, or has more decimal places.
    """
    if kind == TEXT:
        return text
    values: pa.Array[Any] = pc.cast(pc.if_else(pc.equal(text, ""), pa.scalar(None, TEXT), text), kind)
    if kind == pa.float64() and _any(pc.and_(pc.is_inf(values), pc.match_substring_regex(text, "[0-9]"))):
        raise pa.ArrowInvalid("out of range")
    return values


def _fits(text: pa.Array[Any], kind: pa.DataType) -> bool:
    if len(text) > _FEW and not _fits(text.slice(0, _FEW), kind):
        return False  # Arrow converts the whole column before it says that the first value is none
    try:
        values = pc.cast(text, kind)
    except pa.ArrowInvalid:
        return False
    if kind == pa.float64():
        return _same_numbers(text, values)
    if pa.types.is_timestamp(kind):
        text = pc.replace_substring(text, "T", " ", max_replacements=1)
    return not _any(pc.not_equal(text, pc.cast(values, TEXT)))


def _same_numbers(text: pa.Array[Any], values: pa.Array[Any]) -> bool:
    """Return whether each double prints as the number that its text says."""
    if _any(pc.invert(pc.is_finite(values))):
        return False
    # Printing doubles is slow, and needless for what has no more characters than a double has safe digits.
    short = pc.and_(
        pc.less_equal(pc.binary_length(text), _SAFE_DIGITS), pc.greater(pc.abs(values), _SMALLEST)
    )
    rest = pc.invert(pc.and_(short, pc.match_substring_regex(text, _NUMBER)))
    if not _any(rest):
        return True
    text, values = text.filter(rest), values.filter(rest)
    differs = pc.not_equal(text, pc.cast(values, TEXT))
    if not _any(differs):
        return True
    text, values = text.filter(differs), values.filter(differs)
    if _any(pc.invert(pc.match_substring_regex(text, _NUMBER))):
        return False
    digits = pc.utf8_length(pc.replace_substring_regex(text, _NOT_SIGNIFICANT, ""))
    zero, normal = pc.equal(digits, 0), pc.greater(pc.abs(values), _SMALLEST)
    unsure = pc.invert(pc.or_(zero, pc.and_(normal, pc.less_equal(digits, _SAFE_DIGITS))))
    pairs = zip(text.filter(unsure).to_pylist(), values.filter(unsure).to_pylist(), strict=True)
    return all(Decimal(str(said)) == Decimal(repr(value)) for said, value in pairs)


def _any(mask: pa.Array[Any]) -> bool:
    return bool(pc.any(mask, min_count=0).as_py())
