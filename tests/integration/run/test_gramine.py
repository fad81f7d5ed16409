"""Programs under a real Gramine, without SGX: the same manifest, the same refusals. Skipped where there is none."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from confide.attestation.intel.sigstruct import verify_sigstruct
from confide.enclave.build import Recipe, build_cached
from confide.enclave.enclave_needs import EnclaveNeeds
from confide.enclave.gramine.build import unsigned_enclave
from confide.enclave.gramine.installation import check_version, find_gramine
from confide.enclave.gramine.manifest import manifest, manifest_toml
from confide.enclave.gramine.sign import measure
from confide.enclave.gramine.start import NAME, GramineEnclave, lay_out
from confide.enclave.image import IMAGE_FILE, JAVA, PYTHON_BINARY, ROOT_FOLDER, Image, Limits
from confide.enclave.profile import ImageProfile
from confide.errors import LaunchRefused, MeasurementRefused, MissingDependency
from confide.python.enclave import enclave_needs as python_needs
from confide.python.image_spec import image_profile as python_profile
from confide.spark.enclave import enclave_needs as spark_needs
from confide.spark.image_spec import ARCHIVE
from confide.spark.image_spec import image_profile as spark_profile

LIMITS = Limits(memory_mib=512, scratch_mib=64, cores=2)
PATIENTS = pa.table({"ward": ["a", "b", "a", "c"], "age": [31, 42, 53, 64]})
PROGRAM = """
# /// script
# [tool.confide]
# args = ["--ward=[a-z]"]
# ///
import sys
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression

patients = pd.read_parquet("in/patients")
model = LinearRegression().fit(np.arange(4).reshape(-1, 1), patients["age"])
ward = sys.argv[1].partition("=")[2] if len(sys.argv) > 1 else None
shown = patients[patients["ward"] == ward] if ward else patients
print("slope", round(float(model.coef_[0]), 3), "rows", len(shown))
result = shown.groupby("ward", as_index=False)["age"].mean()
import os
os.makedirs("out/means", exist_ok=True)
result.to_parquet("out/means/part.parquet")
"""


def _gramine_missing() -> str | None:
    try:
        check_version()
    except MissingDependency as missing:
        return str(missing)
    return None if shutil.which("gramine-manifest") else "gramine-manifest is not on the PATH"


_MISSING = _gramine_missing()
pytestmark = [
    pytest.mark.gramine,
    pytest.mark.skipif(_MISSING is not None, reason=f"needs Gramine 1.9: {_MISSING}"),
]


def enclave(image: Image, needs: Callable[[Image], EnclaveNeeds]) -> GramineEnclave:
    return unsigned_enclave(image, needs(image), find_gramine())


@pytest.fixture(scope="module")
def study(site, new_owner, tmp_path_factory):
    """A site whose owner lets a Python program read patients and write their means."""
    owner = new_owner("clinic", site.broker("local"), tmp_path_factory.mktemp("plain"))
    owner.encrypt(PATIENTS, site.data, "in/patients")
    image = site.build(PROGRAM, _small(python_profile()))
    grants = (("in/patients", "read"), ("out/means", "write"))
    owner.allow(image, *grants, logs=str(owner.key))
    return site, owner, image


def _small(profile: ImageProfile) -> ImageProfile:
    return ImageProfile(**{**vars(profile), "limits": LIMITS})


def test_python_with_numpy_and_scikit_learn(study):
    site, owner, image = study
    assert site.run("--ward=a", enclave=enclave(image, python_needs)) == 0
    assert site.log(owner).endswith("slope 11.0 rows 2\n")  # joblib warns that there are no semaphores
    assert owner.read(site.data, "out/means").to_pydict() == {"ward": ["a"], "age": [42.0]}


@dataclass
class Bench:
    """Runs pieces of code in an enclave of an image's files, without agent and keys."""

    root: Path
    image: Image
    folder: Path
    needs: Callable[[Image], EnclaveNeeds]

    def run(
        self, *argv: str, image: Image | None = None, extra: tuple[str, ...] = (), stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        changed = (image or self.image).model_copy(update={"argv": argv})
        source = self.root / "image"
        shutil.rmtree(source, ignore_errors=True)
        source.mkdir()
        (source / ROOT_FOLDER).symlink_to(self.folder / ROOT_FOLDER)
        (source / IMAGE_FILE).write_bytes(changed.canonical())
        run, data = self.root / "run", self.root / "data"
        shutil.rmtree(run, ignore_errors=True)
        run.mkdir()
        data.mkdir(exist_ok=True)
        made = enclave(changed, self.needs)
        lay_out(run, source, made.gramine, data)
        (run / f"{NAME}.manifest").write_bytes(made.manifest)
        return subprocess.run(
            ["gramine-direct", NAME, *extra],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=run,
            env={**os.environ, "EVIL": "1", "LD_PRELOAD": ""},
            timeout=300,
            check=False,
        )

    def python(self, code: str, **changes: object) -> subprocess.CompletedProcess[str]:
        return self.run(PYTHON_BINARY, "-I", "-B", "-c", code, **changes)


@pytest.fixture
def bench(study, tmp_path):
    site, _, image = study
    return Bench(tmp_path, image, site.folder, python_needs)


def without(image: Image, path: str) -> Image:
    return image.model_copy(update={"files": tuple(file for file in image.files if file.path != path)})


def with_hash(image: Image, path: str, sha256: str) -> Image:
    files = (file.model_copy(update={"sha256": sha256} if file.path == path else {}) for file in image.files)
    return image.model_copy(update={"files": tuple(files)})


READS_PROGRAM = "print(len(open('/app/job.py').read()) > 10)"


def test_hello(bench):
    done = bench.python("print('hello', input())", stdin="there\n")
    assert (done.returncode, done.stdout) == (0, "hello there\n")


def test_a_listed_file_is_read_and_a_changed_or_unlisted_one_is_not(bench):
    assert bench.python(READS_PROGRAM).stdout == "True\n"
    changed = bench.python(READS_PROGRAM, image=with_hash(bench.image, "app/job.py", "00" * 32))
    unlisted = bench.python(READS_PROGRAM, image=without(bench.image, "app/job.py"))
    for done in (changed, unlisted):
        assert done.returncode != 0
        assert "PermissionError" in done.stdout  # Gramine sends both streams there
        assert "True" not in done.stdout


def test_a_changed_program_does_not_start(bench):
    path = PYTHON_BINARY.lstrip("/")
    done = bench.python("print('started')", image=with_hash(bench.image, path, "00" * 32))
    assert done.returncode != 0
    assert done.stdout == ""


def test_with_a_changed_document_nothing_starts(bench):
    code = "print(open('/run/image.json').read(1))"
    assert bench.python(code).stdout == "{\n"
    (bench.root / "image" / IMAGE_FILE).write_bytes(b"{}")
    done = subprocess.run(
        ["gramine-direct", NAME], cwd=bench.root / "run", capture_output=True, timeout=300, check=False
    )
    assert done.returncode != 0
    assert b"EPERM" in done.stderr


def test_arguments_and_environment_of_the_host_do_not_get_in(bench):
    done = bench.python(
        "import os, sys; print(sys.argv, sorted(set(os.environ) & {'EVIL', 'LANG'}))", extra=("--evil", "1")
    )
    assert done.stdout == "['-c'] ['LANG']\n"


@pytest.mark.parametrize("place", ["/app/new", "/opt/new", "/etc/passwd", "/new"])
def test_nothing_of_the_image_is_writable(bench, place):
    done = bench.python(f"open({place!r}, 'w')")
    assert done.returncode != 0
    assert "PermissionError" in done.stdout
    assert not list((bench.folder / ROOT_FOLDER).rglob("new"))


def test_scratch_space_is_written_encrypted(bench):
    code = (
        "import os; os.environ['CONFIDE_CHILDREN'] = '0'; from confide.enclave import early; early.prepare();"
        "open('/scratch/a', 'w').write('plain text' * 1000); print(open('/scratch/a').read(10))"
    )
    done = bench.python("import sys; sys.path.append('/opt/confide/site');" + code)
    assert done.stdout == "plain text\n"
    stored = (bench.root / "run" / "scratch" / "a").read_bytes()
    assert len(stored) > 10_000
    assert b"plain" not in stored


def test_scratch_space_without_a_key_is_closed(bench):
    assert bench.python("open('/scratch/a', 'w').write('x')").returncode != 0


def test_the_agent_in_it_checks_launch_parameters_itself(bench):
    boot = {"tee": "simulated", "launch": {"args": "--evil=1", "broker.local": "https://localhost:1"}}
    done = bench.run(*bench.image.argv, stdin=json.dumps(boot) + "\n")
    failed = json.loads(done.stdout.splitlines()[-1])
    assert (failed["state"], failed["error"]) == ("failed", "LaunchRefused")


def test_a_program_that_nobody_approved_gets_no_key(study):
    site, _, image = study
    other = site.build(PROGRAM + "\n# changed", _small(python_profile()))
    try:
        with pytest.raises(MeasurementRefused):
            site.run(enclave=enclave(other, python_needs))
    finally:
        assert site.build(PROGRAM, _small(python_profile())) == image
    with pytest.raises(LaunchRefused):
        site.run("--evil", enclave=enclave(image, python_needs))


SPARK = """
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import LinearRegression
spark = SparkSession.builder.getOrCreate()
assert spark.conf.get("spark.ssl.rpc.enabled") == "true"  # the host carries its loopback device
patients = spark.read.parquet("in/patients")
patients.groupBy("ward").agg(F.avg("age").alias("age")).orderBy("ward").write.parquet("out/spark")
numbered = patients.withColumn("age", F.col("age").cast("double"))
features = VectorAssembler(inputCols=["age"], outputCol="features").transform(numbered)
print("coefficient", round(LinearRegression(labelCol="age").fit(features).coefficients[0], 3))
"""


@pytest.fixture(scope="module")
def spark_study(site, study, cache):
    _, owner, _ = study
    profile = spark_profile(cache / "jvm", enclave=True)
    limits = Limits(memory_mib=1536, scratch_mib=64, cores=2)
    image = site.build(SPARK, ImageProfile(**{**vars(profile), "limits": limits}), libos="gramine")
    yield site, owner, image
    with contextlib.suppress(KeyError):
        site.build(PROGRAM, _small(python_profile()))


MOST_TRUSTED_FILES = 3_000


def trusted(image: Image, needs: Callable[[Image], EnclaveNeeds]) -> list[str]:
    made = manifest(image, find_gramine().runtime, needs(image))
    return [each["uri"] for each in made["sgx"]["trusted_files"]]


@pytest.mark.spark
def test_an_image_for_spark_has_few_files_to_trust(spark_study):
    _, _, image = spark_study
    uris = trusted(image, spark_needs)
    assert len(uris) < MOST_TRUSTED_FILES
    assert not any("/site/pandas/" in uri for uri in uris)


@pytest.mark.slow
@pytest.mark.spark
def test_the_same_spark_image_in_another_cache(spark_study, tmp_path):
    site, _, image = spark_study
    profile = spark_profile(tmp_path / "cache" / "jvm", enclave=True)
    pinned = {name: served.ca for name, served in site.brokers.items()}
    limits = image.limits
    recipe = Recipe(site.root / "app/job.py", profile, "job", pinned, limits=limits, libos="gramine")
    _, again = build_cached(recipe, tmp_path / "cache")
    assert again == image
    assert ARCHIVE.lstrip("/") not in {file.path for file in image.files}
    if shutil.which("gramine-sgx-sign"):
        assert mrenclave(again) == mrenclave(image)


@pytest.mark.slow
@pytest.mark.spark
def test_spark_sql_and_mllib_on_encrypted_tables(spark_study):
    site, owner, image = spark_study
    owner.allow(image, ("in/patients", "read"), ("out/spark", "write"), logs=str(owner.key))
    assert site.run(enclave=enclave(image, spark_needs)) == 0
    assert "coefficient 1.0" in site.log(owner)
    assert owner.read(site.data, "out/spark").to_pydict() == {
        "ward": ["a", "b", "c"],
        "age": [42.0, 42.0, 64.0],
    }


def mrenclave(image: Image) -> bytes:
    made = manifest(image, find_gramine().runtime, spark_needs(image))
    return verify_sigstruct(measure(manifest_toml(made)).sigstruct).octets("mrenclave")


WITH_PANDAS = """
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
frame = spark.read.parquet("in/patients").toPandas()
frame["seen"] = pd.Timestamp("2026-07-01", tz="UTC").tz_convert("Europe/Berlin")
import pytz
print("hours", frame["seen"].dt.hour.unique().tolist(), pytz.timezone("Asia/Tokyo").zone)
print("mean", float(frame.groupby("ward")["age"].mean()["a"]))
try:
    frame.to_csv("plain.csv")
except OSError as error:
    print("refused", error)
"""


@pytest.fixture(scope="module")
def pandas_study(site, study, spark_study):
    _, owner, _ = study
    profile = spark_profile(site.cache / "jvm", enclave=True)
    limits = Limits(memory_mib=1536, scratch_mib=64, cores=2)
    program = "import pandas as pd" + WITH_PANDAS
    image = site.build(program, ImageProfile(**{**vars(profile), "limits": limits}), libos="gramine")
    return site, owner, image, site.folder


@pytest.mark.spark
def test_an_image_for_spark_with_pandas_has_few_files_to_trust(pandas_study):
    _, _, image, _ = pandas_study
    uris = trusted(image, spark_needs)
    assert any("/site/pandas/" in uri for uri in uris)
    assert len(uris) < MOST_TRUSTED_FILES


@pytest.mark.slow
@pytest.mark.spark
def test_spark_to_pandas_and_nothing_in_clear_on_storage(pandas_study):
    site, owner, image, folder = pandas_study
    owner.allow(image, ("in/patients", "read"), logs=str(owner.key))
    before = sorted(site.data.rglob("*.csv"))
    assert site.run(image=folder, enclave=enclave(image, spark_needs)) == 0
    log = site.log(owner)
    assert "hours [2] Asia/Tokyo\n" in log
    assert "mean 42.0\n" in log
    assert sorted(site.data.rglob("*.csv")) == before  # a program's own file never lies among the data


@pytest.mark.spark
def test_java_tells_its_version(spark_study, tmp_path):
    site, _, image = spark_study
    java = Bench(tmp_path, image, site.folder, spark_needs).run(f"{JAVA}/bin/java", "-Xmx256m", "-version")
    assert java.returncode == 0, java.stdout
    assert "version" in java.stdout
