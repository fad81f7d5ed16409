"""A throw-away owner: a home with one key, driven through the command line as a user would."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.process import Done, measure

NAME = "bench"
KEY = f"{NAME}/data"
CONFIDE = Path(sys.executable).with_name("confide")


@dataclass(frozen=True)
class Owner:
    """An owner with the key `KEY`.

    Attributes:
        folder: working folder of every command, and the data root of runs.
        home: the owner's home.
        passphrase_fd: seekable descriptor that holds the passphrase.
    """

    folder: Path
    home: Path
    passphrase_fd: int

    def confide(self, *arguments: str | Path, sample: bool = False) -> Done:
        """Run `confide` with these arguments and return what it used."""
        options = ["--home", str(self.home), "--passphrase-fd", str(self.passphrase_fd)]
        command = [CONFIDE, *options, *arguments]
        return measure(command, cwd=self.folder, pass_fds=[self.passphrase_fd], sample=sample)

    def passphrase(self) -> bytes:
        """Return the passphrase, for opening the home through the library."""
        return os.pread(self.passphrase_fd, 4096, 0)

    def allow(
        self,
        program: Path,
        *,
        reads: Iterable[str] = (),
        writes: Iterable[str] = (),
        executors: bool = False,
        more: Iterable[str] = (),
    ) -> None:
        """Put a policy into force that lets this program run, read and write these locations, with more options."""
        read = [word for location in reads for word in ("--read", location)]
        write = [word for location in writes for word in ("--write", f"{location}={KEY}")]
        workers = ["--workers"] if executors else []
        self.confide("policy", "allow", program, *read, *write, "--logs", KEY, *workers, *more)
        self.confide("policy", "apply", "policy.toml")


@contextmanager
def new_owner(folder: Path) -> Iterator[Owner]:
    """Make a home under a random passphrase in `folder` and yield its owner."""
    secret = folder / "passphrase"
    descriptor = os.open(secret, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        secret.unlink()  # only the descriptor remains
        os.write(descriptor, secrets.token_hex(16).encode())
        data = folder / "owner"
        data.mkdir()
        owner = Owner(data, folder / "home", descriptor)
        owner.confide("init", NAME)
        owner.confide("key", "create", KEY)
        yield owner
    finally:
        os.close(descriptor)
