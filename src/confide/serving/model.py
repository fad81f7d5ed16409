"""A version of a model that is loaded: what it takes, and its queue."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from confide.serving.batcher import Batcher, Limits, Trace
from confide.serving.failures import InvalidRequest
from confide.serving.metrics import ModelMetrics
from confide.serving.runtime import Runtime
from confide.serving.tensors import Array
from confide.serving.warm import Warmed


@dataclass(frozen=True)
class Model:
    """A version of a model that is loaded and warm.

    Attributes:
        name, version: by which it is asked for.
        digest: of the files that it was loaded from.
        count: counts its requests and runs.
        runtime: runs it.
        batcher: its queue.
    """

    name: str
    version: str
    digest: str
    runtime: Runtime
    batcher: Batcher
    batchable: bool
    count: ModelMetrics

    @classmethod
    def start(
        cls,
        name: str,
        version: str,
        digest: str,
        runtime: Runtime,
        warmed: Warmed,
        limits: Limits,
        executor: Executor,
        count: ModelMetrics,
    ) -> Model:
        """Open the queue before a runtime, on the event loop that runs."""
        batcher = Batcher(
            runtime,
            limits,
            batchable=warmed.batchable,
            cost=warmed.cost,
            executor=executor,
            observe=count.run,
        )
        return cls(name, version, digest, runtime, batcher, warmed.batchable, count)

    def metadata(self, versions: Sequence[str]) -> dict[str, Any]:
        """Return the model's metadata, as the protocol has them."""
        return {
            "name": self.name,
            "versions": list(versions),
            "platform": self.runtime.platform,
            "inputs": [spec.wire() for spec in self.runtime.inputs],
            "outputs": [spec.wire() for spec in self.runtime.outputs],
        }

    def check(self, name: str, datatype: str, shape: Sequence[int]) -> None:
        """Return if the model takes such an input.

        Raises:
            InvalidRequest: an unknown one, or of another datatype or shape; names the tensor.
        """
        for spec in self.runtime.inputs:
            if spec.name == name:
                spec.check(datatype, shape)
                return
        raise InvalidRequest(f"input {name!r} is none of this model's")

    def submit(
        self, inputs: Mapping[str, Array], expires: float | None, trace: Trace | None = None
    ) -> asyncio.Future[list[Array]]:
        """Have the model run.

        Args:
            inputs: name -> array, in any order; each was checked.
            expires: monotonic time after which it is not worth while.
            trace: of the request; is told of the run.

        Raises:
            InvalidRequest: an input is missing, or has other rows than the others; names the tensor.
            Overloaded: too many wait.
        """
        specs = self.runtime.inputs
        if missing := [spec.name for spec in specs if spec.name not in inputs]:
            raise InvalidRequest("; ".join(f"input {name!r} is missing" for name in missing))
        if self.batchable:
            first = specs[0]
            for spec in specs[1:]:
                if inputs[spec.name].shape[0] != inputs[first.name].shape[0]:
                    raise InvalidRequest(
                        f"input {spec.name!r}: {inputs[spec.name].shape[0]} rows, input {first.name!r} "
                        f"has {inputs[first.name].shape[0]}"
                    )
        return self.batcher.submit({spec.name: inputs[spec.name] for spec in specs}, expires, trace)
