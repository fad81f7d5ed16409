"""A home: the folder that holds an owner's or a broker's root key and store."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from confide.broker.store import Store
from confide.errors import AlreadyExists, Misuse, Refused, StorageUnavailable
from confide.keys.passphrase_file import DEFAULT_COST, Argon2Cost, PassphraseFile

ROOT_NAME = "root.json"
STORE_NAME = "store.db"
HOST_KEY_NAME = "simulated-host.key"
"""What may lie in the folder before the home does: a machine can be enrolled at a broker elsewhere first."""


@dataclass(frozen=True)
class Home:
    """An open home; as a context manager, leaving it closes the store.

    Attributes:
        path: the folder, mode 0700.
        provider: protects the store's root key.
        store: everything else.
    """

    path: Path
    provider: PassphraseFile
    store: Store

    @classmethod
    def create(cls, path: Path, passphrase: bytes, cost: Argon2Cost = DEFAULT_COST) -> Home:
        """Make a home and open it. It appears whole or not at all.

        Raises:
            AlreadyExists: something lies at `path`, other than a folder that is empty or holds a host's key alone.
            Misuse: the passphrase is empty or too long.
            StorageUnavailable: it cannot be written.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))  # mode 0700
        except OSError as error:
            raise StorageUnavailable(f"cannot make a home at {path}: {error.strerror}") from None
        try:
            Store.create(
                draft / STORE_NAME, PassphraseFile.create(draft / ROOT_NAME, passphrase, cost)
            ).close()
            _take_host_key(path, draft)
            _sync(draft)
            draft.rename(path)
            _sync(path.parent)
        except OSError as error:
            if path.exists():
                raise AlreadyExists(f"{path} is there already") from None
            raise StorageUnavailable(f"cannot make a home at {path}: {error.strerror}") from None
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        return cls.open(path, passphrase)

    @classmethod
    def open(cls, path: Path, passphrase: bytes) -> Home:
        """Open a home.

        Raises:
            WrongPassphrase: the passphrase does not open its root key.
            Refused: the folder belongs to, or may be entered by, someone else.
            Misuse: there is no home.
            Tampered: its store was not made with its root key.
            StorageUnavailable: it cannot be read.
        """
        _check_private(path)
        provider = PassphraseFile.open(path / ROOT_NAME, passphrase)
        return cls(path, provider, Store.open(path / STORE_NAME, provider))

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _take_host_key(path: Path, draft: Path) -> None:
    """Move the host's key into the draft where the folder holds nothing else; a folder with more stays as it is."""
    if path.is_dir() and [entry.name for entry in path.iterdir()] == [HOST_KEY_NAME]:
        (path / HOST_KEY_NAME).rename(draft / HOST_KEY_NAME)


def _check_private(path: Path) -> None:
    try:
        found = path.stat()
    except FileNotFoundError:
        raise Misuse(f"no home at {path}") from None
    except OSError as error:
        raise StorageUnavailable(f"cannot read the home {path}: {error.strerror}") from None
    if not stat.S_ISDIR(found.st_mode):
        raise Misuse(f"no home at {path}")
    if found.st_uid != os.geteuid():
        raise Refused(f"home {path} belongs to another user")
    for each in (path, path / ROOT_NAME, path / STORE_NAME):
        with contextlib.suppress(FileNotFoundError):
            if each.stat().st_mode & 0o077:
                raise Refused(f"{each} is open to other users (mode {stat.S_IMODE(each.stat().st_mode):04o})")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
