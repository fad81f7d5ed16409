"""Models of LightGBM, in its text files, by LightGBM itself: data that C++ reads, and no pickle.

They predict as `Booster.predict` does in process, NaN for a value that is missing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np

from confide.errors import InvalidFormat
from confide.serving.failures import ModelFailed
from confide.serving.tensors import Array, TensorSpec

_SILENT = logging.Logger("lightgbm", logging.CRITICAL + 1)
lightgbm.register_logger(_SILENT)


class LightgbmModel:
    """A model of LightGBM (`confide.serving.runtime.Runtime`)."""

    platform = "lightgbm_text"

    def __init__(self, booster: Any, cores: int | None) -> None:
        self._booster, self._threads = booster, cores or 0
        features = booster.num_feature()
        self.inputs = (TensorSpec("input", "FP64", (-1, features)),)
        shape = self.run({"input": np.zeros((1, features))})[0].shape
        self.outputs = (TensorSpec("output", "FP64", (-1, *shape[1:])),)

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """Return the predictions.

        Raises:
            ModelFailed: LightGBM failed on these inputs.
        """
        try:
            predicted = self._booster.predict(inputs["input"], num_threads=self._threads)
        except Exception as error:  # noqa: BLE001 - texts with values
            raise ModelFailed(f"lightgbm: {type(error).__name__}") from None
        return [np.asarray(predicted, np.float64)]


def open_model(path: Path, cores: int | None) -> LightgbmModel:
    """Load a model.

    Raises:
        InvalidFormat: LightGBM does not take it.
    """
    try:
        return LightgbmModel(lightgbm.Booster(model_file=path), cores)
    except Exception as error:  # noqa: BLE001 - classes of its own
        raise InvalidFormat(f"{path.name}: lightgbm does not take it ({type(error).__name__})") from None
