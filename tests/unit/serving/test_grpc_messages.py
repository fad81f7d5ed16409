"""The protocol's messages, as they are described here, against those of another project's client."""

from __future__ import annotations

import pytest
from tritonclient.grpc import service_pb2 as theirs

from confide.serving.grpc_messages import METHODS, PACKAGE, POOL, SERVICE, ModelInferRequest

FILE = POOL.FindFileByName("open_inference_grpc.proto")


def messages(found):
    for each in found:
        yield each
        yield from messages(each.nested_types)


ALL = list(messages(FILE.message_types_by_name.values()))


def form(field):
    of = field.message_type and field.message_type.full_name
    return (
        field.name,
        field.type,
        field.is_repeated,
        of,
        field.containing_oneof and field.containing_oneof.name,
    )


@pytest.mark.parametrize("ours", ALL, ids=lambda each: each.full_name)
def test_each_field_is_theirs(ours):
    other = theirs.DESCRIPTOR.pool.FindMessageTypeByName(ours.full_name)
    assert ours.GetOptions().map_entry == other.GetOptions().map_entry
    for number, field in ours.fields_by_number.items():
        assert form(field) == form(other.fields_by_number[number])


def test_each_method_is_theirs():
    service = POOL.FindServiceByName(SERVICE)
    other = theirs.DESCRIPTOR.services_by_name[SERVICE.removeprefix(f"{PACKAGE}.")]
    assert [method.name for method in service.methods] == list(METHODS)
    for method in service.methods:
        their = other.methods_by_name[method.name]
        assert method.input_type.full_name == their.input_type.full_name
        assert method.output_type.full_name == their.output_type.full_name


def test_what_one_writes_the_other_reads():
    written = ModelInferRequest(model_name="m", id="7", raw_input_contents=[b"\1\2"])
    written.inputs.add(name="x", datatype="FP32", shape=[2, -1]).contents.fp32_contents.extend([1, 2.5])
    written.inputs[0].parameters["a"].double_param = 0.5
    written.parameters["timeout"].uint64_param = 7
    read = theirs.ModelInferRequest.FromString(written.SerializeToString())
    assert str(read) == str(written)
    assert ModelInferRequest.FromString(read.SerializeToString()) == written
