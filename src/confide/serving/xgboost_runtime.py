"""Models of XGBoost, in its JSON and UBJSON files, by XGBoost itself: data that C++ reads, and no pickle.

They predict as `Booster.inplace_predict` does in process: with all trees, NaN for a value that is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xgboost

from confide.errors import InvalidFormat
from confide.serving.failures import ModelFailed
from confide.serving.tensors import Array, TensorSpec

xgboost.set_config(verbosity=0)  # messages may hold values


class XgboostModel:
    """A model of XGBoost (`confide.serving.runtime.Runtime`)."""

    platform = "xgboost_json"

    def __init__(self, booster: Any) -> None:
        self._booster = booster
        features = booster.num_features()
        self.inputs = (TensorSpec("input", "FP32", (-1, features)),)
        shape = self.run({"input": np.zeros((1, features), np.float32)})[0].shape
        self.outputs = (TensorSpec("output", "FP32", (-1, *shape[1:])),)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Return the predictions.

        Raises:
            ModelFailed: XGBoost failed on these inputs.
        """
        try:
            return [np.asarray(self._booster.inplace_predict(inputs["input"], validate_features=False))]
        except Exception as error:  # noqa: BLE001 - texts with values
            raise ModelFailed(f"xgboost: {type(error).__name__}") from None


def open_model(path: Path, cores: int | None) -> XgboostModel:
    """Load a model.

    Raises:
        InvalidFormat: XGBoost does not take it.
    """
    booster = xgboost.Booster()
    try:
        booster.load_model(path)
        booster.set_param({"nthread": cores or 0})
        return XgboostModel(booster)
    except Exception as error:  # noqa: BLE001 - classes of its own
        raise InvalidFormat(f"{path.name}: xgboost does not take it ({type(error).__name__})") from None
