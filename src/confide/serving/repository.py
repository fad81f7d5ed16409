"""Where models come from: plain files in the image, which are measured, and sealed files that the policy grants.

A folder of models has, for a model in one version, `NAME.onnx`; for one in several, `NAME/VERSION/model.onnx` with
what belongs to it beside it; other formats likewise (`runtime.py`). A location that holds one model may leave NAME
out: it is called as the location is.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from confide.broker.release import Grant, Release
from confide.canonical import canonical_json, sha256_hex
from confide.data.atomic import storage_errors
from confide.data.listing import Format
from confide.data.listing_io import open_listed
from confide.data.sealed import SealedReader
from confide.errors import InvalidFormat
from confide.keys.material import Keyset
from confide.serving.configuration import MODEL_NAME
from confide.serving.runtime import kind_of

SINGLE_VERSION = "1"
_STEM = "model"
_VERSION = re.compile(r"[0-9]{1,18}")
_COPY_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Source:
    """Files of one version of a model.

    Attributes:
        name, version: by which it is asked for.
        file: its main file, relative to the folder or location.
        files: path -> what identifies its content, of all files that belong to it.
        folder: where they lie: in the image, or in a location of the data root.
        grant: by which they are read; None: they are plain, in the image.
    """

    name: str
    version: str
    file: str
    files: Mapping[str, str]
    folder: Path
    grant: Grant | None = None

    @property
    def digest(self) -> str:
        """What changes with any of the files, 64 hex digits."""
        return sha256_hex(canonical_json(dict(self.files)))

    @contextlib.contextmanager
    def opened(self, keyset: Keyset, scratch: Path) -> Iterator[Path]:
        """Yield the path of the main file, readable, with the others beside it, as long as the block runs.

        Args:
            keyset: holds the keys of sealed ones.
            scratch: the enclave's own, for their plaintext.

        Raises:
            FileMissing, FileChanged, Tampered, NotEncrypted: storage does not hold what was committed.
            UnknownKey, RevokedKey: a key is not held.
            StorageUnavailable: the scratch space is full.
        """
        if self.grant is None:
            yield self.folder / self.file
            return
        listing = self.grant.listing
        assert listing is not None
        with storage_errors(f"cannot decrypt {self.name}"), tempfile.TemporaryDirectory(dir=scratch) as plain:
            for path, binding in self.files.items():
                target = Path(plain, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                with (
                    open_listed(self.folder, path) as file,
                    SealedReader(
                        file, keyset, expected_folder=listing.table, expected_binding=binding
                    ) as reader,
                    target.open("xb") as out,
                ):
                    shutil.copyfileobj(reader, out, _COPY_BYTES)
            yield Path(plain, self.file)


def find_sources(image_models: Path, release: Release, work: Path) -> dict[tuple[str, str], Source]:
    """Return the versions of models that there are, by name and version.

    Args:
        image_models: folder in the image; need not exist.
        release: its grants of sealed files are locations of models.
        work: the data root.

    Raises:
        InvalidFormat: two of one name and version, or a file that is no model and belongs to none.
    """
    found: list[Source] = []
    if image_models.is_dir():
        paths = sorted(
            path.relative_to(image_models).as_posix() for path in image_models.rglob("*") if path.is_file()
        )
        found += _in_folder(_STEM, dict.fromkeys(paths, "measured"), image_models, None)
    for grant in release.grants:
        if grant.format is Format.FILES and grant.listing is not None:
            files = {file.path: file.binding for file in grant.listing.files}
            found += _in_folder(PurePosixPath(grant.location).name, files, work / grant.location, grant)
    sources: dict[tuple[str, str], Source] = {}
    for source in found:
        if sources.setdefault((source.name, source.version), source) is not source:
            raise InvalidFormat(f"two models are called {source.name}, version {source.version}")
    return sources


def _in_folder(base: str, files: Mapping[str, str], folder: Path, grant: Grant | None) -> Iterable[Source]:
    for path in files:
        parts = PurePosixPath(path)
        if kind_of(parts) is None:
            continue
        match parts.parts:
            case [_]:
                name, version = (base if parts.stem == _STEM else parts.stem), SINGLE_VERSION
                mine = [other for other in files if other == path or other.startswith(path + ".")]
            case [version, file] if _VERSION.fullmatch(version) and PurePosixPath(file).stem == _STEM:
                name, mine = base, _beside(files, parts)
            case [name, version, file] if _VERSION.fullmatch(version) and PurePosixPath(file).stem == _STEM:
                mine = _beside(files, parts)
            case _:
                continue
        if not MODEL_NAME.fullmatch(name) or str(int(version)) != version:
            raise InvalidFormat(f"{path}: not the name and version of a model")
        yield Source(name, version, path, {each: files[each] for each in sorted(mine)}, folder, grant)


def _beside(files: Mapping[str, str], path: PurePosixPath) -> list[str]:
    folder = path.parent.as_posix() + "/"
    return [other for other in files if other.startswith(folder)]
