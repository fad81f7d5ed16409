"""A small image document."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from confide.enclave.image import Image, ImageFile, Limits


@pytest.fixture
def make_image() -> Callable[..., Image]:
    def make(**changes: Any) -> Image:
        fields: dict[str, Any] = {
            "name": "job",
            "profile": "python",
            "argv": ("/opt/confide/python/bin/python3", "-I", "-m", "confide.python.entry"),
            "program": "/app/job.py",
            "env": {"TZ": "UTC"},
            "args": ("--year=20[0-9]{2}", "[a-z]+"),
            "launch": {"cores": "[1-9][0-9]?"},
            "limits": Limits(memory_mib=512, scratch_mib=64),
            "brokers": {"local": "PEM", "lab": "PEM"},
            "files": (ImageFile(path="app/job.py", size=1, sha256="0" * 64),),
        }
        return Image(**{**fields, **changes})

    return make
