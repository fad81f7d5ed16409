"""A home: the folder that holds an owner's or a broker's root key and store. Interface first."""

from __future__ import annotations

from pathlib import Path

from confide.broker.store import Store


class Home:
    """Folder 0700 with `root.json` and `store.db`. A context manager: leaving it closes the store."""

    path: Path
    store: Store

    @classmethod
    def create(cls, path: Path, passphrase: bytes) -> Home:
        """Make a home. Raises AlreadyExists, StorageUnavailable, Misuse (empty passphrase)."""
        raise NotImplementedError

    @classmethod
    def open(cls, path: Path, passphrase: bytes) -> Home:
        """Open a home. Raises WrongPassphrase, Refused (others may read it), Misuse (no home there)."""
        raise NotImplementedError

    def close(self) -> None:
        """Close the store."""

    def __enter__(self) -> Home:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
