"""Where a passphrase comes from: a prompt, or an inherited file descriptor. Never argv, never the environment."""

from __future__ import annotations

import getpass
import os
import sys

from confide.errors import Misuse, WrongPassphrase
from confide.keys.provider import PROVIDERS, scheme_of

_MAX_BYTES = 4096
MIN_LENGTH = 8


def read_secret(key_provider: str | None, fd: int | None, *, choose: bool = False) -> bytes | None:
    """Return what opens a key provider (None: the home's own root key file), or None if it needs nothing.

    Args:
        key_provider: its URI.
        fd: as `read_passphrase`.
        choose: a passphrase is being chosen. A PIN or token exists already, so it is asked for once.

    Raises:
        Misuse, WrongPassphrase: as `read_passphrase`; or no provider has that URI.
    """
    scheme = scheme_of(key_provider) if key_provider is not None else PROVIDERS["file"]
    if scheme.secret is None:
        return None
    return read_passphrase(fd, confirm=choose and scheme is PROVIDERS["file"], name=scheme.secret)


def read_passphrase(
    fd: int | None, *, confirm: bool = False, name: str = "passphrase", option: str = "--passphrase-fd"
) -> bytes:
    """Return the passphrase, read from descriptor `fd` up to its end or first newline, or asked for.

    A seekable descriptor is read from its start without moving it, so that one `3<file` serves several
    commands of a script.

    Args:
        fd: descriptor; None: ask.
        confirm: it is being chosen: ask twice.
        name: what is asked for.
        option: by which the descriptor is given.

    Raises:
        Misuse: the descriptor is not readable, there is no terminal to ask on, or the two answers differ;
            when choosing one, it is shorter than 8 characters.
        WrongPassphrase: empty.
    """
    if fd is not None:
        passphrase = _from_descriptor(fd)
    elif sys.stdin.isatty():
        passphrase = getpass.getpass(f"{name[0].upper()}{name[1:]}: ").encode()
        if confirm and getpass.getpass("Again: ").encode() != passphrase:
            raise Misuse("the two passphrases differ")
    else:
        raise Misuse(f"no terminal to ask for the {name} on: give it with {option}")
    if confirm and len(passphrase) < MIN_LENGTH:
        raise Misuse(f"the passphrase is too short: choose at least {MIN_LENGTH} characters")
    if not passphrase:
        raise WrongPassphrase(f"the {name} is empty")
    return passphrase


def _from_descriptor(fd: int) -> bytes:
    try:
        try:
            data = os.pread(fd, _MAX_BYTES, 0)
        except OSError:  # a pipe
            data = b""
            while len(data) <= _MAX_BYTES and (chunk := os.read(fd, _MAX_BYTES)):
                data += chunk
    except OSError as error:
        raise Misuse(f"cannot read the passphrase from descriptor {fd}: {error.strerror}") from None
    return data.split(b"\n", 1)[0]
