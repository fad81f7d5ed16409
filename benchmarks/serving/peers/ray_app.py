"""Ray Serve: batches of up to 64, at most 2 ms old."""

import json
import sys
import time

import numpy as np
import onnxruntime
import ray
from ray import serve


@serve.deployment(max_ongoing_requests=256)
class Mlp:
    def __init__(self, path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)
    async def run(self, rows):
        return list(self.session.run(None, {"x": np.concatenate(rows)})[0])

    async def __call__(self, request):
        x = np.asarray(json.loads(await request.body())["x"], np.float32)
        return {"y": (await self.run(x)).tolist()}


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Mlp.bind(sys.argv[2]))
    while True:
        time.sleep(60)
