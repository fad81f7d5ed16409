from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from confide.enclave.image import (
    MAX_IMAGE_BYTES,
    Image,
    ImageFile,
    Limits,
    measurement,
    parse_image,
    read_image,
)
from confide.errors import InvalidImage

Make = Callable[..., Image]


def test_document_survives_its_canonical_form(make_image: Make) -> None:
    image = make_image()
    assert parse_image(image.canonical()) == image
    assert len(measurement(image)) == 64


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"profile": "spark"},
        {"role": "executor"},
        {"svn": 1},
        {"argv": ("/bin/sh",)},
        {"program": "/app/other.py"},
        {"env": {"TZ": "CET"}},
        {"args": ()},
        {"launch": {}},
        {"settings": {"a": "b"}},
        {"limits": Limits(memory_mib=513, scratch_mib=64)},
        {"owners": ("clinic",)},
        {"brokers": {"local": "OTHER", "lab": "PEM"}},
        {"files": ()},
        {"files": (ImageFile(path="app/job.py", size=1, sha256="0" * 64, executable=True),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_is_measured(make_image: Make, change: dict[str, Any]) -> None:
    assert measurement(make_image(**change)) != measurement(make_image())


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"name": "a\nb"},
        {"profile": "../x"},
        {"role": "A"},
        {"svn": -1},
        {"svn": 65536},
        {"argv": ()},
        {"argv": ("a\0b",)},
        {"program": "/etc/passwd"},
        {"env": {"A=B": ""}},
        {"env": {"A": "\0"}},
        {"args": ("(",)},
        {"args": ("",)},
        {"launch": {"Broker": ".*"}},
        {"launch": {"broker.x": ".*"}},
        {"owners": ("b", "a")},
        {"owners": ("a", "a")},
        {"brokers": {"a b": "PEM"}},
        {"version": 2},
        {"unknown": 1},
    ],
    ids=str,
)
def test_documents_that_are_none(make_image: Make, change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        make_image(**change)


@pytest.mark.parametrize("path", ["", "/app/x", "app//x", "app/../x", "./x", "a\0", "a\nb", "x" * 1025])
def test_paths_that_are_none(path: str) -> None:
    with pytest.raises(ValidationError):
        ImageFile(path=path, size=0, sha256="0" * 64)


def test_files_out_of_order_or_twice(make_image: Make) -> None:
    one, two = (ImageFile(path=p, size=0, sha256="0" * 64) for p in ("a", "b"))
    for files in [(two, one), (one, one)]:
        with pytest.raises(ValidationError):
            make_image(files=files)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"null", b" " * (MAX_IMAGE_BYTES + 1)])
def test_bytes_that_are_no_image(data: bytes) -> None:
    with pytest.raises(InvalidImage):
        parse_image(data)


def test_owner_whose_name_is_none(make_image: Make) -> None:
    document = make_image(owners=("clinic",)).canonical().replace(b'"clinic"', b'"Clinic"')
    with pytest.raises(InvalidImage, match="Clinic"):
        parse_image(document)


def test_only_the_canonical_form_is_read(make_image: Make) -> None:
    document = json.loads(make_image().canonical())
    with pytest.raises(InvalidImage, match="canonical"):
        parse_image(json.dumps(document, indent=1).encode())


def test_folder_without_document(tmp_path: Path) -> None:
    with pytest.raises(InvalidImage, match="no image"):
        read_image(tmp_path)
