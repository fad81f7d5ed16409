"""Run a program of Flink, kill it with all that it started, and run it again from its newest checkpoint.

Usage: kill_and_restore.py COMMITTED CHECKPOINTS COMMAND...     (run_watched.py starts it)
COMMITTED: pattern of files; the first to appear says that it is time.  CHECKPOINTS: pattern of checkpoints' folders.
The command gets one argument more: `new`, then the path of the checkpoint.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 400


def start(command: list[str], passphrase: bytes | None) -> subprocess.Popen[bytes]:
    if passphrase is None:
        return subprocess.Popen(command, start_new_session=True)
    reader, writer = os.pipe()
    os.write(writer, passphrase)
    os.close(writer)
    env = {**os.environ, "CONFIDE_PASSPHRASE_FD": str(reader)}
    with os.fdopen(reader):
        return subprocess.Popen(command, start_new_session=True, env=env, pass_fds=(reader,))


def parents() -> dict[int, int]:
    """Return the parent of each process that runs."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_bytes().rsplit(b")", 1)[1].split()[:2]
        except OSError:
            continue
        if state != b"Z":
            found[int(stat.parent.name)] = int(parent)
    return found


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a command, and wait until nothing runs that it started."""
    known = parents()
    started = {process.pid}
    while more := {pid for pid, parent in known.items() if parent in started} - started:
        started |= more
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 60
    while left := started & set(parents()):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.05)


def main(committed: str, checkpoints: str, *command: str) -> int:
    passphrase = None
    if descriptor := os.environ.get("CONFIDE_PASSPHRASE_FD"):
        passphrase = os.read(int(descriptor), 1000)
    first = start([*command, "new"], passphrase)
    deadline = time.monotonic() + SECONDS
    while not any(Path().glob(committed)):
        if first.poll() is not None or time.monotonic() > deadline:
            print("never came so far that it could be killed", flush=True)
            kill(first)
            return 1
        time.sleep(0.1)
    kill(first)
    newest = max(Path().glob(checkpoints), key=lambda path: path.stat().st_mtime_ns)
    print("killed, restored from", newest.parent, flush=True)
    return start([*command, str(newest.parent)], passphrase).wait()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
