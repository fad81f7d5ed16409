"""What the engine's lock holds, and what it must not."""

import sys
import tomllib

import pytest
from packaging.version import Version

from confide.enclave.locked import LockedWheel, lock_path, locked_wheels, with_engine
from confide.enclave.script_metadata import read_metadata
from confide.errors import InvalidImage
from confide.flink.image_spec import ENGINE

pytestmark = pytest.mark.skipif(
    sys.version_info >= (3, 13), reason="Flink has wheels for Python 3.11 and 3.12"
)


def wheel(name, version):
    return LockedWheel(name, Version(version), f"https://index.example/{name}.whl", "0" * 64)


def test_the_lock_fits_and_every_package_is_a_wheel_with_its_hash():
    wheels = {wheel.name: str(wheel.version) for wheel in locked_wheels(ENGINE)}
    assert wheels["apache-flink"] == wheels["apache-flink-libraries"] == "2.3.0"


def test_nothing_that_runs_functions_in_processes_of_their_own():
    names = {wheel.name for wheel in locked_wheels(ENGINE)}
    assert not names & {"apache-beam", "grpcio"}


def test_pyarrow_is_one_that_confide_takes():
    versions = {wheel.name: wheel.version for wheel in locked_wheels(ENGINE)}
    assert versions["pyarrow"].major == 26


def test_it_declares_flink_in_one_version():
    assert read_metadata(ENGINE).dependencies[0] == "apache-flink==2.3.0"
    assert tomllib.loads(lock_path(ENGINE).read_text())["requires-python"] == ">=3.11, <3.13"


def test_a_program_of_its_own_beside_the_engine():
    merged = with_engine(
        [wheel("b", "1"), wheel("a", "1")], [wheel("b", "1"), wheel("c", "1")], "job.py.lock"
    )
    assert [each.name for each in merged] == ["a", "b", "c"]


def test_another_version_than_the_engines_is_refused():
    with pytest.raises(InvalidImage, match=r"job\.py\.lock has b 2, .* declare b==1"):
        with_engine([wheel("b", "2")], [wheel("b", "1")], "job.py.lock")
