"""What makes an image large, and why it is there."""

from __future__ import annotations

from confide.enclave.image import ImageFile
from confide.enclave.parts import Part, parts


def test_parts_are_named_and_the_largest_comes_first(make_image):
    sizes = {
        "app/job.py": 1,
        "lib/x86_64-linux-gnu/libz.so.1": 30,
        "opt/confide/java/lib/modules": 500,
        "opt/confide/python/lib/os.py": 40,
        "opt/confide/site/numpy.libs/blas.so": 60,
        "opt/confide/site/numpy/core.py": 7,
        "opt/confide/site/numpy-2.4.6.dist-info/METADATA": 3,
        "opt/confide/site/pyspark/jars/a.jar": 400,
        "opt/confide/site/pyspark/sql.py": 2,
        "opt/confide/spark/confide.jar": 20,
    }
    files = tuple(ImageFile(path=path, size=size, sha256="0" * 64) for path, size in sorted(sizes.items()))
    found = parts(make_image(files=files))
    assert found == [
        Part("Java, for the profile", 1, 500),
        Part("pyspark: the engine's jars", 1, 400),
        Part("numpy: needed by the profile, the program or these", 3, 70),
        Part("system libraries that those load, and the profile's own files", 2, 50),
        Part("Python and its standard library", 1, 40),
        Part("pyspark: needed by the profile, the program or these", 1, 2),
        Part("the program", 1, 1),
    ]
