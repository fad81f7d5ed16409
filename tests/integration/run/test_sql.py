"""A file of SQL as a program: `confide run query.sql`."""

from __future__ import annotations

import pyarrow as pa
import pytest

from confide.enclave.build import Recipe, build_cached

pytestmark = pytest.mark.spark

QUERY = """-- stays by ward; a semicolon in a text is none: ';'
CREATE TEMPORARY VIEW patients AS SELECT * FROM parquet.`data/patients`;

SELECT ward, count(*) AS n, ';' AS mark FROM patients WHERE ward <> :without GROUP BY ward ORDER BY ward;

INSERT OVERWRITE DIRECTORY 'out/wards' USING parquet
SELECT ward, sum(stay) AS stay FROM patients WHERE ward <> :without GROUP BY ward;
SELECT count(*) AS kept FROM parquet.`out/wards`
"""
PATIENTS = pa.table({"ward": ["a", "b", "a", "c'; DROP"], "stay": [1, 2, 3, 4]})


@pytest.fixture(scope="module")
def clinic(site, new_owner, small_spark):
    owner = new_owner("clinic", site.broker("local"), site.root)
    owner.encrypt(PATIENTS, site.data, "data/patients")
    program = site.root / "app/query.sql"
    program.write_text(QUERY)
    pinned = {name: served.ca for name, served in site.brokers.items()}
    recipe = Recipe(program, small_spark, "query", pinned, args=("--without=.*", "[a-z]+"))
    site.folder, site.image = build_cached(recipe, site.cache)
    owner.allow(site.image, ("data/patients", "read"), ("out/wards", "write"), logs="clinic/data")
    return owner


def test_a_file_of_sql(site, clinic):
    assert site.run("--without=c'; DROP") == 0, site.log(clinic)
    log = site.log(clinic)
    assert [line for line in log.splitlines() if line.startswith("|")] == [
        "|ward|n  |mark|",
        "|a   |2  |;   |",
        "|b   |1  |;   |",
        "|kept|",
        "|2   |",
    ]
    table = clinic.read(site.data, "out/wards").sort_by("ward")
    assert table.to_pydict() == {"ward": ["a", "b"], "stay": [4, 2]}


def test_an_argument_that_is_no_parameter(site, clinic):
    assert site.run("without") == 95
    assert "a file of SQL takes --name=value" in site.log(clinic)
