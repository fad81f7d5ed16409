"""Tables that models are trained on in tests: real images and records, all shipped by packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
from sklearn.datasets import load_breast_cancer, load_digits


def digits() -> dict[str, pa.Table]:
    """Images of 8 x 8 of scikit-learn."""
    found = load_digits()
    return _images((found.data * 15.9375).astype("uint8"), found.target)


def patients() -> dict[str, pa.Table]:
    """Records of scikit-learn, as the demo has them."""
    frame = load_breast_cancer(as_frame=True).frame
    table = frame.rename(columns=lambda name: name.replace(" ", "_")).drop(columns="target")
    table.insert(0, "patient_id", range(1, len(table) + 1))
    table["malignant"] = 1.0 - frame["target"]
    return _halves(pa.Table.from_pandas(table, preserve_index=False))


TABLES: Mapping[str, Callable[[], dict[str, pa.Table]]] = {
    "digits": digits,
    "patients": patients,
}


def _images(pixels: np.ndarray, labels: np.ndarray) -> dict[str, pa.Table]:
    flat = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), pixels.shape[1])
    return _halves(pa.table({"pixels": flat, "label": pa.array(labels)}))


def _halves(table: pa.Table) -> dict[str, pa.Table]:
    """Return what is trained on, and a quarter to test."""
    test = np.arange(table.num_rows) % 4 == 0
    return {"train": table.filter(pa.array(~test)), "test": table.filter(pa.array(test))}
