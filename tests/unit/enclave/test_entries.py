"""What runs inside an enclave imports nothing that stays outside."""

from __future__ import annotations

import subprocess
import sys

import pytest

from confide.enclave.python_sources import NOT_INSIDE, NOT_OF_CONFIDE
from confide.serving.image_spec import image_profile

# Also the modules that profiles import late.
INSIDE = ["confide.spark.entry", "confide.python.entry", "confide.enclave.agent", "confide.enclave.attester"]
OUTSIDE = [*sorted(NOT_INSIDE), "psycopg", "pkcs11"]

IMPORT = """
import importlib, sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        inside = "/".join(name.split(".")[1:]) + "/"
        if name.split(".")[0] in OUTSIDE or (name.startswith("confide.") and inside.startswith(NOT_OF_CONFIDE)):
            raise ModuleNotFoundError(f"not inside: {name}", name=name)

sys.meta_path.insert(0, Refuse())
importlib.import_module(sys.argv[1])
"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("module", INSIDE)
def test_an_entry_imports_only_what_is_inside(module):
    assert _import(module).returncode == 0, _import(module).stderr


@pytest.mark.exhaustive
def test_the_agent_of_spark_takes_no_arrow_into_its_memory():
    done = _import("confide.spark.entry", ["pyarrow", "numpy"])
    assert done.returncode == 0, done.stderr


def test_the_check_notices_what_is_outside():
    assert b"not inside: packaging" in _import("confide.enclave.python_sources").stderr
    assert b"not inside: confide.cli" in _import("confide.cli.app").stderr


@pytest.mark.exhaustive
def test_the_serving_entry_takes_its_server_along():
    outside = [name for name in OUTSIDE if name not in image_profile().distributions]
    assert "uvicorn" not in outside
    assert _import("confide.serving.entry", outside).returncode == 0


def _import(module: str, outside: list[str] = OUTSIDE) -> subprocess.CompletedProcess[bytes]:
    given = f"OUTSIDE = {outside!r}\nNOT_OF_CONFIDE = {tuple(NOT_OF_CONFIDE)!r}\n"
    command = [sys.executable, "-c", given + IMPORT, module]
    return subprocess.run(command, capture_output=True, timeout=60, check=False)
