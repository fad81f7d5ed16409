from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from confide.serving.failures import InvalidRequest
from confide.serving.tensors import (
    TensorSpec,
    datatype_of,
    dtype_of,
    from_binary,
    from_json,
    to_binary,
    to_json,
)

NUMBERS = [
    "BOOL",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "FP16",
    "FP32",
    "FP64",
]
_ARRAYS = st.sampled_from(NUMBERS).flatmap(
    lambda name: hnp.arrays(dtype_of(name), hnp.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=4))
)


@given(_ARRAYS)
def test_binary_form_and_back(array):
    name = datatype_of(array.dtype)
    again = from_binary("x", name, array.shape, memoryview(to_binary(array)))
    assert again.dtype == array.dtype
    assert np.array_equal(again, array, equal_nan=array.dtype.kind == "f")


@given(_ARRAYS.filter(lambda array: array.dtype.kind != "f" or np.isfinite(array).all()))
def test_json_form_and_back(array):
    again = from_json("x", datatype_of(array.dtype), array.shape, to_json(array))
    assert again.dtype == array.dtype
    assert np.array_equal(again, array)


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_bytes_in_binary_form(elements):
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    again = from_binary("x", "BYTES", [len(elements)], memoryview(to_binary(array)))
    assert list(again) == elements


def test_bytes_in_json_are_texts():
    array = from_json("x", "BYTES", [2, 1], [["grün"], ["b"]])
    assert array.tolist() == [["grün".encode()], [b"b"]]
    assert to_json(array) == ["grün", "b"]


def test_bytes_that_are_no_text_need_the_binary_form():
    array = np.empty(1, np.object_)
    array[:] = [b"\xff"]
    with pytest.raises(InvalidRequest, match="binary"):
        to_json(array)


@pytest.mark.parametrize(
    ("datatype", "shape", "data", "reason"),
    [
        ("FP32", [2], b"\0" * 7, "'x': 7 bytes.*has 8"),
        ("FP32", [2], b"\0" * 12, "'x': 12 bytes"),
        ("FP32", [2**40], b"", "'x': 0 bytes"),
        ("FP32", [2**40, 2**40], b"", "'x': shape"),
        ("FP32", [0, 2**40, 2**40], b"", "'x': shape"),
        ("FP32", [-1], b"", r"'x': shape \[-1\]"),
        ("FP32", [1] * 17, b"\0" * 4, "'x': shape"),
        ("FLOAT", [1], b"\0" * 4, "'x': no datatype 'FLOAT'"),
        ("BOOL", [2], b"\1\2", "'x': a BOOL is 0 or 1"),
        ("BYTES", [1], b"\5\0\0\0abc", "'x': a BYTES element is cut off"),
        ("BYTES", [1], b"\5\0", "'x': a BYTES element is cut off"),
        ("BYTES", [2], b"\1\0\0\0a", "'x': 1 elements, its shape has 2"),
    ],
)
def test_binary_data_that_are_no_such_tensor(datatype, shape, data, reason):
    with pytest.raises(InvalidRequest, match=reason):
        from_binary("x", datatype, shape, memoryview(data))


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("FP32", [2], [1]),
        ("FP32", [2], [1, 2, 3]),
        ("FP32", [1], None),
        ("FP32", [1], "1"),
        ("FP32", [1], ["1"]),
        ("FP32", [1], [None]),
        ("FP32", [2], [[1], [2, 3]]),
        ("FP32", [1], [True]),
        ("INT8", [1], [128]),
        ("INT64", [1], [2**63]),
        ("UINT8", [1], [-1]),
        ("INT32", [1], [1.5]),
        ("BOOL", [1], [1]),
        ("BYTES", [1], [1]),
        ("FP32", [1], [{"a": 1}]),
        ("FP32", [3], [[1], [2, 3]]),
        ("FP32", [0, 2**40, 2**40], []),
        ("BYTES", [0, 2**40, 2**40], []),
        ("FP32", [2], [1, [2]]),
        ("BYTES", [3], [["a"], ["b", "c"]]),
        ("FP32", [1], [10**400]),
        ("BYTES", [1], ["\ud800"]),
    ],
)
def test_json_data_that_are_no_such_tensor(datatype, shape, data):
    with pytest.raises(InvalidRequest, match="'x'"):
        from_json("x", datatype, shape, data)


@pytest.mark.parametrize("shape", [[1], [20_001]])
def test_a_long_text_among_short_ones_takes_no_more_memory_than_the_request(shape):
    data = ["a" * 4000] + [""] * 20_000
    tracemalloc.start()
    try:
        with pytest.raises(InvalidRequest, match="'x'"):
            from_json("x", "FP32", shape, data)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_numbers_keep_their_value_as_far_as_their_type_has_it():
    assert from_json("x", "UINT64", [2], [2**64 - 1, 0]).tolist() == [2**64 - 1, 0]
    assert from_json("x", "FP64", [1, 2], [[1, 0.5]]).tolist() == [[1, 0.5]]
    assert from_json("x", "FP16", [1], [1e6]).tolist() == [float("inf")]


@pytest.mark.parametrize("datatype", ["BYTES", "FP32"])
def test_deeply_nested_data(datatype):
    data = [1.0]
    for _ in range(5000):
        data = [data]
    with pytest.raises(InvalidRequest, match="'x'"):
        from_json("x", datatype, [1], data)


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.zeros((1, 4), np.float64), "'x': datatype FP64, FP32"),
        (np.zeros((1, 3), np.float32), r"'x': shape \[1, 3\], \[-1, 4\]"),
        (np.zeros(4, np.float32), "'x': shape"),
        (np.zeros((1, 4, 1), np.float32), "'x': shape"),
    ],
)
def test_what_a_model_does_not_take(array, reason):
    with pytest.raises(InvalidRequest, match=reason):
        TensorSpec("x", "FP32", (-1, 4)).check(datatype_of(array.dtype), array.shape)
