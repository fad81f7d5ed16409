"""Where a passphrase comes from: a prompt, or an inherited file descriptor. Never argv, never the environment."""

from __future__ import annotations

import getpass
import os
import sys

from confide.errors import Misuse, WrongPassphrase

_MAX_BYTES = 4096
MIN_LENGTH = 8


def read_passphrase(fd: int | None, *, confirm: bool = False) -> bytes:
    """Return the passphrase, read from descriptor `fd` up to its end or first newline, or asked for.

    A seekable descriptor is read from its start without moving it, so that one `3<file` serves several
    commands of a script.

    Raises:
        Misuse: the descriptor is not readable, there is no terminal to ask on, or the two answers differ;
            when choosing one, it is shorter than 8 characters.
        WrongPassphrase: empty.
    """
    if fd is not None:
        passphrase = _from_descriptor(fd)
    elif sys.stdin.isatty():
        passphrase = getpass.getpass("Passphrase: ").encode()
        if confirm and getpass.getpass("Again: ").encode() != passphrase:
            raise Misuse("the two passphrases differ")
    else:
        raise Misuse("no terminal to ask for the passphrase on: give it with --passphrase-fd")
    if confirm and len(passphrase) < MIN_LENGTH:
        raise Misuse(f"the passphrase is too short: choose at least {MIN_LENGTH} characters")
    if not passphrase:
        raise WrongPassphrase("the passphrase is empty")
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
