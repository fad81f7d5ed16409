from __future__ import annotations

import pytest

from confide.enclave.enclave_needs import EnclaveNeeds
from confide.enclave.gramine.manifest import Runtime
from confide.enclave.image import Image, ImageFile, Limits


def file(path: str, size: int = 1, executable: bool = False) -> ImageFile:
    return ImageFile(path=path, size=size, sha256="ab" * 32, executable=executable)


PATHS = {
    "app/job.py": 10,
    "app/__pycache__/job.cpython-311.pyc": 10,
    "lib/x86_64-linux-gnu/libc.so.6": 2 << 20,
    "lib64/ld-linux-x86-64.so.2": 1 << 18,
    "opt/confide/python/bin/python3.11": 6 << 20,
    "opt/confide/python/lib/python3.11/__pycache__/os.cpython-311.pyc": 100,
    "opt/confide/python/lib/python3.11/os.py": 100,
    "opt/confide/site/only_source.py": 100,
}


@pytest.fixture
def image() -> Image:
    return Image(
        name="job",
        profile="python",
        svn=3,
        argv=("/opt/confide/python/bin/python3.11", "-I", "-m", "confide.python.entry"),
        program="/app/job.py",
        env={"LANG": "C.UTF-8"},
        limits=Limits(memory_mib=512, scratch_mib=64, cores=2),
        brokers={"kbs": "PEM"},
        files=tuple(file(path, size) for path, size in sorted(PATHS.items())),
    )


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(libos="01" * 32, folder="runtime/glibc", libraries={"libc.so.6": "02" * 32})


@pytest.fixture
def needs() -> EnclaveNeeds:
    return EnclaveNeeds(memory_mib=512, threads=20, thread_stack_mib=8, processes=2, clear_work=True)
