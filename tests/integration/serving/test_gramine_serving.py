"""Served models under a real Gramine, without SGX. Skipped where there is none."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from confide.enclave.gramine.installation import check_version
from confide.errors import MissingDependency
from confide.serving import Client

from ... import models


def _missing() -> str | None:
    try:
        check_version()
    except MissingDependency as missing:
        return str(missing)
    return None if shutil.which("gramine-manifest") else "gramine-manifest is not on the PATH"


_MISSING = _missing()
pytestmark = [
    pytest.mark.gramine,
    pytest.mark.skipif(_MISSING is not None, reason=f"needs Gramine 1.9: {_MISSING}"),
]
SIZES = ("--libos", "gramine", "--memory", "1g", "--cores", "2")


def test_a_sealed_model_is_served_from_an_enclave(owner):
    models.scale(owner.folder / "plain/scale.onnx")
    owner.ok("encrypt", "plain", "models/scale", "--as", "files", "--key", "clinic/models")
    owner.allow("models/scale", *SIZES, "--read", "models/scale", "--logs", "clinic/logs")
    serving = owner.serve("models/scale", *SIZES)
    x = np.array([[1, 2, 3, 7391.25]], np.float32)
    with Client(serving.url, owner.accept("scale")) as client:
        assert np.array_equal(client.infer("scale", {"x": x}).outputs["y"], 2 * x)
    assert serving.stop() == 0
    log = owner.ok("logs", "--last", "1")
    assert "model-ready" in log
    assert "7391" not in log
