"""The agent's line to the runner outside: states and an exit code go out; notices and the wish to stop come in."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable

from confide import errors
from confide.errors import ConfideError

GRACE_SECONDS = 5.0
MAX_NOTICE_BYTES = 4096
MAX_NOTICES = 10_000
STOPPED_EXIT_CODE = 130


def reported_name(error: ConfideError) -> str:
    """Return the name of the error's class in `confide.errors`, or of the nearest one there above it."""
    return next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == errors.__name__)


class Control:
    """Status lines to the runner. The runner closing its end means: stop.

    Args:
        descriptor: inherited from the launcher; no child process inherits it in turn.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)

    def say(self, state: str, **details: int | str | bool) -> None:
        """Tell the runner the state; a runner that went away is none of the workload's business."""
        with contextlib.suppress(OSError):
            self._socket.sendall(json.dumps({"state": state, **details}).encode() + b"\n")

    def failed(self, error: ConfideError, keys_released: bool, logged: bool = False) -> None:
        """Tell the runner why it failed: in full before keys were released, coarsely afterwards.

        Args:
            error: why.
            keys_released: whether keys were released.
            logged: whether the sealed log tells it in full.
        """
        message = error.public if keys_released else str(error)
        if logged:
            message += "; the sealed log says it in full"
        self.say("failed", error=reported_name(error), message=message)

    def listen(self, notice: Callable[[str], None]) -> None:
        """From now on pass on what the runner says, and end the workload's processes when it closes its end.

        They get SIGTERM; the profile then returns. If it has not after a while, the agent ends, and the PID
        namespace with it.

        Args:
            notice: takes a line; whatever it says is only the host's word.
        """
        signal.signal(signal.SIGTERM, lambda *_: None)
        threading.Thread(target=self._listen, args=(notice,), name="control", daemon=True).start()

    def _listen(self, notice: Callable[[str], None]) -> None:
        with contextlib.suppress(OSError), self._socket.makefile("rb") as stream:
            told = 0
            while line := stream.readline(MAX_NOTICE_BYTES):
                told += 1
                if told <= MAX_NOTICES:
                    notice(line.decode(errors="backslashreplace").strip())
        os.killpg(0, signal.SIGTERM)
        time.sleep(GRACE_SECONDS)
        os._exit(STOPPED_EXIT_CODE)
