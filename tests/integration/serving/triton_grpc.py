"""A program with another project's client of gRPC, unmodified: argv is the address, the authority's file, a canary."""

import sys
from pathlib import Path

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

address, authority, canary = sys.argv[1:]
client = triton.InferenceServerClient(address, ssl=True, root_certificates=authority)
assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("scale")
assert not client.is_model_ready("wine")
assert client.get_server_metadata().name == "confide"
(x_spec,) = client.get_model_metadata("scale").inputs
assert (x_spec.name, x_spec.datatype, list(x_spec.shape)) == ("x", "FP32", [-1, 4])
assert {model.name for model in client.get_model_repository_index().models} == {"scale", "texts"}

x = np.array([[1, 2, 3, float(canary)]], np.float32)


def tensor(name, datatype, array):
    made = triton.InferInput(name, array.shape, datatype)
    made.set_data_from_numpy(array)
    return made


wanted = [triton.InferRequestedOutput("y")]
reply = client.infer("scale", [tensor("x", "FP32", x)], outputs=wanted, request_id="7", timeout=10_000_000)
assert np.array_equal(reply.as_numpy("y"), 2 * x)
assert reply.get_response().id == "7"

text = np.array(["grün", "b"], np.object_)
reply = client.infer("texts", [tensor("text", "BYTES", text)])
assert [each.decode() for each in reply.as_numpy("same")] == ["grün", "b"]

answers = []
client.async_infer("scale", [tensor("x", "FP32", x)], lambda result, error: answers.append((result, error)))
client.infer("scale", [tensor("x", "FP32", np.zeros((1000, 4), np.float32))])
while not answers:
    pass
assert np.array_equal(answers[0][0].as_numpy("y"), 2 * x)

said = []
for model, name, array in (("scale", "x", x[:, :3]), ("scale", "z", x), ("wine", "x", x)):
    try:
        client.infer(model, [tensor(name, "FP32", array)])
    except InferenceServerException as error:
        said.append((error.status(), name in error.message() or model in error.message()))
assert said == [
    (f"StatusCode.{status}", True) for status in ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "NOT_FOUND")
]

other = Path(authority).with_name("other.pem")
stranger = triton.InferenceServerClient(address, ssl=True, root_certificates=str(other))
try:
    stranger.is_server_live()
except InferenceServerException as error:
    assert error.status() == "StatusCode.UNAVAILABLE"  # noqa: PT017
else:
    raise AssertionError("whoever trusts another authority was answered")
print("all as expected")
