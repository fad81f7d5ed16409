"""A home: the folder that holds an owner's or a broker's root key and store, or says where they are."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from confide.broker.audit_entries import recovery_restore, recovery_split
from confide.broker.store import Store
from confide.broker.store_copy import copy_store
from confide.errors import AlreadyExists, Misuse, ProviderRefused, Refused, StorageUnavailable
from confide.keys.passphrase_file import DEFAULT_COST, Argon2Cost, PassphraseFile, path_of_uri
from confide.keys.provider import MAX_URI_CHARS, PROVIDERS, KeyProvider, open_provider, scheme_of
from confide.keys.recovery.documents import RecoverySet
from confide.keys.recovery.key import RecoveryPublicKey
from confide.keys.recovery.recover import Recovered

ROOT_NAME = "root.json"
PROVIDER_NAME = "key-provider"
"""Has the URI of the home's key provider, where that is not `root.json`."""
STORE_NAME = "store.db"
STORE_URL_NAME = "store-url"
"""Has the URL of the home's store, where that is not `store.db`."""
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
    provider: KeyProvider
    store: Store

    @classmethod
    def create(
        cls,
        path: Path,
        secret: bytes | None,
        cost: Argon2Cost = DEFAULT_COST,
        key_provider: str | None = None,
        store: str | None = None,
    ) -> Home:
        """Make a home and open it. It appears whole or not at all.

        Args:
            path: the folder to be.
            secret: passphrase of its root key, or what opens its key provider.
            cost: of guessing the passphrase.
            key_provider: URI of what protects the store's root key; None: a new root key under the passphrase,
                in the folder. A root key file (`file:`) that is not there is made.
            store: URL of the PostgreSQL database for the store, an empty one; None: a SQLite file in the folder.

        Raises:
            AlreadyExists: something lies at `path`, other than a folder that is empty or holds a host's key alone;
                or there is a store in the database.
            Misuse: the passphrase is empty or too long, no key provider has that URI, or `store` is no URL of a store.
            StorageUnavailable: it cannot be written, or reached.
            WrongPassphrase, ProviderRefused, ProviderUnavailable, MissingDependency: as `open_provider`.
        """

        def make_store(file: Path, provider: KeyProvider) -> Store:
            if store is None:
                return Store.create(file, provider)
            _refuse_home(path)  # before there is a store without a home
            made = Store.create(store, provider)
            _write_private(file.with_name(STORE_URL_NAME), f"{store}\n".encode())
            return made

        return cls._make(path, secret, cost, key_provider, make_store)

    @classmethod
    def restore(
        cls,
        path: Path,
        secret: bytes | None,
        copy: Path | str,
        recovered: Recovered,
        cost: Argon2Cost = DEFAULT_COST,
        key_provider: str | None = None,
    ) -> Home:
        """Make a home of a store that lay elsewhere, and of its root key, which comes under new protection.

        The audit log says so from the first moment on.

        Args:
            path: the folder to be.
            secret: as for `create`.
            copy: file of the store, which is copied once more and left as it is; or URL of the PostgreSQL database
                into which it was copied, and in which it stays. No other home opens that from then on.
            recovered: the store's root key.
            cost: as for `create`.
            key_provider: as for `create`.

        Raises:
            Refused: the root key is of another store.
            Tampered: the root key does not open the store.
            InvalidFormat: `copy` is not a store, or not a whole one.
            AlreadyExists, Misuse, StorageUnavailable and others: as `create`.
        """

        def recover(file: Path, provider: KeyProvider) -> Store:
            if isinstance(copy, Path):
                copy_store(copy, file)
            else:
                _refuse_home(path)
                _write_private(file.with_name(STORE_URL_NAME), f"{copy}\n".encode())
            with contextlib.ExitStack() as undo:
                where = file if isinstance(copy, Path) else copy
                made = Store.recover(where, provider, recovered.root, recovered.given.store)
                undo.callback(made.close)
                made.audit.append(recovery_restore(made.owners(), recovered))
                undo.pop_all()
                return made

        return cls._make(path, secret, cost, key_provider, recover)

    @classmethod
    def _make(
        cls,
        path: Path,
        secret: bytes | None,
        cost: Argon2Cost,
        key_provider: str | None,
        make_store: Callable[[Path, KeyProvider], Store],
    ) -> Home:
        provider = None if key_provider is None else _open_or_make(key_provider, secret, cost)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))  # mode 0700
        except OSError as error:
            raise StorageUnavailable(f"cannot make a home at {path}: {error.strerror}") from None
        try:
            if provider is None:
                provider = PassphraseFile.create(draft / ROOT_NAME, secret or b"", cost)
            else:
                _write_private(draft / PROVIDER_NAME, f"{key_provider}\n".encode())
            make_store(draft / STORE_NAME, provider).close()
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
        return cls(path, provider, Store.open(_store_of(path), provider))

    @classmethod
    def open(cls, path: Path, secret: bytes | None) -> Home:
        """Open a home with its passphrase, or with what opens its key provider.

        Raises:
            WrongPassphrase: the secret does not open its root key.
            ProviderRefused, ProviderUnavailable, MissingDependency: as `open_provider`.
            Refused: the folder belongs to, or may be entered by, someone else.
            Misuse: there is no home.
            Tampered: its store was not made with its root key.
            StorageUnavailable: it cannot be read.
        """
        _check_private(path)
        provider = open_by_uri(key_provider_of(path), secret)
        return cls(path, provider, Store.open(_store_of(path), provider))

    def share_root(self, threshold: int, owners: Mapping[str, RecoveryPublicKey]) -> RecoverySet:
        """Share the store's root key among owners, any `threshold` of whom can give it back; the audit log says so.

        Raises:
            ProviderRefused: its key provider is there so that nothing opens the store without it.
            Misuse, InvalidFormat, MissingDependency: as `split_root`.
        """
        uri = key_provider_of(self.path)
        if not scheme_of(uri).recoverable:
            raise ProviderRefused(
                f"the root key is protected by {uri.partition(':')[0]}:, without which nothing is to open this store; "
                "shares of owners would be a way around it"
            )
        with self.store.transaction():
            given = self.store.share_root(threshold, owners)
            self.store.audit.append(recovery_split(self.store.owners(), given))
        return given

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def key_provider_of(path: Path) -> str:
    """Return the URI of the key provider of the home at `path`.

    Raises:
        Misuse: there is no home.
        StorageUnavailable: it cannot be read.
    """
    said = _said(path / PROVIDER_NAME)
    if said is None and not path.is_dir():
        raise Misuse(f"no home at {path}")
    return (path / ROOT_NAME).absolute().as_uri() if said is None else said


def open_by_uri(uri: str, secret: bytes | None) -> KeyProvider:
    """Open a key provider with the one secret that its scheme takes; one that takes none gets none.

    Raises:
        Misuse: no provider has that scheme, or a secret is missing.
        WrongPassphrase, ProviderRefused, ProviderUnavailable, MissingDependency: as `open_provider`.
    """
    name = scheme_of(uri).secret
    return open_provider(uri, {name: secret} if name is not None and secret is not None else {})


def _store_of(path: Path) -> Path | str:
    """Return the file of the store of the home at `path`, or its URL."""
    url = _said(path / STORE_URL_NAME)
    return path / STORE_NAME if url is None else url


def _said(file: Path) -> str | None:
    """Return the one line of a file; None without the file."""
    try:
        with file.open("rb") as opened:
            said = opened.read(MAX_URI_CHARS + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StorageUnavailable(f"cannot read {file}: {error.strerror}") from None
    return said.decode("utf-8", "replace").removesuffix("\n")


def _open_or_make(uri: str, secret: bytes | None, cost: Argon2Cost) -> KeyProvider:
    if scheme_of(uri) is PROVIDERS["file"] and not (path := path_of_uri(uri)).exists():
        return PassphraseFile.create(path, secret or b"", cost)
    return open_by_uri(uri, secret)


def _write_private(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _take_host_key(path: Path, draft: Path) -> None:
    """Move the host's key into the draft where the folder holds nothing else; a folder with more stays as it is."""
    if path.is_dir() and _names(path) == [HOST_KEY_NAME]:
        (path / HOST_KEY_NAME).rename(draft / HOST_KEY_NAME)


def _may_become_home(path: Path) -> bool:
    return path.is_dir() and _names(path) in ([], [HOST_KEY_NAME])


def _refuse_home(path: Path) -> None:
    if path.exists() and not _may_become_home(path):
        raise AlreadyExists(f"{path} is there already")


def _names(path: Path) -> list[str]:
    return [entry.name for entry in path.iterdir()]


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
    names = (ROOT_NAME, PROVIDER_NAME, STORE_NAME, STORE_URL_NAME)
    for each in (path, *(path / name for name in names)):
        with contextlib.suppress(FileNotFoundError):
            if each.stat().st_mode & 0o077:
                raise Refused(f"{each} is open to other users (mode {stat.S_IMODE(each.stat().st_mode):04o})")


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
