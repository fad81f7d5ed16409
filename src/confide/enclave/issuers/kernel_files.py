"""Attributes of the kernel (or of a library OS) as files: one write says all, and every read is bounded."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from confide.errors import AttestationRefused, InvalidFormat


@contextlib.contextmanager
def asking(whom: str) -> Iterator[None]:
    """Turn what the kernel answers with into a refusal that names whom it was asked of.

    Raises:
        AttestationRefused: instead of any OSError or InvalidFormat within.
    """
    try:
        yield
    except OSError as error:
        raise AttestationRefused(f"{whom} issues no evidence: {error.strerror or error}") from None
    except InvalidFormat as error:
        raise AttestationRefused(f"{whom} issues no evidence: {error}") from None


def write_attribute(path: Path, value: bytes) -> None:
    """Write a value by a single write; what takes effect at the end does so before this returns.

    Raises:
        OSError: as the kernel says, at the latest when the file is closed; also for a write that took less.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        written = os.write(descriptor, value)
    finally:
        os.close(descriptor)
    if written != len(value):
        raise OSError(f"only {written} of {len(value)} bytes were taken")


def read_once(path: Path, max_bytes: int) -> bytes:
    """Return what a single read gives: for files of a library OS, some of which never come to an end.

    Raises:
        OSError: as the kernel says; also for more than `max_bytes`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        value = os.read(descriptor, max_bytes + 1)
    finally:
        os.close(descriptor)
    return _bounded(value, max_bytes)


def read_attribute(path: Path, max_bytes: int) -> bytes:
    """Return the whole value, however many reads that takes.

    Raises:
        OSError: as the kernel says; also for more than `max_bytes`.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        value = b""
        while len(value) <= max_bytes and (part := os.read(descriptor, max_bytes + 1 - len(value))):
            value += part
    finally:
        os.close(descriptor)
    return _bounded(value, max_bytes)


def _bounded(value: bytes, max_bytes: int) -> bytes:
    if len(value) > max_bytes:
        raise OSError(f"more than {max_bytes} bytes")
    return value
