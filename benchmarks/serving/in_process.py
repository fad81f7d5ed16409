"""A model run by onnxruntime in this process, told as `load` is: `python -m benchmarks.serving.in_process DOCUMENT`."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import numpy as np
import onnxruntime


def load(given: dict[str, Any]) -> dict[str, float]:
    """Return requests, seconds, CPU seconds, and percentiles of the latency in ms; one thread, as the server has."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(given["path"], options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(7).standard_normal(given["shape"]).astype(np.float32)
    latencies: list[float] = []
    for phase, seconds in (("warming", 1.0), ("measuring", given["seconds"])):
        latencies.clear()
        print(phase, flush=True)
        began, before = time.perf_counter(), time.process_time()
        while (now := time.perf_counter()) < began + seconds:
            session.run(None, {"x": x})
            latencies.append(time.perf_counter() - now)
    took, used = time.perf_counter() - began, time.process_time() - before
    p50, p99 = np.percentile(latencies, (50, 99)) * 1e3
    return {"requests": len(latencies), "seconds": took, "cpu_s": used, "p50_ms": p50, "p99_ms": p99}


if __name__ == "__main__":
    print(json.dumps(load(json.loads(sys.argv[1]))), flush=True)
