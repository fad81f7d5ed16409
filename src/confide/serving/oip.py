"""Inference requests and replies of the Open Inference Protocol v2, with its binary tensor data extension.

A request is JSON, or JSON of a declared length followed by the bytes of its binary tensors in their order. Source:
Open Inference Protocol, REST API; KServe/Triton "Binary Tensor Data Extension". Unknown fields are left alone, as the
protocol has it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json as json_of

from confide.attestation.evidence import describe
from confide.serving.failures import InvalidRequest
from confide.serving.tensors import Array, TensorSpec, datatype_of, from_binary, from_json, to_binary, to_json

MAX_TENSORS = 256
MAX_ID_CHARS = 256
MAX_TIMEOUT_US = 2**53
KEPT_BYTES = 1024
"""Headers up to this size are kept, a few of them."""

Check: TypeAlias = Callable[[str, str, Sequence[int]], None]
"""Refuses a tensor by what is declared of it, before its elements are looked at: name, datatype, shape."""

Name = Annotated[str, Field(max_length=256)]
Parameters = Annotated[dict[Name, Any], Field(max_length=64)]


class _Lenient(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)


class InputTensor(_Lenient):
    """An input of a request: with `data`, or with the parameter `binary_data_size`."""

    name: Name
    datatype: Annotated[str, Field(max_length=16)]
    shape: Annotated[list[Annotated[int, Field(le=2**40)]], Field(max_length=64)]
    parameters: Parameters = Field(default_factory=dict)
    data: Any = None


class OutputTensor(_Lenient):
    """An output that is asked for; its parameter `binary_data` says how."""

    name: Name
    parameters: Parameters = Field(default_factory=dict)


class InferenceHeader(_Lenient):
    """The JSON of a request."""

    id: Annotated[str, Field(max_length=MAX_ID_CHARS)] = ""
    parameters: Parameters = Field(default_factory=dict)
    inputs: Annotated[list[InputTensor], Field(max_length=MAX_TENSORS)]
    outputs: Annotated[list[OutputTensor], Field(max_length=MAX_TENSORS)] = Field(default_factory=list)


class ReplyHeader(_Lenient):
    """The JSON of a reply."""

    model_name: Name
    model_version: Name
    outputs: Annotated[list[InputTensor], Field(max_length=MAX_TENSORS)]


@dataclass(frozen=True)
class InferenceRequest:
    """A request that was read.

    Attributes:
        id: given by its client; empty: none.
        inputs: name -> array.
        outputs: name -> whether in binary form, of the outputs that are asked for; empty: all.
        binary: form of outputs that are not named.
        timeout_s: after which the client does not want an answer; None: it does not say.
    """

    id: str
    inputs: Mapping[str, Array]
    outputs: Mapping[str, bool]
    binary: bool
    timeout_s: float | None


@dataclass(frozen=True)
class Body:
    """A body of the protocol.

    Attributes:
        data: JSON, and what follows it.
        json_bytes: length of the JSON; None: nothing follows it.
    """

    data: bytes | memoryview
    json_bytes: int | None = None


class Asked(Protocol):
    """An inference request as it came, in one of the protocol's forms."""

    @property
    def size(self) -> int:
        """Its bytes."""
        ...

    def read(self, check: Check) -> InferenceRequest:
        """Read it; inputs that `check` refuses by what is declared of them are not looked at.

        Raises:
            InvalidRequest: it is not of the protocol, or `check` refuses an input.
        """
        ...

    def digest(self) -> bytes:
        """Return the SHA-256 of the whole request."""
        ...

    def write(
        self,
        model: str,
        version: str,
        request: InferenceRequest,
        specs: Sequence[TensorSpec],
        arrays: Sequence[Array],
    ) -> Body:
        """Return the reply, in the same form (`write_reply`)."""
        ...


@dataclass(frozen=True)
class RestRequest:
    """A request in the form of REST (`Asked`)."""

    body: Body

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.body.data)

    def read(self, check: Check) -> InferenceRequest:
        """Read it (`read_request`)."""
        return read_request(self.body, check)

    def digest(self) -> bytes:
        """Return the SHA-256 of the whole request."""
        return hashlib.sha256(f"{self.body.json_bytes} ".encode() + bytes(self.body.data)).digest()

    def write(
        self,
        model: str,
        version: str,
        request: InferenceRequest,
        specs: Sequence[TensorSpec],
        arrays: Sequence[Array],
    ) -> Body:
        """Return the reply (`write_reply`)."""
        return write_reply(model, version, request, specs, arrays)


def read_request(body: Body, check: Check) -> InferenceRequest:
    """Read a request.

    Args:
        body: nothing in it is trusted.
        check: refuses inputs by what is declared of them.

    Raises:
        InvalidRequest: names the tensor, where it is one's fault.
    """
    data = memoryview(body.data)
    length = len(data) if body.json_bytes is None else body.json_bytes
    if not 0 <= length <= len(data):
        raise InvalidRequest("the declared length of the JSON is not within the body")
    text = bytes(data[:length])
    # Where tensors are binary, most headers are the same, and say names and shapes; no values are kept.
    kept = length < len(data) and length <= KEPT_BYTES and b'"data"' not in text
    header = _read_again(text) if kept else _read_header(text)
    if "classification" in {name for output in header.outputs for name in output.parameters}:
        raise InvalidRequest("the classification extension is not served")
    binary = header.parameters.get("binary_data_output", False) is True
    return InferenceRequest(
        id=header.id,
        inputs=_inputs(header.inputs, data[length:], check),
        outputs={
            output.name: output.parameters.get("binary_data", binary) is True for output in header.outputs
        },
        binary=binary,
        timeout_s=timeout_s(header.parameters.get("timeout")),
    )


def _read_header(data: bytes) -> InferenceHeader:
    try:
        return InferenceHeader.model_validate_json(data)
    except ValidationError as error:
        raise InvalidRequest(f"inference request: {describe(error)}") from None


_read_again = lru_cache(maxsize=256)(_read_header)


def write_reply(
    model: str,
    version: str,
    request: InferenceRequest,
    specs: Sequence[TensorSpec],
    arrays: Sequence[Array],
) -> Body:
    """Return the reply to a request.

    Args:
        model, version: that answers.
        request: says which outputs, in which form.
        specs: outputs of the model.
        arrays: theirs, in the same order.

    Raises:
        InvalidRequest: it asks for an output that the model does not have, or in a form that cannot hold it.
    """
    by_name = {spec.name: (spec, array) for spec, array in zip(specs, arrays, strict=True)}
    wanted = request.outputs or dict.fromkeys(by_name, request.binary)
    outputs: list[dict[str, Any]] = []
    binary: list[bytes] = []
    for name, in_binary in wanted.items():
        if name not in by_name:
            raise InvalidRequest(f"output {name!r} is none of this model's")
        spec, array = by_name[name]
        entry: dict[str, Any] = {"name": name, "datatype": spec.datatype, "shape": list(array.shape)}
        if in_binary:
            raw = to_binary(array)
            entry["parameters"] = {"binary_data_size": len(raw)}
            binary.append(raw)
        else:
            entry["data"] = to_json(array)
        outputs.append(entry)
    said = {"model_name": model, "model_version": version, "outputs": outputs}
    if request.id:
        said["id"] = request.id
    header = json_of(said)
    return Body(b"".join((header, *binary)), len(header)) if binary else Body(header)


def write_request(inputs: Mapping[str, Array], outputs: Sequence[str]) -> Body:
    """Return a request with its tensors in binary form, which asks for the outputs in that form too.

    Raises:
        InvalidRequest: an array of a type that the protocol has not.
    """
    tensors, binary = [], []
    for name, array in inputs.items():
        raw = to_binary(array)
        tensors.append(
            {
                "name": name,
                "datatype": datatype_of(array.dtype),
                "shape": list(array.shape),
                "parameters": {"binary_data_size": len(raw)},
            }
        )
        binary.append(raw)
    said: dict[str, Any] = {"inputs": tensors, "parameters": {"binary_data_output": True}}
    if outputs:
        said["outputs"] = [{"name": name} for name in outputs]
    header = json_of(said)
    return Body(b"".join((header, *binary)), len(header))


def read_reply(body: Body) -> tuple[str, str, dict[str, Array]]:
    """Return the name and version of the model that answered, and its outputs.

    Raises:
        InvalidRequest: not a reply.
    """
    data = memoryview(body.data)
    length = len(data) if body.json_bytes is None else body.json_bytes
    try:
        reply = ReplyHeader.model_validate_json(bytes(data[:length]))
    except ValidationError as error:
        raise InvalidRequest(f"inference reply: {describe(error)}") from None
    return reply.model_name, reply.model_version, _inputs(reply.outputs, data[length:], lambda *_: None)


def check_outputs(request: InferenceRequest, specs: Sequence[TensorSpec]) -> None:
    """Return if the model has every output that is asked for, before it is run.

    Raises:
        InvalidRequest: it has not.
    """
    if request.outputs:
        names = {spec.name for spec in specs}
        for name in request.outputs:
            if name not in names:
                raise InvalidRequest(f"output {name!r} is none of this model's")


def _inputs(tensors: Sequence[InputTensor], binary: memoryview, check: Check) -> dict[str, Array]:
    arrays: dict[str, Array] = {}
    place = 0
    for tensor in tensors:
        if tensor.name in arrays:
            raise InvalidRequest(f"input {tensor.name!r} is there twice")
        check(tensor.name, tensor.datatype, tensor.shape)
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            arrays[tensor.name] = from_json(tensor.name, tensor.datatype, tensor.shape, tensor.data)
            continue
        if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= len(binary) - place:
            raise InvalidRequest(f"input {tensor.name!r}: binary_data_size is not within the body")
        if tensor.data is not None:
            raise InvalidRequest(f"input {tensor.name!r}: both data and binary_data_size")
        arrays[tensor.name] = from_binary(
            tensor.name, tensor.datatype, tensor.shape, binary[place : place + size]
        )
        place += size
    if place != len(binary):
        raise InvalidRequest(f"{len(binary) - place} bytes at the end belong to no input")
    return arrays


def timeout_s(microseconds: Any) -> float | None:
    """Return what the parameter `timeout` says, in seconds; None: nothing.

    Raises:
        InvalidRequest: it is no number of microseconds.
    """
    if microseconds is None:
        return None
    if type(microseconds) is not int or not 0 <= microseconds <= MAX_TIMEOUT_US:
        raise InvalidRequest("parameter timeout is a number of microseconds")
    return microseconds / 1e6 if microseconds else None
