"""An image for a library OS holds Python's standard library, and time zones, as one archive each."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import replace

import pytest

from confide.enclave.few_files import standard_library, time_zones
from confide.enclave.layers import Layer, cached_layer

LIBRARY = "opt/confide/python/lib/python3.11"
SOURCES = {
    f"{LIBRARY}/os.py": b"NAME = 'os'\n",
    f"{LIBRARY}/plain.py": b"VALUE = 1\n",
    f"{LIBRARY}/package/__init__.py": b"VALUE = 2\n",
    f"{LIBRARY}/package/part.py": b"VALUE = 3\n",
    f"{LIBRARY}/package/data.txt": b"data",
    f"{LIBRARY}/lib-dynload/fast.so": b"\x7fELF",
    f"{LIBRARY}/broken.py": b"this is no Python",
    "opt/confide/python/bin/python3.11": b"python",
}


@pytest.fixture
def layer(tmp_path):
    return replace(cached_layer(tmp_path / "cache", "python", SOURCES), libraries=("/lib/libz.so.1",))


def archive(layer: Layer) -> zipfile.ZipFile:
    return zipfile.ZipFile(layer.root / "opt/confide/python/lib/python311.zip")


def test_modules_are_in_the_archive_and_all_else_stays(layer, tmp_path):
    made = standard_library(layer, tmp_path / "cache", (3, 11))
    names = {"os.pyc", "plain.pyc", "package/__init__.pyc", "package/part.pyc"}
    assert set(archive(made).namelist()) == names
    kept = {file.path for file in made.files if not file.path.endswith(".pyc")}
    gone = {f"{LIBRARY}/{name}" for name in ("plain.py", "package/__init__.py", "package/part.py")}
    assert kept == set(SOURCES) - gone | {"opt/confide/python/lib/python311.zip"}
    assert made.libraries == ("/lib/libz.so.1",)


def test_python_reads_it(layer, tmp_path):
    made = standard_library(layer, tmp_path / "cache", (3, 11))
    code = "import package.part, plain; print(package.VALUE, package.part.VALUE, plain.VALUE)"
    path = archive(made).filename
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {path!r}); {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "2 3 1\n", done.stderr


def test_the_same_files_give_the_same_bytes(layer, tmp_path):
    one = standard_library(layer, tmp_path / "one", (3, 11))
    other = standard_library(layer, tmp_path / "other", (3, 11))
    assert one.files == other.files


UTC = "usr/share/zoneinfo/UTC"


def zones(tmp_path, **pytz: bytes) -> list[Layer]:
    sources = {
        "tzdata": {
            "opt/confide/site/tzdata/__init__.py": b"",
            "opt/confide/site/tzdata/zoneinfo/__init__.py": b"",
            "usr/share/zoneinfo/UTC": b"TZif2",
            "usr/share/zoneinfo/Asia/Tokyo": b"TZif3",
        },
        "pytz": pytz
        and {
            "opt/confide/site/pytz/__init__.py": pytz["text"],
            "opt/confide/site/pytz/zoneinfo/UTC": b"TZif1",
        },
        "other": {"opt/confide/site/other/__init__.py": b"import tzdata"},
    }
    return [cached_layer(tmp_path / "cache", name, files) for name, files in sources.items() if files]


def left(layers: list[Layer]) -> set[str]:
    paths = {file.path.removeprefix("opt/confide/site") for layer in layers for file in layer.files}
    return {path for path in paths if not path.endswith(".pyc")}


def test_time_zones_are_read_from_an_archive(tmp_path):
    made = time_zones(zones(tmp_path, text=b"from importlib.resources import files"), tmp_path / "cache")
    assert left(made) == {"/other/__init__.py", ".zip", UTC}
    path = str(made[-1].root / "opt/confide/site.zip")
    code = (
        "from importlib.resources import files; zones = files('tzdata.zoneinfo')\n"
        "print(*(zones.joinpath(name).read_bytes() for name in ('UTC', 'Asia/Tokyo')))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {path!r}); {code}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "b'TZif2' b'TZif3'\n", done.stderr


def test_a_pytz_that_reads_files_alone_stays_as_it_is(tmp_path):
    made = time_zones(zones(tmp_path, text=b"import os"), tmp_path / "cache")
    assert left(made) == {"/other/__init__.py", "/pytz/__init__.py", "/pytz/zoneinfo/UTC", ".zip", UTC}


def test_without_time_zones_there_is_no_archive(tmp_path):
    layers = [layer for layer in zones(tmp_path) if not any("tzdata" in file.path for file in layer.files)]
    assert time_zones(layers, tmp_path / "cache") == layers
