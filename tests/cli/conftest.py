"""The command line, driven as a user drives it, in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from confide.cli import main

PASSPHRASE = "correct horse battery"


@dataclass(frozen=True)
class Said:
    """What a command answered."""

    code: int
    out: str
    err: str


class CommandLine:
    """Runs commands in one folder with one home."""

    def __init__(self, folder: Path, monkeypatch, capfd) -> None:
        self.folder, self._patch, self._capture = folder, monkeypatch, capfd
        self.home = folder / "home"
        passphrase = folder / "passphrase"
        passphrase.write_text(PASSPHRASE)
        self.descriptor = os.open(passphrase, os.O_RDONLY)

    def __call__(self, *arguments: str, descriptor: int | None = None) -> Said:
        fd = self.descriptor if descriptor is None else descriptor
        argv = ["confide", "--home", str(self.home), "--passphrase-fd", str(fd), *map(str, arguments)]
        self._patch.setattr(sys, "argv", argv)
        self._patch.chdir(self.folder)
        self._capture.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        out, err = self._capture.readouterr()
        return Said(code, out, err)

    def ok(self, *arguments: str) -> Said:
        said = self(*arguments)
        assert said.code == 0, said.err
        return said


@pytest.fixture
def confide(tmp_path, monkeypatch, capfd) -> Iterator[CommandLine]:
    line = CommandLine(tmp_path, monkeypatch, capfd)
    yield line
    os.close(line.descriptor)


@pytest.fixture
def clinic(confide) -> CommandLine:
    """A home with an owner, a key, and an encrypted table at data/patients."""
    confide.ok("init", "clinic")
    confide.ok("key", "create", "clinic/patients")
    rows = "\n".join(f"{i},patient {i},{i * 1.5}" for i in range(1000))
    (confide.folder / "patients.csv").write_text(f"id,name,value\n{rows}\n")
    confide.ok("encrypt", "patients.csv", "data/patients", "--key", "clinic/patients")
    return confide
