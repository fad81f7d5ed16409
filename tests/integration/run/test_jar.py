"""A class of a jar as a program, with another jar beside it: `confide run --class NAME --jars MORE.jar app.jar`."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest

from confide.enclave.build import Recipe, build_cached
from confide.jvm.jar import spark_jars

pytestmark = pytest.mark.spark

PROGRAM = """
package clinic;
import org.apache.spark.sql.*;
import org.apache.spark.sql.api.java.UDF1;
import org.apache.spark.sql.types.DataTypes;
public final class Wards {
  public static void main(String[] args) {
    SparkSession spark = SparkSession.builder().config("spark.sql.shuffle.partitions", "2").getOrCreate();
    spark.udf().register("loud", (UDF1<String, String>) more.Loud::say, DataTypes.StringType);
    Dataset<Row> rows = spark.read().parquet(args[0]).selectExpr("loud(ward) AS ward", "stay");
    if (args.length > 1) {
      new Thread(() -> {
        try {
          Thread.sleep(5000);
        } catch (InterruptedException e) {
          throw new IllegalStateException(e);
        }
        System.out.println("LATER " + rows.count());
      }).start();
      return;
    }
    rows.groupBy("ward").sum("stay").toDF("ward", "stay").write().mode("overwrite").parquet("out/wards");
    System.out.println("WARDS " + spark.read().parquet("out/wards").count());
  }
}
"""
MORE = (
    "package more; public final class Loud { public static String say(String s) { return s.toUpperCase(); } }"
)
PATIENTS = pa.table({"ward": ["a", "b", "a"], "stay": [1, 2, 3]})


def compiled(folder: Path, name: str, source: str, beside: Path | None = None) -> Path:
    """Compile one class into a jar."""
    file = folder / f"{name}.java"
    file.write_text(source)
    class_path = os.pathsep.join(map(str, [*spark_jars(), *([beside] if beside else [])]))
    classes = folder / f"{name}-classes"
    subprocess.run(["javac", "--release", "17", "-d", classes, "-cp", class_path, file], check=True)
    jar = folder / f"{name.lower()}.jar"
    with zipfile.ZipFile(jar, "w") as archive:
        for path in classes.rglob("*.class"):
            archive.write(path, path.relative_to(classes))
    return jar


@pytest.fixture(scope="module")
def clinic(site, new_owner, small_spark):
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(PATIENTS, site.data, "data/patients")
    more = compiled(site.root, "Loud", MORE)
    program = compiled(site.root, "Wards", PROGRAM, more)
    pinned = {name: served.ca for name, served in site.brokers.items()}
    settings = {"class": "clinic.Wards"}
    recipe = Recipe(program, small_spark, "wards", pinned, args=("[a-z/]+",), jars=(more,), settings=settings)
    site.folder, site.image = build_cached(recipe, site.cache)
    owner.allow(site.image, ("data/patients", "read"), ("out/wards", "write"), logs="clinic/data")
    return owner


def test_a_class_of_a_jar(site, clinic):
    assert site.run("data/patients") == 0, site.log(clinic)
    assert "WARDS 2" in site.log(clinic)
    table = clinic.read(site.data, "out/wards").sort_by("ward")
    assert table.to_pydict() == {"ward": ["A", "B"], "stay": [4, 2]}


def test_a_thread_of_the_program_works_on_when_main_has_returned(site, clinic):
    assert site.run("data/patients", "later") == 0, site.log(clinic)
    assert "LATER 3" in site.log(clinic)


def test_a_refusal_ends_its_log(site, clinic):
    assert site.run("data/other") == 1
    assert site.log(clinic).rstrip().splitlines()[-1].startswith("confide: NoGrant: no grant for data/other")
