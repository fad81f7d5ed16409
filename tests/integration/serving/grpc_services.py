"""gRPC's own clients of its health and reflection services: argv is the address and the authority's file."""

import sys
from pathlib import Path

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

address, authority = sys.argv[1:]
channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(Path(authority).read_bytes()))
health = health_pb2_grpc.HealthStub(channel)
SERVING = health_pb2.HealthCheckResponse.SERVING
for service in ("", "inference.GRPCInferenceService"):
    assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING
    assert next(health.Watch(health_pb2.HealthCheckRequest(service=service))).status == SERVING
try:
    health.Check(health_pb2.HealthCheckRequest(service="wine"))
except grpc.RpcError as error:
    assert error.code() is grpc.StatusCode.NOT_FOUND  # noqa: PT017
else:
    raise AssertionError("a service that is not there is healthy")

database = ProtoReflectionDescriptorDatabase(channel)
assert set(database.get_services()) >= {"inference.GRPCInferenceService", "grpc.health.v1.Health"}
pool = DescriptorPool(database)
for service in database.get_services():
    assert pool.FindServiceByName(service).methods or service
inference = pool.FindServiceByName("inference.GRPCInferenceService")
method = inference.methods_by_name["ModelReady"]
ask = channel.unary_unary(
    f"/{inference.full_name}/{method.name}",
    request_serializer=GetMessageClass(method.input_type).SerializeToString,
    response_deserializer=GetMessageClass(method.output_type).FromString,
)
assert ask(GetMessageClass(method.input_type)(name="scale")).ready
print("all as expected")
