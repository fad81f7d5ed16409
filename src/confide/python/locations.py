"""Granted locations as the Python profile treats them: what to read first, what to encrypt at the end."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from confide.broker.release import Access, Grant, Release
from confide.data.listing import Format, KeyNameText, Listing
from confide.errors import Misuse


@dataclass(frozen=True)
class Location:
    """One location with what is granted there.

    Attributes:
        path: relative to the data root.
        read: grant for reading; None: its content is not shown, and what the program writes replaces it.
        write: grant for writing; None: it is an input only.
        released: names of the keys that were released.
        streamed: whether the program reads the table itself.
    """

    path: str
    read: Grant | None
    write: Grant | None
    released: frozenset[str]
    streamed: bool = False

    @property
    def is_table(self) -> bool:
        """Whether it holds a table."""
        grant = self.write or self.read
        return grant is not None and grant.format is Format.TABLE

    @property
    def shown(self) -> Listing | None:
        """The listing whose files the program sees: of inputs, and of sealed files it may write.

        A table that may only be written starts empty, like one that is overwritten.
        """
        grant = self.read or (None if self.is_table else self.write)
        return grant.listing if grant else None

    @property
    def writable(self) -> str | None:
        """Folder that the program may write in, relative to the data root: the one above.

        A program may remove the location and make it anew, or leave a table as a single file of that name.
        """
        return None if self.write is None else self.path.rpartition("/")[0]

    def holds(self, path: str) -> bool:
        """Return whether `path`, relative to the data root, is the location or lies in it."""
        return path == self.path or path.startswith(self.path + "/")

    def readable(self, column: str, columns: dict[str, KeyNameText], key: str) -> bool:
        """Return whether the key of `column` was released."""
        return columns.get(column, key) in self.released


def plan(release: Release, streamed: Collection[str] = ()) -> tuple[Location, ...]:
    """Return the release's locations, sorted by path.

    Args:
        release: what was granted.
        streamed: locations of tables that the program reads itself, and may.

    Raises:
        Misuse: a location outside the data root, or one within another.
    """
    reads: dict[str, Grant] = {}
    writes: dict[str, Grant] = {}
    for grant in release.grants:
        if "://" in grant.location:
            raise Misuse(
                f"the Python profile reaches locations below the data root only, not {grant.location}"
            )
        (writes if grant.access is Access.WRITE else reads).setdefault(grant.location, grant)
    paths = sorted(reads.keys() | writes.keys())
    for path in paths:
        if any(path.startswith(other + "/") for other in paths):
            raise Misuse(f"location {path} lies within another one")
    keys = frozenset(release.keys)
    return tuple(Location(path, reads.get(path), writes.get(path), keys, path in streamed) for path in paths)
