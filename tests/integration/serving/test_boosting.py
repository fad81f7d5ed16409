"""Encrypted models of XGBoost and LightGBM, served by `confide serve` to clients that seal."""

from __future__ import annotations

import numpy as np
import pytest

from confide.serving import Client

from ... import gradient_boosting


def test_encrypted_models_answer_as_in_process(owner):
    pytest.importorskip("xgboost", reason="needs confide[xgboost]")
    pytest.importorskip("lightgbm", reason="needs confide[lightgbm]")
    plain = owner.folder / "boosted"
    wine = gradient_boosting.xgboost_model(plain / "wine.ubj")
    rose = gradient_boosting.lightgbm_model(plain / "rose/2/model.txt")
    owner.ok("encrypt", "boosted", "enc/boosted", "--as", "files", "--key", "clinic/models")
    owner.allow("enc/boosted", "--read", "enc/boosted", "--logs", "clinic/logs")
    serving = owner.serve("enc/boosted")
    x = gradient_boosting.rows(20, seed=9)
    with Client(serving.url, owner.accept("boosted")) as client:
        assert np.array_equal(client.infer("wine", {"input": x}).outputs["output"], wine(x))
        x = x.astype(np.float64)
        reply = client.infer("rose", {"input": x})
        assert (reply.version, np.array_equal(reply.outputs["output"], rose(x))) == ("2", True)
    assert serving.stop() == 0


def test_a_pickle_is_not_served(owner):
    (owner.folder / "m.pkl").write_bytes(b"cos\nsystem\n(S'touch never'\ntR.")
    code, said = owner.run("policy", "allow", "m.pkl", "--profile", "serving", "--requests", "clinic/pool")
    assert code != 0
    assert "skl2onnx" in said
    assert not (owner.folder / "never").exists()
