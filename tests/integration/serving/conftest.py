"""An owner, a key for requests, and `confide serve` as a process of its own, driven as a user drives it."""

from __future__ import annotations

import contextlib
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

READY_S = 180.0


class Serving:
    """A running `confide serve`, or another command that serves."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process, self.said = process, []
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self.url = ""
        while not self.url:
            line = self._lines.get(timeout=READY_S)
            assert line is not None, "".join(self.said)
            if line.startswith("ready: "):
                self.url = line.split()[1].rstrip(",")
                self.grpc = line.partition("gRPC ")[2].partition(",")[0]

    def _read(self) -> None:
        for line in self.process.stdout:
            self.said.append(line)
            self._lines.put(line)
        self._lines.put(None)

    @property
    def address(self) -> str:
        return self.url.removeprefix("https://")

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(60)


class Owner:
    """A folder with a home, in which commands run."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        passphrase = folder / "passphrase"
        passphrase.write_text("correct horse battery")
        self._descriptor = os.open(passphrase, os.O_RDONLY)
        os.set_inheritable(self._descriptor, True)
        self._running: list[Serving] = []
        self._started = {
            "cwd": folder,
            "env": {
                **os.environ,
                "CONFIDE_HOME": str(folder / "home"),
                "CONFIDE_PASSPHRASE_FD": str(self._descriptor),
                "XDG_CACHE_HOME": str(cache),
            },
            "pass_fds": (self._descriptor,),
            "stdout": subprocess.PIPE,
            "stderr": subprocess.STDOUT,
            "text": True,
        }

    def run(self, *arguments: str) -> tuple[int, str]:
        command = [sys.executable, "-m", "confide", *arguments]
        done = subprocess.run(command, check=False, **self._started)
        return done.returncode, done.stdout

    def ok(self, *arguments: str) -> str:
        code, said = self.run(*arguments)
        assert code == 0, said
        return said

    def allow(self, model: str, *more: str) -> None:
        self.ok("policy", "allow", model, "--profile", "serving", "--requests", "clinic/pool", *more)
        self.ok("policy", "apply", "policy.toml")

    def accept(self, workload: str) -> Path:
        path = self.folder / f"{workload}.accept.toml"
        path.write_text(self.ok("serving", "accept", workload))
        return path

    def serve(self, model: str, *more: str) -> Serving:
        return self.start("serve", model, *more)

    def start(self, *command: str) -> Serving:
        argv = [sys.executable, "-m", "confide", *command, "--tee", "simulated"]
        argv += [] if "--listen" in command else ["--listen", "127.0.0.1:0"]
        self._running.append(Serving(subprocess.Popen(argv, **self._started)))
        return self._running[-1]

    def close(self) -> None:
        for serving in self._running:
            serving.process.kill()
            serving.process.wait()
        os.close(self._descriptor)


@pytest.fixture(scope="session")
def cache(pytestconfig: pytest.Config) -> Path:
    """Layers are kept between test runs: their key tells whether anything in them changed."""
    assert pytestconfig.cache is not None
    return pytestconfig.cache.mkdir("confide-xdg")


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Owner]:
    with contextlib.closing(Owner(tmp_path_factory.mktemp("owner"), cache)) as owner:
        owner.ok("init", "clinic")
        for key in ("pool", "models", "logs"):
            owner.ok("key", "create", f"clinic/{key}")
        yield owner
