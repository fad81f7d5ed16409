"""A worker without its enclave, and what its clients ask."""

from __future__ import annotations

import json
import time

import httpx
import numpy as np

from confide.broker.release import Release
from confide.keys.material import Keyset, NamedKey
from confide.keys.names import KeyName
from confide.serving.admission import Admission
from confide.serving.envelope import RequestContent
from confide.serving.http import Application
from confide.serving.metrics import Metrics
from confide.serving.models import Models
from confide.serving.oip import write_request
from confide.serving.pool_key import PoolKeys
from confide.serving.repository import find_sources
from confide.serving.sealed import MEDIA_TYPE
from confide.serving.service import Service

POOL = PoolKeys(NamedKey(KeyName("clinic", "pool"), 1, {1: bytes(32)}))
EMPTY = Release(workload="w", owners=("clinic",), keys={}, grants=(), expires=2**40)


class Worker:
    """A worker without its enclave, and a client of it."""

    def __init__(self, folder, configuration):
        self.folder, self.events = folder, []
        self.metrics = Metrics(detailed=configuration.detailed_metrics)
        self.models = Models(configuration.limits, 1, folder, self.metrics, self._tell)
        self.service = Service(self.models, POOL, configuration, self.metrics)
        self.ready = True
        self.admission = Admission(configuration)
        self.app = Application(self.service, self.admission, self._introduce, lambda: self.ready)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="https://worker")

    def _tell(self, event, **details):
        self.events.append((event, details))

    async def _introduce(self, nonce):
        return {"nonce": nonce}

    async def follow(self):
        sources = find_sources(self.folder / "models", EMPTY, self.folder)
        await self.models.follow(sources, Keyset({}))

    async def infer(self, model, document, *binary, path="", **headers):
        body = json.dumps(document).encode()
        if binary:
            headers["inference-header-content-length"] = str(len(body))
        return await self.http.post(
            f"/v2/models/{model}{path}/infer", content=body + b"".join(binary), headers=headers
        )

    async def sealed(self, data, path="/v2/models/scale/infer", **headers):
        return await self.http.post(path, content=data, headers={"content-type": MEDIA_TYPE, **headers})


def x(*rows, **more):
    data = [float(value) for row in rows for value in row]
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [len(rows), 4], "data": data}], **more}


def content(*rows, timeout_s=30.0):
    body = write_request({"x": np.array(rows, np.float32)}, [])
    return RequestContent(body, int((time.time() + timeout_s) * 1000))
