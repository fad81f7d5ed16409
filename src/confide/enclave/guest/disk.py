"""An image as a disk for a guest: a tar archive of the image folder, and its way back into a folder.

What comes back is nobody's word: the guest verifies the folder afterwards, as every launcher does.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import IO

from confide.canonical import sha256_hex
from confide.enclave.image import IMAGE_FILE, MAX_IMAGE_BYTES, ROOT_FOLDER, parse_image, read_image
from confide.errors import InvalidImage, StorageUnavailable, Tampered


def write_disk(image: Path, target: Path) -> None:
    """Write the disk of an image folder; the same image gives the same bytes.

    Raises:
        InvalidImage: no image is there.
        StorageUnavailable: a file cannot be read or written.
    """
    document = read_image(image)
    try:
        with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
            _add(tar, image / IMAGE_FILE, IMAGE_FILE, executable=False)
            for file in document.files:
                path = f"{ROOT_FOLDER}/{file.path}"
                _add(tar, image / path, path, executable=file.executable)
    except OSError as error:
        raise StorageUnavailable(f"disk of an image: {error.strerror or error}") from None


def unpack_disk(disk: IO[bytes], digest: str, folder: Path) -> None:
    """Unpack the disk of one image into an empty folder.

    1. The first file is `image.json`, and its SHA-256 is `digest`.
    2. What follows are the files that it lists, in its order, each of the size that it lists, and nothing else.

    Args:
        disk: nothing in it is trusted.
        digest: of the only image that may be unpacked, 64 hex digits.
        folder: what is unpacked is for `verify_image` to look at.

    Raises:
        Tampered: step 1: another image.
        InvalidImage: step 2, or no such archive.
        StorageUnavailable: no room.
    """
    try:
        with tarfile.open(fileobj=disk, mode="r:") as tar:
            document = _document(tar, digest)
            write = _Writer(folder)
            write(IMAGE_FILE, document, executable=False)
            for file in parse_image(document).files:
                path = f"{ROOT_FOLDER}/{file.path}"
                write(path, _next(tar, path, file.size), executable=file.executable)
            if tar.next() is not None:
                raise InvalidImage("disk of an image: more files than the image lists")
    except (tarfile.TarError, EOFError) as error:
        raise InvalidImage(f"disk of an image: no archive ({type(error).__name__})") from None
    except OSError as error:
        raise StorageUnavailable(f"disk of an image: {error.strerror or error}") from None


def _document(tar: tarfile.TarFile, digest: str) -> bytes:
    document = _next(tar, IMAGE_FILE, None)
    if sha256_hex(document) != digest:
        raise Tampered(
            f"the disk holds image {sha256_hex(document)}, and this machine was started for {digest}"
        )
    return document


def _next(tar: tarfile.TarFile, path: str, size: int | None) -> bytes:
    member = tar.next()
    limit = MAX_IMAGE_BYTES if size is None else size
    if member is None or member.name != path or not member.isreg():
        raise InvalidImage(f"disk of an image: not the file /{path} where it should be")
    if member.size > limit or size not in (None, member.size):
        raise InvalidImage(f"disk of an image: another size of /{path}")
    stream = tar.extractfile(member)
    assert stream is not None
    return stream.read()


class _Writer:
    """Writes new files; plain system calls, as there are thousands of small ones."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._made = folder, {""}

    def __call__(self, path: str, content: bytes, *, executable: bool) -> None:
        parent = path.rpartition("/")[0]
        if parent not in self._made:
            (self._folder / parent).mkdir(parents=True, exist_ok=True)
            self._made.add(parent)
        flags, mode = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o555 if executable else 0o444
        with open(os.open(f"{self._folder}/{path}", flags, mode), "wb") as file:  # noqa: PTH123 - a descriptor
            file.write(content)


def _add(tar: tarfile.TarFile, source: Path, path: str, *, executable: bool) -> None:
    entry = tarfile.TarInfo(path)
    entry.mode = 0o555 if executable else 0o444
    with source.open("rb") as file:
        entry.size = source.stat().st_size
        tar.addfile(entry, file)
