"""A program with the client of another project, unmodified: argv is the address, the authority's file, and a canary."""

import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

address, authority, canary = sys.argv[1:]
client = triton.InferenceServerClient(address, ssl=True, ssl_options={"ca_certs": authority})
assert client.is_server_live()
assert client.is_server_ready()
assert client.is_model_ready("scale")
assert not client.is_model_ready("wine")
assert client.get_server_metadata()["name"] == "confide"
assert client.get_model_metadata("scale")["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
assert {model["name"] for model in client.get_model_repository_index()} == {"scale", "texts"}

x = np.array([[1, 2, 3, float(canary)]], np.float32)
for binary_in in (True, False):
    for binary_out in (True, False):
        tensor = triton.InferInput("x", x.shape, "FP32")
        tensor.set_data_from_numpy(x, binary_data=binary_in)
        wanted = [triton.InferRequestedOutput("y", binary_data=binary_out)]
        reply = client.infer("scale", [tensor], outputs=wanted, request_id="7", timeout=10_000_000)
        assert np.array_equal(reply.as_numpy("y"), 2 * x)
        assert reply.get_response()["id"] == "7"

text = np.array(["grün", "b"], np.object_)
tensor = triton.InferInput("text", text.shape, "BYTES")
tensor.set_data_from_numpy(text)
assert [each.decode() for each in client.infer("texts", [tensor]).as_numpy("same")] == ["grün", "b"]

calls = [
    client.async_infer("scale", [tensor])
    for tensor in [triton.InferInput("x", x.shape, "FP32")]
    if tensor.set_data_from_numpy(x) is not None
]
assert all(np.array_equal(call.get_result().as_numpy("y"), 2 * x) for call in calls)

tensor = triton.InferInput("x", [1, 3], "FP32")
tensor.set_data_from_numpy(x[:, :3])
said = ""
try:
    client.infer("scale", [tensor])
except InferenceServerException as error:
    said = str(error)
assert "'x'" in said, said
print("all as expected")
