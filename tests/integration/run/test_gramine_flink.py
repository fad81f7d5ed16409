"""A program of SQL for Flink under a real Gramine, without SGX. Skipped where there is none."""

from __future__ import annotations

import shutil
import sys

import pyarrow as pa
import pytest

from confide.data.folders import decrypt_files
from confide.enclave.gramine.build import unsigned_enclave
from confide.enclave.gramine.installation import check_version, find_gramine
from confide.enclave.image import Limits
from confide.enclave.profile import ImageProfile
from confide.errors import MissingDependency
from confide.flink.enclave import enclave_needs
from confide.flink.image_spec import image_profile


def _missing() -> str | None:
    try:
        check_version()
    except MissingDependency as missing:
        return str(missing)
    return None if shutil.which("gramine-manifest") else "gramine-manifest is not on the PATH"


_MISSING = _missing()
pytestmark = [
    pytest.mark.gramine,
    pytest.mark.flink,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(_MISSING is not None, reason=f"needs Gramine 1.9: {_MISSING}"),
    pytest.mark.skipif(sys.version_info >= (3, 13), reason="Flink has wheels for Python 3.11 and 3.12"),
]

PROGRAM = """
from pyflink.table import EnvironmentSettings, TableEnvironment

env = TableEnvironment.create(EnvironmentSettings.in_batch_mode())
env.get_config().set("parallelism.default", "1")
files = "'connector' = 'filesystem', 'path' = '%s', 'format' = '%s'"
env.execute_sql("CREATE TABLE patients (id BIGINT, age BIGINT) WITH (" + files % ("data/patients", "parquet") + ")")
env.execute_sql("CREATE TABLE elders (n BIGINT) WITH (" + files % ("out/old", "csv") + ")")
env.execute_sql("INSERT INTO elders SELECT COUNT(*) FROM patients WHERE age > 40").wait()
print("written", flush=True)
try:
    env.execute_sql("SELECT * FROM patients").print()
except Exception as error:
    print("refused", "loopback" in str(error), flush=True)

from pyflink.common import Types
from pyflink.datastream import StreamExecutionEnvironment

stream = StreamExecutionEnvironment.get_execution_environment()
stream.from_collection([1, 2], Types.LONG()).map(lambda n: n + 1, Types.LONG()).print()
try:
    stream.execute()
except Exception as error:
    print("no process", "Cannot run program" in str(error), flush=True)
"""


def test_sql_on_an_encrypted_table_and_neither_results_over_the_loopback_device_nor_python_functions(
    site, new_owner, cache, tmp_path
):
    owner = new_owner("clinic", site.broker("local"), tmp_path)
    owner.encrypt(pa.table({"id": [1, 2, 3], "age": [31, 42, 53]}), site.data, "data/patients")
    profile = image_profile(cache)
    limits = Limits(memory_mib=1536, scratch_mib=64, cores=1)
    image = site.build(PROGRAM, ImageProfile(**{**vars(profile), "limits": limits}), libos="gramine")
    owner.allow(image, ("data/patients", "read"), logs="clinic/data", files=["out/old"])
    code = site.run(enclave=unsigned_enclave(image, enclave_needs(image), find_gramine()))
    log = site.log(owner)
    assert code == 0, log[-4000:]
    assert "written\n" in log
    assert "refused True\n" in log
    assert "no process True\n" in log
    stored = owner.store.listing_at("clinic", "out/old")
    decrypt_files(site.data / "out/old", stored.listing, owner.keyset, tmp_path / "old")
    (part,) = (tmp_path / "old").rglob("part-*")
    assert part.read_text() == "2\n"
