"""A broker in a process of its own, which can be killed and started again at the same port."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx

CONFIDE = Path(sys.executable).with_name("confide")


@dataclass
class BrokerProcess:
    """`confide broker serve` on a home."""

    home: Path
    passphrase: Path
    listen: str
    url: str = ""
    _process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with self.passphrase.open("rb") as secret:
            descriptor = secret.fileno()
            options = ["--home", str(self.home), "--passphrase-fd", str(descriptor), "broker", "serve"]
            options += ["--listen", self.listen, "--name", "127.0.0.1", "--name", "127.0.0.2"]
            self._process = subprocess.Popen(
                [str(CONFIDE), *options, "--allow-simulated", "--offline"],
                pass_fds=[descriptor],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )

    def await_ready(self) -> None:
        """Wait until it serves; `url` and `listen` have its port then."""
        assert self._process is not None
        assert self._process.stderr is not None
        said = ""
        for line in self._process.stderr:
            said += line
            if found := re.search(r"serving https://\S+:(\d+)", line):
                host = self.listen.partition(":")[0]
                self.listen = f"{host}:{found[1]}"
                self.url = f"https://{self.listen}"
                self._await_listening(host, int(found[1]))
                return
        raise AssertionError(said)

    def _await_listening(self, host: str, port: int) -> None:
        for _ in range(600):
            with suppress(httpx.TransportError), httpx.Client(verify=False, trust_env=False) as client:
                client.get(f"https://{host}:{port}/confide/v1/jwks")
                return
            time.sleep(0.05)
        raise AssertionError("the broker does not answer")

    def kill(self) -> None:
        """As `kill -9` does."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()
        assert self._process.returncode == -9

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.communicate()
