"""A program's own dependencies: locked by the real uv from an index of this test, installed, and run in an enclave."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

import pytest

from confide.enclave.build import Recipe, build_image
from confide.enclave.image import Image, Limits, measurement
from confide.enclave.locked import lock, lock_path
from confide.enclave.profile import ImageProfile
from confide.errors import InvalidImage, MissingDependency, NotLocked

from .conftest import PROBE, Enclave
from .package_index import PackageIndex, installed_wheel, make_sdist, make_wheel

PURE = {
    "purest/__init__.py": b"from . import inner\nANSWER = 42\n",
    "purest/inner.py": b"",
    "purest/tests/test_it.py": b"",
    "purest.pth": b"import evil\n",
    "purest-1.0.data/scripts/purest": b"#!python\n",
    "purest-1.0.data/data/etc/purest.conf": b"",
}
SITE = "opt/confide/site/"


@dataclass
class Workshop:
    """A folder with a program, the index it takes its dependencies from, and a cache of layers."""

    folder: Path
    index: PackageIndex
    cache: Path
    distributions: tuple[str, ...] = ()

    @property
    def program(self) -> Path:
        return self.folder / "job.py"

    @property
    def lock(self) -> Path:
        return lock_path(self.program)

    def write(self, *dependencies: str, code: str = "", more: str = "") -> None:
        named = ", ".join(f'"{each}"' for each in dependencies)
        self.folder.mkdir(exist_ok=True)
        self.program.write_text(f"# /// script\n# dependencies = [{named}]\n{more}# ///\n{code}")

    def locked(self, *dependencies: str, code: str = "") -> None:
        self.write(*dependencies, code=code)
        lock(self.program)

    def build(self, name: str = "image") -> Image:
        (self.folder / "probe.py").write_text(PROBE)
        profile = ImageProfile(
            "python",
            "probe",
            distributions=self.distributions,
            files={"opt/confide/site/probe.py": self.folder / "probe.py"},
            limits=Limits(memory_mib=256, scratch_mib=2),
        )
        recipe = Recipe(self.program, profile, "probe", {"local": "PEM"})
        return build_image(recipe, self.folder / name, self.cache)

    def edit_lock(self, pattern: str, by: str) -> None:
        text = self.lock.read_text()
        edited = re.sub(pattern, by, text, flags=re.DOTALL)
        assert edited != text
        self.lock.write_text(edited)


@pytest.fixture
def index() -> Iterator[PackageIndex]:
    index = PackageIndex()
    index.add("purest", make_wheel("purest", "1.0", PURE))
    yield index
    index.close()


@pytest.fixture
def workshop(index: PackageIndex, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workshop:
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    return Workshop(tmp_path / "app", index, cache)


def test_locked_wheels_run_in_the_enclave(workshop: Workshop, tmp_path: Path) -> None:
    workshop.index.add("httptools", installed_wheel("httptools"))
    workshop.locked(
        "purest>=1",
        "httptools",
        code="import purest, httptools\n"
        "say(answer=purest.ANSWER, at=purest.__file__, url=httptools.parse_url(b'http://x/y').path.decode())\n",
    )
    image = workshop.build()
    for name in ("home", "data"):
        (tmp_path / name).mkdir()
    enclave = Enclave(workshop.folder / "image", image, tmp_path / "home", tmp_path / "data")
    assert enclave.run() == 0
    assert (enclave.told("answer"), enclave.told("url")) == (42, "/y")
    assert enclave.told("at") == "/opt/confide/site/purest/__init__.py"
    tag = sys.implementation.cache_tag
    paths = {file.path.removeprefix(SITE) for file in image.files if file.path.startswith(SITE)}
    assert {path for path in paths if "purest" in path} == {
        "purest/__init__.py",
        "purest/inner.py",
        f"purest/__pycache__/__init__.{tag}.pyc",
        f"purest/__pycache__/inner.{tag}.pyc",
        "purest-1.0.dist-info/METADATA",
    }
    assert f"httptools-{version('httptools')}.dist-info/METADATA" in paths
    assert not any("purest.conf" in file.path for file in image.files)


def test_same_lock_same_measurement_elsewhere_and_later(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.index.add("httptools", installed_wheel("httptools"))
    workshop.locked("purest", "httptools", code="import purest\n")
    first = workshop.build()
    # Another folder, another time, nothing fetched before: only the layers of what is installed here are kept.
    other = replace(workshop, folder=tmp_path / "other" / "place", cache=tmp_path / "cache")
    made_here = shutil.ignore_patterns("app-*", "profile-*", "purest-*", "httptools-*")
    shutil.copytree(workshop.cache / "layers", other.cache / "layers", ignore=made_here, copy_function=_link)
    shutil.copytree(workshop.folder, other.folder, ignore=shutil.ignore_patterns("image"))
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache-2"))
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    for file in other.folder.iterdir():
        os.utime(file, (1_000_000_000, 1_000_000_000))
    workshop.index.add("purest", make_wheel("purest", "1.1", PURE))  # published meanwhile
    second = other.build()
    assert measurement(second) == measurement(first)


def test_libraries_of_one_wheel_are_none_of_the_systems(workshop: Workshop, tmp_path: Path) -> None:
    workshop.index.add("numpy", installed_wheel("numpy"))
    workshop.locked("numpy", code="import numpy\nsay(sum=int(numpy.ones((3, 3)).dot(numpy.ones(3)).sum()))\n")
    image = workshop.build()
    blas = [file.path for file in image.files if "openblas" in file.path]
    assert blas
    assert all(path.startswith(SITE + "numpy.libs/") for path in blas)
    assert not any(file.path.startswith(("tmp/", str(tmp_path).lstrip("/"))) for file in image.files)
    for name in ("home", "data"):
        (tmp_path / name).mkdir()
    enclave = Enclave(workshop.folder / "image", image, tmp_path / "home", tmp_path / "data")
    assert enclave.run() == 0
    assert enclave.told("sum") == 9


def test_layers_are_shared_and_fetched_once(
    workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.cache = _fresh(workshop.cache, tmp_path)
    workshop.locked("purest")
    workshop.build()
    assert workshop.index.asked
    workshop.index.asked.clear()
    workshop.index.files.clear()
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache-2"))
    workshop.write("purest", code="import purest\n")  # another program, the same lock
    workshop.build("again")
    assert not workshop.index.asked


def test_a_project_around_the_program_overrides_nothing(workshop: Workshop, tmp_path: Path) -> None:
    workshop.cache = _fresh(workshop.cache, tmp_path)
    workshop.locked("purest", code="import purest\n")
    (workshop.folder / "pyproject.toml").write_text(
        '[project]\nname = "around"\nversion = "1"\n\n[tool.uv]\noverride-dependencies = ["purest<1"]\n'
    )
    assert any("purest-1.0" in file.path for file in workshop.build().files)


def test_what_the_program_does_not_declare_stays_out(workshop: Workshop) -> None:
    workshop.locked("purest", code="import purest, cbor2\n")
    assert not any(file.path.startswith(SITE + "cbor2") for file in workshop.build().files)


def test_a_package_in_front_of_the_engines(workshop: Workshop) -> None:
    workshop.distributions = ("rfc8785",)
    workshop.index.add("rfc8785", make_wheel("rfc8785", "0.9", {"rfc8785/__init__.py": b"MINE = 1\n"}))
    workshop.locked("rfc8785")
    paths = {file.path for file in workshop.build().files}
    assert SITE + "rfc8785-0.9.dist-info/METADATA" in paths
    assert len([path for path in paths if path.endswith("METADATA")]) == 1


def test_a_package_that_the_engine_does_not_take(workshop: Workshop) -> None:
    workshop.distributions = ("joserfc",)
    workshop.index.add("cryptography", make_wheel("cryptography", "1.0", {"cryptography/__init__.py": b""}))
    workshop.locked("cryptography")
    with pytest.raises(
        InvalidImage, match=r"cryptography 1\.0, but joserfc in the image needs cryptography>="
    ):
        workshop.build()


def test_a_program_named_from_another_folder(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.write("purest")
    monkeypatch.chdir(workshop.folder.parent)
    assert [wheel.name for wheel in lock(Path("app/job.py"))] == ["purest"]


def test_without_a_lock(workshop: Workshop) -> None:
    workshop.write("purest")
    with pytest.raises(NotLocked, match=r"there is no job\.py\.lock"):
        workshop.build()


@pytest.mark.parametrize("text", ["", "version = 1\n", "not toml", "version = 99\nrequires-python = '>=3'\n"])
def test_a_lock_that_is_none(workshop: Workshop, text: str) -> None:
    workshop.write("purest")
    workshop.lock.write_text(text)
    with pytest.raises(NotLocked, match=r"job\.py\.lock does not fit"):
        workshop.build()


@pytest.mark.parametrize("changed", [("purest", "httptools"), ("purest>=2",), ("purest[extra]",), ("other",)])
def test_a_stale_lock(workshop: Workshop, changed: tuple[str, ...]) -> None:
    workshop.index.add("httptools", installed_wheel("httptools"))
    workshop.locked("purest")
    before = workshop.lock.read_bytes()
    workshop.write(*changed)
    with pytest.raises(NotLocked, match=r"job\.py\.lock does not fit what .* declares"):
        workshop.build()
    assert workshop.lock.read_bytes() == before


def test_a_lock_too_large_to_read(workshop: Workshop) -> None:
    workshop.locked("purest")
    with workshop.lock.open("r+b") as file:
        file.truncate(17 * 1024 * 1024)
    with pytest.raises(InvalidImage, match="larger than"):
        workshop.build()


def test_another_hash_in_the_lock(workshop: Workshop) -> None:
    workshop.locked("purest")
    workshop.edit_lock("sha256:[0-9a-f]{4}", "sha256:0000")
    with pytest.raises(InvalidImage, match=r"[Hh]ash mismatch"):
        workshop.build()


def test_another_wheel_on_the_index(workshop: Workshop, tmp_path: Path) -> None:
    workshop.cache = _fresh(workshop.cache, tmp_path)
    workshop.locked("purest")
    shutil.rmtree(tmp_path / "uv-cache")
    name, evil = make_wheel("purest", "1.0", {"purest/__init__.py": b"steal()\n"})
    workshop.index.files[name] = evil
    with pytest.raises(InvalidImage, match=r"[Hh]ash mismatch"):
        workshop.build()
    assert not list((workshop.cache / "layers").glob("purest-*"))


def test_a_wheel_that_is_gone(workshop: Workshop, tmp_path: Path) -> None:
    workshop.cache = _fresh(workshop.cache, tmp_path)
    workshop.locked("purest")
    shutil.rmtree(tmp_path / "uv-cache")
    workshop.index.files.clear()
    with pytest.raises(InvalidImage, match="purest"):
        workshop.build()


def test_a_package_without_a_wheel_is_not_built(workshop: Workshop, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    setup = f"open({str(ran)!r}, 'w').close()\nfrom setuptools import setup\nsetup(name='source', version='1.0')\n"
    workshop.index.add("source", make_sdist("source", "1.0", setup))
    workshop.write("source")
    with pytest.raises(NotLocked, match="no usable wheels"):
        lock(workshop.program)
    workshop.index.add("source", make_wheel("source", "1.0", {"source.py": b""}))
    lock(workshop.program)
    workshop.edit_lock(r"wheels = \[.*?\n\]\n", "")
    with pytest.raises(InvalidImage, match="source has no wheel on an index"):
        workshop.build()
    assert not ran.exists()


def test_a_wheel_for_another_platform(workshop: Workshop) -> None:
    name, data = make_wheel("elsewhere", "1.0", {"elsewhere.py": b""})
    workshop.index.add("elsewhere", (name.replace("py3-none-any", "cp38-cp38-win_amd64"), data))
    workshop.write("elsewhere")
    with pytest.raises((NotLocked, InvalidImage)):
        lock(workshop.program)
    workshop.locked("purest")
    workshop.edit_lock("py3-none-any", "cp38-cp38-win_amd64")
    with pytest.raises(InvalidImage, match="purest"):
        workshop.build()


@pytest.mark.parametrize("source", ['path = "purest"', 'git = "file:///srv/purest.git"'])
def test_a_source_tree_is_not_built(workshop: Workshop, tmp_path: Path, source: str) -> None:
    tree = workshop.folder / "purest"
    tree.mkdir(parents=True)
    ran = tmp_path / "ran"
    (tree / "setup.py").write_text(f"open({str(ran)!r}, 'w').close()\n")
    (tree / "pyproject.toml").write_text('[project]\nname = "purest"\nversion = "1.0"\n')
    workshop.write("purest", more=f"# [tool.uv.sources]\n# purest = {{ {source} }}\n")
    with pytest.raises(InvalidImage):
        lock(workshop.program)
    assert not ran.exists()


@pytest.mark.parametrize(
    "where",
    [
        'url = "file:///etc/purest-1.0-py3-none-any.whl"',
        'path = "../purest-1.0-py3-none-any.whl"',
        'url = "http://127.0.0.1/${HOME}/purest-1.0-py3-none-any.whl"',
        'url = "http://127.0.0.1/purest-1.0-py3-none-any.whl --hash=sha256:00"',
        'url = "http://127.0.0.1/x\\\\n--extra-index-url http://evil/purest-1.0-py3-none-any.whl"',
    ],
)
def test_a_lock_names_places_on_an_index_and_no_others(workshop: Workshop, where: str) -> None:
    workshop.locked("purest")
    workshop.edit_lock(r'wheels = \[\s*\{ url = "[^"]*"', f"wheels = [\n    {{ {where}")
    with pytest.raises(InvalidImage):
        workshop.build()


def test_a_lock_with_another_packages_name(workshop: Workshop) -> None:
    workshop.locked("purest")
    workshop.edit_lock('name = "purest"', 'name = "../purest"')
    with pytest.raises(InvalidImage):
        workshop.build()


def test_two_packages_with_one_file(workshop: Workshop) -> None:
    for name in ("one", "two"):
        workshop.index.add(name, make_wheel(name, "1.0", {"shared.py": name.encode()}))
    workshop.locked("one", "two")
    with pytest.raises(InvalidImage, match=r"one and two have different files for shared\.py"):
        workshop.build()


def test_a_wheel_whose_record_leads_elsewhere(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the builder")
    site = "/".join([".."] * 40)
    rows = [f"{site}{tmp_path}/secret", f"evil/{site}{tmp_path}/secret", f"{tmp_path}/secret"]
    workshop.index.add("evil", make_wheel("evil", "1.0", {"evil/__init__.py": b""}, record=rows))
    workshop.locked("evil")
    try:
        image = workshop.build()
    except InvalidImage:  # uv may well refuse such a wheel
        return
    leaked = hashlib.sha256(b"of the builder").hexdigest()
    assert leaked not in {file.sha256 for file in image.files}


def test_without_uv(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop.locked("purest")
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingDependency, match=r"confide\[lock\]"):
        workshop.build()


def _link(source: str, target: str) -> None:
    os.link(source, target)


def _fresh(cache: Path, tmp_path: Path) -> Path:
    """A cache that has the layers of what is installed here, and none of a program's own."""
    fresh = tmp_path / "fresh-cache"
    own = shutil.ignore_patterns("purest-*", "app-*")
    shutil.copytree(cache / "layers", fresh / "layers", ignore=own, copy_function=_link)
    return fresh
