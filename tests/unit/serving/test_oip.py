"""Requests and replies of the Open Inference Protocol, read and written; what is none is refused with its reason."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.errors import ConfideError
from confide.serving import oip
from confide.serving.failures import InvalidRequest
from confide.serving.oip import Body, read_reply, read_request, write_reply, write_request
from confide.serving.tensors import TensorSpec

SPECS = (TensorSpec("y", "FP32", (-1,)), TensorSpec("label", "BYTES", (-1,)))
LABELS = np.array([b"a", b"b"], np.object_)
ARRAYS = [np.array([1.5, 2.5], np.float32), LABELS]


def ANY(*_):
    pass


def body(document, *binary, length=None):
    text = json.dumps(document).encode()
    return Body(text + b"".join(binary), len(text) if length is None and binary else length)


def tensor(**changed):
    return {"name": "x", "datatype": "FP32", "shape": [2], "data": [1, 2]} | changed


def binary(size=8, **changed):
    made = {"name": "x", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": size}}
    return made | changed


def test_json_request():
    request = read_request(body({"id": "7", "inputs": [tensor()], "unknown": 1}), ANY)
    assert request.id == "7"
    assert request.inputs["x"].tolist() == [1, 2]
    assert (request.outputs, request.binary, request.timeout_s) == ({}, False, None)


def test_binary_request_of_several_inputs():
    raw = np.array([1, 2], np.float32).tobytes()
    document = {
        "inputs": [binary(), tensor(name="j"), binary(8, name="z")],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}, {"name": "label"}],
        "parameters": {"timeout": 250_000},
    }
    request = read_request(body(document, raw, raw[::-1]), ANY)
    assert request.inputs["x"].tolist() == [1, 2]
    assert request.inputs["z"].tobytes() == raw[::-1]
    assert request.outputs == {"y": True, "label": False}
    assert request.timeout_s == 0.25


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (Body(b""), "inference request"),
        (Body(b"[]"), "inference request"),
        (Body(b"{}"), "inputs"),
        (Body(b"{}", 3), "length of the JSON"),
        (Body(b'{"inputs": ['), "inference request"),
        (body({"inputs": [tensor(shape=[1.5])]}), "shape"),
        (body({"inputs": [tensor(shape="2")]}), "shape"),
        (body({"inputs": [tensor(name=1)]}), "name"),
        (body({"inputs": [tensor(), tensor()]}), "'x' is there twice"),
        (body({"inputs": [tensor(data=None)]}), "'x': data"),
        (body({"inputs": [binary(9)]}, b"\0" * 8), "'x': binary_data_size"),
        (body({"inputs": [binary(-1)]}, b"\0" * 8), "'x': binary_data_size"),
        (body({"inputs": [binary(True)]}, b"\0" * 8), "'x': binary_data_size"),
        (body({"inputs": [binary("8")]}, b"\0" * 8), "'x': binary_data_size"),
        (body({"inputs": [binary(data=[1, 2])]}, b"\0" * 8), "'x': both"),
        (body({"inputs": [binary()]}, b"\0" * 9), "1 bytes at the end"),
        (body({"inputs": [tensor()], "parameters": {"timeout": -1}}), "timeout"),
        (body({"inputs": [tensor()], "parameters": {"timeout": "1"}}), "timeout"),
        (body({"inputs": [tensor()], "id": "i" * 257}), "id"),
        (body({"inputs": [tensor()] * 257}), "inputs"),
        (
            body({"inputs": [tensor()], "outputs": [{"name": "y", "parameters": {"classification": 3}}]}),
            "classif",
        ),
    ],
)
def test_what_is_no_request(given, reason):
    with pytest.raises(InvalidRequest, match=reason):
        read_request(given, ANY)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode), st.none() | st.integers(0, 300))
def test_any_bytes_are_refused_or_read(data, length):
    try:
        read_request(Body(data, length), ANY)
    except ConfideError:
        pass


def test_reply_in_json():
    request = read_request(body({"id": "7", "inputs": [tensor()]}), ANY)
    reply = write_reply("m", "3", request, SPECS, ARRAYS)
    assert reply.json_bytes is None
    assert json.loads(reply.data) == {
        "model_name": "m",
        "model_version": "3",
        "id": "7",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": [2], "data": [1.5, 2.5]},
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["a", "b"]},
        ],
    }


@pytest.mark.parametrize("given", [tensor(data=["x"]), tensor(shape=[2**40], data=[]), binary(3)])
def test_what_a_model_does_not_take_is_refused_before_its_elements_are_read(given):
    def check(name, datatype, shape):
        assert (name, datatype, shape) == ("x", given["datatype"], given["shape"])
        raise InvalidRequest("another shape is expected")

    with pytest.raises(InvalidRequest, match="another shape"):
        read_request(body({"inputs": [given]}, b"123"[: 3 * ("data" not in given)]), check)


def test_reply_as_asked_for():
    request = read_request(
        body({"inputs": [tensor()], "outputs": [{"name": "label", "parameters": {"binary_data": True}}]}), ANY
    )
    reply = write_reply("m", "3", request, SPECS, ARRAYS)
    assert bytes(reply.data[reply.json_bytes :]) == b"\1\0\0\0a\1\0\0\0b"
    assert [each["name"] for each in json.loads(reply.data[: reply.json_bytes])["outputs"]] == ["label"]


def test_output_that_the_model_has_not():
    request = read_request(body({"inputs": [tensor()], "outputs": [{"name": "z"}]}), ANY)
    with pytest.raises(InvalidRequest, match="output 'z'"):
        write_reply("m", "3", request, SPECS, ARRAYS)


def test_our_own_client_and_server_understand_each_other():
    inputs = {"x": np.ones((2, 3), np.int16), "t": np.array(["ä", "b"])}
    request = read_request(write_request(inputs, ["y"]), ANY)
    assert np.array_equal(request.inputs["x"], inputs["x"])
    assert request.inputs["t"].tolist() == ["ä".encode(), b"b"]
    name, version, outputs = read_reply(write_reply("m", "3", request, SPECS, ARRAYS))
    assert (name, version) == ("m", "3")
    assert outputs["y"].tolist() == [1.5, 2.5]


def test_array_that_the_protocol_does_not_have():
    with pytest.raises(InvalidRequest, match="complex"):
        write_request({"x": np.zeros(1, np.complex64)}, [])


def test_headers_are_kept_where_they_hold_no_values():
    def kept(document, binary):
        oip._read_again.cache_clear()
        text = json.dumps(document).encode()
        oip.read_request(oip.Body(text + binary, len(text)), lambda *_: None)
        return oip._read_again.cache_info().currsize

    shape = {"datatype": "FP32", "shape": [1]}
    declared = {"name": "a", "parameters": {"binary_data_size": 4}, **shape}
    told = {"name": "b", "data": [4711.0], **shape}
    assert kept({"inputs": [declared]}, bytes(4)) == 1
    assert kept({"inputs": [declared, told]}, bytes(4)) == 0
    assert kept({"inputs": [told]}, b"") == 0
    assert (
        kept({"inputs": [declared], "id": "x" * oip.MAX_ID_CHARS, "rest": "y" * oip.KEPT_BYTES}, bytes(4))
        == 0
    )
