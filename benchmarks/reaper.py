"""Runs a command to its end, waits for every descendant, and reports what all of them used.

    python -I -S reaper.py <descriptor of the report> <seconds of grace> <command> [arguments]

Linux counts a process's CPU time with its parent only if the parent waited for it. PySpark does not wait for its
JVM, so this process makes itself the new parent of orphans (prctl(2), PR_SET_CHILD_SUBREAPER) and waits for them.
What outlives the command by more than the grace is ended. Standard library only: it must stay small, because a
child's peak memory starts at that of the process it was forked from.
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


def main(argv: list[str]) -> None:
    report, grace_s, command = int(argv[0]), float(argv[1]), argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    os.set_inheritable(report, False)
    start = time.monotonic()
    main_pid = os.fork()
    if main_pid == 0:
        try:
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
            os._exit(127)
    found = {"wall_s": 0.0, "cpu_s": 0.0, "peak_rss_bytes": 0, "exit": 0, "ended": 0}
    signal.signal(signal.SIGALRM, lambda *_: _end_children(found))
    while True:
        try:
            pid, status, usage = os.wait4(-1, 0)
        except ChildProcessError:
            break
        found["cpu_s"] += usage.ru_utime + usage.ru_stime
        found["peak_rss_bytes"] = max(found["peak_rss_bytes"], usage.ru_maxrss * 1024)
        if pid == main_pid:
            found["wall_s"] = time.monotonic() - start
            found["exit"] = os.waitstatus_to_exitcode(status)
            signal.setitimer(signal.ITIMER_REAL, grace_s, 1)
    os.write(report, json.dumps(found).encode())


def _end_children(found: dict[str, float]) -> None:
    pid = os.getpid()
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
        found["ended"] += 1


if __name__ == "__main__":
    main(sys.argv[1:])
