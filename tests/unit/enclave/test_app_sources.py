"""What of a program goes into its image: modules from elsewhere (`--py-files`)."""

from __future__ import annotations

import pytest

from confide.enclave.app_sources import read_app
from confide.errors import InvalidImage


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "app/job.py"
    path.parent.mkdir()
    path.write_text("import helper, pandas\n")
    return path


def test_modules_from_elsewhere_are_taken_and_found(program, tmp_path):
    helper, archive = tmp_path / "helper.py", tmp_path / "more.zip"
    helper.write_text("import numpy\n")
    archive.write_bytes(b"PK")
    app = read_app(program, (), (helper, archive))
    assert app.files["app/py-files/helper.py"] == helper
    assert app.files["app/py-files/more.zip"] == archive
    assert app.python_path == ("/app/py-files", "/app/py-files/more.zip")
    assert app.imports == {"pandas", "numpy"}


def test_tensorboard_is_brought_by_what_torch_has_for_it(program):
    program.write_text("from torch.utils.tensorboard import SummaryWriter")
    assert read_app(program).imports == {"torch", "tensorboard"}


@pytest.mark.parametrize(
    "line",
    [
        "from confide.training import Checkpoints, export_model",
        "from confide.training.export import export_model as leave",
        "import confide.training.export",
    ],
)
def test_what_confide_needs_for_a_part_of_it_is_brought_by_its_import(program, line):
    program.write_text(line)
    assert read_app(program).imports == {"confide", "onnxscript", "safetensors"}
    program.write_text("from confide.training import Checkpoints, EncryptedTable")
    assert read_app(program).imports == {"confide"}


def test_without_any_nothing_is_on_the_path(program):
    assert read_app(program).python_path == ()


@pytest.mark.parametrize("name", ["x.jar", "x.so", "x", "folder.py", "missing.py"])
def test_other_files_are_refused(program, tmp_path, name):
    path = tmp_path / name
    if name == "folder.py":
        path.mkdir()
    elif name != "missing.py":
        path.write_bytes(b"")
    with pytest.raises(InvalidImage, match="--py-files"):
        read_app(program, (), (path,))


def test_jars_are_taken(tmp_path):
    program, other = tmp_path / "app.jar", tmp_path / "lib/other.jar"
    other.parent.mkdir()
    for path in (program, other):
        path.write_bytes(b"PK\n# /// script\n# dependencies = [1]\n# ///\n")
    app = read_app(program, jars=(other,))
    assert app.program == "/app/app.jar"
    assert app.files == {"app/app.jar": program, "app/jars/other.jar": other}
    with pytest.raises(InvalidImage, match="--jars"):
        read_app(program, jars=(tmp_path / "missing.jar",))


def test_two_of_one_name(program, tmp_path):
    (tmp_path / "a").mkdir()
    for path in (tmp_path / "helper.py", tmp_path / "a/helper.py"):
        path.write_text("")
    with pytest.raises(InvalidImage, match="two files"):
        read_app(program, (), (tmp_path / "helper.py", tmp_path / "a/helper.py"))


@pytest.mark.parametrize(
    "text",
    [
        "from confide.training import export_model",
        "from confide import training\ntraining.export_model",
        "import confide.training as t\nt.export_model(1)",
        "from confide.training import *\nexport_model(1)",
    ],
)
def test_what_leaves_a_model_is_taken_along_however_it_is_called(program, text):
    program.write_text(text)
    assert read_app(program).imports == {"confide", "onnxscript", "safetensors"}


def test_another_s_export_model_takes_nothing_along(program):
    program.write_text("import other\nother.export_model(1)")
    assert read_app(program).imports == {"other"}
