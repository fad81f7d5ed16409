"""Image folders on disk: what goes in, what stays out, and that the launcher takes no other."""

from __future__ import annotations

import marshal
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from confide.enclave.build import Recipe, build_cached, build_image, copy_image
from confide.enclave.diff import diff_images
from confide.enclave.image import measurement
from confide.enclave.profile import ImageProfile
from confide.enclave.verify import verify_image
from confide.errors import (
    AlreadyExists,
    FileChanged,
    FileMissing,
    FileUnlisted,
    InvalidImage,
    MissingDependency,
)

from .conftest import Enclave

Probe = Callable[..., Enclave]


@pytest.fixture
def copy(probe: Probe, tmp_path: Path) -> Path:
    """A copy of an image that a test may spoil; small parts of it only would not verify."""
    return copy_image(probe("say(state='seen')").folder, tmp_path / "image")


def _writable(path: Path) -> Path:
    path.chmod(0o644)
    return path


def test_unspoilt_copy_verifies(copy: Path) -> None:
    verified = verify_image(copy)
    assert verified.measurement == measurement(verified.image)


def test_changed_file_is_refused(copy: Path) -> None:
    path = _writable(copy / "root/app/job.py")
    path.write_bytes(path.read_bytes().replace(b"seen", b"sean"))
    path.chmod(0o444)
    with pytest.raises(FileChanged, match=r"/app/job\.py \(content\)"):
        verify_image(copy)


def test_changed_byte_code_is_refused(copy: Path) -> None:
    path = next((copy / "root/opt/confide/python/lib").glob("python3.*/__pycache__/os.*.pyc"))
    data = bytearray(_writable(path).read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    path.chmod(0o444)
    with pytest.raises(FileChanged, match="content"):
        verify_image(copy)


def test_file_of_another_size_is_refused(copy: Path) -> None:
    with _writable(copy / "root/app/job.py").open("a") as file:
        file.write("#")
    with pytest.raises(FileChanged, match="size"):
        verify_image(copy)


def test_file_that_became_executable_is_refused(copy: Path) -> None:
    (copy / "root/app/job.py").chmod(0o755)
    with pytest.raises(FileChanged, match="executable"):
        verify_image(copy)


def test_unlisted_file_is_refused(copy: Path) -> None:
    (copy / "root/app/pandas.py").write_text("evil")
    with pytest.raises(FileUnlisted, match=r"/app/pandas\.py"):
        verify_image(copy)


def test_missing_file_is_refused(copy: Path) -> None:
    (copy / "root/app/job.py").unlink()
    with pytest.raises(FileMissing, match=r"/app/job\.py"):
        verify_image(copy)


@pytest.mark.parametrize("folder", ["app/pandas", "app/job", "new", "new/within"])
def test_folder_of_nothing_is_refused(copy: Path, folder: str) -> None:
    """Python takes one for a package, so that a program would do something else than what was measured."""
    (copy / "root" / folder).mkdir(parents=True)
    with pytest.raises(FileUnlisted, match=f"/{folder.partition('/')[0]}"):
        verify_image(copy)


def test_symbolic_link_in_place_of_a_file_is_refused(copy: Path, tmp_path: Path) -> None:
    shutil.move(copy / "root/app/job.py", tmp_path / "job.py")
    (copy / "root/app/job.py").symlink_to(tmp_path / "job.py")
    with pytest.raises(InvalidImage, match="neither a regular file nor a folder"):
        verify_image(copy)


def test_symbolic_link_to_a_folder_is_refused(copy: Path, tmp_path: Path) -> None:
    (copy / "root/app/more").symlink_to(tmp_path)
    with pytest.raises(InvalidImage):
        verify_image(copy)


def test_pipe_is_refused_without_hanging(copy: Path) -> None:
    os.mkfifo(copy / "root/app/pipe")
    with pytest.raises(InvalidImage):
        verify_image(copy)


def test_changed_argv_gives_another_measurement(copy: Path) -> None:
    before = verify_image(copy).measurement
    document = _writable(copy / "image.json").read_bytes()
    (copy / "image.json").write_bytes(document.replace(b'"-I",', b'"-i",'))
    assert verify_image(copy).measurement != before


def test_document_that_is_not_canonical_is_refused(copy: Path) -> None:
    document = _writable(copy / "image.json").read_bytes()
    (copy / "image.json").write_bytes(document + b"\n")
    with pytest.raises(InvalidImage, match="canonical"):
        verify_image(copy)


def test_folder_without_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match="no image"):
        verify_image(tmp_path)


def test_same_inputs_same_measurement_in_another_cache(probe: Probe, tmp_path: Path, cache: Path) -> None:
    enclave = probe("say(state='seen')")
    # Only the program's and the probe's layers are made anew; the large ones have a test of their own below.
    other = tmp_path / "cache"
    shutil.copytree(cache / "layers", other / "layers", ignore=shutil.ignore_patterns("app-*", "profile-*"))
    again = Recipe(
        tmp_path / "app/job.py",
        ImageProfile(
            "python",
            "probe",
            distributions=(),
            files={"opt/confide/site/probe.py": tmp_path / "probe.py"},
            limits=enclave.image.limits,
        ),
        "probe",
        {"local": "PEM"},
    )
    assert measurement(build_image(again, tmp_path / "again", other)) == measurement(enclave.image)


def test_changed_program_is_named_by_the_difference(probe: Probe) -> None:
    older = probe("say(state='one')").image
    newer = probe("say(state='two')", args=("--x",)).image
    assert diff_images(older, newer).summary() == "args changed; /app/job.py changed"
    assert diff_images(older, older).summary() == ""


def test_byte_code_is_unchecked_and_names_paths_inside(probe: Probe) -> None:
    folder = probe("").folder / "root/opt/confide/python/lib"
    data = next(folder.glob("python3.*/__pycache__/os.*.pyc")).read_bytes()
    assert int.from_bytes(data[4:8], "little") == 1
    assert marshal.loads(data[16:]).co_filename.startswith("/opt/confide/python/lib/python3.")


def test_image_holds_no_tests_and_no_build_tools(probe: Probe) -> None:
    paths = [file.path for file in probe("").image.files]
    for part in ("/test/", "/tests/", "/idlelib/", "/tkinter/", "/ensurepip/", "/lib2to3/"):
        assert not any(part in path for path in paths)


def test_site_packages_leave_out_tests_headers_and_the_command_line(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("import numpy\n")
    profile = ImageProfile("python", "confide.python.entry")
    recipe = Recipe(tmp_path / "job.py", profile, "job", {"local": "PEM"})
    image = build_image(recipe, tmp_path / "image", cache)
    paths = {file.path for file in image.files}
    site = "opt/confide/site/"
    assert {site + "numpy/__init__.py", site + "confide/enclave/agent.py"} <= paths
    assert not any(
        p.startswith((site + "confide/cli/", site + "confide/testing/", site + "pytest")) for p in paths
    )
    assert not any(p.endswith((".h", ".pyi", ".pxd")) or "/numpy/tests/" in p for p in paths)


def test_modules_beside_the_program_and_includes_come_along(cache: Path, tmp_path: Path) -> None:
    for name, text in {
        "job.py": "import helper\nfrom package import x\n",
        "helper.py": "import deeper\n",
        "deeper.py": "",
        "other.py": "",
        "package/__init__.py": "x = 1\n",
        "package/data.txt": "",
        "model.bin": "",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    profile = ImageProfile("python", "probe", distributions=())
    recipe = Recipe(tmp_path / "job.py", profile, "job", {"local": "PEM"}, includes=(Path("model.bin"),))
    image = build_image(recipe, tmp_path / "image", cache)
    apps = {f.path.removeprefix("app/") for f in image.files if f.path.startswith("app/")}
    sources = {path for path in apps if not path.endswith(".pyc")}
    assert sources == {
        "job.py",
        "helper.py",
        "deeper.py",
        "package/__init__.py",
        "package/data.txt",
        "model.bin",
    }


@pytest.mark.parametrize(
    ("program", "recipe", "error"),
    [
        ("def (", {}, InvalidImage),
        ("", {"includes": (Path("../outside"),)}, InvalidImage),
        ("", {"includes": (Path("absent"),)}, InvalidImage),
        ("", {"distributions": ("no-such-distribution-here",)}, MissingDependency),
        ("", {"args": ("(",)}, InvalidImage),
        ("", {"role": "No Role"}, InvalidImage),
        ("# /// script\n# [tool.confide]\n# args = 1\n# ///\n", {}, InvalidImage),
        ("# /// script\n# args = [\n# ///\n", {}, InvalidImage),
        (
            '# /// script\n# [tool.confide]\n# stream = ["data/x"]\n# ///\n',
            {},
            InvalidImage,
        ),  # of no such profile
    ],
)
def test_recipe_that_makes_no_image(
    probe: Probe, program: str, recipe: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        probe(program, **recipe)


def test_cached_image_is_built_once(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("")
    recipe = Recipe(
        tmp_path / "job.py", ImageProfile("python", "probe", distributions=()), "job", {"l": "PEM"}
    )
    own = tmp_path / "cache"
    own.mkdir()
    (own / "layers").symlink_to(cache / "layers")
    folder, image = build_cached(recipe, own)
    assert build_cached(recipe, own) == (folder, image)
    assert os.listdir(own / "images") == [measurement(image)]


def test_folder_that_exists_is_not_overwritten(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "job.py").write_text("")
    recipe = Recipe(
        tmp_path / "job.py", ImageProfile("python", "probe", distributions=()), "job", {"l": "PEM"}
    )
    (tmp_path / "image").mkdir()
    (tmp_path / "image/kept").touch()
    with pytest.raises(AlreadyExists):
        build_image(recipe, tmp_path / "image", cache)
    assert os.listdir(tmp_path / "image") == ["kept"]
