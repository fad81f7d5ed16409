"""LitServe: batches of up to 64, at most 2 ms old."""

import sys

import litserve
import numpy as np
import onnxruntime


class Mlp(litserve.LitAPI):
    def setup(self, device):  # noqa: ARG002
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession("model.onnx", options)

    def decode_request(self, request):
        return np.asarray(request["x"], np.float32)

    def batch(self, inputs):
        return np.concatenate(inputs)

    def predict(self, x):
        return self.session.run(None, {"x": x})[0]

    def unbatch(self, output):
        return list(output)

    def encode_response(self, output):
        return {"y": output.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(Mlp(max_batch_size=64, batch_timeout=0.002), accelerator="cpu")
    server.run(port=int(sys.argv[1]), host="127.0.0.1", log_level="error", generate_client_file=False)
