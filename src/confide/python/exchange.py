"""Put newly committed files in the place of old ones, so that a location can be read whenever its run ends.

At every moment the files of the newest listing lie in place, or in a hidden folder beside them, where `roll_forward`
finds them before the next run. What came of a commit may stay unknown: then both folders stay.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from confide.data.atomic import sync_folder
from confide.errors import BrokerUnavailable, ConfideError

T = TypeVar("T")


class NotCommitted(BrokerUnavailable):
    """The broker did not answer, and says now that it has not committed."""


class Exchange:
    """Of the files of one location, once.

    Args:
        target: the location's folder on storage.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self._new, self._old = (target / f".confide-{secrets.token_hex(8)}.tmp" for _ in range(2))

    def stage(self) -> Path:
        """Make the folder for the new files, and return it."""
        self.target.mkdir(parents=True, exist_ok=True)
        self._new.mkdir()
        self._old.mkdir()
        return self._new

    def forget(self) -> None:
        """Remove what was staged."""
        for folder in (self._new, self._old):
            shutil.rmtree(folder, ignore_errors=True)

    def run(self, old: Sequence[str], new: Sequence[str], commit: Callable[[], T]) -> T:
        """Commit, and exchange the files.

        Files that are gone leave their place first: in it lies none that is in neither listing.

        Args:
            old: names of the files of the listing before.
            new: names of those of the next one: in the stage, or taken over.
            commit: commits it.

        Raises:
            BrokerUnavailable: whether it was committed is not known; both folders stay.
            NotCommitted, and whatever else the broker says: it was not; all is as before.
            OSError: storage failed, before the commit or after it; in the latter case both folders stay.
        """
        gone = [name for name in old if name not in set(new)]
        try:
            _move(gone, self.target, self._old)
        except OSError:
            self._undo(gone)
            raise
        try:
            committed = commit()
        except ConfideError as error:
            if isinstance(error, NotCommitted) or not isinstance(error, BrokerUnavailable):
                self._undo(gone)
            raise
        _move(gone, self.target, self._old)  # again: another run may have put them back
        _move(new, self._new, self.target)  # those that were taken over are not there
        self.forget()
        return committed

    def _undo(self, gone: Sequence[str]) -> None:
        _move([name for name in gone if not (self.target / name).exists()], self._old, self.target)
        self.forget()


def _move(names: Sequence[str], source: Path, target: Path) -> None:
    for name in names:
        old, new = source / name, target / name
        if old.is_file():
            new.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                new.rmdir()  # an empty folder of that name
            old.replace(new)
            _prune(old.parent, source)
    for folder in {(target / name).parent for name in names} | {target}:
        if folder.is_dir():
            sync_folder(folder)


def _prune(folder: Path, root: Path) -> None:
    """Remove folders that became empty: a later file may have the name of one."""
    while folder != root:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent
