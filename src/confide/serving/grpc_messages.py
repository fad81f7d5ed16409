"""Messages and service of the Open Inference Protocol over gRPC, described here, in a pool of their own.

Described in code and not generated: what protoc makes goes into protobuf's one pool, where two descriptions of one
protocol cannot be: no process could have both this and another project's client. The tests hold these against those
of such a client. Source: Open Inference Protocol v2, gRPC API; its model repository extension (`RepositoryIndex`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"
CONTENTS = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Datatype -> field of `InferTensorContents` that has its elements; others are sent raw."""
METHODS = (
    "ServerLive",
    "ServerReady",
    "ModelReady",
    "ServerMetadata",
    "ModelMetadata",
    "ModelInfer",
    "RepositoryIndex",
)

_Field = FieldDescriptorProto
_BOOL, _STRING, _BYTES = _Field.TYPE_BOOL, _Field.TYPE_STRING, _Field.TYPE_BYTES
_INT32, _INT64, _UINT32, _UINT64 = (
    _Field.TYPE_INT32,
    _Field.TYPE_INT64,
    _Field.TYPE_UINT32,
    _Field.TYPE_UINT64,
)
_FLOAT, _DOUBLE, _MESSAGE = _Field.TYPE_FLOAT, _Field.TYPE_DOUBLE, _Field.TYPE_MESSAGE


def _one(number: int, name: str, kind: Any, **more: Any) -> FieldDescriptorProto:
    return _Field(number=number, name=name, type=kind, label=_Field.LABEL_OPTIONAL, **more)


def _many(number: int, name: str, kind: Any) -> FieldDescriptorProto:
    return _Field(number=number, name=name, type=kind, label=_Field.LABEL_REPEATED)


def _part(number: int, name: str, message: str) -> FieldDescriptorProto:
    return _one(number, name, _MESSAGE, type_name=f".{PACKAGE}.{message}")


def _parts(number: int, name: str, message: str) -> FieldDescriptorProto:
    field = _part(number, name, message)
    field.label = _Field.LABEL_REPEATED
    return field


def _message(
    name: str, *fields: FieldDescriptorProto, nested: Sequence[DescriptorProto] = ()
) -> DescriptorProto:
    return DescriptorProto(name=name, field=fields, nested_type=nested)


def _parameters() -> DescriptorProto:
    """Return the entries of a field `parameters`, a map."""
    entry = _message("ParametersEntry", _one(1, "key", _STRING), _part(2, "value", "InferParameter"))
    entry.options.map_entry = True
    return entry


def _tensor(owner: str, name: str) -> DescriptorProto:
    return _message(
        name,
        _one(1, "name", _STRING),
        _one(2, "datatype", _STRING),
        _many(3, "shape", _INT64),
        _parts(4, "parameters", f"{owner}.{name}.ParametersEntry"),
        _part(5, "contents", "InferTensorContents"),
        nested=[_parameters()],
    )


def _messages() -> Iterable[DescriptorProto]:
    for name in ("ServerLive", "ServerReady", "ServerMetadata"):
        yield _message(f"{name}Request")
    yield _message("ServerLiveResponse", _one(1, "live", _BOOL))
    yield _message("ServerReadyResponse", _one(1, "ready", _BOOL))
    yield _message(
        "ServerMetadataResponse",
        _one(1, "name", _STRING),
        _one(2, "version", _STRING),
        _many(3, "extensions", _STRING),
    )
    for name in ("ModelReady", "ModelMetadata"):
        yield _message(f"{name}Request", _one(1, "name", _STRING), _one(2, "version", _STRING))
    yield _message("ModelReadyResponse", _one(1, "ready", _BOOL))
    metadata = "ModelMetadataResponse"
    yield _message(
        metadata,
        _one(1, "name", _STRING),
        _many(2, "versions", _STRING),
        _one(3, "platform", _STRING),
        _parts(4, "inputs", f"{metadata}.TensorMetadata"),
        _parts(5, "outputs", f"{metadata}.TensorMetadata"),
        nested=[
            _message(
                "TensorMetadata",
                _one(1, "name", _STRING),
                _one(2, "datatype", _STRING),
                _many(3, "shape", _INT64),
            )
        ],
    )
    choices = (
        ("bool", _BOOL),
        ("int64", _INT64),
        ("string", _STRING),
        ("double", _DOUBLE),
        ("uint64", _UINT64),
    )
    parameter = _message(
        "InferParameter",
        *(_one(n, f"{kind}_param", of, oneof_index=0) for n, (kind, of) in enumerate(choices, 1)),
    )
    parameter.oneof_decl.add(name="parameter_choice")
    yield parameter
    kinds = (_BOOL, _INT32, _INT64, _UINT32, _UINT64, _FLOAT, _DOUBLE, _BYTES)
    fields = zip(dict.fromkeys(CONTENTS.values()), kinds, strict=True)
    yield _message("InferTensorContents", *(_many(n, name, of) for n, (name, of) in enumerate(fields, 1)))
    request = "ModelInferRequest"
    yield _message(
        request,
        _one(1, "model_name", _STRING),
        _one(2, "model_version", _STRING),
        _one(3, "id", _STRING),
        _parts(4, "parameters", f"{request}.ParametersEntry"),
        _parts(5, "inputs", f"{request}.InferInputTensor"),
        _parts(6, "outputs", f"{request}.InferRequestedOutputTensor"),
        _many(7, "raw_input_contents", _BYTES),
        nested=[
            _tensor(request, "InferInputTensor"),
            _message(
                "InferRequestedOutputTensor",
                _one(1, "name", _STRING),
                _parts(2, "parameters", f"{request}.InferRequestedOutputTensor.ParametersEntry"),
                nested=[_parameters()],
            ),
            _parameters(),
        ],
    )
    response = "ModelInferResponse"
    yield _message(
        response,
        _one(1, "model_name", _STRING),
        _one(2, "model_version", _STRING),
        _one(3, "id", _STRING),
        _parts(4, "parameters", f"{response}.ParametersEntry"),
        _parts(5, "outputs", f"{response}.InferOutputTensor"),
        _many(6, "raw_output_contents", _BYTES),
        nested=[_tensor(response, "InferOutputTensor"), _parameters()],
    )
    yield _message("RepositoryIndexRequest", _one(1, "repository_name", _STRING), _one(2, "ready", _BOOL))
    yield _message(
        "RepositoryIndexResponse",
        _parts(1, "models", "RepositoryIndexResponse.ModelIndex"),
        nested=[
            _message(
                "ModelIndex",
                *(_one(n, name, _STRING) for n, name in enumerate(("name", "version", "state", "reason"), 1)),
            )
        ],
    )


def _file() -> FileDescriptorProto:
    file = FileDescriptorProto(
        name="open_inference_grpc.proto", package=PACKAGE, syntax="proto3", message_type=_messages()
    )
    service = file.service.add(name=SERVICE.partition(".")[2])
    for name in METHODS:
        service.method.add(
            name=name,
            input_type=f".{PACKAGE}.{name}Request",
            output_type=f".{PACKAGE}.{name}Response",
        )
    return file


def _outline() -> FileDescriptorProto:
    """Return the form of a request whose tensors are left as they came: each of them would become a message."""
    return FileDescriptorProto(
        name="confide/outline.proto",
        package="confide",
        syntax="proto3",
        message_type=[
            _message(
                "Outline",
                _one(1, "model_name", _STRING),
                _one(2, "model_version", _STRING),
                _many(5, "inputs", _BYTES),
                _many(6, "outputs", _BYTES),
                _many(7, "raw_input_contents", _BYTES),
            )
        ],
    )


POOL = DescriptorPool()
POOL.Add(_file())
_APART = DescriptorPool()
_APART.Add(_outline())


def message(name: str) -> Any:
    """Return the class of a message of the protocol."""
    return GetMessageClass(POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


ModelInferRequest, ModelInferResponse = message("ModelInferRequest"), message("ModelInferResponse")
Outline = GetMessageClass(_APART.FindMessageTypeByName("confide.Outline"))
