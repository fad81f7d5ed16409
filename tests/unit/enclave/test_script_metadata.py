"""What a program declares of itself (PEP 723), and every declaration that makes no image."""

from __future__ import annotations

import platform

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confide.enclave.script_metadata import ScriptMetadata, read_metadata
from confide.errors import ConfideError, InvalidImage


def block(*lines: str) -> str:
    return "# /// script\n" + "".join(f"# {line}".rstrip() + "\n" for line in lines) + "# ///\n"


def test_everything_it_may_declare(tmp_path):
    program = tmp_path / "job.py"
    program.write_text(
        "import os\n"
        + block(
            'requires-python = ">=3.8"',
            'dependencies = ["humanize>=4", "polars[gpu]==1.*; python_version > \'3\'"]',
            "",
            "[tool.confide]",
            'args = ["--year=20[0-9]{2}"]',
            'owners = ["clinic", "bank"]',
            'stream = ["data/digits"]',
        )
    )
    assert read_metadata(program) == ScriptMetadata(
        ("--year=20[0-9]{2}",),
        ("humanize>=4", "polars[gpu]==1.*; python_version > '3'"),
        ("clinic", "bank"),
        ("data/digits",),
    )


@pytest.mark.parametrize("text", ["", "import os\n", "# /// other\n# x = 1\n# ///\n", block("x = 1")])
def test_a_program_that_declares_nothing(tmp_path, text):
    (tmp_path / "job.py").write_text(text)
    assert read_metadata(tmp_path / "job.py") == ScriptMetadata()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (block("x = ["), "script metadata"),
        (block("x = 1") + "\n" + block("x = 1"), "2 blocks"),
        (block('dependencies = "six"'), "not a list of requirements"),
        (block("dependencies = [1]"), "not a list of requirements"),
        (block('dependencies = ["six >"]'), "PEP 508"),
        (block('dependencies = ["../six"]'), "PEP 508"),
        (block('dependencies = ["--index-url=https://evil"]'), "PEP 508"),
        (block('dependencies = ["-r requirements.txt"]'), "PEP 508"),
        (block('dependencies = ["six @ file:///srv/six.whl"]'), "not on a package index"),
        (block('dependencies = ["six @ git+https://host/six"]'), "not on a package index"),
        (block('dependencies = ["six @ https://host/six-1-py3-none-any.whl"]'), "not on a package index"),
        (block('requires-python = ">=3.99"'), "requires Python >=3.99"),
        (block('requires-python = "<3"'), "requires Python <3"),
        (block('requires-python = "new"'), "PEP 440"),
        (block("requires-python = 3"), "PEP 440"),
        (block("[tool]", "confide = 1"), "args"),
        (block("[tool.confide]", "args = [1]"), "args"),
        (block("[tool.confide]", 'stream = "data/digits"'), "stream"),
        (block("[tool.confide]", "stream = [1]"), "stream"),
        (block("[tool.confide]", 'owners = "clinic"'), "owners"),
    ],
)
def test_declarations_that_make_no_image(tmp_path, text, said):
    (tmp_path / "job.py").write_text(text)
    with pytest.raises(InvalidImage, match=said):
        read_metadata(tmp_path / "job.py")


def test_this_very_python_is_met(tmp_path):
    (tmp_path / "job.py").write_text(block(f'requires-python = "=={platform.python_version()}"'))
    read_metadata(tmp_path / "job.py")


@given(st.lists(st.text(st.characters(exclude_characters="\r\n"), max_size=40), max_size=6))
def test_any_block_is_read_or_refused(tmp_path_factory, lines):
    program = tmp_path_factory.mktemp("any") / "job.py"
    program.write_text(block(*lines), "utf-8", errors="replace")
    try:
        read_metadata(program)
    except ConfideError:
        pass
