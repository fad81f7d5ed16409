"""Inference requests and replies of the Open Inference Protocol in the form of gRPC.

A tensor comes raw, as the binary form of REST, or as elements in a field for its datatype; a reply comes as its request
did. Source: Open Inference Protocol v2, gRPC API.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.message import DecodeError

from confide.serving.envelope import Target
from confide.serving.failures import InvalidRequest
from confide.serving.grpc_messages import CONTENTS, ModelInferRequest, ModelInferResponse, Outline
from confide.serving.oip import MAX_ID_CHARS, MAX_TENSORS, Body, Check, InferenceRequest, timeout_s
from confide.serving.tensors import (
    BYTES,
    Array,
    TensorSpec,
    as_bytes,
    element_count,
    from_binary,
    from_elements,
    from_json,
    to_binary,
)

MAX_NAME_CHARS = 256
MAX_PARAMETERS = 64


@dataclass(frozen=True)
class GrpcRequest:
    """A request in the form of gRPC (`confide.serving.oip.Asked`), of which no more was read than what it is for.

    Attributes:
        data: as it came.
        target: model and version.
    """

    data: bytes = field(repr=False)
    target: Target

    @classmethod
    def parse(cls, data: bytes) -> GrpcRequest:
        """Read what a request is for, and see that its tensors are not too many to be read.

        Raises:
            InvalidRequest: it is not of the protocol.
        """
        outline = _parsed(Outline, data)
        for name in ("inputs", "outputs", "raw_input_contents"):
            if len(getattr(outline, name)) > MAX_TENSORS:
                raise InvalidRequest(f"{name}: more than {MAX_TENSORS}")
        _check_name("model_name", outline.model_name)
        _check_name("model_version", outline.model_version)
        return cls(data, Target("infer", outline.model_name, outline.model_version))

    @property
    def size(self) -> int:
        """Its bytes."""
        return len(self.data)

    def read(self, check: Check) -> InferenceRequest:
        """Read it.

        Args:
            check: refuses inputs by what is declared of them.

        Raises:
            InvalidRequest: names the tensor, where it is one's fault.
        """
        message = _parsed(ModelInferRequest, self.data)
        if len(message.id) > MAX_ID_CHARS:
            raise InvalidRequest(f"id: more than {MAX_ID_CHARS} characters")
        for output in message.outputs:
            _check_name("output", output.name)
            if "classification" in output.parameters:
                raise InvalidRequest("the classification extension is not served")
        raw = len(message.raw_input_contents) > 0
        return InferenceRequest(
            id=message.id,
            inputs=_inputs(message, check),
            outputs={output.name: raw for output in message.outputs},
            binary=raw,
            timeout_s=_timeout_s(message.parameters),
        )

    def digest(self) -> bytes:
        """Return the SHA-256 of the whole request."""
        return hashlib.sha256(self.data).digest()

    def write(
        self,
        model: str,
        version: str,
        request: InferenceRequest,
        specs: Sequence[TensorSpec],
        arrays: Sequence[Array],
    ) -> Body:
        """Return the reply: raw if the request came so, or if an output has no other form."""
        by_name = {spec.name: (spec, array) for spec, array in zip(specs, arrays, strict=True)}
        wanted = [by_name[name] for name in request.outputs or by_name]
        raw = request.binary or any(spec.datatype not in CONTENTS for spec, _ in wanted)
        reply = ModelInferResponse(model_name=model, model_version=version, id=request.id)
        for spec, array in wanted:
            output = reply.outputs.add(name=spec.name, datatype=spec.datatype, shape=array.shape)
            if raw:
                reply.raw_output_contents.append(to_binary(array))
            else:
                elements = as_bytes(array) if spec.datatype == BYTES else array.ravel().tolist()
                getattr(output.contents, CONTENTS[spec.datatype]).extend(elements)
        return Body(reply.SerializeToString())


def _parsed(kind: Any, data: bytes) -> Any:
    try:
        return kind.FromString(data)
    except DecodeError:
        raise InvalidRequest("not a ModelInferRequest") from None


def _check_name(what: str, name: str) -> None:
    if len(name) > MAX_NAME_CHARS:
        raise InvalidRequest(f"{what}: a name has at most {MAX_NAME_CHARS} characters")


def _inputs(message: Any, check: Check) -> dict[str, Array]:
    raw = message.raw_input_contents
    if len(raw) not in (0, len(message.inputs)):
        raise InvalidRequest(f"raw_input_contents: {len(raw)}, for {len(message.inputs)} inputs")
    arrays: dict[str, Array] = {}
    for place, tensor in enumerate(message.inputs):
        name, datatype, shape = tensor.name, tensor.datatype, tuple(tensor.shape)
        _check_name("input", name)
        if name in arrays:
            raise InvalidRequest(f"input {name!r} is there twice")
        check(name, datatype, shape)
        if not raw:
            arrays[name] = _of_contents(name, datatype, shape, tensor.contents)
        elif tensor.contents.ListFields():
            raise InvalidRequest(f"input {name!r}: both contents and raw_input_contents")
        else:
            arrays[name] = from_binary(name, datatype, shape, memoryview(raw[place]))
    return arrays


def _of_contents(name: str, datatype: str, shape: Sequence[int], contents: Any) -> Array:
    element_count(name, datatype, shape)
    wanted = CONTENTS.get(datatype, "raw_input_contents")
    if found := [each.name for each, _ in contents.ListFields() if each.name != wanted]:
        raise InvalidRequest(f"input {name!r}: {found[0]}, elements of {datatype} come in {wanted}")
    if datatype not in CONTENTS:
        return from_binary(name, datatype, shape, memoryview(b""))
    elements = getattr(contents, wanted)
    if datatype == BYTES:
        return from_elements(name, shape, list(elements))
    return from_json(name, datatype, shape, list(elements))


def _timeout_s(parameters: Mapping[str, Any]) -> float | None:
    if len(parameters) > MAX_PARAMETERS:
        raise InvalidRequest(f"parameters: more than {MAX_PARAMETERS}")
    if "timeout" not in parameters:
        return None
    said = parameters["timeout"]
    chosen = said.WhichOneof("parameter_choice")
    return timeout_s(chosen and getattr(said, chosen))
