"""What makes two images differ: for telling an owner what changed since an approval."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from confide.enclave.bytecode import source_of
from confide.enclave.image import Image


@dataclass(frozen=True)
class ImageDiff:
    """Differences of a newer image against an older one.

    Attributes:
        changed: paths (with leading '/') of files with other content or mode; byte code is left out where its
            source is among them.
        added: paths only in the newer image.
        removed: paths only in the older image.
        settings: names of the document's other fields that differ.
        profiles: the older and the newer profile where they differ, which makes all else differ too.
    """

    changed: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    settings: tuple[str, ...]
    profiles: tuple[str, str] | None = None

    def summary(self, most: int = 5) -> str:
        """Return one line, such as `args changed; /app/job.py changed`; empty if nothing differs."""
        if self.profiles:
            return "profile {} changed to {}".format(*self.profiles)
        parts = [
            *(f"{name} changed" for name in self.settings),
            *(f"{path} changed" for path in self.changed),
            *(f"{path} added" for path in self.added),
            *(f"{path} removed" for path in self.removed),
        ]
        more = [f"and {len(parts) - most} more"] if len(parts) > most else []
        return "; ".join(parts[:most] + more)


def diff_images(older: Image, newer: Image) -> ImageDiff:
    """Return what differs between two images."""
    before = {file.path: file for file in older.files}
    after = {file.path: file for file in newer.files}
    names = [name for name in Image.model_fields if name != "files"]
    return ImageDiff(
        changed=_show(path for path in before.keys() & after.keys() if before[path] != after[path]),
        added=_show(after.keys() - before.keys()),
        removed=_show(before.keys() - after.keys()),
        settings=tuple(name for name in names if getattr(older, name) != getattr(newer, name)),
        profiles=(older.profile, newer.profile) if older.profile != newer.profile else None,
    )


def _show(paths: Iterable[str]) -> tuple[str, ...]:
    found = set(paths)
    shown = sorted(f"/{path}" for path in found if source_of(path) not in found)
    # The program first: it is what most often changed, and what the owner knows.
    return tuple(sorted(shown, key=lambda path: not path.startswith("/app/")))
