"""The image: everything that runs in an enclave, as one document with one measurement.

An image is a folder: `image.json` (canonical JSON, RFC 8785) and `root/`, whose files lie at the paths they
have inside the enclave. Format: docs/formats/image.md.
"""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from confide.canonical import sha256_hex
from confide.data.listing import OwnerText
from confide.document import StrictModel
from confide.errors import InvalidImage, Misuse

IMAGE_FILE = "image.json"
ROOT_FOLDER = "root"
MAX_IMAGE_BYTES = 32 * 1024 * 1024
MAX_FILES = 100_000

PYTHON = "/opt/confide/python"
SITE = "/opt/confide/site"
SITE_ARCHIVE = "/opt/confide/site.zip"
"""More of it, in one file, where that saves many."""
JAVA = "/opt/confide/java"
APP = "/app"
PY_FILES = f"{APP}/py-files"
JARS = f"{APP}/jars"
WORK = "/work"
DATA = "/data"
"""The data root where `/work` holds decrypted files, as in enclaves that have no other way to show those."""
SCRATCH = "/scratch"
RUN = "/run/confide"
PYTHON_BINARY = f"{PYTHON}/bin/python{sys.version_info[0]}.{sys.version_info[1]}"


def _inside_path(text: str) -> str:
    if any(part in ("", ".", "..") for part in text.split("/")) or "\0" in text or "\n" in text:
        raise ValueError("a path has no empty, '.' or '..' part, no NUL and no newline")
    return text


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return text


InsidePath = Annotated[str, AfterValidator(_inside_path), Field(max_length=1024)]
Pattern = Annotated[str, AfterValidator(_pattern), Field(min_length=1, max_length=1024)]
ParameterName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
BrokerName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
NoNul = Annotated[str, Field(max_length=32 * 1024, pattern=r"^[^\x00]*$")]


class ImageFile(StrictModel):
    """One file of an image.

    Attributes:
        path: inside the enclave, without the leading '/'.
        size: bytes.
        sha256: of its bytes, 64 hex digits.
        executable: whether it may be executed.
    """

    path: InsidePath
    size: Annotated[int, Field(ge=0, le=2**53 - 1)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    executable: bool = False


class Limits(StrictModel):
    """Resources of the enclave.

    Attributes:
        memory_mib: memory of the workload.
        scratch_mib: private scratch space.
        cores: processors that the workload uses; None: all.
    """

    memory_mib: Annotated[int, Field(ge=64, le=2**24)]
    scratch_mib: Annotated[int, Field(ge=1, le=2**24)]
    cores: Annotated[int, Field(ge=1, le=4096)] | None = None


class Image(StrictModel):
    """The measured document of an image.

    Attributes:
        version: of this format, 1.
        name: for people; measured like everything else.
        profile: which profile hardens the engine: `python`, `spark`, `flink`, `serving`.
        role: role in the workload, for instance `driver`.
        svn: security version number; policies may ask for a minimum.
        argv: of the first process, the agent.
        program: path of the user's program inside the enclave, for instance `/app/job.py`.
        env: the whole environment of the first process.
        args: regular expressions; each argument given at launch must fully match one of them.
        launch: further launch parameters, name -> regular expression that the value must fully match.
        settings: fixed settings of the profile, for instance locations of outputs or Spark properties.
        limits: resources.
        owners: who takes part, all of them and nobody else; empty: one owner alone.
        brokers: name -> what is pinned of the broker: certificate (PEM) of its authority, or the document (TOML) of
            an accepted broker, which the agent has it prove to be.
        files: every file, sorted by path (Unicode code points).
    """

    version: Annotated[int, Field(ge=1, le=1)] = 1
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,127}$")]
    profile: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
    role: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")] = "driver"
    svn: Annotated[int, Field(ge=0, le=65535)] = 0
    argv: Annotated[tuple[NoNul, ...], Field(min_length=1, max_length=64, strict=False)]
    program: Annotated[str, Field(pattern=r"^/app/[^\x00\n]{1,1000}$")]
    env: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], NoNul] = Field(default_factory=dict)
    args: Annotated[tuple[Pattern, ...], Field(max_length=64, strict=False)] = ()
    launch: Annotated[dict[ParameterName, Pattern], Field(max_length=48)] = Field(default_factory=dict)
    settings: Annotated[dict[str, NoNul], Field(max_length=256)] = Field(default_factory=dict)
    limits: Limits
    owners: Annotated[tuple[OwnerText, ...], Field(max_length=64, strict=False)] = ()
    brokers: Annotated[dict[BrokerName, Annotated[str, Field(max_length=16 * 1024)]], Field(max_length=16)]
    files: Annotated[tuple[ImageFile, ...], Field(max_length=MAX_FILES, strict=False)]

    @model_validator(mode="after")
    def _sorted(self) -> Self:
        if any(a.path >= b.path for a, b in itertools.pairwise(self.files)):
            raise ValueError("files are sorted by path, each once")
        if any(a >= b for a, b in itertools.pairwise(self.owners)):
            raise ValueError("owners are sorted, each once")
        return self


def measurement(image: Image) -> str:
    """Return the image's measurement: SHA-256 of its canonical JSON, 64 hex digits."""
    return sha256_hex(image.canonical())


def parse_image(data: bytes) -> Image:
    """Parse the bytes of an `image.json`.

    Raises:
        InvalidImage: too large, not of this form, or not canonical.
    """
    if len(data) > MAX_IMAGE_BYTES:
        raise InvalidImage(f"image document of {len(data)} bytes, at most {MAX_IMAGE_BYTES} are allowed")
    try:
        image = Image.from_json(data)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False, include_input=False)
        detail = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'document'}: {f['msg']}" for f in faults[:5])
        raise InvalidImage(f"image document: {detail}") from None
    except Misuse as error:  # an owner's name; pydantic passes only ValueError through
        raise InvalidImage(f"image document: {error}") from None
    if image.canonical() != data:
        raise InvalidImage("image document is not canonical JSON")
    return image


def read_image(folder: Path) -> Image:
    """Read the `image.json` of an image folder.

    Raises:
        InvalidImage: it is not there, or not valid.
    """
    try:
        with (folder / IMAGE_FILE).open("rb") as file:
            return parse_image(file.read(MAX_IMAGE_BYTES + 1))
    except OSError as error:
        raise InvalidImage(f"no image in {folder}: {error.strerror}") from None
