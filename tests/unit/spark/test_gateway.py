import inspect
import re

from pyspark import java_gateway

from confide.spark.engine import installed


def test_imports_are_those_of_this_pyspark():
    source = inspect.getsource(java_gateway.launch_gateway)
    assert tuple(re.findall(r'java_import\(gateway\.jvm, "([^"]+)"\)', source)) == installed().java_imports
