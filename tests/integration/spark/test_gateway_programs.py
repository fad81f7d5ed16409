import pytest

pytestmark = pytest.mark.spark


def test_basic(run):
    ran = run(
        """
import sys
from pyspark.sql import SparkSession
spark = SparkSession.builder.appName("x").getOrCreate()
print("COUNT", spark.range(100).count(), sys.argv[1:])
""",
        "--year",
        "2020",
    )
    print(ran.output)
    assert ran.code == 0
    assert "COUNT 100 ['--year', '2020']" in ran.output
