"""The initramfs archive, as others read it."""

from __future__ import annotations

import io
import shutil
import subprocess

import pytest

from confide.enclave.guest.cpio import Entry, write_cpio

ENTRIES = [
    Entry("init", b"#!/bin/sh\n", executable=True),
    Entry("lib/a/b.so", b"\x7fELF" * 3),
    Entry("z", b""),
]


def archive(entries=ENTRIES, folders=("proc",)):
    stream = io.BytesIO()
    write_cpio(stream, entries, folders)
    return stream.getvalue()


def test_the_same_files_give_the_same_bytes():
    assert archive() == archive()
    assert len(archive()) % 4 == 0
    assert archive(ENTRIES[:2]) != archive()


@pytest.mark.skipif(shutil.which("busybox") is None, reason="needs busybox")
def test_busybox_reads_it(tmp_path):
    listed = subprocess.run(["busybox", "cpio", "-t"], input=archive(), capture_output=True, check=True)
    assert listed.stdout.decode().split() == [
        "dev",
        "proc",
        "dev/console",
        "init",
        "lib",
        "lib/a",
        "lib/a/b.so",
        "z",
    ]
    unpack = ["busybox", "cpio", "-id", "init", "lib/a/b.so", "z"]
    subprocess.run(unpack, input=archive(), capture_output=True, check=True, cwd=tmp_path)
    assert (tmp_path / "init").read_bytes() == b"#!/bin/sh\n"
    assert (tmp_path / "init").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "lib/a/b.so").read_bytes() == b"\x7fELF" * 3
    assert (tmp_path / "z").read_bytes() == b""
