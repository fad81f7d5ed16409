"""Verify an image folder: every file is the one that the image document names, and there is no other."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from confide.canonical import sha256_hex
from confide.enclave.image import IMAGE_FILE, ROOT_FOLDER, Image, ImageFile, read_image
from confide.enclave.layers import hash_files
from confide.errors import FileChanged, FileMissing, FileUnlisted, InvalidImage


@dataclass(frozen=True)
class VerifiedImage:
    """An image whose files are what its document says.

    Attributes:
        folder: of the image.
        image: the document.
        measurement: SHA-256 of the document, 64 hex digits.
    """

    folder: Path
    image: Image
    measurement: str

    @property
    def root(self) -> Path:
        """Folder of the files at their paths inside the enclave."""
        return self.folder / ROOT_FOLDER


def verify_image(folder: Path) -> VerifiedImage:
    """Verify an image folder.

    The steps, in order: (1) the document is valid and canonical; (2) below `root/` there are only folders and
    regular files; (3) exactly those that the document lists, and no folder that holds none of them: Python takes an
    empty one for a package; (4) each with the size, SHA-256 and executable bit that it lists.

    Raises:
        InvalidImage: (1) or (2) fails.
        FileUnlisted, FileMissing: (3) fails.
        FileChanged: (4) fails.
    """
    image = read_image(folder)
    found, folders = _regular_files(folder / ROOT_FOLDER)
    listed = {file.path for file in image.files}
    held = {f"{parent}/" for path in listed for parent in PurePosixPath(path).parents}
    if unlisted := found - listed | folders - held:
        raise FileUnlisted(f"not part of the image: /{min(unlisted)}")
    if missing := listed - found:
        raise FileMissing(f"missing from the image: /{min(missing)}")
    try:
        actual = hash_files(folder / ROOT_FOLDER, [file.path for file in image.files])
    except OSError as error:
        raise FileMissing(f"unreadable: {error.filename}: {error.strerror}") from None
    for file, now in zip(image.files, actual, strict=True):
        if file != now:
            raise FileChanged(f"changed since the image was built: /{file.path} ({_difference(file, now)})")
    return VerifiedImage(folder, image, sha256_hex(image.canonical()))


def _regular_files(root: Path) -> tuple[set[str], set[str]]:
    """Return the paths of files, and of folders, which end in `/`."""
    found: set[str] = set()
    folders: set[str] = set()
    todo = [""]
    while todo:
        prefix = todo.pop()
        try:
            entries = list(os.scandir(root / prefix))
        except OSError as error:
            raise InvalidImage(f"no {ROOT_FOLDER}/{prefix} beside {IMAGE_FILE}: {error.strerror}") from None
        for entry in entries:
            path = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                todo.append(path + "/")
                folders.add(path + "/")
            elif entry.is_file(follow_symlinks=False):
                found.add(path)
            else:
                raise InvalidImage(f"neither a regular file nor a folder: /{path}")
    return found, folders


def _difference(listed: ImageFile, now: ImageFile) -> str:
    if listed.size != now.size:
        return "size"
    return "content" if listed.sha256 != now.sha256 else "executable bit"
