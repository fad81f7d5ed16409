"""Inference requests and replies in the form of gRPC."""

from __future__ import annotations

import numpy as np
import pytest

from confide.serving.failures import InvalidRequest
from confide.serving.grpc_messages import ModelInferRequest, ModelInferResponse
from confide.serving.grpc_request import GrpcRequest
from confide.serving.tensors import TensorSpec, to_binary

ARRAYS = {
    "BOOL": np.array([True, False]),
    "INT8": np.array([-128, 127], np.int8),
    "INT16": np.array([-1, 2], np.int16),
    "INT32": np.array([-(2**31), 2**31 - 1], np.int32),
    "INT64": np.array([-(2**63), 2**63 - 1], np.int64),
    "UINT8": np.array([0, 255], np.uint8),
    "UINT16": np.array([0, 65535], np.uint16),
    "UINT32": np.array([0, 2**32 - 1], np.uint32),
    "UINT64": np.array([0, 2**64 - 1], np.uint64),
    "FP16": np.array([1.5, -2], np.float16),
    "FP32": np.array([1.5, np.inf], np.float32),
    "FP64": np.array([1.1, -1e300], np.float64),
    "BYTES": np.array([b"\xff\0", b""], np.object_),
}
FIELDS = {
    "BOOL": "bool",
    "INT64": "int64",
    "UINT64": "uint64",
    "FP32": "fp32",
    "FP64": "fp64",
    "BYTES": "bytes",
}
FIELDS |= dict.fromkeys(("INT8", "INT16", "INT32"), "int") | dict.fromkeys(
    ("UINT8", "UINT16", "UINT32"), "uint"
)


def ANY(*_):
    pass


def request(datatype="FP32", shape=(2,), contents=None, raw=None, **more):
    """A request with one tensor, `x`: `contents` is a field and its elements."""
    message = ModelInferRequest(model_name="m", **more)
    tensor = message.inputs.add(name="x", datatype=datatype, shape=shape)
    if contents is not None:
        getattr(tensor.contents, f"{contents[0]}_contents").extend(contents[1])
    message.raw_input_contents.extend([] if raw is None else [raw])
    return message


def read(message):
    return GrpcRequest.parse(message.SerializeToString()).read(ANY)


@pytest.mark.parametrize("datatype", ARRAYS)
@pytest.mark.parametrize("raw", [True, False])
def test_tensors_of_every_datatype_come_and_go(datatype, raw):
    array = ARRAYS[datatype]
    if raw or datatype == "FP16":
        asked = request(datatype, raw=to_binary(array))
    else:
        asked = request(datatype, contents=(FIELDS[datatype], array.tolist()))
    parsed = GrpcRequest.parse(asked.SerializeToString())
    found = parsed.read(ANY)
    assert found.inputs["x"].dtype == array.dtype
    assert found.inputs["x"].tolist() == array.tolist()
    spec = TensorSpec("y", datatype, (-1,))
    reply = ModelInferResponse.FromString(bytes(parsed.write("m", "3", found, [spec], [array]).data))
    (output,) = reply.outputs
    assert (reply.model_name, reply.model_version, output.name, output.datatype) == ("m", "3", "y", datatype)
    assert list(output.shape) == [2]
    if raw or datatype == "FP16":
        assert list(reply.raw_output_contents) == [to_binary(array)]
    else:
        assert not reply.raw_output_contents
        assert list(getattr(output.contents, f"{FIELDS[datatype]}_contents")) == array.tolist()


def test_texts_of_a_model_go_as_bytes():
    parsed = GrpcRequest.parse(request(contents=("fp32", [1, 2])).SerializeToString())
    texts = np.array(["grün", "b"], np.object_)
    written = parsed.write("m", "1", parsed.read(ANY), [TensorSpec("y", "BYTES", (-1,))], [texts])
    reply = ModelInferResponse.FromString(bytes(written.data))
    assert list(reply.outputs[0].contents.bytes_contents) == ["grün".encode(), b"b"]


def test_only_the_outputs_that_are_asked_for():
    asked = request(contents=("fp32", [1, 2]))
    asked.outputs.add(name="b")
    parsed = GrpcRequest.parse(asked.SerializeToString())
    specs = [TensorSpec(name, "FP32", (-1,)) for name in ("a", "b")]
    written = parsed.write("m", "1", parsed.read(ANY), specs, [ARRAYS["FP32"], 2 * ARRAYS["FP32"]])
    reply = ModelInferResponse.FromString(bytes(written.data))
    assert [output.name for output in reply.outputs] == ["b"]


@pytest.mark.parametrize(("choice", "value"), [("int64_param", 2_000_000), ("uint64_param", 2_000_000)])
def test_a_timeout(choice, value):
    asked = request(contents=("fp32", [1, 2]), id="7")
    setattr(asked.parameters["timeout"], choice, value)
    found = read(asked)
    assert (found.timeout_s, found.id) == (2.0, "7")


def with_parameter(name, **value):
    asked = request(contents=("fp32", [1, 2]))
    for choice, said in value.items():
        setattr(asked.parameters[name], choice, said)
    return asked


def twice():
    asked = request(contents=("fp32", [1, 2]))
    asked.inputs.append(asked.inputs[0])
    return asked


def classified():
    asked = request(contents=("fp32", [1, 2]))
    asked.outputs.add(name="y").parameters["classification"].int64_param = 3
    return asked


def of_many_parameters():
    asked = request(contents=("fp32", [1, 2]))
    for number in range(65):
        asked.parameters[str(number)].bool_param = True
    return asked


BAD = [
    (request(contents=("fp32", [1])), "'x': 1 elements"),
    (request(), "'x': 0 elements"),
    (
        request("FP32", contents=("fp64", [1, 2])),
        "'x': fp64_contents, elements of FP32 come in fp32_contents",
    ),
    (
        request("FP16", contents=("fp32", [1, 2])),
        "'x': fp32_contents, elements of FP16 come in raw_input_contents",
    ),
    (request("FP16"), "'x': 0 bytes"),
    (request("INT8", contents=("int", [1, 128])), "'x': data are not all INT8"),
    (request("UINT16", contents=("uint", [1, 65536])), "'x': data are not all UINT16"),
    (request("FP128", contents=("fp64", [1, 2])), "'x': no datatype 'FP128'"),
    (request("FP32", shape=(-2,), contents=("fp32", [1, 2])), "'x': shape"),
    (request("FP32", shape=(2**40, 2**40)), "'x': shape"),
    (request("FP32", shape=(2**62, 0)), "'x': shape"),
    (request("FP32", shape=[1] * 17, contents=("fp32", [1])), "'x': shape"),
    (request("FP32", raw=b"1234567"), "'x': 7 bytes"),
    (request("BOOL", raw=b"\1\2"), "'x': a BOOL is 0 or 1"),
    (request("BYTES", raw=b"\5\0\0\0ab"), "'x': a BYTES element is cut off"),
    (request("BYTES", contents=("bytes", [b"a"])), "'x': 1 elements"),
    (request(contents=("fp32", [1, 2]), raw=b"12345678"), "'x': both"),
    (ModelInferRequest(model_name="m", raw_input_contents=[b"1"]), "raw_input_contents: 1, for 0 inputs"),
    (request(contents=("fp32", [1, 2]), id="i" * 257), "id: more than"),
    (request(contents=("fp32", [1, 2]), model_version="v" * 257), "model_version"),
    (ModelInferRequest(model_name="m" * 257), "model_name"),
    (twice(), "'x' is there twice"),
    (classified(), "classification"),
    (of_many_parameters(), "parameters: more than 64"),
    (with_parameter("timeout", int64_param=-1), "timeout"),
    (with_parameter("timeout", string_param="1"), "timeout"),
    (with_parameter("timeout", bool_param=True), "timeout"),
    (with_parameter("timeout", double_param=1.0), "timeout"),
    (with_parameter("timeout", uint64_param=2**64 - 1), "timeout"),
]


@pytest.mark.parametrize(("asked", "said"), BAD)
def test_faults_are_named(asked, said):
    with pytest.raises(InvalidRequest, match=said.replace("(", r"\(")):
        read(asked)


@pytest.mark.parametrize("field", [5, 6, 7])
def test_too_many_tensors_are_refused_before_they_are_read(field):
    few, many = (bytes([field << 3 | 2, 0]) * number for number in (256, 257))
    GrpcRequest.parse(few)
    with pytest.raises(InvalidRequest, match="more than 256"):
        GrpcRequest.parse(many)


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", b"\x0a\x01\xff", b"\x2a\x7f"])
def test_what_is_no_message(data):
    with pytest.raises(InvalidRequest, match="not a ModelInferRequest"):
        GrpcRequest.parse(data).read(ANY)


def test_a_tensor_that_is_no_message():
    with pytest.raises(InvalidRequest, match="not a ModelInferRequest"):
        GrpcRequest.parse(b"\x2a\x01\xff").read(ANY)


@pytest.mark.parametrize(
    "given", [request(shape=[2**40], raw=b"123"), request(contents=("int64", [1])), request(shape=[3])]
)
def test_what_a_model_does_not_take_is_refused_before_its_elements_are_read(given):
    def check(*_):
        raise InvalidRequest("another shape is expected")

    with pytest.raises(InvalidRequest, match="another shape"):
        GrpcRequest.parse(given.SerializeToString()).read(check)
