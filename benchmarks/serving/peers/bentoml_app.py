"""BentoML: adaptive batching on."""

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Mlp:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession("model.onnx", options)

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)
    def infer(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"x": x.astype(np.float32)})[0]
