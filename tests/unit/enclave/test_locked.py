"""What of a lock is taken beside the engine, and what of a distribution goes into an image."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from confide.enclave.locked import LockedWheel, beside_engine
from confide.enclave.python_sources import (
    distribution_files,
    files_of,
    installed_version,
    required_distributions,
)
from confide.errors import InvalidImage, MissingDependency


def wheel(name: str, version: str) -> LockedWheel:
    return LockedWheel(name, Version(version), f"https://index.example/{name}.whl", "0" * 64)


@pytest.fixture(scope="module")
def spark() -> dict[str, frozenset[str]]:
    return required_distributions(["confide[spark]"])


def test_what_the_engine_does_not_need_is_taken(spark):
    own = wheel("polars", "1.9.0")
    assert beside_engine([own], spark, "job.py.lock") == ([own], list(spark))


def test_the_very_version_that_the_engine_has_is_the_engines(spark):
    same = wheel("pandas", installed_version("pandas"))
    assert beside_engine([same], spark, "job.py.lock") == ([], list(spark))


def test_another_version_that_fits_stands_in_front(spark):
    other = wheel("pandas", "2.2.99")
    taken, kept = beside_engine([other], spark, "job.py.lock")
    assert taken == [other]
    assert set(spark) - set(kept) == {"pandas"}


@pytest.mark.parametrize(
    ("name", "version", "by"),
    [
        ("pandas", "3.0.0", "confide"),  # of an extra
        ("pyspark", "4.2.0", "confide"),
        ("pyarrow", "27.0.0", "confide"),
        ("pyarrow", "25.0.0", "confide"),
        ("cryptography", "1.0", "confide"),
        ("pydantic-core", "1.0", "pydantic"),
        ("numpy", "1.0", "pandas"),
        ("py4j", "0.1", "pyspark"),
    ],
)
def test_a_version_that_the_engine_does_not_take_is_refused(spark, name, version, by):
    with pytest.raises(InvalidImage, match=f"job.py.lock has {name} {version}, but .* needs {name}"):
        beside_engine([wheel(name, version)], spark, "job.py.lock")


def test_confide_itself_is_refused(spark):
    with pytest.raises(InvalidImage, match="comes with every image"):
        beside_engine([wheel("confide", installed_version("confide"))], spark, "job.py.lock")


def test_only_what_applies_here_is_required(spark):
    assert {"pyspark", "pandas", "pyarrow", "cryptography"} <= spark.keys()
    assert not {"typer", "rich", "uvicorn", "starlette", "packaging", "uv", "pytest"} & spark.keys()
    assert "pyspark" not in required_distributions(["confide"])
    assert "packaging" in required_distributions(["confide", "packaging"])  # asked for
    assert "starlette" not in required_distributions(["confide"])
    with pytest.raises(MissingDependency):
        required_distributions(["no-such-distribution-here"])


def test_paths_of_a_record_that_lead_elsewhere_are_left_out(tmp_path: Path):
    (tmp_path / "secret").write_text("of the builder")
    site = tmp_path / "site"
    folder = site / "evil-1.dist-info"
    (site / "evil").mkdir(parents=True)
    folder.mkdir()
    (site / "evil/__init__.py").write_text("")
    rows = [
        "evil/__init__.py",
        "../secret",
        "evil/../../secret",
        str(tmp_path / "secret"),
        "evil/",
        "evil/missing.py",
    ]
    (folder / "RECORD").write_text("".join(f"{row},,\n" for row in rows))
    assert files_of(folder, "evil") == {"opt/confide/site/evil/__init__.py": site / "evil/__init__.py"}


def test_no_installed_distribution_leads_elsewhere():
    for name in required_distributions(["confide[spark]"]):
        assert not any(".." in path.split("/") for path in distribution_files(name))
