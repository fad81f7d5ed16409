"""Small models of XGBoost and LightGBM, trained here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

WIDTH = 5


def rows(count=200, seed=0):
    """Rows with values that are missing among them."""
    random = np.random.default_rng(seed)
    x = random.standard_normal((count, WIDTH)).astype(np.float32)
    x[random.random(x.shape) < 0.1] = np.nan
    return x


def _labels(x):
    return (np.nan_to_num(x[:, 0]) > 0).astype(int) + (np.nan_to_num(x[:, 1]) > 0)


def xgboost_model(path: Path, objective="multi:softprob", seed=0):
    """Write a model; return what it predicts in process, and the datatype of its input."""
    xgboost = pytest.importorskip("xgboost", reason="needs confide[xgboost]")
    x = rows(seed=seed)
    labels = _labels(x)
    settings = {"objective": objective, "nthread": 1, "seed": seed}
    if objective.startswith("multi"):
        settings["num_class"] = 3
    else:
        labels = (labels > 0).astype(int)
    booster = xgboost.train(settings, xgboost.DMatrix(x, labels), 5)
    path.parent.mkdir(parents=True, exist_ok=True)
    booster.save_model(path)
    return lambda given: booster.predict(xgboost.DMatrix(given))


def lightgbm_model(path: Path, objective="multiclass", seed=0):
    """Write a model; return what it predicts in process."""
    lightgbm = pytest.importorskip("lightgbm", reason="needs confide[lightgbm]")
    x = rows(seed=seed).astype(np.float64)
    labels = _labels(x)
    settings = {"objective": objective, "num_threads": 1, "verbosity": -1, "seed": seed}
    if objective == "multiclass":
        settings["num_class"] = 3
    else:
        labels = (labels > 0).astype(int)
    booster = lightgbm.train(settings, lightgbm.Dataset(x, labels), 5)
    path.parent.mkdir(parents=True, exist_ok=True)
    booster.save_model(path)
    return booster.predict
