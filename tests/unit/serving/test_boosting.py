"""Models of XGBoost and LightGBM: the same results as in process, alone and together; what is none is refused."""

from __future__ import annotations

import asyncio
import pickle

import numpy as np
import pytest

from confide.errors import InvalidFormat
from confide.serving.batcher import run_together
from confide.serving.configuration import Configuration
from confide.serving.failures import ModelFailed
from confide.serving.oip import Body, read_reply, write_request
from confide.serving.runtime import open_model
from confide.serving.tensors import datatype_of
from confide.serving.warm import warm

from ... import gradient_boosting, models
from .worker import Worker

CASES = [
    ("wine.ubj", "xgboost", "multi:softprob"),
    ("model.json", "xgboost", "binary:logistic"),
    ("wine.ubj", "xgboost", "multi:softmax"),
    ("wine.lgb", "lightgbm", "multiclass"),
    ("model.txt", "lightgbm", "binary"),
    ("wine.lgb", "lightgbm", "regression"),
]
FP = {"xgboost": np.float32, "lightgbm": np.float64}


def make(path, library, *more, **settings):
    return getattr(gradient_boosting, f"{library}_model")(path, *more, **settings)


@pytest.mark.parametrize(("name", "library", "objective"), CASES)
def test_results_are_those_in_process(tmp_path, name, library, objective):
    predict = make(tmp_path / name, library, objective)
    runtime = open_model(tmp_path / name, 1)
    x = gradient_boosting.rows(50, seed=7).astype(FP[library])
    (found,) = runtime.run({"input": x})
    assert np.array_equal(found, predict(x))
    (spec,), (output,) = runtime.inputs, runtime.outputs
    spec.check(datatype_of(x.dtype), x.shape)
    assert (output.shape[0], output.shape[1:]) == (-1, found.shape[1:])
    assert found.dtype == FP[library]


@pytest.mark.parametrize(("name", "library", "objective"), CASES)
def test_rows_of_several_requests_go_together(tmp_path, name, library, objective):
    predict = make(tmp_path / name, library, objective)
    runtime = open_model(tmp_path / name, 1)
    assert warm(runtime, 64).batchable
    parts = [gradient_boosting.rows(count, seed=count).astype(FP[library]) for count in (1, 3, 2)]
    answers = run_together(runtime, [{"input": part} for part in parts])
    for part, (found,) in zip(parts, answers, strict=True):
        assert np.array_equal(found, predict(part))


@pytest.mark.parametrize("library", ["xgboost", "lightgbm"])
def test_a_worker_serves_them_beside_others(tmp_path, library):
    ending = {"xgboost": "ubj", "lightgbm": "lgb"}[library]
    predict = make(tmp_path / f"models/wine/3/model.{ending}", library)
    models.scale(tmp_path / "models/scale.onnx")
    x = gradient_boosting.rows(4, seed=3).astype(FP[library])

    async def test():
        worker = Worker(tmp_path, Configuration(plain_requests=True))
        await worker.follow()
        body = write_request({"input": x}, [])
        headers = {"inference-header-content-length": str(body.json_bytes)}
        answer = await worker.http.post("/v2/models/wine/infer", content=bytes(body.data), headers=headers)
        length = int(answer.headers["inference-header-content-length"])
        name, version, outputs = read_reply(Body(answer.content, length))
        assert (name, version) == ("wine", "3")
        assert np.array_equal(outputs["output"], predict(x))
        wrong = await worker.http.post(
            "/v2/models/wine/infer",
            json={"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]},
        )
        assert wrong.status_code == 400
        assert "'input'" in wrong.json()["error"]
        await worker.models.close()

    asyncio.run(test())


def cut_off(path, library):
    make(path, library)
    path.write_bytes(path.read_bytes()[:200])


def pickled(path, library):
    path.write_bytes(pickle.dumps({"model": 1}))


def empty(path, library):
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("name", "library"), [("m.ubj", "xgboost"), ("model.json", "xgboost"), ("m.lgb", "lightgbm")]
)
@pytest.mark.parametrize("fault", [cut_off, pickled, empty])
def test_what_is_none_is_refused(tmp_path, name, library, fault):
    pytest.importorskip(library, reason=f"needs confide[{library}]")
    fault(tmp_path / name, library)
    with pytest.raises(InvalidFormat, match=f"{library} does not take it"):
        open_model(tmp_path / name, 1)


@pytest.mark.parametrize(("name", "library"), [("m.ubj", "xgboost"), ("m.lgb", "lightgbm")])
def test_what_fails_says_nothing_of_values(tmp_path, name, library):
    make(tmp_path / name, library)
    runtime = open_model(tmp_path / name, 1)
    with pytest.raises(ModelFailed) as failed:
        runtime.run({"input": np.full((1, 2), 7391.0, FP[library])})
    assert "7391" not in str(failed.value)


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("m.pkl", "a pickle: code"),
        ("m.joblib", "a pickle: code"),
        ("m.pt", "torch.onnx.export"),
        ("m.pt2", "evaluates texts in it as Python"),
        ("m.bst", "save_model"),
        ("other.json", "called model.json"),
        ("readme.txt", "called model.txt"),
        ("saved_model.pb", "tf2onnx"),
        ("m.keras", "tf2onnx"),
        ("m.bigdl", "BigDL"),
    ],
)
def test_other_formats_are_not_read(tmp_path, name, how):
    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch /tmp/never'\ntR.")
    with pytest.raises(InvalidFormat, match=how):
        open_model(tmp_path / name, 1)


def test_an_image_without_what_runs_a_model_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "confide.serving.xgboost_runtime", None)
    (tmp_path / "m.ubj").write_bytes(b"{}")
    with pytest.raises(InvalidFormat, match="runtimes = "):
        open_model(tmp_path / "m.ubj", 1)
