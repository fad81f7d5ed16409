"""Run one command in a network namespace of its own, watched; print what was found as JSON.

Usage: run_watched.py SPEC.json     (root only)
SPEC: {"argv": [...], "cwd": "...", "env": {...}, "needles": {name: text}, "keys": {name: hex of a key's bytes},
       "mounts": [...], "exempt": [...],
       "input": "passphrase" or null, "ui": true to read the web interface while it runs}
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import http.client
import json
import os
import re
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from watch import Watch

_CLONE_NEWNET = 0x40000000


def own_network() -> None:
    """Leave the machine's network for an empty one whose loopback device is up."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: UP, RUNNING


def listeners() -> set[int]:
    """Return the TCP ports that something listens on in this network namespace."""
    ports = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                ports.add(int(fields[1].rsplit(":", 1)[1], 16))
    return ports


class Interface(threading.Thread):
    """Ask every listening port for REST pages of Spark and Flink, again and again, and search the answers.

    A port is asked once it was seen `LOOKS` times in a row. PySpark hands results over ports that take one
    connection and close: a search that took it would end the program.
    """

    LOOKS = 4

    def __init__(self, watch: Watch) -> None:
        super().__init__(daemon=True)
        self._watch, self._halt = watch, threading.Event()
        self.ports: set[int] = set()
        self._looks: Counter[int] = Counter()
        self.answers = 0

    def run(self) -> None:
        while not self._halt.wait(0.5):
            listening = listeners()
            self.ports |= listening
            self._looks = Counter({port: self._looks[port] + 1 for port in listening})
            ports = [port for port in listening if self._looks[port] >= self.LOOKS]
            with ThreadPoolExecutor() as pool:  # those that do not answer take a while to say so
                found_at = list(zip(ports, pool.map(self._pages, ports), strict=True))
            for port, pages in found_at:
                for page in pages:
                    self.answers += 1
                    found = self._watch.needles.find(page)
                    if found:
                        self._watch.hits.add("interface", found, f"port {port}")

    def _pages(self, port: int) -> list[bytes]:
        pages = []
        applications = _get(port, "/api/v1/applications")
        for name in re.findall(rb'"id" : "([^"]+)"', applications or b"")[:1]:
            for page in ("sql?details=true&length=1000", "environment", "stages?details=true"):
                pages.append(_get(port, f"/api/v1/applications/{name.decode()}/{page}") or b"")
        for job in re.findall(rb'"id":"([0-9a-f]{32})"', _get(port, "/jobs") or b""):
            for page in ("exceptions", "config", "plan"):
                pages.append(_get(port, f"/jobs/{job.decode()}/{page}") or b"")
        return pages

    def stop(self) -> None:
        self._halt.set()
        self.join()


def _get(port: int, path: str) -> bytes | None:
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return answer.read(50_000_000)
    with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
        trusting = ssl._create_unverified_context()  # whoever asks, and not who answers, is tried here
        with urllib.request.urlopen(f"https://127.0.0.1:{port}{path}", timeout=2, context=trusting) as answer:
            return answer.read(50_000_000)
    return None


def main() -> None:
    spec = json.loads(Path(sys.argv[1]).read_text())
    own_network()
    needles = {name: value.encode() for name, value in spec["needles"].items()}
    needles |= {name: bytes.fromhex(key) for name, key in spec.get("keys", {}).items()}
    watch = Watch(needles, spec["mounts"], tuple(spec.get("exempt", ())))
    pass_fds = ()
    if spec.get("input") is not None:
        reader, writer = os.pipe()
        os.write(writer, spec["input"].encode() + b"\n")
        os.close(writer)
        spec["env"]["CONFIDE_PASSPHRASE_FD"] = str(reader)
        pass_fds = (reader,)
    began = time.monotonic()
    with watch:
        interface = Interface(watch)
        if spec.get("ui"):
            interface.start()
        done = subprocess.run(
            spec["argv"],
            cwd=spec["cwd"],
            env=spec["env"],
            capture_output=True,
            pass_fds=pass_fds,
            check=False,
        )
        if spec.get("ui"):
            interface.stop()
        time.sleep(0.5)
    output = done.stdout + done.stderr
    found = watch.needles.find(output)
    if found:
        watch.hits.add("output", found, "stdout and stderr")
    json.dump(
        {
            "exit_code": done.returncode,
            "seconds": round(time.monotonic() - began, 1),
            "hits": {place: dict(names) for place, names in watch.hits.counts.items()},
            "where": {place: sorted(paths)[:5000] for place, paths in watch.hits.paths.items()},
            "searched": watch.summary(),
            "captured": watch.traffic.bytes,
            "captured_inside": watch.networks.bytes,
            "ports": sorted(interface.ports),
            "pages": interface.answers,
            "output": output.decode(errors="replace")[-10_000_000:],
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
