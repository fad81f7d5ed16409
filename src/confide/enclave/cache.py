"""What lies in the cache of images: to list it, and to let go of it."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from confide.data.atomic import storage_errors
from confide.enclave.image import read_image
from confide.errors import InvalidImage

_FOLDERS = ("images", "layers")


@dataclass(frozen=True)
class CachedImage:
    """An image in the cache.

    Attributes:
        measurement: of its document; 64 hex digits.
        name, profile: of the image.
        files: how many it has.
        built: Unix seconds.
        folder: where it lies.
    """

    measurement: str
    name: str
    profile: str
    files: int
    built: int
    folder: Path


def cached_images(cache: Path) -> list[CachedImage]:
    """Return the cache's images, oldest first; what is none is left out."""
    found = []
    for folder in sorted((cache / "images").glob("*")):
        with contextlib.suppress(InvalidImage, OSError):
            image, built = read_image(folder), int(folder.stat().st_mtime)
            found.append(CachedImage(folder.name, image.name, image.profile, len(image.files), built, folder))
    return sorted(found, key=lambda image: image.built)


def disk_bytes(cache: Path) -> int:
    """Return what images and layers take on disk: they share files by hard links."""
    seen: dict[tuple[int, int], int] = {}
    for name in _FOLDERS:
        for parent, _, files in os.walk(cache / name):
            for file in files:
                with contextlib.suppress(FileNotFoundError):
                    status = Path(parent, file).lstat()
                    seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def empty(cache: Path) -> None:
    """Remove all images and layers.

    Raises:
        StorageUnavailable: a file cannot be removed.
    """
    for name in _FOLDERS:
        if (cache / name).is_dir():
            with storage_errors(f"cannot remove {cache / name}"):
                shutil.rmtree(cache / name)
